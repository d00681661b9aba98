/**
 * What the code of a task can use: its identity, durable effects, calls, sleeps, waits, progress, partial output.
 *
 * For: handlers. Not for: the worker's own bookkeeping (see `attempt`).
 * Invariant: an entry gets its position when the method is called, not when its answer is awaited, so the order of
 * calls in the text of the program is the order in the journal.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Capability } from "./agent.js";
import { Answer, type Read } from "./answer.js";
import { type Attempt, STREAM_BYTES_MAX } from "./attempt.js";
import { checkNumber, checkText, checkTexts, checkWhole } from "./bounds.js";
import { Code, cut, TaskError, toWire } from "./error.js";
import { type Asked, PATCH } from "./journal.js";
import { type JsonValue, readJson, writeJson } from "./json.js";
import { type Logger, withFields } from "./logger.js";
import type { Route as WireRoute } from "./proto/consort/v1/common.js";
import type { AnswerRequest, CallOptions as WireCallOptions, Retry as WireRetry } from "./proto/consort/v1/worker.js";
import type { Request } from "./replay.js";
import { declare, fit, type OutputOf, type Schema } from "./schema.js";
import { toDate, toMicros } from "./span.js";
import { readTransaction, StateSpace, type StateTransaction } from "./state.js";
import { type Said, Update } from "./update.js";

/** The attempt whose local effect runs. */
const inside = new AsyncLocalStorage<Attempt>();

/** Which instances may take a call, beside those that have the capability. */
export interface Route {
  /** Versions of the agent: a range such as `^1.2`, or one version as its author wrote it. */
  version?: string;
  /** Labels that the instance or its agent must have. */
  labels?: Record<string, string>;
  /** Calls with the same text go to the same instance while it is there and healthy. */
  sticky?: string;
}

/** How often a call is tried, and with what pauses, in milliseconds. */
export interface Retry {
  /** Attempts at most, the first included; from 1 to 1,000. */
  attempts: number;
  /** The pause after the first failure; 1,000 by default. */
  initial?: number;
  /** What each further pause grows by; 2 by default, from 1 to 1,000,000. */
  factor?: number;
  /** The longest pause; 60,000 by default. */
  max?: number;
}

/** How an entry of the journal is shown. */
export interface Titled {
  /** What the code calls it, for people, such as `hotel`: at most 128 bytes. A replay does not compare it. */
  title?: string;
}

/** How a call is to be done. */
export interface CallOptions<S extends Schema | undefined = undefined> extends Titled {
  /** The schema of the answer, which gives its type. */
  output?: S;
  /** The agent that is to do it; any that has the capability where none is named. */
  agent?: string;
  /** Which of its instances. */
  route?: Route;
  /** How often it is tried; once by default. */
  retry?: Retry;
  /** How long one attempt may take, in milliseconds. */
  timeout?: number;
  /** Added to the priority of the run; higher goes first. */
  priority?: number;
}

/** A person's decision. */
export interface Approval {
  /** Whether it was a yes. A no is an answer, not a failure. */
  approved: boolean;
  /** The name of the person who decided. */
  by: string;
  /** The person's comment. */
  comment: string | null;
  /** What was approved: the detail of the question, or what the person made of it. Absent after a no. */
  value?: unknown;
}

/** What {@link TaskContext.all} makes of its branches. */
type Settled<T extends readonly unknown[]> = { -readonly [K in keyof T]: Awaited<T[K]> };

/**
 * The interface of a task's code to Consort.
 *
 * `run`, `call`, `sleep`, `waitSignal` and `waitApproval` each make an entry in the task's journal. The code may be
 * left at any `await` and started again, by a retry, a crash or because it only waits (it parks); then what is recorded
 * is answered from the journal, and the code continues after the last entry. So it must make the same requests in the
 * same order each time: whatever may differ (clock, chance, outside reads) belongs into `run`.
 */
