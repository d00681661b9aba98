/**
 * One attempt: runs the code of a task to its end, sends what it asks, parks it, stops it.
 *
 * For: everything between a task that arrives and its last report. Not for: connections (see `session`) or replay
 * (see `journal`).
 * Invariant: an attempt hands over exactly one last report (complete, fail or park), or none where it was stopped.
 * After it nothing of the code is recorded or reported: what it still waits for never settles, so no `catch` of it
 * takes the end of the attempt for a failure. What must be tidied up listens to the signal.
 */
import type { Capability } from "./agent.js";
import { execute } from "./context.js";
import { Code, stack, TaskError, toWire } from "./error.js";
import { type Asked, Journal, type Result } from "./journal.js";
import { writeJson } from "./json.js";
import type { Logger } from "./logger.js";
import type { Attempt as AttemptId, JournalEntry, Task, WorkerMessage } from "./proto/consort/v1/worker.js";
import type { Request } from "./replay.js";
import type { Participant } from "./scheduler.js";
import { toMicros } from "./span.js";

/** A report on an attempt. */
export type Report = NonNullable<WorkerMessage["kind"]>;

/** Partial output. */
type Delta = { $case: "text"; value: string } | { $case: "json"; value: Uint8Array };

/** Bytes of one piece of partial output. */
export const STREAM_BYTES_MAX = 16 * 1024;
/** UTF-16 units of one piece of text: at most three bytes each. */
const PIECE_UNITS_MAX = Math.floor(STREAM_BYTES_MAX / 3);

/** How long an attempt is patient, in milliseconds. */
export interface Timeouts {
  /** How long code is quiescent before its task parks. */
  parkAfter: number;
  /** How long cancelled code may continue. */
  cancelGrace: number;
}

/** A call that is to come. */
export interface Timer {
  /** Cancels it. */
  clear(): void;
}

/** What an attempt needs of the instance that runs it. */
export interface Host {
  /** The number of the connection, and whether it is open. */
  readonly epoch: number;
  readonly connected: boolean;
  /** Bytes of one document. */
  readonly payloadBytesMax: number;
  readonly timeouts: Timeouts;
  readonly logger: Logger;
  /** Sends a message on this connection; without one it is dropped. */
  send(message: Report): void;
  /** Ends once there is room for more partial output. */
  room(): Promise<void>;
  /** Requests a turn. */
  request(participant: Participant): void;
  /** Calls `action` after this many milliseconds, unless the timer that it returns is cleared. */
  after(ms: number, action: () => void): Timer;
  /** The attempt has ended, with this last report. */
  ended(attempt: Attempt, report: Report | undefined): void;
}

/** See the module. */
export class Attempt implements Participant {
  /** The task, without its journal. */
  readonly task: Task;
  readonly id: AttemptId;
  readonly journal: Journal;
  readonly host: Host;
  readonly #capability: Capability | undefined;
  #abort: AbortController | undefined;
  /** Why the code is to stop. */
  #stopped: TaskError | undefined;
  #started = false;
  #over = false;
  #epoch: number;
  #progress: string | undefined;
  /** The leading half of a character that streamed text ended with. */
  #half = "";
  #still: Timer | undefined;
  #grace: Timer | undefined;

  /** An attempt that begins with the next turn. */
  constructor(task: Task, capability: Capability | undefined, host: Host, journal = new Journal(task.journal)) {
    this.id = task.attempt ?? { task: "", token: 0n };
    this.journal = journal;
    this.task = { ...task, journal: [] };
    this.host = host;
    this.#capability = capability;
    this.#epoch = host.epoch;
    host.request(this);
  }

  /** Whether the attempt has ended: its code has no further effect. */
  get over(): boolean {
    return this.#over;
  }

  /** Aborted when the attempt ends or is cancelled, whatever the reason. */
  get signal(): AbortSignal {
    if (!this.#abort) {
      this.#abort = new AbortController();
      if (this.#stopped) {
        this.#abort.abort(this.#stopped);
      }
    }
    return this.#abort.signal;
  }

  /** Whether the code is to stop. */
  get stopped(): boolean {
    return this.#stopped !== undefined;
  }

  // What the code does, by its context.

  /** Requests the next entry, with what the code calls it; it throws where that is not possible. */
  ask(request: Request, title = ""): Asked {
    return this.#request(() => this.journal.ask(request, title));
  }

  /** Requests the marker of a patch; see {@link Journal.patch}. */
  patch(name: string, record: boolean): number | undefined {
    return this.#request(() => this.journal.patch(name, record));
  }

