/**
 * The journal of a task, from the agent's code to the wire and back: the same cases as for the Rust SDK.
 *
 * For: recording, replay, parking, divergence. Not for: the life of attempts and workers (see `life` and `worker`).
 * Invariant: every test plays the server by hand.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";
import { Code, type TaskContext, TaskError } from "../src/index.js";
import type { JournalEntry } from "../src/proto/consort/v1/worker.js";
import { bytes, called, document, entry, Rig, ran, slept } from "./rig.js";

/** Two effects, one after the other. */
async function twoEffects(ctx: TaskContext): Promise<number[]> {
  const first = await ctx.run("first", () => 7);
  const second = await ctx.run("second", async () => first * 6);
  return [first, second];
}

/** Asks two capabilities side by side. */
async function twoCalls(ctx: TaskContext): Promise<unknown> {
  const [a, b] = [ctx.call("a", 1), ctx.call("b", 2)];
  return Promise.all([a, b]);
}

function fails(code: string, message: string): JournalEntry["result"] {
  return { $case: "error", value: { code, message, hint: "" } };
}

test("an effect is durable before the code continues", async () => {
  const rig = new Rig(twoEffects);
  rig.offer();
  const first = await rig.entry();
  assert.deepEqual(first, { index: 0, entry: ran("first", 7) });
  assert.deepEqual(await rig.rest(), []);
  rig.record(0, first.entry);
  const second = await rig.entry();
  assert.deepEqual(second, { index: 1, entry: ran("second", 42, [0]) });
  rig.record(1, second.entry);
  assert.deepEqual(await rig.output(), [7, 42]);
});

test("the server has the last word on a result", async () => {
  const rig = new Rig(twoEffects);
  rig.offer();
  await rig.entry();
  rig.record(0, ran("first", 1));
  await rig.recordNext();
  assert.deepEqual(await rig.output(), [1, 6]);
});

test("replay answers from the journal and does nothing again", async () => {
  const rig = new Rig(async (ctx) => {
    const old = await ctx.run("old", (): number => assert.fail("it was recorded"));
    return [ctx.replaying, old, await ctx.run("new", () => 2)];
  });
  rig.offer([ran("old", 1)]);
  const fresh = await rig.entry();
  assert.deepEqual(fresh, { index: 1, entry: ran("new", 2, [0]) });
  rig.record(1, fresh.entry);
  assert.deepEqual(await rig.output(), [false, 1, 2]);
});

test("a permanent failure of an effect is recorded and a retryable one is not", async () => {
  const rig = new Rig(async (ctx, permanent: never) => {
    const risky = ctx.run("risky", () => {
      throw permanent ? new TaskError("never", { retryable: false }) : new RangeError("later");
    });
    const failed = await risky.then(
      () => assert.fail("it failed"),
      (error: TaskError) => error,
    );
    // Code that continues all the same must not record what depends on an outcome that is not recorded.
    const after = await ctx.run("after", () => true).catch(() => false);
    assert.equal(after, permanent);
    throw failed;
  });
  rig.offer([], true);
  const recorded = await rig.recordNext();
  assert.deepEqual(recorded.result, fails(Code.AgentFailed, "never"));
  await rig.recordNext();
  assert.deepEqual(await rig.failure(), { code: Code.AgentFailed, message: "never", retryable: false });

  rig.offer([], false);
  assert.deepEqual(await rig.failure(), { code: Code.AgentFailed, message: "RangeError: later", retryable: true });
});

test("calls run side by side, and answers before a park need none", async () => {
  const rig = new Rig(twoCalls);
  rig.offer();
  assert.deepEqual([await rig.recordNext(), await rig.recordNext()], [called("a", 1), called("b", 2)]);
  rig.record(1, called("b", 2, [], 20));
  rig.record(0, called("a", 1, [], 10));
  assert.deepEqual(await rig.output(), [10, 20]);
});

