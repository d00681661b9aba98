/**
 * How an attempt ends, whatever prevents it from saying so.
 *
 * For: reports that are refused or cannot be made, and requests that cannot be sent. Not for: ordinary ends (see
 * `life`).
 * Invariant: as in `rig` and `fake`: no test waits for real time.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { agent, Code, type TaskContext, TaskError, type TaskErrorOptions } from "../src/index.js";
import { silent, stage, strike } from "./fake.js";
import { document, Rig } from "./rig.js";

const LIMIT = { timeout: 20_000 };

/** An agent with a capability that does what the test wants, and one that gives its input back. */
function two(code: (ctx: TaskContext) => unknown) {
  return agent("two")
    .capability("work", code)
    .capability("neighbour", (_, input) => input);
}

function refusal(code: string, message: string) {
  return {
    $case: "refused",
    value: { attempt: { task: "task-0", token: 1n }, error: { code, message, hint: "" } },
  } as const;
}

test("a failure whose options cannot be reported is refused where it is made, with its message", () => {
  const wrong: [Record<string, unknown>, RegExp][] = [
    ...[Number.NaN, -5, Number.POSITIVE_INFINITY, 2 ** 63, "30", null].map(
      (retryAfterMs): [Record<string, unknown>, RegExp] => [{ retryAfterMs }, /^RangeError: .*of the failure: busy/],
    ),
    [{ hint: 5 }, /^TypeError: the hint of an error is text, not `5`/],
    [{ code: 5 }, /^TypeError: the code of an error is text, not `5`/],
  ];
  for (const [options, message] of wrong) {
    assert.throws(
      () => new TaskError("busy", options as TaskErrorOptions),
      (error) => message.test(String(error)),
    );
  }
});

test("an attempt fails with the words of a failure that cannot be made", async () => {
  const rig = new Rig(() => {
    throw new TaskError("busy", { retryAfterMs: Number.NaN });
  });
  rig.offer();
  const { message, retryable } = await rig.failure();
  assert.match(message, /of the failure: busy/);
  assert.equal(retryable, true);
});

test("whatever is thrown ends the attempt, in code and in an effect", async () => {
  const mute = Object.create(null) as object;
  const getter = Object.defineProperty(new Error("x"), "message", {
    get() {
      throw new Error("no text");
    },
  });
  const changed = () => Object.assign(new TaskError("changed"), { hint: 5, retryAfterMs: Number.NaN });
  for (const thrown of [mute, getter, changed(), Symbol("s"), new Error("half \ud800")]) {
    for (const inside of [false, true]) {
      const rig = new Rig(async (ctx) => {
        const fail = () => {
          throw thrown;
        };
        return inside ? ctx.run("effect", fail) : fail();
      });
      rig.offer();
      assert.equal((await rig.failure()).code, Code.AgentFailed);
      assert.equal(rig.ends, 1);
    }
  }
});

test("a result that the server refuses becomes a permanent failure", LIMIT, async () => {
  const warned: string[] = [];
  const logger = { ...silent, warn: (message: string) => warned.push(message) };
  const set = await stage([two((_) => "x")], { logger });
  set.session.offer(1n);
  await set.session.expect("complete");
  set.session.send(refusal("C0007", "the output nests too deep"));
  const failed = await set.session.expect("fail");
  assert.deepEqual(failed.error, { code: "C0007", message: "the output nests too deep", hint: "" });
  assert.equal(failed.retryable, false);
  // A failure that is refused too is said once more, in fixed words; then the worker says nothing more.
  set.session.send(refusal("C0005", "the failure cannot be read"));
  assert.match((await set.session.expect("fail")).error?.message ?? "", /^the attempt ended, but/);
  set.session.send(refusal("C0005", "nor this one"));
  set.session.send({ $case: "drain", value: {} });
  await set.session.left();
  await set.left;
  assert.deepEqual(warned, Array(3).fill("a report was refused"));
  set.server.kill();
});

test("a result of an attempt that is no longer the owner's is dropped", LIMIT, async () => {
  const set = await stage([two((_) => "x")]);
  set.session.offer(1n);
  await set.session.expect("complete");
  set.session.send(refusal("C0302", "a newer attempt is at work"));
  set.session.send({ $case: "drain", value: {} });
  await set.session.left();
  await set.left;
  set.server.kill();
});

