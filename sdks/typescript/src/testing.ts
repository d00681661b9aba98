/**
 * Replays a recorded journal against the code of a capability, without a server.
 *
 * For: tests that changed code still fits the tasks in flight. Not for: what the server does.
 * Invariant: nothing is recorded and no effect is begun; the code is stopped when it requests what is not recorded.
 */
import type { Agent, Capability } from "./agent.js";
import { Attempt, type Host, type Report, type Timer } from "./attempt.js";
import { Code, recorded as reported, TaskError } from "./error.js";
import { type Asked, type Divergence, Journal } from "./journal.js";
import { PAYLOAD_BYTES_MAX, writeJson } from "./json.js";
import type { Logger } from "./logger.js";
import type { JournalEntry } from "./proto/consort/v1/worker.js";
import { journalEntries } from "./recorded.js";
import type { Request } from "./replay.js";
import { type Participant, Scheduler } from "./scheduler.js";

export type { Divergence } from "./journal.js";

/** How code replayed a recorded journal. */
export interface Replayed {
  /** Whether the code requests all that is recorded, and then continues, waits or ends. */
  fits: boolean;
  /** How many recorded entries the code has requested. */
  entries: number;
  /** The entries that the code waits for at the end, which the journal has no answer to. */
  waiting: number[];
  /** How the code failed, where it had requested all that is recorded. */
  failure: TaskError | undefined;
  /** Where the code took another path, where it does not fit. */
  divergence: Divergence | undefined;
}

/**
 * Replays a recorded journal against the code of a capability: whether tasks in flight would continue with it.
 *
 * `journal` is a list of entries as JSON has them, a page that has them as `items`, or the text of either. An entry has
 * its `kind` (`run`, `call`, `sleep`, `signal`, `approval`) with the members of that request, `after`, and `output` or
 * `error` where it is answered: `{ kind: "run", name: "number", output: 4711 }`. It throws a {@link TaskError} where
 * the agent has no such capability, or the journal cannot be read.
 */
export async function replayTask(
  agent: Agent,
  capability: string,
  input: unknown,
  journal: unknown,
): Promise<Replayed> {
  const found = agent.find(capability);
  if (!found) {
    const message = `agent \`${agent.name}\` has no capability \`${capability}\``;
    throw new TaskError(message, { code: Code.BadRequest, retryable: false });
  }
  const entries = journalEntries(journal);
  return new Promise((resolve) => {
    const ended = (attempt: Attempt, report: Report | undefined) => resolve(judge(attempt, entries.length, report));
    replay(found, writeJson("input", input), entries, new ReplayHost(ended));
  });
}

/** A journal that takes what is recorded, and calls `beyond` at the first request after that. */
class RecordedOnly extends Journal {
  readonly #beyond: () => void;

  constructor(entries: JournalEntry[], beyond: () => void) {
    super(entries);
    this.#beyond = beyond;
  }

  /** What the code continues without is recorded by an attempt that continues. */
  protected override recordLeft(): void {}

  override ask(request: Request, title = ""): Asked {
    this.passForgets(true);
    if (!this.replaying && !this.closed) {
      // This closes the journal, so that the request itself is refused.
      this.#beyond();
    }
    return super.ask(request, title);
  }
}

function replay(found: Capability, input: Uint8Array, entries: JournalEntry[], host: Host): void {
  const task = {
    attempt: { task: "test", token: 1n },
    number: entries.length > 0 ? 2 : 1,
    capability: found.name,
    run: "test",
    workflow: "test",
    step: "test",
    input,
    idempotencyKey: "test",
    deadlineUs: undefined,
    journal: entries,
    traceparent: "",
  };
  const journal = new RecordedOnly(entries, () => attempt.abandon());
  const attempt = new Attempt(task, found, host, journal);
}

/** What the last report of the attempt means; without one the code continued behind the journal. */
function judge(attempt: Attempt, recorded: number, report: Report | undefined): Replayed {
  let waiting: number[] = [];
  let failure: TaskError | undefined;
  let did = "the end of the code";
  if (report?.$case === "park") {
    waiting = report.value.waiting;
    did = `a wait for entry ${waiting[0]}, which has no answer`;
  } else if (report?.$case === "fail" && report.value.error) {
    failure = reported(report.value.error);
    did = `the failure \`${failure.message}\``;
  }
  const divergence = attempt.journal.divergence(did);
  if (divergence) {
    return { fits: false, entries: divergence.entry, waiting: [], failure: undefined, divergence };
  }
  return { fits: true, entries: recorded, waiting, failure, divergence };
}

const SILENT: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** A server that only hands out a journal. */
class ReplayHost implements Host {
  readonly epoch = 1;
  readonly connected = true;
  readonly payloadBytesMax = PAYLOAD_BYTES_MAX;
  readonly timeouts = { parkAfter: 50, cancelGrace: 2_000 };
  readonly logger = SILENT;
  readonly ended: Host["ended"];
  readonly #scheduler = new Scheduler(() => {});

  constructor(ended: Host["ended"]) {
    this.ended = ended;
  }

  /** Nothing is recorded or shown. */
  send(): void {}

  room(): Promise<void> {
    return Promise.resolve();
  }

  request(participant: Participant): void {
    this.#scheduler.request(participant);
  }

  after(ms: number, action: () => void): Timer {
    const timer = setTimeout(action, ms);
    return { clear: () => clearTimeout(timer) };
  }
}
