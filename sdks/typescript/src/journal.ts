/**
 * The journal of one attempt: what the code asked, what came of it, and when the code learned of it.
 *
 * For: replay and recording, as plain state without promises or clocks. Not for: running code or sending messages.
 * Invariant: code is given results one at a time, each only when it is quiescent; the order is recorded with the
 * next entry (`after`) and kept to on replay. So the n-th thing that the code asks is the same in each attempt, even
 * where several branches run side by side, as long as the code itself is deterministic.
 */
import { Code, recorded, TaskError, toWire } from "./error.js";
import { text } from "./json.js";
import type { JournalEntry } from "./proto/consort/v1/worker.js";
import { isSame, type Request } from "./replay.js";
import { describeSpan } from "./span.js";

/** What came of an entry. */
export type Result = NonNullable<JournalEntry["result"]>;
/** A result as the code meets it. */
export type Outcome = { ok: true; output: Uint8Array } | { ok: false; error: TaskError };

/** Entries in one task's journal. */
export const ENTRIES_MAX = 10_000;
/** What the names of markers begin with; see {@link Journal.patch}. */
export const PATCH = "patch:";

/** Where code differs from the journal that it replays. */
export interface Divergence {
  /** The entry's position, from 0. */
  entry: number;
  /** What is recorded there. */
  recorded: string;
  /** What the code did in place of it. */
  found: string;
}

/** How far an entry is. */
enum Stage {
  /** A local effect that has not ended: it holds back the entries after it, so that the journal has no gaps. */
  Running = 0,
  /** To be sent. */
  Ready = 1,
  /** Sent, and not known to be durable. */
  Sent = 2,
  /** In the server's journal. */
  Durable = 3,
}

interface Slot {
  entry: JournalEntry;
  stage: Stage;
  /** Whether the code may see the result. */
  released: boolean;
  /** Called when the code may see the result, or when the journal closes. */
  waker: (() => void) | undefined;
  /** How many places of the code wait for the result. */
  waiters: number;
  /** Whether a `forget` entry closes it: its result has no receiver. */
  forgotten: boolean;
}

function isAnswered(slot: Slot): boolean {
  return slot.stage === Stage.Durable && slot.entry.result !== undefined;
}

/** Whether there is a result that the code may be given. */
function isDue(slot: Slot): boolean {
  return isAnswered(slot) && !slot.released && !slot.forgotten && slot.entry.request?.$case !== "forget";
}

/** What an attempt gets for asking. */
export interface Asked {
  /** The entry's position. */
  index: number;
  /** Whether it was recorded by an earlier attempt: then nothing is done again. */
  recorded: boolean;
}

/** See the module. */
export class Journal {
  readonly #slots: Slot[];
  /** How many entries came with the task. */
  readonly #recorded: number;
  /** How many the code has requested. */
  #asked = 0;
  /** Positions whose results are to be released next, in order. */
  #due: number[] = [];
  /** Positions released since the last entry was asked. */
  #released: number[] = [];
  /** Whether replay still keeps to the recorded order. */
  #strict = true;
  /** The first position that was not sent. */
  #unsent: number;
  /** How many entries are not known to be durable. */
  #open = 0;
  /** Positions to be sent again after a reconnect. */
  #again: number[] = [];
  /** Positions that the code waits for. */
  readonly #waiting = new Set<number>();
  /** Waits that the code continues without, and that no `forget` entry closes yet. */
  readonly #left = new Set<number>();
  /** What was said of each patch: the entry of its marker, or nothing. */
  readonly #patches = new Map<string, number | undefined>();
  /** Why nothing more can be asked. */
  #closed: TaskError | undefined;
  #divergence: Divergence | undefined;

  /** A journal that replays `entries`. */
  constructor(entries: JournalEntry[]) {
    this.#slots = entries.map((entry) => slotOf(entry, Stage.Durable));
    this.#recorded = entries.length;
    this.#unsent = entries.length;
    this.#planReleases();
  }

  /** Whether the code has not yet requested all that was recorded. */
  get replaying(): boolean {
    return this.#asked < this.#recorded;
  }

  /** Why nothing more can be asked, if so. */
  get closed(): TaskError | undefined {
    return this.#closed;
  }