test("a task that only waits parks, and resumes with its journal", async () => {
  const rig = new Rig(twoCalls);
  rig.offer();
  await rig.recordNext();
  await rig.recordNext();
  assert.deepEqual(await rig.parks(), [0, 1]);
  rig.offer([called("a", 1, [], 10), called("b", 2)]);
  assert.deepEqual(await rig.parks(), [1]);
  rig.offer([called("a", 1, [], 10), called("b", 2, [], 20)]);
  assert.deepEqual(await rig.output(), [10, 20]);
});

test("a task does not park before its requests are durable", async () => {
  const rig = new Rig(twoCalls);
  rig.offer();
  const [a, b] = [await rig.entry(), await rig.entry()];
  await rig.pass(rig.timeouts.parkAfter);
  assert.deepEqual(await rig.rest(), []);
  rig.record(0, a.entry);
  rig.record(1, b.entry);
  assert.deepEqual(await rig.parks(), [0, 1]);
});

test("code that was left to park records and reports nothing more", async () => {
  let wake = () => {};
  const outside = new Promise<void>((resolve) => {
    wake = resolve;
  });
  let begun = 0;
  let caught = 0;
  const rig = new Rig(async (ctx) => {
    const other = async () => {
      await outside;
      ctx.progress("still here");
      await ctx.stream("more");
      await ctx.run("late", () => {
        begun += 1;
      });
    };
    try {
      await Promise.all([ctx.call("slow", 0), other()]);
    } catch {
      caught += 1;
    }
  });
  const { signal } = rig.offer() && { signal: rig.attempt?.signal };
  await rig.recordNext();
  assert.deepEqual(await rig.parks(), [0]);
  wake();
  rig.record(0, called("slow", 0, [], 1));
  assert.deepEqual(await rig.rest(), []);
  assert.deepEqual([begun, caught, rig.ends, signal?.aborted], [0, 0, 1, true]);
});

test("a local effect keeps its task from parking and holds back later entries", async () => {
  let finish = (_: number) => {};
  const rig = new Rig(async (ctx) => {
    const slow = ctx.run("slow", () => new Promise<number>((resolve) => (finish = resolve)));
    const quick = ctx.call("quick", 0);
    return (await slow) + Number(await quick);
  });
  rig.offer();
  await rig.pass(rig.timeouts.parkAfter);
  assert.deepEqual(await rig.rest(), []);
  finish(1);
  assert.deepEqual(await rig.recordNext(), ran("slow", 1));
  assert.deepEqual(await rig.recordNext(), called("quick", 0));
  rig.record(1, called("quick", 0, [], 2));
  assert.equal(await rig.output(), 3);
});

test("a fan-out parks for its first open call", async () => {
  const rig = new Rig((ctx) => ctx.all([1, 2, 3].map((n) => ctx.call("square", n))));
  rig.offer();
  for (let n = 0; n < 3; n += 1) {
    await rig.recordNext();
  }
  assert.deepEqual(await rig.parks(), [0]);
  rig.offer([1, 2, 3].map((n) => called("square", n, [], n * n)));
  assert.deepEqual(await rig.output(), [1, 4, 9]);
});

test("all waits for answers in their order, and fails at once with a branch", async () => {
  const rig = new Rig(async (ctx, fails: never) => {
    const slow = async () => {
      await ctx.call("slow", 0);
    };
    const broken = async () => {
      await ctx.call("quick", 0);
      if (fails) {
        throw new TaskError("broken", { retryable: false });
      }
      return "fine";
    };
    const error = await ctx.all([slow(), broken(), "plain"]).catch((thrown: TaskError) => thrown.message);
    return [error, await ctx.call("last", 0)];
  });
  rig.offer([], true);
  await rig.recordNext();
  await rig.recordNext();
  rig.record(1, called("quick", 0, [], null));
  assert.deepEqual(await rig.recordNext(), called("last", 0, [1]));
  rig.record(2, called("last", 0, [], 1));
  assert.deepEqual(await rig.output(), ["broken", 1]);

  rig.offer([called("slow", 0, [], null), called("quick", 0, [], null), called("last", 0, [0, 1], 1)], false);
  assert.deepEqual(await rig.output(), [[null, "fine", "plain"], 1]);
});

