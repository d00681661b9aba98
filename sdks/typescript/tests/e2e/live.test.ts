/**
 * Workers and clients on a real server.
 *
 * For: what only both together can show. Not for: cases that a fake can cover.
 * Invariant: runs only where `CONSORT_BIN` names the binary; waits are for messages, never for spans.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";
import {
  type Agent,
  agent,
  Client,
  Code,
  ConsortError,
  TaskError,
  type WatchRunEvent,
  Worker,
} from "../../src/index.js";
import { silent } from "../fake.js";
import { LIVE, Server, WorkerProcess } from "./server.js";

/** A server, a client, and a worker that hosts these agents. */
async function stage(...agents: Agent[]) {
  const server = await Server.start();
  const client = new Client({ address: server.address });
  let connected = () => {};
  const open = new Promise<void>((resolve) => {
    connected = resolve;
  });
  const logger = { ...silent, info: (message: string) => message === "connected" && connected() };
  const worker = new Worker({ agents, address: server.address, logger, handleSignals: false, handleRejections: false });
  const left = worker.run();
  await Promise.race([open, left]);
  const strike = async () => {
    worker.stop();
    await left;
    await server.remove();
  };
  return { server, client, worker, strike };
}

/** A workflow of one step. */
const one = (name: string, capability: string) => `
workflow: ${name}
steps:
  only:
    capability: ${capability}
    with: \${{ input }}
output: \${{ steps.only.output }}
`;

test("a run goes from the client to the agent and back, with what is said on the way", LIVE, async () => {
  const writer = agent("writer", { version: "1.0.0", labels: { region: "eu" } }).capability(
    "summarise",
    { input: z.object({ text: z.string() }), output: z.string(), effect: "read", description: "Makes it short." },
    async (ctx, { text }) => {
      ctx.progress("reading");
      await ctx.stream("short");
      await ctx.stream({ words: 2 });
      await ctx.waitSignal("seen");
      return text.slice(0, 5);
    },
  );
  const { client, strike } = await stage(writer);
  try {
    const deployed = await client.deployWorkflow({ source: one("short", "summarise") });
    assert.deepEqual([deployed.name, deployed.revision, deployed.new], ["short", 1, true]);
    assert.equal((await client.deployWorkflow({ source: one("short", "summarise") })).new, false);

    const start = { workflow: "short", input: { text: "hello world" }, idempotencyKey: "k1", labels: { team: "a" } };
    const run = await client.startRun(start);
    const again = await client.startRun(start);
    assert.deepEqual([again.id, again.deduplicated, run.deduplicated], [run.id, true, false]);
    const events: WatchRunEvent[] = [];
    const kinds = new Set<string>();
    let signalled = false;
    for await (const event of run.watch()) {
      events.push(event);
      kinds.add(event.event === "progress" ? event.data.kind : event.event);
      if (!signalled && kinds.has("message") && kinds.has("text") && kinds.has("json")) {
        signalled = true;
        await run.signal("seen");
      }
    }
    const said = events.flatMap((event) => (event.event === "progress" ? [event.data] : []));
    const text = said.find((progress) => progress.kind === "text");
    const json = said.find((progress) => progress.kind === "json");
    assert.deepEqual([text?.text, json?.json], ["short", { words: 2 }]);
    const ended = events.at(-1);
    assert.ok(ended?.event === "end" && ended.data.status === "completed");

    assert.equal(await run.result(z.string()), "hello");
    await assert.rejects(run.result(z.number()), { code: Code.BadOutput });
    const shown = await client.run(run.id).show();
    assert.deepEqual([shown.input, shown.output, shown.labels], [{ text: "hello world" }, "hello", { team: "a" }]);
    const listed = [];
    for await (const found of client.listRuns({ workflow: "short", status: ["completed"] })) {
      listed.push(found.run);
    }
    assert.deepEqual(listed, [run.id]);
  } finally {
    await strike();
  }
});