  #request<T>(request: () => T): T {
    this.#moved();
    try {
      return request();
    } catch (error) {
      if (error instanceof TaskError && error.code === Code.JournalDiverged && !this.#over) {
        // What follows in the code rests on a path that was not taken before: it goes no further.
        this.#end(this.#failure(error));
      } else if (this.journal.closed) {
        this.journal.wakeAll();
      }
      throw error;
    }
  }

  /** A place of the code waits for an entry. */
  await(index: number): void {
    this.journal.await(index);
    this.#moved();
  }

  /** A place of the code waits no longer. */
  forget(index: number): void {
    this.journal.forget(index);
    this.#moved();
  }

  /** The code continues without the answer to an entry; see {@link Journal.leave}. */
  leave(index: number): void {
    this.journal.leave(index);
    this.#moved();
  }

  /** A local effect has ended. */
  finishRun(index: number, result: Result): void {
    this.journal.finishRun(index, result);
    this.#moved();
  }

  /** Ends every wait with `error`; nothing more is recorded. */
  close(error: TaskError): void {
    if (!this.#over) {
      this.journal.close(error);
      this.journal.wakeAll();
      this.#moved();
    }
  }

  /** Replaces the message that waits to be sent. */
  progress(message: string): void {
    this.#progress = message;
    this.#moved();
  }

  /** Sends partial output; ends once there is room for more. */
  stream(delta: Delta): Promise<void> {
    if (!this.#over) {
      this.#sendHalf();
      this.#sendDelta(delta);
    }
    return this.host.room();
  }

  /** The same with text, in pieces of whole characters. Half of a character at its end waits for the next text. */
  streamText(more: string): Promise<void> {
    const text = this.#half + more;
    const end = isLeading(text, text.length - 1) ? text.length - 1 : text.length;
    this.#half = text.slice(end);
    for (let at = 0; at < end && !this.#over; ) {
      const next = Math.min(at + PIECE_UNITS_MAX, end);
      const piece = text.slice(at, next < end && isLeading(text, next - 1) ? next - 1 : next);
      at += piece.length;
      this.#sendDelta({ $case: "text", value: piece });
    }
    return this.host.room();
  }

  /** Half of a character to which nothing came: it is shown as what it is. */
  #sendHalf(): void {
    if (this.#half !== "") {
      this.#sendDelta({ $case: "text", value: this.#half });
      this.#half = "";
    }
  }

  #sendDelta(delta: Delta): void {
    this.#send({ $case: "stream", value: { attempt: this.id, delta: { kind: delta } } });
  }

  // What the session does.

  /** The server has recorded or answered an entry. */
  recorded(index: number, entry: JournalEntry): void {
    this.journal.record(index, entry);
    this.host.request(this);
  }

  /** Asks the code to end: its waits fail, and after a grace it is left alone. */
  cancel(reason: string): void {
    if (this.#over || this.#stopped) {
      return;
    }
    const error = new TaskError(reason, { code: Code.Cancelled, retryable: false });
    if (!this.#started) {
      this.#end(undefined);
      return;
    }
    this.#stop(error);
    this.journal.close(error);
    this.journal.wakeAll();
    this.#grace = this.host.after(this.host.timeouts.cancelGrace, () => this.#end(undefined));
  }

  /** Ends the attempt from outside, without a report: another attempt owns the task, or it was cancelled. */
  abandon(): void {
    this.#end(undefined);
  }

  /** Ends the attempt from outside: a report was refused for this reason. */
  refuse(error: TaskError): void {
    this.#end(this.#failure(error));
  }

  /** The connection is a new one. */
  reconnected(): void {
    this.host.request(this);
  }

  // The turns.

  /** Acts while the code is quiescent. What goes wrong then is a failure of this attempt alone. */
  turn(): void {
    try {
      this.#act();
    } catch (error) {
      this.host.logger.error("an attempt cannot go on", { task: this.id.task, stack: stack(error) });
      this.#end(this.#failure(TaskError.from(error)));
    }
  }

  #act(): void {
    if (this.#over) {
      return;
    }
    if (!this.#started) {
      this.#started = true;
      void this.#execute();
      this.host.request(this);
      return;
    }
    if (this.#epoch !== this.host.epoch) {
      this.#epoch = this.host.epoch;
      this.journal.sendAgain();
    }
    this.#sendAll();
    if (this.journal.release()) {
      this.#moved();
      return;
    }
    if (!this.#stopped && (this.journal.holdsBack || this.journal.parkable())) {
      this.#still ??= this.host.after(this.host.timeouts.parkAfter, () => this.#stood());
    } else {
      this.#unrest();
    }
  }

  #sendAll(): void {
    for (let next = this.journal.nextToSend(); next; next = this.journal.nextToSend()) {
      this.#send({ $case: "record", value: { attempt: this.id, ...next } });
    }
    if (this.#progress !== undefined) {
      this.#send({ $case: "progress", value: { attempt: this.id, message: this.#progress } });
      this.#progress = undefined;
    }
  }

  #send(message: Report): void {
    this.host.send(message);
  }

  /** The code has done something: it is not quiescent, and is checked again when it is. */
  #moved(): void {
    if (!this.#over) {
      this.#unrest();
      this.host.request(this);
    }
  }

  #unrest(): void {
    this.#still?.clear();
    this.#still = undefined;
  }

  /** The code has been quiescent for long: lets the replay continue out of order, or parks the task. */
  #stood(): void {
    this.#still = undefined;
    if (this.journal.holdsBack) {
      this.journal.stopHoldingBack();
      this.host.request(this);
      return;
    }
    const waiting = this.journal.parkable();
    if (waiting) {
      this.#end({ $case: "park", value: { attempt: this.id, waiting } });
    }
  }

  // The code.

  async #execute(): Promise<void> {
    const report = await this.#outcome();
    if (!this.#over) {
      // A report on a cancelled attempt has no effect.
      this.#end(this.#stopped ? undefined : report);
    }
  }

  /** Runs the code; the last report that its end means. */
  async #outcome(): Promise<Report> {
    const capability = this.#capability;
    if (!capability) {
      const message = this.task.capability
        ? `this version of the agent has no capability \`${this.task.capability}\``
        : "the step names no capability, and the agent has several";
      return this.#failure(new TaskError(message, { code: Code.BadRequest, retryable: true }));
    }
    try {
      const output = await execute(this, capability);
      const diverged = this.journal.end();
      if (diverged) {
        return this.#failure(diverged);
      }
      const written = writeJson("output", output, this.host.payloadBytesMax);
      return { $case: "complete", value: { attempt: this.id, output: written } };
    } catch (thrown) {
      const error = TaskError.from(thrown);
      this.#log(thrown, error);
      return this.#failure(error);
    }
  }

  /** Says in the log of the worker how the code failed, and where: the server gets the message alone. */
  #log(thrown: unknown, error: TaskError): void {
    if (this.#over || this.#stopped) {
      return;
    }
    const { capability, run, workflow, step, number } = this.task;
    const fields = { capability, run, workflow, step, attempt: number, code: error.code, reason: error.message };
    // An effect's failure comes as a `TaskError` that has what was thrown as its cause.
    const foreseen = thrown instanceof TaskError && thrown.cause === undefined;
    this.host.logger[foreseen ? "info" : "warn"]("a task failed", {
      ...fields,
      ...(foreseen ? {} : { stack: stack(thrown instanceof TaskError ? thrown.cause : thrown) }),
    });
  }

  #failure(error: TaskError): Report {
    return failed(this.id, error);
  }

  /** Notifies the code of its cancellation. */
  #stop(reason: TaskError): void {
    this.#stopped ??= reason;
    this.#abort?.abort(this.#stopped);
  }

  /** Requests of the code are refused from now on. */
  #end(report: Report | undefined): void {
    if (this.#over) {
      return;
    }
    this.#over = true;
    this.#unrest();
    this.#grace?.clear();
    if (report) {
      this.#sendHalf();
    }
    if (report && this.#progress !== undefined) {
      this.#send({ $case: "progress", value: { attempt: this.id, message: this.#progress } });
    }
    const ended = new TaskError("the attempt has ended", { code: Code.Cancelled, retryable: false });
    this.journal.close(ended);
    this.host.ended(this, report);
    this.#stop(ended);
  }
}

/** The report that an attempt failed with this error; where that cannot be written, with fixed words. */
export function failed(id: AttemptId, error: TaskError): Report {
  try {
    const { retryable, retryAfterMs } = error;
    const retryAfterUs = retryAfterMs === undefined ? undefined : toMicros("time to try again", retryAfterMs);
    return { $case: "fail", value: { attempt: id, error: toWire(error), retryable: Boolean(retryable), retryAfterUs } };
  } catch {
    return lastResort(id);
  }
}

/** A report that can always be made and is always taken: an attempt must not stay taken for want of one. */
export function lastResort(id: AttemptId): Report {
  const message = "the attempt ended, but what came of it cannot be reported";
  const error = { code: Code.AgentFailed, message, hint: "the log of the worker says why" };
  return { $case: "fail", value: { attempt: id, error, retryable: false, retryAfterUs: undefined } };
}

/** Whether a text has the first half of a character at this position. */
function isLeading(text: string, at: number): boolean {
  const unit = text.charCodeAt(at);
  return unit >= 0xd800 && unit < 0xdc00;
}