/** Two branches of two calls each: which asks its second call first depends on which answer comes first. */
async function branches(ctx: TaskContext): Promise<unknown> {
  const branch = async (name: string) => {
    const first = Number(await ctx.call(name, 1));
    return ctx.call(name, first + 1);
  };
  return ctx.all([branch("a"), branch("b")]);
}

test("branches are replayed in the order in which answers came", async () => {
  const rig = new Rig(branches);
  rig.offer();
  await rig.recordNext();
  await rig.recordNext();
  // `b` is answered first, and so `b` asks first.
  rig.record(1, called("b", 1, [], 5));
  assert.deepEqual(await rig.recordNext(), called("b", 6, [1]));
  rig.record(0, called("a", 1, [], 3));
  assert.deepEqual(await rig.recordNext(), called("a", 4, [0]));
  assert.deepEqual(await rig.parks(), [2, 3]);

  // All is answered when it is offered again: still `b` must make its request before `a`.
  rig.offer([called("a", 1, [], 3), called("b", 1, [], 5), called("b", 6, [1], 60), called("a", 4, [0], 40)]);
  assert.deepEqual(await rig.output(), [40, 60]);
});

test("answers that come together are given one at a time, each when the code is quiescent", async () => {
  const rig = new Rig(async (ctx) => {
    const seen: string[] = [];
    const branch = async (name: string, hops: number) => {
      await ctx.call(name, 0);
      // However many hops a branch makes, the other one gets its answer only after them.
      for (let hop = 0; hop < hops; hop += 1) {
        await null;
      }
      seen.push(name);
      await ctx.run(name, () => name);
    };
    await Promise.all([branch("slow", 100), branch("quick", 0)]);
    return seen;
  });
  rig.offer();
  await rig.recordNext();
  await rig.recordNext();
  rig.record(0, called("slow", 0, [], null));
  rig.record(1, called("quick", 0, [], null));
  assert.deepEqual(await rig.recordNext(), ran("slow", "slow", [0]));
  assert.deepEqual(await rig.recordNext(), ran("quick", "quick", [1]));
  assert.deepEqual(await rig.output(), ["slow", "quick"]);
});

test("a journal without the order of answers is replayed too, where the code has one branch", async () => {
  const rig = new Rig(twoEffects);
  rig.offer([ran("first", 7), ran("second", 42)]);
  assert.deepEqual(await rig.pass(rig.timeouts.parkAfter), undefined);
  assert.deepEqual(await rig.output(), [7, 42]);
});

test("a race is decided by the answer that came first, also on replay", async () => {
  const rig = new Rig(async (ctx) => {
    const slow = ctx.call("slow", 0);
    const timeout = ctx.sleep(60_000).then(() => "timeout");
    const winner = await ctx.race([slow, timeout]);
    return ctx.run("note", () => winner);
  });
  // Both are answered by now; by the note, the pause came first.
  rig.offer([called("slow", 0, [], "late"), slept(60_000, [], null), ran("note", "timeout", [1])]);
  assert.equal(await rig.output(), "timeout");
});

test("a task does not park for what lost a race", async () => {
  const rig = new Rig(async (ctx) => {
    const slow = ctx.call("slow", 0);
    const winner = await ctx.race([slow, ctx.call("quick", 0)]);
    return [winner, await ctx.call("last", 0)];
  });
  rig.offer();
  await rig.recordNext();
  await rig.recordNext();
  rig.record(1, called("quick", 0, [], "quick"));
  await rig.recordNext();
  assert.deepEqual(await rig.parks(), [2]);
});

test("what is asked and not awaited runs, and the task does not park for it", async () => {
  const rig = new Rig(async (ctx) => {
    const early = ctx.call("early", 0);
    const late = await ctx.call("late", 0);
    return [await early, late];
  });
  rig.offer();
  await rig.recordNext();
  await rig.recordNext();
  assert.deepEqual(await rig.parks(), [1]);
  rig.offer([called("early", 0, [], 1), called("late", 0, [], 2)]);
  assert.deepEqual(await rig.output(), [1, 2]);
});