test("an agent is found by what it can do, and shown with how it does", LIVE, async () => {
  const options = { version: "1.0.0", labels: { region: "eu" } };
  const writer = agent("writer", options).capability("summarise", { description: "Makes it short." }, () => "short");
  const { client, strike } = await stage(writer);
  try {
    const [found, ...others] = await client.listAgents({ capability: "summarise", label: { region: "eu" } });
    assert.equal(others.length, 0);
    assert.deepEqual(
      [found?.name, found?.version, found?.labels, found?.health, found?.instances.length],
      ["writer", "1.0.0", { region: "eu" }, "healthy", 1],
    );
    assert.deepEqual(
      found?.capabilities.map(({ name, description }) => [name, description]),
      [["summarise", "Makes it short."]],
    );
  } finally {
    await strike();
  }
});

test("the largest documents go there and back", LIVE, async () => {
  const server = await Server.start();
  const client = new Client({ address: server.address });
  try {
    await client.deployWorkflow({ source: one("large", "no.such.capability") });
    const input = { text: "x".repeat(63 * 1024 * 1024) };
    const run = await client.startRun({ workflow: "large", input });
    assert.ok(((await run.input()) as typeof input).text === input.text);
  } finally {
    await server.remove();
  }
});

test("what operators do can be done by the client", LIVE, async () => {
  const server = await Server.start();
  const client = new Client({ address: `http://${server.address}` });
  try {
    assert.equal((await client.checkWorkflow({ source: "workflow: 7" })).valid, false);
    const { name } = await client.deployWorkflow({ source: one("lonely", "no.such.capability") });
    const run = await client.startRun({ workflow: name, labels: { team: "red" } });
    assert.deepEqual(
      (await run.tree()).map((step) => step.name),
      ["only"],
    );
    assert.equal((await client.listQueues()).find((queue) => queue.capability === "no.such.capability")?.waiting, 1);
    await run.pause();
    assert.equal((await run.show()).paused, true);
    await run.cancel({ reason: "not needed" });
    await assert.rejects(run.result(), { code: Code.Cancelled });
    assert.equal((await run.history().all()).at(-1)?.event, "run_ended");
    const again = await run.retry();
    const forked = await again.fork({ input: { value: 2 } });
    const bulk = await client.bulkRuns({ filter: { workflow: name, status: ["running"] }, action: "cancel" });
    assert.deepEqual(bulk.results.map((item) => item.run).sort(), [again.id, forked.id].sort());
    await assert.rejects(forked.result(), ConsortError);
    assert.equal((await run.compare(again.id)).left, run.id);
    await run.delete();
    await assert.rejects(run.show(), { code: Code.RunNotFound });
    await client.setQuota("key:tenant/7", { max_concurrent: 2 });
    assert.deepEqual(
      (await client.listQuotas()).map((quota) => quota.scope),
      ["key:tenant/7"],
    );
    await client.removeQuota("key:tenant/7");
    await client.setRetention({ keep: "1h" });
    await client.setRetention({ keep: null });
    assert.match(await client.drawWorkflow(name, { format: "mermaid" }), /^flowchart/);
    assert.equal((await client.showError("C0201")).code, "C0201");
  } finally {
    await server.remove();
  }
});

test("failures keep their code and message, from the agent and from the server", LIVE, async () => {
  const broken = agent("broken")
    .capability("break", () => {
      throw new TaskError("no such page", { retryable: false });
    })
    .capability("wait", (ctx) => ctx.waitSignal("never"));
  const { client, strike } = await stage(broken);
  try {
    await assert.rejects(client.startRun({ workflow: "nothing" }), (error: unknown) => {
      assert.ok(error instanceof ConsortError);
      assert.equal(error.code, "C0102");
      assert.match(error.message, /`nothing`/);
      return true;
    });
    await client.deployWorkflow({ source: one("break", "break") });
    await assert.rejects((await client.startRun({ workflow: "break" })).result(), (error: ConsortError) =>
      /no such page/.test(error.message),
    );
    await client.deployWorkflow({ source: one("wait", "wait") });
    const run = await client.startRun({ workflow: "wait" });
    await run.cancel({ reason: "not needed" });
    await assert.rejects(run.result(), ConsortError);
    assert.equal((await run.show()).status, "cancelled");
  } finally {
    await strike();
  }
});

