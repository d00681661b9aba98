/**
 * Random programs with branches, on a server that answers in any order, loses connections and kills attempts.
 *
 * For: what no written case thinks of. Not for: saying what went wrong in words (the seed repeats it).
 * Invariant: what each program asks depends on the order in which it got its results, so a replay in another order is
 * a divergence; everything random comes from the seed, and no test waits for real time.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Attempt, type Host, type Report, type Timer } from "../src/attempt.js";
import type { TaskContext } from "../src/context.js";
import type { JournalEntry } from "../src/proto/consort/v1/worker.js";
import { type Participant, Scheduler } from "../src/scheduler.js";
import { silent } from "./fake.js";
import { bytes, round, task } from "./rig.js";

const SEEDS = 600;
const STEPS_MAX = 3_000;

/** Chance that is the same for the same seed (mulberry32). */
function chance(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296) * below);
  };
}

/** What one step of a branch does. */
type Step = "call" | "run" | "sleep" | "race" | "late" | "pair";
const STEPS: Step[] = ["call", "call", "run", "sleep", "race", "late", "pair"];

/** A program: what each of its branches does, in order. */
function program(pick: (below: number) => number): Step[][] {
  const steps = () => Array.from({ length: 1 + pick(4) }, () => STEPS[pick(STEPS.length)] ?? "call");
  return Array.from({ length: 1 + pick(3) }, steps);
}

/** The code of a program. Its trace has the order of the results; every request carries it. */
function code(branches: Step[][]) {
  return async (ctx: TaskContext): Promise<string[]> => {
    const trace: string[] = [];
    const seen = (what: unknown) => trace.push(String(what).slice(0, 8));
    const call = (name: string) => ctx.call(name, trace.join(","));
    const branch = async (steps: Step[], name: string) => {
      for (const [at, step] of steps.entries()) {
        const own = `${name}${at}`;
        switch (step) {
          case "call":
            seen(await call(own));
            break;
          case "run":
            seen(await ctx.run(`${own}:${trace.join(",")}`, () => own));
            break;
          case "sleep":
            await ctx.sleep(trace.length + 1);
            seen(own);
            break;
          case "race":
            seen(await ctx.race([call(`${own}a`), call(`${own}b`)]));
            break;
          case "late": {
            const early = call(`${own}e`);
            seen(await call(`${own}l`));
            seen(await early);
            break;
          }
          case "pair":
            seen((await ctx.all([call(`${own}x`), call(`${own}y`)])).join("+"));
        }
        for (let hop = 0; hop < at; hop += 1) {
          await null;
        }
      }
    };
    await ctx.all(branches.map((steps, index) => branch(steps, "abc".charAt(index))));
    return trace;
  };
}

/** A server with one task. */
class Chaos implements Host {
  epoch = 1;
  connected = true;
  readonly payloadBytesMax = 1_000_000;
  readonly timeouts = { parkAfter: 10, cancelGrace: 2_000 };
  readonly logger = silent;
  readonly journal: JournalEntry[] = [];
  report: Report | undefined;
  kills = 0;
  parks = 0;
  readonly #branches: Step[][];
  readonly #pick: (below: number) => number;
  readonly #scheduler = new Scheduler(() => {});
  #attempt: Attempt | undefined;
  #token = 0n;
  #timers = new Set<() => void>();
  /** What is on its way to the worker, in order. */
  #answers: number[] = [];
  #waiting: number[] | undefined;

  constructor(seed: number) {
    this.#pick = chance(seed);
    this.#branches = program(this.#pick);
    this.#offer();
  }

  send(message: Report): void {
    if (!this.connected) {
      return;
    }
    assert.ok(message.$case === "record" && message.value.entry, "only entries are sent");
    const { index, entry } = message.value;
    const known = this.journal[index];
    if (known) {
      assert.deepEqual(entry.request, known.request, `entry ${index} was recorded otherwise`);
    } else {
      assert.equal(index, this.journal.length, "the journal has no gaps");
      this.journal.push(copy(entry));
    }
    this.#answers.push(index);
  }

  room(): Promise<void> {
    return Promise.resolve();
  }

  request(participant: Participant): void {
    this.#scheduler.request(participant);
  }

