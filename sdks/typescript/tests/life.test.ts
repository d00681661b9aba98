/**
 * The life of one attempt: failures, cancellation, progress, partial output.
 *
 * For: what the code of a task meets. Not for: the journal (see `journal`) or connections (see `worker`).
 * Invariant: as in `rig`: no test waits for real time.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, type TaskContext, TaskError } from "../src/index.js";
import { lineLogger } from "../src/logger.js";
import { called, document, Rig, ran } from "./rig.js";

/** A promise that is settled by hand. */
function gate<T = void>(): { promise: Promise<T>; open: (value: T) => void } {
  let open: (value: T) => void = () => {};
  const promise = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { promise, open };
}

test("a failure keeps its message, code, hint and the time to try again", async () => {
  const rig = new Rig(() => {
    throw new TaskError("slow down", { code: Code.Overloaded, hint: "wait", retryAfterMs: 9_000 });
  });
  rig.offer();
  const failed = await rig.next();
  assert.deepEqual(failed.value, {
    attempt: { task: "task-0", token: 1n },
    error: { code: "C0401", message: "slow down", hint: "wait" },
    retryable: true,
    retryAfterUs: 9_000_000n,
  });
});

test("whatever else is thrown is a retryable failure with its name, message and cause", async () => {
  const cases: [unknown, string][] = [
    [new TypeError("x is not a function"), "TypeError: x is not a function"],
    [new Error("outer", { cause: new RangeError("inner") }), "Error: outer: RangeError: inner"],
    ["just text", "just text"],
    [undefined, "the agent threw undefined"],
  ];
  for (const [thrown, message] of cases) {
    const rig = new Rig(() => {
      throw thrown;
    });
    rig.offer();
    assert.deepEqual(await rig.failure(), { code: Code.AgentFailed, message, retryable: true });
  }
});

test("the log of the worker has the stack of what was thrown, in code and in an effect", async () => {
  const said: [string, string, Record<string, unknown>][] = [];
  const to =
    (level: string) =>
    (message: string, fields: Record<string, unknown> = {}) => {
      said.push([level, message, fields]);
    };
  const logger = { debug: to("debug"), info: to("info"), warn: to("warn"), error: to("error") };
  function thrower(): never {
    throw new Error("boo", { cause: new RangeError("deep") });
  }
  for (const code of [thrower, (ctx: TaskContext) => ctx.run("x", thrower)]) {
    const rig = new Rig(code);
    rig.logger = logger;
    rig.offer();
    await rig.failure();
    const [level, message, { stack, ...fields }] = said.pop() ?? ["", "", {}];
    assert.deepEqual([level, message], ["warn", "a task failed"]);
    assert.match(String(stack), /Error: boo\n +at thrower .*life\.test[\s\S]*RangeError: deep/);
    const where = { capability: "work", run: "run-0", workflow: "test", step: "step", attempt: 1 };
    assert.deepEqual(fields, { ...where, code: "C0304", reason: "Error: boo: RangeError: deep" });
  }
  // What the author foresaw has no stack worth a look.
  const rig = new Rig(() => {
    throw new TaskError("no such page");
  });
  rig.logger = logger;
  rig.offer();
  await rig.failure();
  assert.deepEqual([said[0]?.[0], said[0]?.[2].stack], ["info", undefined]);
});

test("a stack is written on lines of its own", (t) => {
  const lines: string[] = [];
  t.mock.method(process.stderr, "write", (line: string) => lines.push(line) > 0);
  lineLogger().warn("a task failed", { step: "a", stack: "Error: boo\n    at x" });
  t.mock.restoreAll();
  assert.match(lines.join(""), /^\S+ warn {2}a task failed step=a\nError: boo\n {4}at x\n$/);
});

test("a long message is cut between characters", async () => {
  assert.equal(Buffer.byteLength(new TaskError("é".repeat(4096)).message), 4096);
  assert.equal(Buffer.byteLength(new TaskError(`x${"é".repeat(4096)}`).message), 4095);
});

test("the latest progress is sent, also with the end", async () => {
  const open = gate();
  const rig = new Rig(async (ctx) => {
    ctx.progress("one");
    ctx.progress("two");
    await open.promise;
    ctx.progress("three");
    return "done";
  });
  rig.offer();
  const first = await rig.next();
  assert.deepEqual(first.$case === "progress" && first.value.message, "two");
  assert.deepEqual(await rig.rest(), []);
  open.open();
  const last = await rig.next();
  assert.deepEqual(last.$case === "progress" && last.value.message, "three");
  assert.equal(await rig.output(), "done");
});