test("signals bring their payload, pauses end and approvals are answered", async () => {
  const rig = new Rig(async (ctx) => {
    await ctx.sleep(3_600_000);
    const name = await ctx.waitSignal("name", z.string());
    const { approved, by } = await ctx.waitApproval(`greet ${name}?`, { name });
    return [name, approved, by];
  });
  rig.offer();
  const pause = await rig.recordNext();
  assert.deepEqual(pause, slept(3_600_000));
  assert.deepEqual(await rig.parks(), [0]);
  rig.offer([slept(3_600_000, [], null)]);
  const signal = await rig.recordNext();
  assert.equal(signal.request?.$case === "signal" && signal.request.value.name, "name");
  const schema = signal.request?.$case === "signal" ? document(signal.request.value.schema) : undefined;
  assert.equal((schema as { type?: string }).type, "string", "senders are held to it");
  rig.record(1, { ...signal, result: { $case: "output", value: bytes("Ada") } });
  const approval = await rig.recordNext();
  assert.ok(approval.request?.$case === "approval");
  assert.deepEqual(
    [approval.request.value.prompt, document(approval.request.value.detail)],
    ["greet Ada?", { name: "Ada" }],
  );
  const decision = { approved: false, by: "grace", comment: null };
  rig.record(2, { ...approval, result: { $case: "output", value: bytes(decision) } });
  assert.deepEqual(await rig.output(), ["Ada", false, "grace"]);
});

test("code that takes another path fails with the place", async () => {
  const cases: [JournalEntry[], string][] = [
    [[ran("other", 1)], "entry 0 is recorded as run `other`, but found run `first`"],
    [
      [ran("first", 1), called("x", { q: 1 }, [0])],
      'entry 1 is recorded as call `x` with `{"q":1}`, but found run `second`',
    ],
    [
      [ran("first", 1), ran("second", 2, [0]), ran("third", 3, [1])],
      "entry 2 is recorded as run `third`, but found the end of the code",
    ],
  ];
  for (const [journal, message] of cases) {
    const rig = new Rig(twoEffects);
    rig.offer(journal);
    assert.deepEqual(await rig.failure(), { code: Code.JournalDiverged, message, retryable: false });
    assert.deepEqual([await rig.rest(), rig.ends], [[], 1]);
  }
});

test("code that catches a divergence fails with it all the same", async () => {
  const rig = new Rig(async (ctx) => {
    await ctx.run("first", () => 1).catch(() => {});
    return "never mind";
  });
  rig.offer([ran("other", 1)]);
  assert.equal((await rig.failure()).code, Code.JournalDiverged);
});

test("the input of a call may be written otherwise in the record", async () => {
  const rig = new Rig((ctx) => ctx.call("a", { x: 1, y: [2] }));
  const request = { capability: "a", input: Buffer.from(' {"y":[2.0],"x":1} '), options: undefined };
  rig.offer([entry({ $case: "call", value: request }, [], "fits")]);
  assert.equal(await rig.output(), "fits");
});

test("how a call is done may change between two attempts", async () => {
  const rig = new Rig((ctx) => ctx.call("a", 1, { agent: "new", timeout: 5_000 }));
  rig.offer([called("a", 1, [], "fits")]);
  assert.equal(await rig.output(), "fits");
});

test("a call carries its options", async () => {
  const rig = new Rig((ctx) =>
    ctx.call("a", 1, {
      agent: "writer",
      route: { version: "^1.2", labels: { region: "eu" }, sticky: "k" },
      retry: { attempts: 3, initial: 500, factor: 1.5 },
      timeout: 30_000,
      priority: -2,
    }),
  );
  rig.offer();
  const { entry: asked } = await rig.entry();
  assert.ok(asked.request?.$case === "call");
  assert.deepEqual(asked.request.value.options, {
    agent: "writer",
    route: { version: "^1.2", labels: { region: "eu" }, sticky: "k" },
    retry: { attempts: 3, initialUs: 500_000n, factorMilli: 1500, maxUs: 60_000_000n },
    timeoutUs: 30_000_000n,
    priority: -2,
  });
});