const loose = (ctx: TaskContext) => ctx as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
type Ask = (ctx: Record<string, (...args: unknown[]) => Promise<unknown>>) => unknown;

const BAD: [string, Ask][] = [
  ["the pause of `NaN` ms", (ctx) => ctx.sleep?.(Number.NaN)],
  ["the pause of `-1` ms", (ctx) => ctx.sleep?.(-1)],
  ["the pause of `9223372036854776000` ms", (ctx) => ctx.sleep?.(2 ** 63)],
  ['the pause of `"1h"` ms', (ctx) => ctx.sleep?.("1h")],
  ["the timeout of `9223372036854776000` ms", (ctx) => ctx.call?.("x", {}, { timeout: 2 ** 63 })],
  ["the priority of `1.5`", (ctx) => ctx.call?.("x", {}, { priority: 1.5 })],
  ["the priority of `1099511627776`", (ctx) => ctx.call?.("x", {}, { priority: 2 ** 40 })],
  ["the attempts of `1099511627776`", (ctx) => ctx.call?.("x", {}, { retry: { attempts: 2 ** 40 } })],
  ["the attempts of `undefined`", (ctx) => ctx.call?.("x", {}, { retry: {} })],
  ["the factor of `NaN`", (ctx) => ctx.call?.("x", {}, { retry: { attempts: 2, factor: Number.NaN } })],
  ["the factor of `0.5`", (ctx) => ctx.call?.("x", {}, { retry: { attempts: 2, factor: 0.5 } })],
  ["the first pause of", (ctx) => ctx.call?.("x", {}, { retry: { attempts: 2, initial: 2 ** 63 } })],
  ["the longest pause of `-1` ms", (ctx) => ctx.call?.("x", {}, { retry: { attempts: 2, max: -1 } })],
  ["the capability of `5` is no text", (ctx) => ctx.call?.(5, {})],
  ["the label of `5` is no text", (ctx) => ctx.call?.("x", {}, { route: { labels: { a: 5 } } })],
  ["the sticky key of `5` is no text", (ctx) => ctx.call?.("x", {}, { route: { sticky: 5 } })],
  ["the agent of `5` is no text", (ctx) => ctx.call?.("x", {}, { agent: 5 })],
  ["the name of `undefined` is no text", (ctx) => ctx.waitSignal?.()],
  ["the name of `5` is no text", (ctx) => ctx.run?.(5, () => 1)],
  ["the name has half of a character", (ctx) => ctx.waitSignal?.("\ud800")],
  ["the prompt of `5` is no text", (ctx) => ctx.waitApproval?.(5)],
  ["a race needs at least one answer", (ctx) => ctx.race?.([].filter(Boolean))],
];

test("what cannot be asked fails permanently in the code that asks it, and touches no other task", LIMIT, async () => {
  const asks = new Map<number, Ask>(BAD.map(([, ask], index) => [index, ask]));
  let next = 0;
  const set = await stage([two((ctx) => asks.get(next)?.(loose(ctx)))]);
  for (const [index, [message]] of BAD.entries()) {
    next = index;
    set.session.offer(BigInt(index + 1));
    const { error, retryable } = await set.session.expect("fail");
    assert.deepEqual([error?.code, retryable], [Code.BadRequest, false], message);
    assert.ok(error?.message.startsWith(message), `${error?.message} should start with ${message}`);
  }
  set.session.offer(100n, 1, { attempt: { task: "task-1", token: 100n }, capability: "neighbour" });
  assert.equal(document((await set.session.expect("complete")).output), 1);
  await strike(set);
});

test("what cannot be sent for another reason ends its own attempt, not the turn of others", async () => {
  const rig = new Rig(async (ctx) => ctx.call("x", null));
  const send = rig.send.bind(rig);
  rig.send = (message) => {
    if (message.$case === "record") {
      throw new RangeError("it cannot be written");
    }
    send(message);
  };
  rig.offer();
  assert.deepEqual(await rig.failure(), {
    code: Code.AgentFailed,
    message: "RangeError: it cannot be written",
    retryable: true,
  });
});
