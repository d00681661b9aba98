/**
 * Waits that code continues without: when they are closed, and that a replay sees it at the same place.
 *
 * For: the `forget` entries of the SDK. Not for: what the server does with them.
 * Invariant: a server that is played by hand, or none.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { agent, type TaskContext, TaskError } from "../src/index.js";
import type { JournalEntry } from "../src/proto/consort/v1/worker.js";
import { replayTask } from "../src/testing.js";
import { entry, Rig, slept } from "./rig.js";

const signalled = (name: string, after: number[] = [], payload?: unknown): JournalEntry =>
  entry({ $case: "signal", value: { name, schema: Buffer.alloc(0) } }, after, payload);
const forgot = (entries: number[], after: number[] = []): JournalEntry =>
  entry({ $case: "forget", value: { entries } }, after, null);

/** A signal, or nothing after a while. */
async function listen(ctx: TaskContext): Promise<unknown> {
  return (await ctx.race([ctx.waitSignal("go"), ctx.sleep(2_000)])) ?? null;
}

async function twice(ctx: TaskContext): Promise<unknown> {
  return [await listen(ctx), await listen(ctx)];
}

test("what lost is closed behind the requests that follow it", async () => {
  const rig = new Rig(twice);
  rig.offer();
  await rig.recordNext();
  await rig.entry();
  rig.record(1, slept(2_000, [], null));
  const wait = await rig.entry();
  assert.deepEqual(wait, { index: 2, entry: signalled("go", [1]) });
  rig.record(2, wait.entry);
  await rig.recordNext();
  const closed = await rig.entry();
  assert.deepEqual([closed.index, closed.entry.request], [4, { $case: "forget", value: { entries: [0] } }]);
  // An answer that crossed has no receiver.
  rig.record(0, signalled("go", [], "late"));
  rig.record(4, forgot([0]));
  rig.record(2, signalled("go", [1], "hi"));
  assert.deepEqual(await rig.output(), [null, "hi"]);
});

test("a replay passes over it and records nothing again", async () => {
  const rig = new Rig(twice);
  const journal = [signalled("go"), slept(2_000, [], null), signalled("go", [1]), slept(2_000), forgot([0])];
  rig.offer(journal);
  assert.deepEqual(await rig.rest(), []);
  journal[2] = signalled("go", [1], "hi");
  rig.offer(journal);
  assert.deepEqual(await rig.output(), [null, "hi"]);
  const recorded = [
    { kind: "signal", name: "go" },
    { kind: "sleep", span: "2s", output: null },
    { kind: "signal", name: "go", after: [1], output: "hi" },
    { kind: "sleep", span: "2s" },
    { kind: "forget", entries: [0], output: null },
  ];
  const replayed = await replayTask(agent("a").capability("work", {}, twice), "work", null, recorded);
  assert.equal(replayed.fits, true, JSON.stringify(replayed));
});

test("a journal of before is replayed, and what it left open is closed then", async () => {
  const rig = new Rig(twice);
  rig.offer([signalled("go"), slept(2_000, [], null), signalled("go", [1]), slept(2_000)]);
  const closed = await rig.entry();
  assert.deepEqual([closed.index, closed.entry.request], [4, { $case: "forget", value: { entries: [0] } }]);
});

test("a wait that is raced again stays open, and a pause is never begun anew", async () => {
  const rig = new Rig(async (ctx: TaskContext) => {
    const [stop, deadline] = [ctx.waitSignal("stop"), ctx.sleep(60_000)];
    const found: unknown[] = [];
    for (const name of ["a", "b"]) {
      found.push(await ctx.race([stop, deadline, ctx.waitSignal(name)]));
    }
    await ctx.call("x", 1);
    return [...found, await stop];
  });
  rig.offer();
  await rig.recordNext();
  await rig.recordNext();
  for (const [index, name] of [
    [2, "a"],
    [3, "b"],
  ] as const) {
    assert.equal((await rig.entry()).index, index);
    rig.record(index, signalled(name, [], name));
  }
  const call = await rig.entry();
  assert.deepEqual([call.index, call.entry.request?.$case], [4, "call"]);
  rig.record(4, call.entry);
  const closed = await rig.entry();
  const expected = { $case: "forget", value: { entries: [0] } };
  assert.deepEqual([closed.index, closed.entry.request], [5, expected], "nothing waits for it meanwhile");
  rig.record(5, forgot([0]));
  rig.record(4, { ...call.entry, result: { $case: "output", value: Buffer.from("1") } });
  const again = await rig.entry();
  assert.deepEqual(
    [again.index, again.entry.request],
    [6, { $case: "signal", value: { name: "stop", schema: Buffer.alloc(0) } }],
  );
  rig.record(6, signalled("stop", [], "now"));
  assert.deepEqual(await rig.output(), ["a", "b", "now"]);
});

test("it is recorded before an effect, and a wait can be closed by name", async () => {
  const rig = new Rig(async (ctx: TaskContext) => {
    await ctx.race([ctx.waitSignal("go"), ctx.sleep(2_000)]);
    ctx.waitApproval("never awaited").close();
    await ctx.run("effect", () => 1);
    return ctx.waitSignal("go");
  });
  rig.offer([signalled("go"), slept(2_000, [], null)]);
  await rig.recordNext();
  const closed = await rig.entry();
  assert.deepEqual([closed.index, closed.entry.request], [3, { $case: "forget", value: { entries: [0, 2] } }]);
  rig.record(3, forgot([0, 2]));
  assert.equal((await rig.entry()).index, 4);
});

test("code that fails closes nothing", async () => {
  const rig = new Rig(async (ctx: TaskContext) => {
    await ctx.race([ctx.waitSignal("go"), ctx.sleep(2_000)]);
    throw new TaskError("later", { retryable: true });
  });
  rig.offer([signalled("go"), slept(2_000, [], null)]);
  const report = await rig.next();
  assert.equal(report?.$case, "fail");
});