test("a person's decision in the inbox answers an approval", LIVE, async () => {
  const asks = agent("asks").capability("ask", async (ctx) => {
    const { approved, by, comment } = await ctx.waitApproval("ship it?", { version: 3 });
    return { approved, by, comment };
  });
  const { client, strike } = await stage(asks);
  try {
    await client.deployWorkflow({ source: one("ask", "ask") });
    const run = await client.startRun({ workflow: "ask" });
    for await (const event of run.watch()) {
      const [item] = await client.listInbox().all();
      if (item) {
        assert.deepEqual(
          [item.run, item.kind, item.title, item.details],
          [run.id, "approval", "ship it?", { version: 3 }],
        );
        await client.decide(item.task, { decision: "reject", by: "ada", comment: "not yet" });
        break;
      }
      assert.notEqual(event.event, "end");
    }
    assert.deepEqual(await run.result(), { approved: false, by: "ada", comment: "not yet" });
  } finally {
    await strike();
  }
});

test(
  "a workflow as code, whose worker is killed three times in the middle, ends once with the right result",
  LIVE,
  async () => {
    const server = await Server.start();
    const client = new Client({ address: server.address });
    const said: string[] = [];
    try {
      let worker = new WorkerProcess("flow-worker.js", server.address);
      await client.deployWorkflow({ source: one("flow", "flow.run") });
      const run = await client.startRun({ workflow: "flow", input: { n: 1 } });
      for (const moment of ["squared 2", "noted 4", "waiting"]) {
        said.push(...(await worker.until(moment)));
        await worker.end("SIGKILL");
        worker = new WorkerProcess("flow-worker.js", server.address);
      }
      await run.signal("go", "now");
      assert.deepEqual(await run.result(), { input: { n: 1 }, sums: [1, 5, 14, 30, 55], word: "now" });
      assert.equal(await worker.end("SIGTERM"), 0);
      // What was recorded was not done again: only what was under way at a kill may be there twice.
      for (const effect of ["squared 1", "noted 1", "squared 3", "noted 3", "squared 5", "noted 5"]) {
        assert.equal(said.filter((line) => line === effect).length, 1, effect);
      }
    } finally {
      await server.remove();
    }
  },
);

test("a task that is held survives a restart of the server", LIVE, async () => {
  let begun = 0;
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  let started = () => {};
  const running = new Promise<void>((resolve) => {
    started = resolve;
  });
  const holder = agent("holder").capability("hold", { effect: "write" }, async (ctx) => {
    begun += 1;
    started();
    await held;
    return ctx.run("after", () => begun);
  });
  const { server, client, strike } = await stage(holder);
  try {
    await client.deployWorkflow({ source: one("hold", "hold") });
    const run = await client.startRun({ workflow: "hold" });
    const result = run.result();
    await running;
    await server.kill();
    release();
    await server.up();
    assert.equal(await result, 1);
    assert.equal(begun, 1);
  } finally {
    await strike();
  }
});

test("what the code asks by two branches is the same after each of many wake-ups", LIVE, async () => {
  const racers = agent("racers")
    .capability("race", async (ctx) => {
      const branch = async (name: string) => {
        let at = 0;
        for (let step = 0; step < 4; step += 1) {
          at = Number(await ctx.call("add", { name, at }));
          await ctx.sleep(name === "left" ? 25 : 15);
        }
        return at;
      };
      return ctx.all([branch("left"), branch("right")]);
    })
    .capability("add", (_, input) => (input as { at: number }).at + 1);
  const { client, strike } = await stage(racers);
  try {
    await client.deployWorkflow({ source: one("race", "race") });
    const runs = await Promise.all(Array.from({ length: 10 }, () => client.startRun({ workflow: "race" })));
    const results = await Promise.all(runs.map((run) => run.result()));
    assert.deepEqual(
      results,
      Array.from({ length: 10 }, () => [4, 4]),
    );
  } finally {
    await strike();
  }
});
