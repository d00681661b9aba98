/**
 * One attempt on a server that is played by hand.
 *
 * For: tests of the journal and of the code's life. Not for: connections (see `fake`).
 * Invariant: nothing answers by itself, and no test waits for real time: timers run when a test fires them.
 */
import assert from "node:assert/strict";
import { Attempt, type Host, type Report, type Timer } from "../src/attempt.js";
import type { TaskContext } from "../src/context.js";
import type { Logger } from "../src/logger.js";
import type { JournalEntry, Task } from "../src/proto/consort/v1/worker.js";
import type { Request } from "../src/replay.js";
import { type Participant, Scheduler } from "../src/scheduler.js";

/** The code of the one capability, `work`. */
export type Code = (ctx: TaskContext, input: never) => unknown;

/** A document as bytes. */
export function bytes(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

/** The document in these bytes. */
export function document(encoded: Uint8Array): unknown {
  return JSON.parse(Buffer.from(encoded).toString());
}

/** An entry with its result, where it has one. */
export function entry(request: Request, after: number[] = [], result?: unknown): JournalEntry {
  return {
    request,
    title: "",
    after,
    result: result === undefined ? undefined : { $case: "output", value: bytes(result) },
  };
}

/** A local effect that is recorded. */
export function ran(name: string, result: unknown, after: number[] = []): JournalEntry {
  return entry({ $case: "run", value: { name } }, after, result);
}

/** A call, with its answer where it has one. */
export function called(capability: string, input: unknown, after: number[] = [], result?: unknown): JournalEntry {
  return entry({ $case: "call", value: { capability, input: bytes(input), options: undefined } }, after, result);
}

/** A pause. */
export function slept(ms: number, after: number[] = [], result?: unknown): JournalEntry {
  return entry({ $case: "sleep", value: { spanUs: BigInt(ms) * 1000n } }, after, result);
}

/** The task that tests assign. */
export function task(token: bigint, input: unknown, journal: JournalEntry[] = []): Task {
  return {
    attempt: { task: "task-0", token },
    number: 1,
    capability: "work",
    run: "run-0",
    workflow: "test",
    step: "step",
    input: bytes(input),
    idempotencyKey: "test-key",
    deadlineUs: undefined,
    journal: journal.map((one) => ({ ...one, after: [...one.after] })),
    traceparent: "",
  };
}

/** Lets the event loop go round once. */
export function round(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** See the module. */
export class Rig implements Host {
  epoch = 1;
  connected = true;
  readonly payloadBytesMax = 1024;
  readonly timeouts = { parkAfter: 10, cancelGrace: 2_000 };
  logger: Logger = silent;
  attempt: Attempt | undefined;
  /** How often an attempt has ended. */
  ends = 0;
  readonly #code: Code;
  readonly #scheduler = new Scheduler(() => {});
  readonly #said: Report[] = [];
  #timers: { ms: number; action: () => void }[] = [];
  #token = 0n;

  /** A rig whose capability `work` is this code. */
  constructor(code: Code) {
    this.#code = code;
  }

  /** Hands the task out under the next token. */
  offer(journal: JournalEntry[] = [], input: unknown = null): Attempt {
    this.#token += 1n;
    this.attempt?.abandon();
    const capability = {
      name: "work",
      options: {},
      handler: this.#code as (ctx: TaskContext, input: unknown) => unknown,
    };
    this.attempt = new Attempt(task(this.#token, input, journal), capability, this);
    return this.attempt;
  }

  // What the attempt asks of its host.

  send(message: Report): void {
    if (this.connected) {
      this.#said.push(message);
    }
  }

  room(): Promise<void> {
    return Promise.resolve();
  }

  request(participant: Participant): void {
    this.#scheduler.request(participant);
  }

  after(ms: number, action: () => void): Timer {
    const timer = { ms, action };
    this.#timers.push(timer);
    return {
      clear: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
  }

  ended(_attempt: Attempt, report: Report | undefined): void {
    this.ends += 1;
    if (report) {
      this.#said.push(report);
    }
  }

  // What tests do.

  /** Runs the attempt until it can do nothing more by itself. */
  async quiet(): Promise<void> {
    do {
      await round();
    } while (!this.#scheduler.idle);
  }

  /** Lets all timers of this many milliseconds run. */
  async pass(ms: number): Promise<void> {
    await this.quiet();
    for (const timer of this.#timers.filter((one) => one.ms === ms)) {
      this.#timers = this.#timers.filter((other) => other !== timer);
      timer.action();
    }
    await this.quiet();
  }

  /** The next message of the attempt; there must be one. */
  async next(): Promise<Report> {
    if (this.#said.length === 0) {
      await this.quiet();
    }
    const message = this.#said.shift();
    assert.ok(message, "the attempt says nothing");
    return message;
  }

  /** Messages of the attempt that were not checked yet. */
  async rest(): Promise<Report[]> {
    await this.quiet();
    return this.#said.splice(0);
  }

  /** The entry that the attempt must request next, with its position. */
  async entry(): Promise<{ index: number; entry: JournalEntry }> {
    const message = await this.next();
    assert.equal(message.$case, "record", `expected an entry, found ${show(message)}`);
    assert.ok(message.$case === "record" && message.value.entry);
    return { index: message.value.index, entry: message.value.entry };
  }

  /** Records an entry as it is. */
  record(index: number, recorded: JournalEntry): void {
    this.attempt?.recorded(index, { ...recorded, after: [...recorded.after] });
  }

  /** Records the entry that the attempt must request next. */
  async recordNext(): Promise<JournalEntry> {
    const { index, entry: recorded } = await this.entry();
    this.record(index, recorded);
    return recorded;
  }

  /** The output, which must come next. */
  async output(): Promise<unknown> {
    const message = await this.next();
    assert.ok(message.$case === "complete", `expected an output, found ${show(message)}`);
    return document(message.value.output);
  }

  /** The failure, which must come next. */
  async failure(): Promise<{ code: string; message: string; retryable: boolean }> {
    const message = await this.next();
    assert.ok(message.$case === "fail" && message.value.error, `expected a failure, found ${show(message)}`);
    const { code, message: text } = message.value.error;
    return { code, message: text, retryable: message.value.retryable };
  }

  /** What the task parks for, once it is quiescent. */
  async parks(): Promise<number[]> {
    await this.pass(this.timeouts.parkAfter);
    const message = await this.next();
    assert.ok(message.$case === "park", `expected a park, found ${show(message)}`);
    return message.value.waiting;
  }
}

function show(message: Report): string {
  return JSON.stringify(message, (_, value) => (typeof value === "bigint" ? value.toString() : value));
}