  after(_ms: number, action: () => void): Timer {
    this.#timers.add(action);
    return { clear: () => this.#timers.delete(action) };
  }

  ended(attempt: Attempt, report: Report | undefined): void {
    if (attempt !== this.#attempt || !report) {
      return;
    }
    this.#attempt = undefined;
    if (report.$case === "park") {
      this.parks += 1;
      this.#waiting = report.value.waiting;
      assert.ok(this.#waiting.length > 0);
    } else {
      this.report = report;
    }
  }

  /** Lets something happen. */
  async step(): Promise<void> {
    const moves = [
      () => this.#answer(),
      () => this.#answer(),
      () => this.#deliver(),
      () => this.#deliver(),
      () => this.#deliver(),
      () => this.#passTime(),
      () => this.#breakConnection(),
      () => this.#kill(),
      () => this.#wakeUp(),
    ];
    moves[this.#pick(moves.length)]?.();
    for (let rounds = this.#pick(4); rounds > 0; rounds -= 1) {
      await round();
    }
  }

  /** Decides what comes of an open entry. */
  #answer(): void {
    const open = this.journal.flatMap((entry, index) => (entry.result ? [] : [index]));
    const index = open[this.#pick(open.length)];
    const entry = index === undefined ? undefined : this.journal[index];
    if (entry?.request && index !== undefined) {
      const value = entry.request.$case === "call" ? entry.request.value.capability : null;
      entry.result = { $case: "output", value: bytes(value) };
      this.#answers.push(index);
    }
  }

  /** Lets some of what is on its way arrive, perhaps several at once. */
  #deliver(): void {
    for (let count = 1 + this.#pick(4); count > 0; count -= 1) {
      const index = this.#answers.shift();
      const entry = index === undefined ? undefined : this.journal[index];
      if (entry && index !== undefined && this.connected) {
        this.#attempt?.recorded(index, copy(entry));
      }
    }
  }

  #passTime(): void {
    if (this.#scheduler.idle) {
      for (const action of [...this.#timers]) {
        this.#timers.delete(action);
        action();
      }
    }
  }

  #breakConnection(): void {
    if (this.#pick(3) === 0) {
      this.connected = !this.connected;
      this.#answers = [];
      if (this.connected) {
        this.epoch += 1;
        this.#attempt?.reconnected();
      }
    }
  }

  #kill(): void {
    if (this.#attempt && this.#pick(4) === 0) {
      this.kills += 1;
      this.#attempt.abandon();
      this.#offer();
    }
  }

  #wakeUp(): void {
    if (this.#waiting?.some((index) => this.journal[index]?.result)) {
      this.#offer();
    }
  }

  #offer(): void {
    this.#token += 1n;
    this.#waiting = undefined;
    this.#answers = [];
    this.#timers.clear();
    this.#attempt = this.attempt(this);
  }

  /** A new attempt with what is recorded. */
  attempt(host: Host): Attempt {
    const capability = { name: "work", options: {}, handler: code(this.#branches) };
    return new Attempt(task(this.#token, null, this.journal.map(copy)), capability, host);
  }

  /**
   * Runs a last attempt on the whole journal: it must end well and record nothing. What came after the last entry may
   * come in another order, as nothing that is durable rests on it.
   */
  async replay(): Promise<Report["$case"] | undefined> {
    let found: Report | undefined;
    const quiet: Host = Object.assign(Object.create(this) as Host, {
      send: () => assert.fail("the replay recorded something"),
      request: (participant: Participant) => this.#scheduler.request(participant),
      after: () => ({ clear() {} }),
      ended: (_: Attempt, report: Report | undefined) => {
        found = report;
      },
    });
    this.attempt(quiet);
    do {
      await round();
    } while (!this.#scheduler.idle);
    return found?.$case;
  }
}

function copy(entry: JournalEntry): JournalEntry {
  return { ...entry, after: [...entry.after] };
}

test("whatever happens, a program ends once, and its replay takes the same path", async () => {
  let [kills, parks, entries] = [0, 0, 0];
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const chaos = new Chaos(seed);
    let steps = 0;
    for (; !chaos.report && steps < STEPS_MAX; steps += 1) {
      await chaos.step();
    }
    const { report } = chaos;
    const error = report?.$case === "fail" ? report.value.error?.message : undefined;
    assert.equal(report?.$case, "complete", `seed ${seed} after ${steps} steps: ${error ?? "it did not end"}`);
    assert.equal(await chaos.replay(), "complete", `seed ${seed}`);
    kills += chaos.kills;
    parks += chaos.parks;
    entries += chaos.journal.length;
  }
  // The test is worth something only where these things did happen.
  assert.ok(
    kills > SEEDS && parks > SEEDS && entries > 5 * SEEDS,
    `${kills} kills, ${parks} parks, ${entries} entries`,
  );
});