export class TaskContext {
  /** Logs messages with the run, step and attempt beside them; silent while what is recorded is replayed. */
  readonly log: Logger;
  readonly #attempt: Attempt;
  /** The answers about patches, by their markers: several places of the code may wait for one. */
  readonly #markers = new Map<number, Answer<unknown>>();

  /** The context of this attempt. */
  constructor(attempt: Attempt) {
    this.#attempt = attempt;
    const { run, workflow, step, number } = attempt.task;
    const fields = { run, workflow, step, attempt: number };
    this.log = withFields(attempt.host.logger, fields, () => attempt.journal.replaying);
  }

  /** The task; opaque. */
  get task(): string {
    return this.#attempt.id.task;
  }

  /** The run that the task belongs to. */
  get runId(): string {
    return this.#attempt.task.run;
  }

  /** The run's workflow. */
  get workflow(): string {
    return this.#attempt.task.workflow;
  }

  /** The step's path in the run, such as `gather[3]`. */
  get step(): string {
    return this.#attempt.task.step;
  }

  /** The capability that was called. */
  get capability(): string {
    return this.#attempt.task.capability;
  }

  /** Which try this is, from 1. */
  get attempt(): number {
    return this.#attempt.task.number;
  }

  /** The fencing token of this attempt: hand it to stores that can refuse an older one. */
  get token(): bigint {
    return this.#attempt.id.token;
  }

  /** A key that is the same for all attempts of the task: hand it to services that know such keys. */
  get idempotencyKey(): string {
    return this.#attempt.task.idempotencyKey;
  }

  /** When the attempt is given up. */
  get deadline(): Date | undefined {
    const { deadlineUs } = this.#attempt.task;
    return deadlineUs === undefined ? undefined : toDate(deadlineUs);
  }

  /** The trace that the attempt belongs to, as a W3C `traceparent`; may be empty. */
  get traceparent(): string {
    return this.#attempt.task.traceparent;
  }

  /**
   * Aborted when the attempt is cancelled, timed out or fenced, and when it has ended or parked: hand it to `fetch` and
   * the like, and listen to it to tidy up, as `finally` does not run in code that was left waiting.
   */
  get signal(): AbortSignal {
    return this.#attempt.signal;
  }

  /** Whether what is asked next was recorded by an earlier attempt. */
  get replaying(): boolean {
    return this.#attempt.journal.replaying;
  }