test("a failed call is permanent and keeps its code", async () => {
  const rig = new Rig(twoCalls);
  rig.offer();
  await rig.recordNext();
  await rig.recordNext();
  rig.record(0, { ...called("a", 1), result: fails("C0305", "a was slow") });
  assert.deepEqual(await rig.failure(), { code: "C0305", message: "a was slow", retryable: false });
});

test("an answer of another type is named by its path", async () => {
  const rig = new Rig((ctx) => ctx.call("list", 0, { output: z.array(z.number()) }));
  rig.offer([called("list", 0, [], [1, "two"])]);
  const { code, message, retryable } = await rig.failure();
  assert.deepEqual([code, retryable], [Code.BadOutput, false]);
  assert.match(message, /^the answer does not fit at `\$\[1\]`: /);
});

test("the journal cannot be used inside an effect", async () => {
  const rig = new Rig((ctx) => ctx.run("outer", async () => ctx.call("x", 0)));
  rig.offer();
  const outer = await rig.recordNext();
  assert.ok(outer.result?.$case === "error");
  assert.equal(outer.result.value.code, Code.BadRequest);
  assert.equal((await rig.failure()).code, Code.BadRequest);
});

test("after a reconnect open entries are requested again and the attempt continues", async () => {
  const rig = new Rig(twoCalls);
  const attempt = rig.offer();
  await rig.entry();
  const b = await rig.entry();
  rig.connected = false;
  attempt.reconnected();
  assert.deepEqual(await rig.rest(), []);
  Object.assign(rig, { connected: true, epoch: 2 });
  attempt.reconnected();
  assert.equal((await rig.entry()).index, 0);
  assert.deepEqual(await rig.entry(), b);
  rig.record(0, called("a", 1, [], 1));
  rig.record(1, called("b", 2, [], 2));
  assert.deepEqual(await rig.output(), [1, 2]);
});

test("a refused entry fails the attempt with the reason", async () => {
  const rig = new Rig(twoCalls);
  const attempt = rig.offer();
  await rig.entry();
  await rig.entry();
  attempt.refuse(new TaskError("too deep", { code: Code.LimitReached, retryable: false }));
  assert.deepEqual(await rig.failure(), { code: Code.LimitReached, message: "too deep", retryable: false });
});

test("answers of many calls in any order find their place", async () => {
  const rig = new Rig(async (ctx, count: never) => {
    const calls = Array.from({ length: count }, (_, n) => ctx.call("double", n));
    return Promise.all(calls);
  });
  rig.offer([], 100);
  const entries = [];
  for (let n = 0; n < 100; n += 1) {
    entries.push(await rig.entry());
  }
  for (const { index } of entries.reverse()) {
    rig.record(index, called("double", index, [], index * 2));
  }
  assert.deepEqual(
    await rig.output(),
    Array.from({ length: 100 }, (_, n) => n * 2),
  );
});

test("a task with too many entries fails with the limit", async () => {
  const rig = new Rig(async (ctx) => {
    for (let n = 0; n <= 10_000; n += 1) {
      ctx.sleep(1);
    }
    return ctx.sleep(1);
  });
  rig.offer();
  const { code, message } = await rig.failure();
  assert.deepEqual([code, message], [Code.LimitReached, "the task requested entry 10001, the limit is 10000"]);
});

test("what cannot be written as JSON, or is too large, is refused where it is asked", async () => {
  const inputs: [unknown, string][] = [
    [1n, Code.BadJson],
    [() => 1, Code.BadJson],
    ["x".repeat(2_000), Code.PayloadTooLarge],
  ];
  for (const [input, code] of inputs) {
    const rig = new Rig((ctx) => ctx.call("a", input));
    rig.offer();
    const failure = await rig.failure();
    assert.deepEqual([failure.code, failure.retryable], [code, false]);
  }
  const rig = new Rig((ctx) => ctx.sleep(-1));
  rig.offer();
  assert.equal((await rig.failure()).code, Code.BadRequest);
});
