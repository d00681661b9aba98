/**
 * Changing code while tasks are in flight: patches, and replaying recorded journals.
 *
 * For: `patched`, `deprecatePatch` and `replayTask`. Not for: what the server does (the conformance scenarios have
 * that).
 * Invariant: a server that is played by hand, or none.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Agent, agent, type TaskContext, TaskError } from "../src/index.js";
import type { JournalEntry } from "../src/proto/consort/v1/worker.js";
import { replayTask } from "../src/testing.js";
import { entry, Rig, ran } from "./rig.js";

const signalled = (after: number[], payload?: unknown): JournalEntry =>
  entry({ $case: "signal", value: { name: "go", schema: Buffer.alloc(0) } }, after, payload);

/** An effect that a change put a fee behind. */
async function changed(ctx: TaskContext): Promise<unknown> {
  const price = await ctx.run("price", () => 10);
  const fee = (await ctx.patched("fee")) ? await ctx.run("fee", () => 2) : 0;
  const again = await ctx.patched("fee");
  return [price, fee, again, await ctx.waitSignal("go")];
}

/** The same when no task is left on the old path. */
async function deprecated(ctx: TaskContext): Promise<unknown> {
  const price = await ctx.run("price", () => 10);
  await ctx.deprecatePatch("fee");
  const fee = await ctx.run("fee", () => 2);
  return [price, fee, await ctx.waitSignal("go")];
}

const begunWithIt = [ran("price", 7), ran("patch:fee", true, [0]), ran("fee", 3, [1]), signalled([2], 1)];

test("a marker is durable before the code takes the new path", async () => {
  const rig = new Rig(changed);
  rig.offer();
  await rig.recordNext();
  const marker = await rig.entry();
  assert.equal(marker.index, 1);
  assert.deepEqual(marker.entry.request, { $case: "run", value: { name: "patch:fee" } });
  assert.equal(String(marker.entry.result?.value), "true");
  assert.deepEqual(await rig.rest(), []);
  rig.record(1, marker.entry);
  const fee = await rig.entry();
  assert.deepEqual(fee, { index: 2, entry: ran("fee", 2, [1]) });
  rig.record(2, fee.entry);
  assert.equal((await rig.entry()).index, 3, "the second question made no entry");
  rig.record(3, signalled([2], "ok"));
  assert.deepEqual(await rig.output(), [10, 2, true, "ok"]);
});

test("a task stays on the path that its journal shows", async () => {
  const rig = new Rig(changed);
  rig.offer([ran("price", 7), signalled([0], "ok")]);
  assert.deepEqual(await rig.output(), [7, 0, false, "ok"]);
  rig.offer(begunWithIt);
  assert.deepEqual(await rig.output(), [7, 3, true, 1]);
});

test("a deprecated patch passes over its marker and records none", async () => {
  const rig = new Rig(deprecated);
  rig.offer(begunWithIt);
  assert.deepEqual(await rig.output(), [7, 3, 1]);
  rig.offer([ran("price", 7), ran("fee", 3, [0]), signalled([1], 1)]);
  assert.deepEqual(await rig.output(), [7, 3, 1]);
  rig.offer();
  await rig.recordNext();
  assert.deepEqual((await rig.entry()).entry.request, { $case: "run", value: { name: "fee" } });
});

test("several places may wait for one marker", async () => {
  const rig = new Rig((ctx) => Promise.all([ctx.patched("fee"), ctx.patched("fee")]));
  rig.offer();
  await rig.recordNext();
  assert.deepEqual(await rig.output(), [true, true]);
});

test("branches that request one patch replay what they recorded", async () => {
  const branch = async (ctx: TaskContext, side: string) => {
    await ctx.run(side, () => 1);
    return (await ctx.patched("fee")) ? ctx.run(`${side} fee`, () => 2) : 0;
  };
  const rig = new Rig((ctx) => Promise.all([branch(ctx, "left"), branch(ctx, "right"), ctx.patched("fee")]));
  rig.offer();
  const journal: JournalEntry[] = [];
  for (let recorded = 0; recorded < 5; recorded += 1) {
    journal.push(await rig.recordNext());
  }
  assert.deepEqual(await rig.output(), [2, 2, true]);
  for (let length = 0; length <= journal.length; length += 1) {
    rig.offer(journal.slice(0, length));
    for (let recorded = length; recorded < 5; recorded += 1) {
      await rig.recordNext();
    }
    assert.deepEqual(await rig.output(), [2, 2, true]);
  }
});