  /**
   * Does something once: its result is durable before the code gets it, and a replay gives that instead.
   *
   * It runs at least once: a crash between the effect and its record makes it run again, so an outside service should
   * be given {@link idempotencyKey} with the name. A `TaskError` that is not retryable is recorded and replayed like a
   * result. Any other failure is not: it ends what this attempt can record, and the next attempt tries again. What the
   * code asks while an effect runs is sent when it has ended. The effect itself must not use the journal. The result
   * travels as JSON: a `Date` is returned as text, unless a schema makes one of it.
   */
  run<T>(name: string, effect: () => T | Promise<T>): Answer<T>;
  run<S extends Schema>(name: string, effect: () => unknown, options: { output: S }): Answer<OutputOf<S>>;
  run(name: string, effect: () => unknown, options: { output?: Schema } = {}): Answer<unknown> {
    const asked = this.#ask(() => ({ $case: "run", value: { name: checkEffect(name) } }));
    if (asked instanceof TaskError) {
      return new Answer(this.#attempt, asked, nothing);
    }
    if (!asked.recorded) {
      void this.#effect(asked.index, effect);
    }
    return new Answer(this.#attempt, asked.index, this.#reader("result of `run`", options.output));
  }

  /** Runs a local effect and has its result recorded. A retryable failure closes the journal instead. */
  async #effect(index: number, effect: () => unknown): Promise<void> {
    const attempt = this.#attempt;
    try {
      const value = await inside.run(attempt, effect);
      const output = writeJson("result of `run`", value, attempt.host.payloadBytesMax);
      attempt.finishRun(index, { $case: "output", value: output });
    } catch (thrown) {
      const error = TaskError.from(thrown);
      if (error.retryable) {
        attempt.close(error);
      } else {
        attempt.finishRun(index, { $case: "error", value: toWire(error) });
      }
    }
  }

  /**
   * Asks another capability: a child task that the server schedules, retries and records like any other.
   *
   * Calls that are made before the first is awaited run side by side. A failure is permanent: it is recorded.
   */
  call<S extends Schema | undefined = undefined>(
    capability: string,
    input: unknown,
    options: CallOptions<S> = {},
  ): Answer<OutputOf<S>> {
    return this.#answer(
      options,
      () => {
        const document = writeJson("input of the call", input, this.#attempt.host.payloadBytesMax);
        const called = checkText("capability", capability);
        return { $case: "call", value: { capability: called, input: document, options: wireOptions(options) } };
      },
      this.#reader<OutputOf<S>>("answer", options.output),
    );
  }

  /** Pauses, for this many milliseconds; a long pause leaves the worker and survives restarts. */
  sleep(ms: number, titled: Titled = {}): Answer<void> {
    return this.#answer(titled, () => ({ $case: "sleep", value: { spanUs: toMicros("pause", ms) } }), nothing);
  }

  /**
   * Waits for the next signal of that name to the run; its payload is the answer. While the code waits, a payload that
   * does not fit the schema is refused where it is sent. One that came before is not checked there: the wait then fails.
   */
  waitSignal<S extends Schema | undefined = undefined>(
    name: string,
    schema?: S,
    titled: Titled = {},
  ): Answer<OutputOf<S>> {
    const read = this.#reader<OutputOf<S>>(`signal \`${name}\``, schema);
    const request = (): Request => {
      return { $case: "signal", value: { name: checkText("name", name), schema: signalSchema(schema) } };
    };
    return this.#wait(titled, request, read);
  }

  /**
   * Waits for the next update of that name to the run: a signal whose sender is answered, by `answer` or `reject` of what
   * this gives. While the code waits, an input that does not fit the schema is refused where it is sent. One that came
   * before is not checked there: the wait then fails.
   */
  waitUpdate<S extends Schema | undefined = undefined>(
    name: string,
    schema?: S,
    titled: Titled = {},
  ): Answer<Update<OutputOf<S>>> {
    let entry = 0;
    const request = (): number | TaskError => {
      const made = this.#index(titled, () => {
        return { $case: "update", value: { name: checkText("name", name), schema: signalSchema(schema) } };
      });
      entry = typeof made === "number" ? made : entry;
      return made;
    };
    const read: Read<Update<OutputOf<S>>> = async (document) => {
      const { id, input } = readJson("update", document) as { id: string; input: JsonValue };
      const fitted = schema === undefined ? input : await fit(`update \`${name}\``, Code.BadOutput, schema, input);
      const of = entry;
      return new Update(id, fitted as OutputOf<S>, (said) => this.#say(of, said));
    };
    return new Answer(this.#attempt, request(), read, request);
  }

  #say(update: number, said: Said): Answer<void> {
    const outcome = (): NonNullable<AnswerRequest["outcome"]> =>
      "rejection" in said
        ? { $case: "rejection", value: checkText("rejection", said.rejection) }
        : { $case: "value", value: writeJson("answer", said.value, this.#attempt.host.payloadBytesMax) };
    return this.#answer({}, () => ({ $case: "answer", value: { update, outcome: outcome() } }), nothing);
  }

  /**
   * Gives the run a value that anyone may read by its name, while it is active and after (`consort runs query`): of each
   * name the last counts. At most 64 KiB of JSON, and 100 names in a run. A replay compares the name alone. Await it to
   * know that it is durable.
   */
  expose(name: string, value: unknown): Answer<void> {
    const request = (): Request => {
      const document = writeJson("exposed value", value, this.#attempt.host.payloadBytesMax);
      return { $case: "expose", value: { name: checkText("name", name), value: document } };
    };
    return this.#answer({}, request, nothing);
  }

  /** Gives the run labels, beside those that it has: `consort runs list --label` finds it by them. */
  setLabels(labels: Record<string, string>): Answer<void> {
    return this.#answer({}, () => ({ $case: "labels", value: { labels: checkTexts("label", labels) } }), nothing);
  }

  /** Requests a person's approval: the prompt is in the inbox, with the detail, until a person decides. */
  waitApproval(prompt: string, detail: unknown = null, titled: Titled = {}): Answer<Approval> {
    const request = (): Request => {
      const document = writeJson("detail of the approval", detail, this.#attempt.host.payloadBytesMax);
      return { $case: "approval", value: { prompt: checkText("prompt", prompt), detail: document } };
    };
    return this.#wait(titled, request, this.#reader<Approval>("decision", undefined));
  }

  /**
   * A space of shared state. Each use of it is an entry of the journal: a replay gives what was read then, and writes
   * nothing again.
   */
  state(space: string): StateSpace {
    return new StateSpace((titled, transaction, read) => this.#transact(titled, transaction, read), space);
  }

  /**
   * Reads and writes keys of any spaces together, as one entry: `{ if: […], do: […], else: […] }`, as for
   * `POST /v1/state/transact`. A write that is rejected fails it, and nothing is done.
   */
  transact(transaction: unknown, titled: Titled = {}): Answer<StateTransaction> {
    return this.#transact(titled, () => transaction, readTransaction);
  }

  #transact<T>(titled: Titled, transaction: () => unknown, read: Read<T>): Answer<T> {
    const request = (): Request => {
      const document = writeJson("transaction", transaction(), this.#attempt.host.payloadBytesMax);
      return { $case: "state", value: { transaction: document } };
    };
    return this.#answer(titled, request, read);
  }

  /**
   * Whether the code takes the path of the change `name`: `if (await ctx.patched("name")) { new } else { old }`.
   *
   * It is true for tasks that get here for the first time, which is recorded and durable before it is given, and for
   * those whose journal says so. It is false where the journal has something else here: code of before the change began
   * the task, and it continues on the old path. Asked again in the same attempt, the answer is the same. Ask before the
   * code branches, where the position in the journal is the same whatever comes first.
   */
  patched(name: string): Promise<boolean> {
    return this.#marker<boolean>(name, true, () => true, false);
  }

  /**
   * In place of {@link patched}, once no task is left on the old path, whose code can go: passes over the marker where
   * the journal has it, and records nothing. Once no journal has the marker, this call can go too.
   */
  deprecatePatch(name: string): Promise<void> {
    return this.#marker<void>(name, false, nothing, undefined);
  }

  /** Requests the marker of a patch; where there is none, the answer is `absent`. */
  #marker<T>(name: string, record: boolean, read: Read<T>, absent: T): Promise<T> {
    const index = this.#outside(() => this.#attempt.patch(checkText("name", name), record));
    if (index === undefined) {
      return Promise.resolve(absent);
    }
    if (index instanceof TaskError) {
      return new Answer(this.#attempt, index, read);
    }
    const known = this.#markers.get(index) ?? new Answer(this.#attempt, index, read);
    this.#markers.set(index, known);
    return known as Answer<T>;
  }

  /**
   * Waits for all. Answers are awaited one after the other: a task with many calls then parks for the first open one,
   * not for each. A branch (an `async` function's promise) that fails ends it at once; an answer that failed does when
   * its turn comes.
   */
  all<const T extends readonly unknown[]>(branches: T): Promise<Settled<T>> {
    const list = [...branches];
    let open = true;
    let awaited: unknown;
    const inOrder = async (): Promise<unknown[]> => {
      const results: unknown[] = [];
      for (const branch of list) {
        awaited = branch;
        results.push(await branch);
        if (!open) {
          break;
        }
      }
      return results;
    };
    const giveUp = (): void => {
      open = false;
      if (awaited instanceof Answer) {
        awaited.forget();
      }
      list.forEach(goOnWithout);
    };
    const failureOf = (branch: Promise<unknown>) =>
      new Promise<never>((_, reject) => {
        branch.catch((error: unknown) => {
          giveUp();
          reject(error);
        });
      });
    const failed = list.filter((branch) => branch instanceof Promise).map(failureOf);
    return Promise.race([inOrder(), ...failed]) as Promise<Settled<T>>;
  }

  /**
   * Waits for whichever is settled first. Calls that lost continue; a task does not park for what lost. A wait for a
   * signal or a person that lost is closed, unless the code waits for it again by the time it rests: its question leaves
   * the inbox, and a signal goes to the next wait of its name. Awaited later, it is requested again. A local effect cannot
   * be stopped: what comes after it in the journal waits until it has ended.
   */
  race<const T extends readonly unknown[]>(branches: T): Promise<Awaited<T[number]>> {
    const list = [...branches];
    if (list.length === 0) {
      const message = "a race needs at least one answer to wait for";
      return Promise.reject(new TaskError(message, { code: Code.BadRequest, retryable: false }));
    }
    return new Promise((resolve, reject) => {
      let open = true;
      const settle =
        <V>(settled: (value: V) => void) =>
        (value: V) => {
          if (open) {
            open = false;
            for (const branch of list) {
              if (branch instanceof Answer) {
                branch.forget();
              }
              goOnWithout(branch);
            }
          }
          settled(value);
        };
      for (const branch of list) {
        const promise = branch instanceof Answer ? branch : Promise.resolve(branch);
        promise.then(settle(resolve), settle(reject));
      }
    });
  }

  /** Shows watchers what is being done. Messages are not kept; where they come too fast the latest is shown. */
  progress(text: string): void {
    this.#attempt.progress(cut(text));
  }

  /**
   * Shows watchers more of the output: text to be put behind what came before, or a JSON document of its own. Only a
   * bounded tail is kept. Await it where much is sent: it ends when there is room for more. Text may be cut anywhere:
   * where a piece ends in the middle of a character, that half is sent with the next piece.
   */
  async stream(delta: string | { [key: string]: unknown } | unknown[]): Promise<void> {
    if (typeof delta !== "string") {
      await this.#attempt.stream({ $case: "json", value: writeJson("partial output", delta, STREAM_BYTES_MAX) });
      return;
    }
    await this.#attempt.streamText(delta);
  }

  #answer<T>(titled: Titled, request: () => Request, read: Read<T>): Answer<T> {
    return new Answer(this.#attempt, this.#index(titled, request), read);
  }

  /** An answer that is requested again where the code waits again after it was closed. */
  #wait<T>(titled: Titled, request: () => Request, read: Read<T>): Answer<T> {
    return new Answer(this.#attempt, this.#index(titled, request), read, () => this.#index(titled, request));
  }

  #index(titled: Titled, request: () => Request): number | TaskError {
    const asked = this.#ask(request, titled);
    return asked instanceof TaskError ? asked : asked.index;
  }

  /** Requests the next entry, or returns why that is not possible. */
  #ask(request: () => Request, { title = "" }: Titled = {}): Asked | TaskError {
    return this.#outside(() => this.#attempt.ask(request(), checkTitle(title)));
  }

  /** Uses the journal, or returns why that is not possible: not inside `run`. */
  #outside<T>(use: () => T): T | TaskError {
    if (inside.getStore() === this.#attempt) {
      const hint = "let the effect return what it found, and use the journal after it";
      return new TaskError("the journal was used inside `run`", { code: Code.BadRequest, hint, retryable: false });
    }
    try {
      return use();
    } catch (error) {
      return TaskError.from(error);
    }
  }

  #reader<T>(what: string, schema: Schema | undefined): Read<T> {
    return (document) => {
      const value = readJson(what, document);
      return (schema === undefined ? value : fit(what, Code.BadOutput, schema, value)) as T | Promise<T>;
    };
  }
}

/** Runs the code of a capability for an attempt: reads the input, and gives the output that is to be reported. */
export async function execute(attempt: Attempt, { options, handler }: Capability): Promise<unknown> {
  const input = readJson("input", attempt.task.input);
  const fitted = await fit("input", Code.BadInput, options.input, input);
  return fit("output", Code.BadOutput, options.output, await handler(new TaskContext(attempt), fitted));
}

/** Attempts of one task. */
export const ATTEMPTS_MAX = 1_000;
/** What a pause grows by, at most. */
const FACTOR_MAX = 1_000_000;
/** The highest priority; the lowest is one below its negative. */
const PRIORITY_MAX = 2 ** 31 - 1;

/** Bytes of the schema of a signal. */
const SIGNAL_SCHEMA_BYTES_MAX = 16 * 1024;

/** What senders of a signal are held to, as JSON; empty where that is not known, or too long. */
function signalSchema(schema: Schema | undefined): Uint8Array {
  const declared = declare("signal", schema, "input");
  const bytes = declared === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(declared));
  return bytes.length > SIGNAL_SCHEMA_BYTES_MAX ? Buffer.alloc(0) : bytes;
}