  /**
   * Takes the code's next request, with what the code calls it; on replay it must be the recorded one, whatever its title.
   * It throws where that is not possible.
   */
  ask(request: Request, title = ""): Asked {
    if (this.#closed) {
      throw this.#closed;
    }
    this.passForgets(true);
    let index = this.#asked;
    if (index < this.#recorded) {
      if (!this.#isNext(request)) {
        throw this.#diverge(describe(request));
      }
      this.#takeRecorded();
      return { index, recorded: true };
    }
    if (request.$case === "run") {
      // Behind the effect it would wait for its end.
      this.recordLeft();
      index = this.#asked;
    }
    if (index >= ENTRIES_MAX) {
      const message = `the task requested entry ${index + 1}, the limit is ${ENTRIES_MAX}`;
      const hint = "let the workflow fan out, or move parts into tasks of their own by `call`";
      throw this.close(new TaskError(message, { code: Code.LimitReached, hint, retryable: false }));
    }
    this.#append(request, title, request.$case === "run" ? Stage.Running : Stage.Ready);
    return { index, recorded: false };
  }

  #append(request: Request, title: string, stage: Stage): void {
    this.#slots.push(slotOf({ request, title, after: this.#released, result: undefined }, stage));
    this.#released = [];
    this.#asked += 1;
    this.#open += 1;
  }

  /** The next recorded entry is behind the code. */
  #takeRecorded(): void {
    this.#asked += 1;
    this.#released = [];
    if (this.#strict) {
      this.#planReleases();
    }
  }

  /**
   * Passes over `forget` entries that are recorded next; returns whether there were any. Code that is quiescent continues
   * without what they name, or will not: only then are they passed over unless it requests something.
   */
  protected passForgets(asks: boolean): boolean {
    let passed = false;
    while (this.replaying) {
      const { request } = this.#slot(this.#asked).entry;
      if (request?.$case !== "forget") {
        break;
      }
      const { entries } = request.value;
      if (!asks && this.#strict && !entries.every((index) => this.#isLeft(index))) {
        break;
      }
      for (const index of entries) {
        this.#left.delete(index);
        const slot = this.#slots[index];
        if (slot) {
          slot.forgotten = true;
        }
      }
      this.#takeRecorded();
      passed = true;
    }
    return passed;
  }

  /**
   * The code continues without the answer to an entry: a wait is closed, unless the code waits for it again by the time it
   * is quiescent.
   */
  leave(index: number): void {
    const slot = this.#slot(index);
    const kind = slot.entry.request?.$case;
    const waits = kind === "sleep" || kind === "signal" || kind === "approval" || kind === "update";
    if (waits && !slot.released && !slot.forgotten && !this.#closed) {
      this.#left.add(index);
    }
  }

  /** Whether the code continues without the entry, and no place of it waits. */
  #isLeft(index: number): boolean {
    return this.#left.has(index) && this.#slots[index]?.waiters === 0;
  }

  /** Whether a `forget` entry closes it. */
  isForgotten(index: number): boolean {
    return this.#slot(index).forgotten;
  }

  /** The code continues without some waits: records that, so that nothing outside waits for it. */
  protected recordLeft(): void {
    if (this.#left.size === 0 || this.replaying || this.#asked >= ENTRIES_MAX) {
      return;
    }
    const entries = [...this.#left].filter((index) => this.#isLeft(index)).sort((a, b) => a - b);
    this.#left.clear();
    for (const index of entries) {
      this.#slot(index).forgotten = true;
    }
    if (entries.length > 0) {
      this.#append({ $case: "forget", value: { entries } }, "", Stage.Ready);
    }
  }

  /** Whether the next recorded entry, which there is, has this request. */
  #isNext(request: Request): boolean {
    const recorded = this.#slot(this.#asked).entry.request;
    return recorded !== undefined && isSame(recorded, request);
  }

  /**
   * The entry of the marker of a patch; nothing where the journal has something else here, which is left alone: the
   * task was begun by code of before the patch.
   *
   * Past the end of the journal the marker is recorded, if `record` says so. What was said of a name holds for the
   * whole attempt.
   */
  patch(name: string, record: boolean): number | undefined {
    if (this.#closed) {
      throw this.#closed;
    }
    if (this.#patches.has(name)) {
      return this.#patches.get(name);
    }
    this.passForgets(true);
    const marker: Request = { $case: "run", value: { name: PATCH + name } };
    let found: number | undefined;
    if (this.replaying ? this.#isNext(marker) : record) {
      const { index, recorded } = this.ask(marker);
      if (!recorded) {
        this.finishRun(index, { $case: "output", value: Buffer.from("true") });
      }
      found = index;
    }
    this.#patches.set(name, found);
    return found;
  }

  /**
   * What is released next: what was released before the next recorded entry, or (when all were asked) whatever else is
   * answered.
   */
  #planReleases(): void {
    if (this.#strict && this.replaying) {
      this.#due.push(...this.#slot(this.#asked).entry.after);
      return;
    }
    const due = new Set(this.#due);
    this.#slots.forEach((slot, index) => {
      if (isDue(slot) && !due.has(index)) {
        this.#due.push(index);
      }
    });
  }

  /** Whether results wait because the recorded order does not have them yet. */
  get holdsBack(): boolean {
    return this.#strict && this.replaying && this.#slots.some(isDue);
  }

  /**
   * Gives up the recorded order: the code is quiescent, and its result comes later in the record. What it asks
   * is compared all the same.
   */
  stopHoldingBack(): void {
    this.#strict = false;
    this.#planReleases();
  }

  /** Releases results until one has a waiter; returns whether one had. */
  release(): boolean {
    do {
      for (let index = this.#due.shift(); index !== undefined; index = this.#due.shift()) {
        const slot = this.#slots[index];
        if (!slot || !isDue(slot)) {
          continue;
        }
        slot.released = true;
        this.#released.push(index);
        this.#waiting.delete(index);
        const { waker } = slot;
        if (waker) {
          slot.waker = undefined;
          waker();
          return true;
        }
      }
    } while (this.passForgets(false));
    return false;
  }

  /** The result of an entry, if the code may see it. */
  outcome(index: number): Outcome | undefined {
    const slot = this.#slot(index);
    if (slot.released) {
      return outcomeOf(slot);
    }
    return this.#closed && { ok: false, error: this.#closed };
  }

  /** Calls `waker` once when {@link Journal.outcome} may have changed. */
  watch(index: number, waker: () => void): void {
    this.#slot(index).waker = waker;
  }

  /** A place of the code waits for the entry. */
  await(index: number): void {
    const slot = this.#slot(index);
    slot.waiters += 1;
    if (!slot.released && !this.#closed) {
      this.#waiting.add(index);
    }
  }

  /** A place of the code waits no longer. */
  forget(index: number): void {
    const slot = this.#slot(index);
    slot.waiters -= 1;
    if (slot.waiters === 0) {
      this.#waiting.delete(index);
    }
  }

  /** A local effect has ended with a result that is to be recorded. */
  finishRun(index: number, result: Result): void {
    const slot = this.#slot(index);
    if (slot.stage === Stage.Running) {
      slot.entry.result = result;
      slot.stage = Stage.Ready;
    }
  }

  /** The next entry to send, with its position; none while a local effect before it runs. */
  nextToSend(): { index: number; entry: JournalEntry } | undefined {
    const again = this.#again.shift();
    if (again !== undefined) {
      return { index: again, entry: this.#slot(again).entry };
    }
    if (this.#closed) {
      return undefined;
    }
    this.recordLeft();
    const slot = this.#slots[this.#unsent];
    if (slot?.stage !== Stage.Ready) {
      return undefined;
    }
    slot.stage = Stage.Sent;
    this.#unsent += 1;
    return { index: this.#unsent - 1, entry: slot.entry };
  }

  /** Sends again what the server has not answered: after a reconnect, as messages may have been lost. */
  sendAgain(): void {
    this.#again = [];
    for (let index = 0; index < this.#unsent; index += 1) {
      const slot = this.#slot(index);
      if (!isAnswered(slot) && !(slot.forgotten && slot.stage === Stage.Durable)) {
        this.#again.push(index);
      }
    }
  }

  /** The server has recorded (or answered) the entry; what it has recorded is the truth. */
  record(index: number, entry: JournalEntry): void {
    const slot = this.#slots[index];
    // Entries that were not sent are not in the server's journal, and the first answer stays.
    if (!slot || slot.stage < Stage.Sent || isAnswered(slot)) {
      return;
    }
    if (slot.stage === Stage.Sent) {
      slot.stage = Stage.Durable;
      this.#open -= 1;
    }
    slot.entry.result = entry.result;
    if (isDue(slot) && !(this.#strict && this.replaying)) {
      this.#due.push(index);
    }
  }

  /**
   * The entries that the code waits for, in ascending order, if waiting is all that it does as far as the journal
   * knows: every request is durable and no local effect runs.
   */
  parkable(): number[] | undefined {
    const rests = this.#open === 0 && !this.#closed && this.#again.length === 0 && this.#due.length === 0;
    return rests && this.#waiting.size > 0 ? [...this.#waiting].sort((a, b) => a - b) : undefined;
  }

  /** Takes nothing more: every wait ends with `error`, once it is woken. Returns the error that closed the journal. */
  close(error: TaskError): TaskError {
    this.#closed ??= error;
    this.#waiting.clear();
    return this.#closed;
  }

  /** Wakes all waiters, after {@link Journal.close}. */
  wakeAll(): void {
    for (const slot of this.#slots) {
      const { waker } = slot;
      slot.waker = undefined;
      waker?.();
    }
  }

  /** Checks code that succeeded: it must have requested all that was recorded. */
  end(): TaskError | undefined {
    if (this.#closed?.code === Code.JournalDiverged) {
      return this.#closed;
    }
    this.passForgets(true);
    return this.#asked < this.#slots.length ? this.#diverge("the end of the code") : undefined;
  }

  /**
   * Where the code took another path than the recorded one; where it only left entries over, `did` is what it did in
   * their place.
   */
  divergence(did: string): Divergence | undefined {
    return this.#divergence ?? (this.replaying ? this.#differs(did) : undefined);
  }

  /** The next recorded entry, and what the code did in place of requesting it. */
  #differs(found: string): Divergence {
    const { request } = this.#slot(this.#asked).entry;
    return { entry: this.#asked, recorded: request ? describe(request) : "an entry of a newer kind", found };
  }

  #diverge(found: string): TaskError {
    const { entry, recorded } = this.#differs(found);
    this.#divergence ??= { entry, recorded, found };
    const message = `entry ${entry} is recorded as ${recorded}, but found ${found}`;
    const hint =
      "code that records must make the same requests in the same order each time; put what may differ (clock, chance, outside reads) into `run`, and changes while tasks are in flight behind `patched`";
    return this.close(new TaskError(message, { code: Code.JournalDiverged, hint, retryable: false }));
  }

  #slot(index: number): Slot {
    const slot = this.#slots[index];
    if (!slot) {
      throw new RangeError(`the journal has no entry ${index}`);
    }
    return slot;
  }
}

