/**
 * Workers and clients on a real server.
 *
 * For: what only both together can show. Not for: cases that a fake can tell.
 * Invariant: runs only where `CONSORT_BIN` names the binary; waits are for messages, never for spans.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";
import { type Agent, agent, Client, Code, ConsortError, type RunEvent, TaskError, Worker } from "../../src/index.js";
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
    client.close();
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
    const deployed = await client.deploy(one("short", "summarise"));
    assert.deepEqual([deployed.name, deployed.revision, deployed.new], ["short", 1, true]);
    assert.equal((await client.deploy(one("short", "summarise"))).new, false);

    const run = await client.start("short", { text: "hello world" }, { idempotencyKey: "k1", labels: { team: "a" } });
    assert.equal(
      (await client.start("short", { text: "hello world" }, { idempotencyKey: "k1", labels: { team: "a" } })).id,
      run.id,
    );
    const events: RunEvent[] = [];
    const kinds = new Set<string>();
    let signalled = false;
    for await (const event of run.watch()) {
      events.push(event);
      kinds.add(event.kind);
      if (!signalled && kinds.has("progress") && kinds.has("text") && kinds.has("json")) {
        signalled = true;
        await run.signal("seen");
      }
    }
    const text = events.find((event) => event.kind === "text");
    const json = events.find((event) => event.kind === "json");
    assert.deepEqual(
      [text?.kind === "text" && text.text, json?.kind === "json" && json.value],
      ["short", { words: 2 }],
    );
    const ended = events.at(-1);
    assert.ok(ended?.kind === "ended" && ended.run.status === "completed");

    assert.equal(await run.result(z.string()), "hello");
    await assert.rejects(run.result(z.number()), { code: Code.BadOutput });
    const shown = await client.run(run.id).get();
    assert.deepEqual([shown.input, shown.output, shown.labels], [{ text: "hello world" }, "hello", { team: "a" }]);
    const listed = [];
    for await (const found of client.listRuns({ workflow: "short", statuses: ["completed"] })) {
      listed.push(found.id);
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
    const [found, ...others] = await client.agents({ capability: "summarise" });
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

test("failures keep their code and message, from the agent and from the server", LIVE, async () => {
  const broken = agent("broken")
    .capability("break", () => {
      throw new TaskError("no such page", { retryable: false });
    })
    .capability("wait", (ctx) => ctx.waitSignal("never"));
  const { client, strike } = await stage(broken);
  try {
    await assert.rejects(client.start("nothing"), (error: unknown) => {
      assert.ok(error instanceof ConsortError);
      assert.equal(error.code, "C0102");
      assert.match(error.message, /`nothing`/);
      return true;
    });
    await client.deploy(one("break", "break"));
    await assert.rejects((await client.start("break")).result(), (error: ConsortError) =>
      /no such page/.test(error.message),
    );
    await client.deploy(one("wait", "wait"));
    const run = await client.start("wait");
    await run.cancel("not needed");
    await assert.rejects(run.result(), ConsortError);
    assert.equal(await run.status(), "cancelled");
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
    await client.deploy(one("ask", "ask"));
    const run = await client.start("ask");
    for await (const event of run.watch({ live: false })) {
      const items = [];
      for await (const item of client.inbox()) {
        items.push(item);
      }
      const [item] = items;
      if (item) {
        assert.deepEqual(
          [item.run, item.ask, item.title, item.details],
          [run.id, "approval", "ship it?", { version: 3 }],
        );
        await client.approve(item.task, { by: "ada", approved: false, comment: "not yet" });
        break;
      }
      assert.notEqual(event.kind, "ended");
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
      await client.deploy(one("flow", "flow.run"));
      const run = await client.start("flow", { n: 1 });
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
      client.close();
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
    await client.deploy(one("hold", "hold"));
    const run = await client.start("hold");
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
    await client.deploy(one("race", "race"));
    const runs = await Promise.all(Array.from({ length: 10 }, () => client.start("race")));
    const results = await Promise.all(runs.map((run) => run.result()));
    assert.deepEqual(
      results,
      Array.from({ length: 10 }, () => [4, 4]),
    );
  } finally {
    await strike();
  }
});
