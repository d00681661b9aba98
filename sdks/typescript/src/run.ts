/**
 * One run, as a client steers and follows it.
 *
 * For: results, watching, signals, cancellation. Not for: starting (see `client`).
 * Invariant: following survives broken connections: it goes on after the last entry that was seen.
 */
import { setTimeout as pause } from "node:timers/promises";
import { Code, ConsortError } from "./error.js";
import { type JsonValue, readJson, writeJson } from "./json.js";
import { RunServiceDefinition as Runs, type WatchRunResponse } from "./proto/consort/v1/client.js";
import type { Rpc } from "./rpc.js";
import { fit, type OutputOf, type Schema } from "./schema.js";
import { toDate } from "./span.js";
import { type Run, runOf } from "./views.js";

/** How long a broken connection may stay so while a run is followed, in tries and milliseconds. */
const TRIES = 20;
const PAUSE_FIRST = 100;
const PAUSE_LONGEST = 5_000;

/** What happens to a run. */
export type RunEvent =
  | {
      /** An entry of the run's history. */
      kind: "entry";
      /** Its place: watch on after it. */
      cursor: string;
      time: Date;
      /** The step's path; empty where it is about the run. */
      step: string;
      /** What happened, such as `step_completed`. */
      event: string;
      details: JsonValue;
    }
  /** What an attempt says that it is doing. */
  | { kind: "progress"; step: string; attempt: number; message: string }
  /** More of a step's partial output, to be put behind what came before. */
  | { kind: "text"; step: string; attempt: number; text: string }
  /** A document of a step's partial output. */
  | { kind: "json"; step: string; attempt: number; value: JsonValue }
  /** The run has ended; nothing follows. */
  | { kind: "ended"; run: Run };

/** What is wanted of a watch. */
export interface WatchOptions {
  /** The cursor of the last entry that was seen; everything from the start where none is given. */
  after?: string;
  /** Whether progress and partial output are wanted too; they are, where not `false`. */
  live?: boolean;
}

/** One run. */
export class RunHandle {
  /** Its id. */
  readonly id: string;
  /** Whether an earlier start with the same idempotency key had started it. */
  readonly existing: boolean;
  readonly #rpc: Rpc;

  /** A handle on a run; made by a client. */
  constructor(rpc: Rpc, id: string, existing = false) {
    this.#rpc = rpc;
    this.id = id;
    this.existing = existing;
  }

  get #which(): { namespace: string; run: string } {
    return { namespace: this.#rpc.namespace, run: this.id };
  }

  /** The run as it is now, with its documents. */
  async get(): Promise<Run> {
    const { run } = await this.#rpc.unary(Runs, Runs.methods.getRun, this.#which);
    if (!run) {
      throw new ConsortError(Code.Internal, "the server answered without the run");
    }
    return runOf(run);
  }

  /** How far the run is. */
  async status(): Promise<Run["status"]> {
    return (await this.get()).status;
  }

  /** Follows the run until it has ended. Broken connections are opened again. */
  async *watch({ after = "", live = true }: WatchOptions = {}): AsyncGenerator<RunEvent, void, undefined> {
    let seen = after;
    for (let broken = 0; ; broken += 1) {
      try {
        for await (const event of this.#events(seen, live)) {
          broken = 0;
          seen = event.kind === "entry" ? event.cursor : seen;
          yield event;
          if (event.kind === "ended") {
            return;
          }
        }
      } catch (error) {
        rethrowUnlessPassing(error, broken);
      }
      await pause(Math.min(PAUSE_FIRST * 2 ** broken, PAUSE_LONGEST));
    }
  }

  /** What one stream tells. */
  async *#events(after: string, live: boolean): AsyncGenerator<RunEvent, void, undefined> {
    for await (const response of this.#rpc.stream(Runs, Runs.methods.watchRun, { ...this.#which, after, live })) {
      const event = eventOf(response);
      if (event) {
        yield event;
      }
    }
  }

  /**
   * The run's output, once it has ended. It throws the run's error where it failed or was cancelled, and a `TaskError`
   * with code `C0311` where the output does not fit the schema.
   */
  async result<S extends Schema | undefined = undefined>(schema?: S): Promise<OutputOf<S>> {
    for await (const event of this.watch({ live: false })) {
      if (event.kind === "ended") {
        return (await fit(
          "output",
          Code.BadOutput,
          schema,
          await outputOf(await this.#whole(event.run)),
        )) as OutputOf<S>;
      }
    }
    throw new ConsortError(Code.Internal, `the watch of run \`${this.id}\` ended before the run`);
  }

  /** The ended run with its documents, where the watch left them out. */
  #whole(run: Run): Run | Promise<Run> {
    return run.status === "completed" && run.output === undefined ? this.get() : run;
  }

  /** Sends a signal; it waits where nobody waits for it yet. */
  async signal(name: string, payload: unknown = null): Promise<void> {
    const request = { ...this.#which, name, payload: writeJson("payload of the signal", payload) };
    await this.#rpc.unary(Runs, Runs.methods.signalRun, request);
  }

  /** Cancels the run and all below it; with `force` its clean-up steps too. */
  async cancel(reason = "", { force = false }: { force?: boolean } = {}): Promise<void> {
    await this.#rpc.unary(Runs, Runs.methods.cancelRun, { ...this.#which, reason, force });
  }

  /** Holds back the tasks of the run. */
  async pause(): Promise<void> {
    await this.#rpc.unary(Runs, Runs.methods.pauseRun, this.#which);
  }

  /** Lets the run go on. */
  async resume(): Promise<void> {
    await this.#rpc.unary(Runs, Runs.methods.resumeRun, this.#which);
  }
}

/** Throws what trying again will not mend, or has not mended. */
function rethrowUnlessPassing(error: unknown, tries: number): void {
  if (tries >= TRIES || !(error instanceof ConsortError && error.isUnavailable)) {
    throw error;
  }
}

/** The output of a run that has ended; throws what went wrong. */
function outputOf(run: Run): JsonValue {
  if (run.status === "completed") {
    return run.output ?? null;
  }
  throw run.error ?? new ConsortError(Code.Cancelled, `run \`${run.id}\` ended as ${run.status}`);
}

function eventOf({ kind }: WatchRunResponse): RunEvent | undefined {
  switch (kind?.$case) {
    case "entry": {
      const { cursor, timeUs, step, event, details } = kind.value;
      return { kind: "entry", cursor, time: toDate(timeUs), step, event, details: readJson("details", details) };
    }
    case "live": {
      const { step, attempt, kind: said } = kind.value;
      if (said?.$case === "message") {
        return { kind: "progress", step, attempt, message: said.value };
      }
      if (said?.$case === "text") {
        return { kind: "text", step, attempt, text: said.value };
      }
      return said && { kind: "json", step, attempt, value: readJson("partial output", said.value) };
    }
    case "ended":
      return { kind: "ended", run: runOf(kind.value) };
    default:
      // A newer server says something else: it is left alone.
      return undefined;
  }
}