function slotOf(entry: JournalEntry, stage: Stage): Slot {
  return { entry, stage, released: false, waker: undefined, waiters: 0, forgotten: false };
}

function outcomeOf(slot: Slot): Outcome {
  const { result } = slot.entry;
  if (result?.$case === "output") {
    return { ok: true, output: result.value };
  }
  const error = result?.value ?? toWire(new TaskError("the entry has no result", { code: Code.Internal }));
  // A replay gives the same failure again: another attempt cannot help.
  return { ok: false, error: recorded(error) };
}

/** A request for people: kind, name, and what it is compared by. */
function describe(request: Request): string {
  switch (request.$case) {
    case "run":
      return `run \`${request.value.name}\``;
    case "call": {
      const input = [...text(request.value.input)].slice(0, 80).join("");
      return `call \`${request.value.capability}\` with \`${input}\``;
    }
    case "sleep":
      return `sleep \`${describeSpan(request.value.spanUs)}\``;
    case "signal":
      return `signal \`${request.value.name}\``;
    case "approval":
      return `approval \`${request.value.prompt}\``;
    case "forget":
      return `forget \`${request.value.entries.join(", ")}\``;
    case "state":
      return `state \`${Buffer.from(request.value.transaction).toString().slice(0, 80)}\``;
    case "expose":
    case "update":
      return `${request.$case} \`${request.value.name}\``;
    case "labels":
      return "labels";
    case "answer":
      return `answer to the update of entry ${request.value.update}`;
  }
}