test("names of markers are reserved, and names of patches are texts", async () => {
  const rig = new Rig(async (ctx) => {
    const refused = [ctx.run("patch:x", () => 1), ctx.patched(5 as never), ctx.deprecatePatch(5 as never)];
    const outcomes = await Promise.allSettled(refused);
    return outcomes.map((outcome) => (outcome.status === "rejected" ? outcome.reason.message : outcome.status));
  });
  rig.offer();
  const [reserved, ...texts] = (await rig.output()) as string[];
  assert.match(reserved ?? "", /`patch:x` begins with `patch:`/);
  assert.deepEqual(texts, ["the name of `5` is no text", "the name of `5` is no text"]);
});

// Replaying a recorded journal.

type Recorded = { [member: string]: unknown };

const price: Recorded = { entry: 0, kind: "run", name: "price", output: 7 };
const ship: Recorded = { kind: "call", capability: "ship", input: { b: 1, a: 2 }, after: [0], output: null };
const pause: Recorded = { kind: "sleep", span: "1h30m", after: [1], output: null };
const go: Recorded = { kind: "signal", name: "go", after: [2] };
const RECORDED = [price, ship, pause, go];

function shop(options: { fee?: boolean; patch?: boolean; hasty?: boolean } = {}): Agent {
  const never = (): never => assert.fail("a replay does nothing");
  return agent("shop").capability("order", async (ctx) => {
    await ctx.run("price", never);
    if (options.fee && (!options.patch || (await ctx.patched("fee")))) {
      await ctx.run("fee", never);
    }
    await ctx.call("ship", { a: 2, b: 1 });
    if (options.hasty) {
      throw new TaskError("the shop is shut", { retryable: false });
    }
    await ctx.sleep(5_400_000);
    await ctx.waitSignal("go");
    return ctx.run("bill", never);
  });
}

test("a recorded journal shows whether code fits", async () => {
  const waits = await replayTask(shop(), "order", {}, RECORDED);
  assert.deepEqual([waits.fits, waits.entries, waits.waiting], [true, 4, [3]]);
  // The text of the page that has the entries, with the wait answered: the code continues with what is not recorded.
  const page = JSON.stringify({ items: [price, ship, pause, { ...go, output: 1 }], next: null });
  const continues = await replayTask(shop(), "order", {}, page);
  assert.deepEqual([continues.fits, continues.entries, continues.waiting], [true, 4, []]);
});

test("a recorded journal shows where changed code differs", async () => {
  const fee = await replayTask(shop({ fee: true }), "order", {}, RECORDED);
  assert.equal(fee.fits, false);
  assert.deepEqual(fee.divergence, { entry: 1, recorded: 'call `ship` with `{"b":1,"a":2}`', found: "run `fee`" });
  const hasty = await replayTask(shop({ hasty: true }), "order", {}, RECORDED);
  const failure = { entry: 2, recorded: "sleep `1h30m`", found: "the failure `the shop is shut`" };
  assert.deepEqual(hasty.divergence, failure);
  // The wait for the signal has no answer, so the code does not get to what is recorded behind it.
  const behind = await replayTask(shop(), "order", {}, [...RECORDED, { kind: "run", name: "bill", output: 1 }]);
  const found = "a wait for entry 3, which has no answer";
  assert.deepEqual(behind.divergence, { entry: 4, recorded: "run `bill`", found });
});

test("patched makes changed code fit a recorded journal", async () => {
  const patched = shop({ fee: true, patch: true });
  const begun = [price, { kind: "run", name: "patch:fee", output: true, after: [0] }];
  for (const journal of [RECORDED, [price], begun]) {
    assert.equal((await replayTask(patched, "order", {}, journal)).fits, true);
  }
  const without = await replayTask(shop(), "order", {}, begun);
  const found = 'call `ship` with `{"a":2,"b":1}`';
  assert.deepEqual(without.divergence, { entry: 1, recorded: "run `patch:fee`", found });
});

test("failures at the end fit, and what is no journal is refused", async () => {
  const { output: _, ...open } = ship;
  const failed = [price, { ...open, error: { code: "C0305", message: "too late" } }];
  const replayed = await replayTask(shop(), "order", {}, failed);
  assert.deepEqual([replayed.fits, replayed.failure?.code], [true, "C0305"]);
  await assert.rejects(replayTask(shop(), "order", {}, [{ kind: "dance" }]), /entry 0 .*`"dance"` is no kind/);
  await assert.rejects(replayTask(shop(), "order", {}, [{ kind: "sleep", span: "soon" }]), /`soon` is no span/);
  await assert.rejects(replayTask(shop(), "sing", {}, []), /no capability `sing`/);
});