test("partial output is sent in order, long texts in pieces that keep their characters whole", async () => {
  const long = "🦀".repeat(100_000);
  const rig = new Rig(async (ctx) => {
    await ctx.stream("a");
    await ctx.stream({ n: 1 });
    await ctx.stream(long);
    return "done";
  });
  rig.offer();
  const said = await rig.rest();
  const deltas = said.map((message) => (message.$case === "stream" ? message.value.delta?.kind : undefined));
  assert.deepEqual(deltas[0], { $case: "text", value: "a" });
  assert.ok(deltas[1]?.$case === "json");
  assert.deepEqual(document(deltas[1].value), { n: 1 });
  const pieces = deltas.slice(2, -1).map((delta) => (delta?.$case === "text" ? delta.value : ""));
  assert.ok(pieces.length > 1 && pieces.every((piece) => !Buffer.from(piece).includes("\u{fffd}")));
  assert.equal(pieces.join(""), long);
  assert.equal(said.at(-1)?.$case, "complete");
});

test("a character that comes in two pieces is shown whole, and a half that stays one is shown at the end", async () => {
  const show = async (...pieces: (string | unknown[])[]) => {
    const rig = new Rig((ctx) => {
      for (const piece of pieces) {
        void ctx.stream(piece);
      }
    });
    rig.offer();
    return (await rig.rest()).map((message) => {
      const kind = message.$case === "stream" ? message.value.delta?.kind : undefined;
      return kind?.$case === "text" ? kind.value : (kind?.$case ?? message.$case);
    });
  };
  assert.deepEqual(await show(..."a😀b".split("")), ["a", "😀", "b", "complete"]);
  assert.deepEqual(await show("x\ud83d", "\ude00y"), ["x", "😀y", "complete"]);
  assert.deepEqual(await show("\ud83d", "", "\ude00"), ["😀", "complete"]);
  assert.deepEqual(await show("x\ud83d"), ["x", "\ud83d", "complete"]);
  assert.deepEqual(await show("\ud83d", [1], "\ude00"), ["\ud83d", "json", "\ude00", "complete"]);
  assert.deepEqual((await show("😀".repeat(10_000), "z")).slice(0, -1).join(""), `${"😀".repeat(10_000)}z`);
});

test("cancelled code is notified, its waits fail, and its report is dropped", async () => {
  let told: unknown;
  let waited: TaskError | undefined;
  const rig = new Rig(async (ctx) => {
    ctx.signal.addEventListener("abort", () => {
      told = ctx.signal.reason;
    });
    await ctx.call("slow", 0).catch((error: TaskError) => {
      waited = error;
    });
    return "too late";
  });
  const attempt = rig.offer();
  await rig.entry();
  attempt.cancel("the run was cancelled");
  assert.deepEqual(await rig.rest(), []);
  assert.deepEqual([waited?.code, waited?.message], [Code.Cancelled, "the run was cancelled"]);
  assert.equal(told, waited);
  assert.equal(rig.ends, 1);
});

test("code that does not heed a cancellation is left alone after the grace", async () => {
  const rig = new Rig(() => new Promise(() => {}));
  const attempt = rig.offer();
  await rig.quiet();
  attempt.cancel("enough");
  await rig.quiet();
  assert.equal(rig.ends, 0);
  await rig.pass(rig.timeouts.cancelGrace);
  assert.deepEqual([rig.ends, await rig.rest()], [1, []]);
});

test("code that is cancelled before it begins does not begin", async () => {
  let begun = false;
  const rig = new Rig(() => {
    begun = true;
  });
  rig.offer().cancel("enough");
  await rig.quiet();
  assert.deepEqual([begun, rig.ends], [false, 1]);
});

test("a fenced attempt reports nothing, and its code does not continue", async () => {
  let caught = false;
  const rig = new Rig(async (ctx) => {
    try {
      await ctx.call("slow", 0);
    } catch {
      caught = true;
    }
  });
  const attempt = rig.offer();
  const { signal } = attempt;
  await rig.recordNext();
  attempt.abandon();
  rig.record(0, called("slow", 0, [], 1));
  assert.deepEqual(await rig.rest(), []);
  assert.deepEqual([caught, signal.aborted, rig.ends], [false, true, 1]);
});

test("an effect that ends after its attempt is not recorded", async () => {
  const open = gate<number>();
  const rig = new Rig((ctx) => ctx.run("slow", () => open.promise));
  const attempt = rig.offer();
  await rig.quiet();
  attempt.abandon();
  open.open(1);
  assert.deepEqual(await rig.rest(), []);
});

test("messages of a task say where they come from, and are silent on replay", async () => {
  const said: unknown[] = [];
  const rig = new Rig(async (ctx) => {
    ctx.log.info("begin");
    await ctx.run("first", () => 1);
    ctx.log.warn("end", { n: 1 });
  });
  const write = (message: string, fields?: Record<string, unknown>) => said.push([message, fields]);
  rig.logger = { debug: write, info: write, warn: write, error: write };
  rig.offer([ran("first", 1)]);
  assert.equal(await rig.output(), null);
  assert.deepEqual(said, [["end", { run: "run-0", workflow: "test", step: "step", attempt: 1, n: 1 }]]);
});
