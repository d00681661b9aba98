/**
 * The TypeScript worker of the conformance scenarios (README.md describes each capability).
 *
 * For: the driver in crates/conformance. Not for: learning (see sdks/typescript/examples).
 * Invariant: it does what the workers in the other languages do.
 */
import { createRequire } from "node:module";
import { agent, ConsortError, TaskError, Worker } from "../typescript/dist/index.js";

const { z } = createRequire(new URL("../typescript/package.json", import.meta.url))("zod");

const ledger = process.env.CONFORM_LEDGER;
const variant = process.env.CONFORM_VARIANT ?? "";
const two = variant === "b";

/** Asks the outside service for an effect. */
async function effect(ctx, name) {
  const answer = await fetch(`${ledger}/effects/${name}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ key: ctx.idempotencyKey }),
  });
  return (await answer.json()).count;
}

const named = z.object({ name: z.string() });
const count = z.object({ count: z.int() });
const anything = { effect: "read" };

async function flow(ctx, { word }) {
  const first = await ctx.run("first", () => effect(ctx, "first"));
  const echoed = await ctx.call("conform.echo", { n: 1 });
  await ctx.sleep(30);
  const go = await ctx.waitSignal("go");
  const sides = await ctx.all([
    ctx.call("conform.effect", { name: "left" }, { output: count }),
    ctx.call("conform.effect", { name: "right" }, { output: count }),
  ]);
  const last = await ctx.run("last", () => effect(ctx, "last"));
  return { word, echoed: echoed.n, go, sides: sides[0].count + sides[1].count, counts: [first, last] };
}

/** An event that is handled at the second attempt. */
async function ordered(ctx, event) {
  const about = `${event.subject}-${event.data.n}`;
  await ctx.run("begun", () => effect(ctx, `begun-${about}`));
  if (ctx.attempt === 1) {
    throw new TaskError("not yet", { retryable: true });
  }
  await ctx.run("done", () => effect(ctx, `done-${about}`));
}

async function branch(ctx, side) {
  const first = await ctx.run(`${side}-1`, () => effect(ctx, `${side}-1`));
  const echoed = await ctx.call("conform.echo", side);
  const second = await ctx.run(`${side}-2`, () => effect(ctx, `${side}-2`));
  return [first, echoed, second];
}

function fail(ctx, { kind, until }) {
  if (ctx.attempt >= until) {
    return { attempt: ctx.attempt };
  }
  if (kind === "exception") {
    throw new Error("boom");
  }
  throw new TaskError("no such page", { retryable: kind === "retryable" });
}

async function listen(ctx) {
  const found = [];
  for (let attempt = 0; attempt < 3; attempt += 1) {
    found.push((await ctx.race([ctx.waitSignal("go"), ctx.sleep(300)])) ?? null);
    if (attempt === 0) {
      await ctx.run("between", () => effect(ctx, "between"));
    }
  }
  return found;
}

async function shared(ctx) {
  const space = ctx.state("conform");
  const before = await space.get("count");
  await space.put("count", 1, { seen: 0 });
  await ctx.run("between", () => effect(ctx, "between"));
  const found = await space.get("count", { output: z.number() });
  const stale = await space.put("count", 2, { seen: 0 }).catch((error) => error.code);
  const written = await space.put("count", found.value + 1, { seen: found.version });
  const key = { space: "conform", key: "count" };
  const done = await ctx.transact({ if: [{ ...key, equals: 2 }], do: [{ ...key, op: "delete" }] });
  return [before?.value ?? null, found.value, stale, written.outcome, done.succeeded, done.results[0].outcome];
}

async function asked(ctx) {
  const address = z.object({ city: z.string() });
  await ctx.expose("stage", { n: 1 });
  await ctx.setLabels({ stage: "asked" });
  const move = await ctx.waitUpdate("move", address);
  await ctx.run("between", () => effect(ctx, "between"));
  await move.answer({ moved: move.input.city });
  await ctx.expose("stage", { n: 2 });
  const late = await ctx.waitUpdate("move", address);
  await late.reject("too late");
  return [move.input.city, late.input.city];
}

async function address(ctx) {
  return (await ctx.waitSignal("go", z.object({ city: z.string() }))).city;
}

async function titled(ctx) {
  const echoed = await ctx.call("conform.echo", "booked", { title: two ? "inn" : "hotel" });
  const [desk, night] = [{ title: "desk" }, { title: "night" }];
  await ctx.race([ctx.waitSignal("go", undefined, desk), ctx.sleep(3_600_000, night)]);
  return echoed;
}

/** A person's decision with all its members. */
async function decided(answer) {
  const { approved, by, comment, value = null } = await answer;
  return { approved, by, comment, value };
}

async function question(ctx) {
  await ctx.race([ctx.waitApproval("first?"), ctx.sleep(300)]);
  await ctx.run("between", () => effect(ctx, "between"));
  return decided(ctx.waitApproval("second?"));
}

async function echoAndWait(ctx, input) {
  const echoed = await ctx.call("conform.echo", input);
  return { echoed, go: await ctx.waitSignal("go") };
}

/** Does more in its second variant, and no longer knows the old path in its third. */
async function patched(ctx) {
  await ctx.run("begun", () => effect(ctx, "begun"));
  let isNew = variant === "c";
  if (variant === "b") {
    isNew = await ctx.patched("more");
  } else if (isNew) {
    await ctx.deprecatePatch("more");
  }
  if (isNew) {
    await ctx.run("more", () => effect(ctx, "more"));
  }
  return { path: isNew ? "new" : "old", go: await ctx.waitSignal("go") };
}

/** Reserves, pays, waits, and mails; each variant is a deploy. */
async function order(ctx) {
  const reserve = () => ctx.run(variant === "renamed" ? "hold" : "reserve", () => effect(ctx, "reserve"));
  const pay = () => ctx.call("conform.write", { name: "pay" });
  for (const act of variant === "swapped" ? [pay, reserve] : [reserve, pay]) {
    await act();
  }
  const gift = variant === "patched" && (await ctx.patched("gift"));
  if (gift) {
    await ctx.run("gift", () => effect(ctx, "gift"));
  }
  const packed = await ctx.waitSignal("packed");
  await ctx.run("mail", () => effect(ctx, "mail"));
  return { variant, gift, packed };
}

async function options(ctx) {
  const retry = { attempts: 3, initial: 1, factor: 1, max: 1 };
  const done = await ctx.call("conform.fail", { kind: "retryable", until: 3 }, { retry });
  let code = "";
  try {
    await ctx.call("conform.hold", { name: "never" }, { timeout: 300 });
  } catch (error) {
    code = error instanceof ConsortError ? error.code : String(error);
  }
  return { attempt: done.attempt, timed_out: code };
}

/** What cannot be reported or asked. */
async function odd(ctx, { kind }) {
  await effect(ctx, kind);
  if (kind === "race") {
    return ctx.race([]);
  }
  if (kind === "attempts") {
    return ctx.call("conform.echo", 1, { retry: { attempts: 0 } });
  }
  return Array(65)
    .fill(0)
    .reduce((inner) => [inner], 1);
}

const conform = agent("conform", { version: process.env.CONFORM_VERSION ?? "1.0.0", labels: { suite: "conformance" } })
  .capability("conform.echo", anything, (_, input) => input)
  .capability(
    "conform.total",
    {
      effect: "read",
      input: z.object({ items: z.array(z.object({ name: z.string(), qty: z.int().min(1) })) }),
      output: z.object({ total: z.int(), names: z.array(z.string()) }),
    },
    (_, { items }) => ({
      total: items.reduce((sum, item) => sum + item.qty, 0),
      names: items.map((item) => item.name),
    }),
  )
  .capability("conform.liar", { effect: "read", output: z.object({ n: z.int() }) }, () => ({ n: "three" }))
  .capability("conform.fail", { input: z.object({ kind: z.string(), until: z.int() }) }, fail)
  .capability("conform.identity", anything, (ctx) => ({
    attempt: ctx.attempt,
    step: ctx.step,
    workflow: ctx.workflow,
    keyed: ctx.idempotencyKey !== "",
    traced: ctx.traceparent.length === 55,
  }))
  .capability("conform.effect", { input: named, output: count }, async (ctx, { name }) => ({
    count: await ctx.run(name, () => effect(ctx, name)),
  }))
  .capability("conform.write", { effect: "write", input: named, output: count }, async (ctx, { name }) => ({
    count: await effect(ctx, name),
  }))
  .capability("conform.hold", { input: named, output: count }, async (ctx, { name }) => ({
    count: await effect(ctx, name),
  }))
  .subscription(
    "ordered",
    "conform.ordered",
    { filter: "event.data.n > 5", orderBy: "subject", maxDeliveries: 5, backOff: [1, 1], fromStart: true },
    ordered,
  )
  .capability("conform.flow", { input: z.object({ word: z.string() }) }, flow)
  .capability("conform.branches", {}, async (ctx) => {
    const [left, right] = await Promise.all([branch(ctx, "left"), branch(ctx, "right")]);
    return { left, right };
  })
  .capability("conform.race", {}, async (ctx) => {
    const slow = ctx.call("conform.effect", { name: "slow" });
    const fast = ctx.call("conform.echo", "fast");
    return { winner: await ctx.race([slow, fast]) };
  })
  .capability("conform.listen", {}, listen)
  .capability("conform.question", {}, question)
  .capability("conform.shared", {}, shared)
  .capability("conform.address", {}, address)
  .capability("conform.asked", {}, asked)
  .capability("conform.titled", {}, titled)
  .capability("conform.approve", {}, (ctx) => decided(ctx.waitApproval("ship it?", { version: 3 })))
  .capability("conform.diverge", {}, async (ctx) => {
    await ctx.run(two ? "two" : "one", () => 1);
    return ctx.waitSignal("go");
  })
  .capability("conform.detail", {}, (ctx) =>
    decided(ctx.waitApproval("ship it?", two ? "x".repeat(40_000) : { version: 3 })),
  )
  .capability("conform.reordered", {}, (ctx) =>
    echoAndWait(ctx, two ? { b: [2.5, "x"], a: 1 } : { a: 1, b: [2.5, "x"] }),
  )
  .capability("conform.changed", {}, (ctx) => echoAndWait(ctx, { a: two ? 2 : 1 }))
  .capability("conform.stream", {}, async (ctx) => {
    await effect(ctx, "opened");
    ctx.progress("half way");
    await ctx.stream("a");
    await ctx.stream("b");
    await ctx.stream({ n: 1 });
    await effect(ctx, "streamed");
    return "ab";
  })
  .capability("conform.cancel", {}, async (ctx) => {
    await effect(ctx, "begun");
    if (!ctx.signal.aborted) {
      await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve, { once: true }));
    }
    await effect(ctx, "cleaned");
    return null;
  })
  .capability("conform.options", {}, options)
  .capability("conform.order", {}, order)
  .capability("conform.patched", {}, patched)
  .capability("conform.odd", { input: z.object({ kind: z.string() }) }, odd);

await new Worker({
  agents: [conform],
  address: process.env.CONSORT_ADDRESS ?? "http://127.0.0.1:7878",
  concurrency: Number(process.env.CONFORM_CREDIT ?? "8"),
}).run();