/** Bytes of what the code calls an entry. */
const TITLE_BYTES_MAX = 128;

/** What the code calls an entry. */
function checkTitle(title: string): string {
  if (Buffer.byteLength(checkText("title of the entry", title)) > TITLE_BYTES_MAX) {
    const message = `the title of the entry has ${Buffer.byteLength(title)} bytes, the limit is ${TITLE_BYTES_MAX}`;
    throw new TaskError(message, { code: Code.BadRequest, retryable: false });
  }
  return title;
}

/** The name of an effect; those of markers are refused. */
function checkEffect(name: string): string {
  if (checkText("name", name).startsWith(PATCH)) {
    const message = `the name \`${name}\` begins with \`${PATCH}\`, which is reserved for the markers of patches`;
    const hint = "choose another name, or ask `ctx.patched`";
    throw new TaskError(message, { code: Code.BadRequest, hint, retryable: false });
  }
  return name;
}

/** The code continues without a branch: of a wait for a signal or a person nothing is to be left outside. */
function goOnWithout(branch: unknown): void {
  if (branch instanceof Answer) {
    branch.lose();
  }
}

function nothing(): undefined {
  return undefined;
}

function wireOptions(options: CallOptions<Schema | undefined>): WireCallOptions | undefined {
  const { agent, route, retry, timeout, priority } = options;
  if ([agent, route, retry, timeout, priority].every((option) => option === undefined)) {
    return undefined;
  }
  return {
    agent: checkText("agent", agent ?? ""),
    route: route && wireRoute(route),
    retry: retry && wireRetry(retry),
    timeoutUs: timeout === undefined ? undefined : toMicros("timeout", timeout),
    priority: priority === undefined ? undefined : checkWhole("priority", priority, -PRIORITY_MAX - 1, PRIORITY_MAX),
  };
}

function wireRoute({ version = "", labels = {}, sticky = "" }: Route): WireRoute {
  return {
    version: checkText("version", version),
    labels: checkTexts("label", labels),
    sticky: checkText("sticky key", sticky),
  };
}

function wireRetry({ attempts, initial = 1_000, factor = 2, max = 60_000 }: Retry): WireRetry {
  return {
    attempts: checkWhole("attempts", attempts, 1, ATTEMPTS_MAX),
    initialUs: toMicros("first pause", initial),
    factorMilli: Math.round(checkNumber("factor", factor, 1, FACTOR_MAX) * 1000),
    maxUs: toMicros("longest pause", max),
  };
}
