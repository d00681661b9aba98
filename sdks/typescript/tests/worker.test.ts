/**
 * Workers on a server over real gRPC: joining, working, reconnecting, leaving.
 *
 * For: what goes over the wire, and what survives a broken connection. Not for: the journal (see `journal`).
 * Invariant: no test waits for a span; whatever is waited for comes by a message.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { test } from "node:test";
import * as grpc from "@grpc/grpc-js";
import { z } from "zod";
import { agent, Code, ConsortError, jsonSchema, type TaskContext, TaskError, Worker } from "../src/index.js";
import { EffectClass } from "../src/proto/consort/v1/common.js";
import { VERSION } from "../src/version.js";
import { FakeServer, join, silent, stage, strike } from "./fake.js";
import { bytes, called, document, task } from "./rig.js";

const LIMIT = { timeout: 20_000 };

/** An agent whose `work` gives its input back. */
function echo() {
  return agent("echo").capability("work", (_, input) => input);
}

/** An agent whose `work` reports that it began, waits for as many openings as there are tasks, and gives its input back. */
function gated() {
  const waiting: (() => void)[] = [];
  let permits = 0;
  const open = (count: number) => {
    permits += count;
    while (permits > 0 && waiting.length > 0) {
      permits -= 1;
      waiting.shift()?.();
    }
  };
  const work = agent("gated").capability("work", async (ctx, input) => {
    ctx.progress("begun");
    await new Promise<void>((resolve) => {
      waiting.push(resolve);
      open(0);
    });
    return input;
  });
  return { work, open };
}

/** An agent whose `work` reports progress and then waits for its end. */
function waits(tell: (ctx: TaskContext) => void = () => {}) {
  return agent("waits").capability("work", (ctx) => {
    tell(ctx);
    ctx.progress("at work");
    return new Promise((_, reject) => {
      ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason));
    });
  });
}

const cancel = (token: bigint) =>
  ({ $case: "cancel", value: { attempt: { task: "task-0", token }, reason: "enough" } }) as const;

const refusal = (token: bigint, code: string) =>
  ({
    $case: "refused",
    value: { attempt: { task: "task-0", token }, error: { code, message: "no", hint: "" } },
  }) as const;

test("a worker introduces its agents with the schemas of their types", LIMIT, async () => {
  const search = agent("search", { version: "1.2.0", description: "Finds things.", labels: { tier: "a" } })
    .capability(
      "find",
      {
        input: z.object({ queries: z.array(z.object({ text: z.string() })) }),
        output: z.object({ hits: z.int() }),
        effect: "read",
        description: "Searches.",
        costHint: 0.002,
        timeHint: 1_500,
      },
      (_, input) => ({ hits: input.queries.length }),
    )
    .capability("raw", { input: { type: "object" } }, () => null);
  const set = await stage([search, echo()], { concurrency: 4, namespace: "team", labels: { zone: "eu" }, token: "t0" });
  const { hello, metadata } = set.session;
  assert.deepEqual(metadata.get("authorization"), ["Bearer t0"]);
  assert.deepEqual([hello.protocol, hello.protocolMin, hello.namespace], [1, 1, "team"]);
  assert.match(hello.client, new RegExp(`^typescript/${VERSION} .+:${process.pid}$`));
  assert.equal(hello.instances.length, 2);
  const [first] = hello.instances;
  assert.deepEqual([first?.credit, first?.held, first?.labels], [4, [], { zone: "eu" }]);
  const declared = first?.agent;
  assert.deepEqual(
    [declared?.name, declared?.version, declared?.description, declared?.labels],
    ["search", "1.2.0", "Finds things.", { tier: "a" }],
  );
  const [find, raw] = declared?.capabilities ?? [];
  assert.ok(find && raw);
  assert.deepEqual(
    [find.name, find.description, find.effect, find.costHintMicrodollars, find.timeHintUs],
    ["find", "Searches.", EffectClass.READ, 2_000n, 1_500_000n],
  );
  const input = document(find.inputSchema) as { required: string[] };
  const output = document(find.outputSchema) as { properties: { hits: { type: string } } };
  assert.deepEqual([input.required, output.properties.hits.type], [["queries"], "integer"]);
  assert.deepEqual(
    [raw.effect, document(raw.inputSchema), raw.outputSchema.length],
    [EffectClass.IDEMPOTENT, { type: "object" }, 0],
  );
  await strike(set);
});

test("the version is that of the package", () => {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  assert.equal(VERSION, version);
});

test("a handler gets its typed input and its identity", LIMIT, async () => {
  const seen: unknown[] = [];
  const about = agent("about").capability("work", { input: z.object({ n: z.number().default(7) }) }, (ctx, { n }) => {
    const { task, runId, workflow, step, capability, attempt, token, idempotencyKey, deadline, traceparent } = ctx;
    seen.push(task, runId, workflow, step, capability, attempt, token, idempotencyKey, deadline, traceparent);
    return n;
  });
  const set = await stage([about]);
  set.session.offer(5n, {}, { number: 2, deadlineUs: 1_500_000n, traceparent: "00-ab-cd-01" });
  const { output, attempt } = await set.session.expect("complete");
  assert.deepEqual([document(output), attempt], [7, { task: "task-0", token: 5n }]);
  const expected = ["task-0", "run-0", "test", "step", "work", 2, 5n, "test-key", new Date(1_500), "00-ab-cd-01"];
  assert.deepEqual(seen, expected);
  await strike(set);
});

test("documents that do not fit are named by their path and not tried again", LIMIT, async () => {
  const text = z.object({ queries: z.array(z.object({ text: z.string() })) });
  const plain = { type: "object", properties: { "a b": { type: "array", items: { type: "integer" } } } };
  const strict = agent("strict")
    .capability("zod", { input: text }, () => null)
    .capability("plain", { input: plain }, () => null)
    .capability(
      "typed",
      { input: jsonSchema<{ n: number }>({ properties: { n: { type: "number" } } }) },
      (_, input) => input.n,
    )
    .capability("out", { output: z.object({ n: z.number() }) }, (_, input) => input as { n: number });
  const set = await stage([strict]);
  const cases: [string, unknown, string, string][] = [
    [
      "zod",
      { queries: [{ text: "a" }, { text: 3 }] },
      Code.BadInput,
      "the input does not fit at `$.queries[1].text`: ",
    ],
    ["zod", 7, Code.BadInput, "the input does not fit at `$`: "],
    ["plain", { "a b": [1, "x"] }, Code.BadInput, 'the input does not fit at `$["a b"][1]`: must be integer'],
    ["typed", { n: "x" }, Code.BadInput, "the input does not fit at `$.n`: must be number"],
    ["out", { n: "x" }, Code.BadOutput, "the output does not fit at `$.n`: "],
  ];
  for (const [index, [capability, input, code, message]] of cases.entries()) {
    set.session.offer(BigInt(index + 1), input, { capability });
    const { error, retryable } = await set.session.expect("fail");
    assert.deepEqual([error?.code, retryable], [code, false]);
    assert.ok(error?.message.startsWith(message), error?.message);
  }
  await strike(set);
});

test("a capability of another version is a retryable failure, and an empty one is the only one", LIMIT, async () => {
  const set = await stage([echo()]);
  set.session.offer(1n, 1, { capability: "other" });
  const { error, retryable } = await set.session.expect("fail");
  assert.deepEqual([error?.code, retryable], [Code.BadRequest, true]);
  set.session.offer(2n, 2, { capability: "" });
  assert.equal(document((await set.session.expect("complete")).output), 2);
  await strike(set);
});

test("each agent of a worker has an instance of its own", LIMIT, async () => {
  const set = await stage([echo(), agent("other").capability("work", () => "other")]);
  set.session.send({ $case: "task", value: task(1n, "mine") }, 1);
  const message = await set.session.next();
  assert.ok(message.kind?.$case === "complete");
  assert.deepEqual([message.instance, document(message.kind.value.output)], [1, "other"]);
  await strike(set);
});

test("many tasks run at once, and what they say travels in few batches", LIMIT, async () => {
  const set = await stage([echo()]);
  const offers = Array.from({ length: 500 }, (_, n) => {
    const attempt = { task: `task-${n}`, token: 1n };
    return { instance: 0, kind: { $case: "task", value: { ...offerOf(n), attempt } } as const };
  });
  set.session.sendAll(offers);
  const done = new Set<unknown>();
  for (let n = 0; n < 500; n += 1) {
    done.add(document((await set.session.expect("complete")).output));
  }
  assert.equal(done.size, 500);
  assert.ok(set.session.batches.length < 100, `${set.session.batches.length} batches`);
  await strike(set);
});

function offerOf(input: unknown) {
  const [run, workflow, step, idempotencyKey] = ["run-0", "test", "step", "key"];
  const rest = { number: 1, capability: "work", deadlineUs: undefined, journal: [], traceparent: "" };
  return { run, workflow, step, idempotencyKey, input: bytes(input), ...rest };
}

test("a batch is no larger than the server wants it", LIMIT, async () => {
  const server = await FakeServer.start();
  server.welcome.batchBytesMax = 200n;
  const set = { server, ...(await join(server, [echo()])) };
  const offers = Array.from({ length: 10 }, (_, n) => {
    const attempt = { task: `task-${n}`, token: 1n };
    return { instance: 0, kind: { $case: "task", value: { ...offerOf("x".repeat(80)), attempt } } as const };
  });
  set.session.sendAll(offers);
  for (let n = 0; n < 10; n += 1) {
    await set.session.expect("complete");
  }
  assert.deepEqual(set.session.batches, [2, 2, 2, 2, 2]);
  await strike(set);
});

test("an idle worker sends heartbeats", LIMIT, async () => {
  const server = await FakeServer.start();
  server.welcome.heartbeatIntervalUs = 20_000n;
  const set = { server, ...(await join(server, [echo()])) };
  await set.session.alive();
  await set.session.alive();
  await strike(set);
});

test("a failure of one task leaves the worker running", LIMIT, async () => {
  const picky = agent("picky").capability("work", (_, input) => {
    if (input === "throw") {
      throw new Error("boom");
    }
    return input;
  });
  const set = await stage([picky]);
  set.session.offer(1n, "throw");
  const { error, retryable } = await set.session.expect("fail");
  assert.deepEqual([error?.message, retryable], ["Error: boom", true]);
  set.session.offer(2n, "fine");
  assert.equal(document((await set.session.expect("complete")).output), "fine");
  await strike(set);
});

test("an unawaited promise that fails does not end the worker", LIMIT, async () => {
  const errors: unknown[] = [];
  let logged = () => {};
  const told = new Promise<void>((resolve) => {
    logged = resolve;
  });
  const logger = {
    ...silent,
    error: (message: string) => {
      errors.push(message);
      logged();
    },
  };
  const careless = agent("careless").capability("work", () => {
    void Promise.reject(new Error("forgotten"));
    return "done";
  });
  // The test runner listens for unhandled rejections itself; the worker defers to listeners of the program.
  const others = process.listeners("unhandledRejection");
  process.removeAllListeners("unhandledRejection");
  try {
    const set = await stage([careless], { logger, handleRejections: true });
    set.session.offer(1n);
    await set.session.expect("complete");
    await told;
    assert.deepEqual(errors, ["an unawaited promise failed"]);
    await strike(set);
    assert.equal(process.listenerCount("unhandledRejection"), 0);
  } finally {
    for (const listener of others) {
      process.on("unhandledRejection", listener);
    }
  }
});

test(
  "cancelled code is notified and its report is dropped; a cancellation of another attempt changes nothing",
  LIMIT,
  async () => {
    const signals: AbortSignal[] = [];
    const set = await stage([waits((ctx) => signals.push(ctx.signal))]);
    set.session.offer(1n);
    await set.session.expect("progress");
    set.session.send(cancel(7n));
    set.session.send({ $case: "drain", value: {} });
    set.session.send(cancel(1n));
    await set.session.left();
    await set.left;
    assert.equal(signals[0]?.aborted, true);
    set.server.kill();
  },
);

test("a fenced attempt stops and reports nothing; any other refusal fails it", LIMIT, async () => {
  for (const code of ["C0302", "C0301", "C0201", "C0202"]) {
    const set = await stage([waits()]);
    set.session.offer(1n);
    await set.session.expect("progress");
    set.session.send(refusal(1n, code));
    set.session.send({ $case: "drain", value: {} });
    await set.session.left();
    await set.left;
    set.server.kill();
  }
  const set = await stage([waits()]);
  set.session.offer(1n);
  await set.session.expect("progress");
  set.session.send(refusal(1n, "C0007"));
  const { error, retryable } = await set.session.expect("fail");
  assert.deepEqual([error, retryable], [{ code: "C0007", message: "no", hint: "" }, false]);
  await strike(set);
});

test("a newer attempt replaces an older one, and a second offer changes nothing", LIMIT, async () => {
  const { work, open } = gated();
  const set = await stage([work]);
  set.session.offer(1n, "old");
  await set.session.expect("progress");
  set.session.offer(2n, "new");
  await set.session.expect("progress");
  set.session.offer(2n, "again");
  set.session.offer(1n, "late");
  set.session.offer(3n, "last", { attempt: { task: "task-1", token: 3n } });
  await set.session.expect("progress");
  set.session.send({ $case: "drain", value: {} });
  open(10);
  assert.equal(document((await set.session.expect("complete")).output), "new");
  assert.equal(document((await set.session.expect("complete")).output), "last");
  await set.session.left();
  await set.left;
  set.server.kill();
});

test("draining finishes what is held and leaves", LIMIT, async () => {
  const { work, open } = gated();
  const set = await stage([work]);
  set.session.offer(1n, 1);
  await set.session.expect("progress");
  set.session.send({ $case: "drain", value: {} });
  open(1);
  assert.equal(document((await set.session.expect("complete")).output), 1);
  await set.session.left();
  await set.left;
  set.server.kill();
});

test("a worker that is stopped takes leave and finishes offers that cross", LIMIT, async () => {
  const { work, open } = gated();
  const set = await stage([work, echo()]);
  set.worker.stop();
  await set.session.expect("leaving");
  await set.session.expect("leaving");
  set.session.offer(1n, 1);
  await set.session.expect("progress");
  open(1);
  assert.equal(document((await set.session.expect("complete")).output), 1);
  set.session.send({ $case: "drain", value: {} }, 0);
  set.session.send({ $case: "drain", value: {} }, 1);
  await set.session.left();
  await set.left;
  set.server.kill();
});

test("a worker that is stopped does not wait without end", LIMIT, async () => {
  const set = await stage([waits()], { leaveWithin: 1 });
  set.session.offer(1n);
  await set.session.expect("progress");
  set.worker.stop();
  await set.left;
  set.server.kill();
});

test("a worker leaves at a signal", LIMIT, async () => {
  const set = await stage([echo()], { handleSignals: true });
  process.emit("SIGTERM");
  await set.session.expect("leaving");
  await strike(set);
  assert.deepEqual([process.listenerCount("SIGTERM"), process.listenerCount("SIGINT")], [0, 0]);
});

test("a result made while nothing is connected is delivered after the reconnect", LIMIT, async () => {
  const { work, open } = gated();
  const set = await stage([work]);
  set.session.offer(1n, "kept");
  set.session.offer(1n, "held", { attempt: { task: "task-1", token: 4n } });
  await set.session.expect("progress");
  await set.session.expect("progress");
  set.server.kill();
  open(1);
  await set.server.listen();
  set.session = await set.server.session();
  const held = [...(set.session.hello.instances[0]?.held ?? [])].sort((a, b) => Number(a.token - b.token));
  assert.deepEqual(held, [
    { task: "task-0", token: 1n },
    { task: "task-1", token: 4n },
  ]);
  assert.equal(document((await set.session.expect("complete")).output), "kept");
  open(1);
  assert.equal(document((await set.session.expect("complete")).output), "held");
  await strike(set);
});

test("a report that may not have been delivered is sent again, until the server has answered it", LIMIT, async () => {
  const set = await stage([echo()]);
  set.session.offer(1n, "once");
  await set.session.expect("complete");
  set.session.break();
  set.session = await set.server.session();
  assert.deepEqual(set.session.hello.instances[0]?.held, [{ task: "task-0", token: 1n }]);
  assert.equal(document((await set.session.expect("complete")).output), "once");
  set.session.send(refusal(1n, "C0302"));
  // Another task, so that the refusal was taken before the stream breaks.
  set.session.offer(1n, "other", { attempt: { task: "task-1", token: 9n } });
  await set.session.expect("complete");
  set.session.break();
  set.session = await set.server.session();
  assert.deepEqual(set.session.hello.instances[0]?.held, [{ task: "task-1", token: 9n }]);
  await set.session.expect("complete");
  await strike(set);
});

test("open entries are requested again after a reconnect, and the code continues", LIMIT, async () => {
  const asks = agent("asks").capability("work", (ctx) => ctx.all([ctx.call("a", 1), ctx.call("b", 2)]));
  const set = await stage([asks]);
  set.session.offer(1n);
  await set.session.expect("record");
  await set.session.expect("record");
  const answer = (index: number, name: string, input: number) => {
    const entry = called(name, input, [], input * 10);
    set.session.send({ $case: "recorded", value: { task: "task-0", index, entry } });
  };
  answer(0, "a", 1);
  // The worker says something of its own once it has taken the answer.
  set.session.offer(1n, null, { attempt: { task: "task-1", token: 9n }, capability: "nothing" });
  await set.session.expect("fail");
  set.session.break();
  set.session = await set.server.session();
  const again = [await set.session.next(), await set.session.next()].map((message) => message.kind);
  const record = again.find((kind) => kind?.$case === "record");
  assert.ok(record?.$case === "record" && again.some((kind) => kind?.$case === "fail"));
  assert.equal(record.value.index, 1);
  answer(1, "b", 2);
  assert.deepEqual(document((await set.session.expect("complete")).output), [10, 20]);
  await strike(set);
});

test("a server that is away is asked again, and one that refuses is not", LIMIT, async () => {
  const server = await FakeServer.start();
  server.refuse(grpc.status.UNAVAILABLE);
  server.refuse(grpc.status.UNAVAILABLE, { code: "C0402", message: "stopping", hint: "" });
  const { session, left } = await join(server, [echo()]);
  server.refuse(grpc.status.INVALID_ARGUMENT, { code: "C0001", message: "bad", hint: "do better" });
  session.break();
  await assert.rejects(left, (error: unknown) => {
    assert.ok(error instanceof ConsortError);
    assert.deepEqual([error.code, error.message, error.hint], ["C0001", "bad", "do better"]);
    return true;
  });
  server.kill();
});

test("a server that does not speak the protocol is named", LIMIT, async () => {
  const other = new grpc.Server();
  const port = await new Promise<number>((resolve) => {
    other.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (_, bound) => resolve(bound));
  });
  const worker = new Worker({
    agents: [echo()],
    address: `http://127.0.0.1:${port}/`,
    logger: silent,
    handleSignals: false,
  });
  await assert.rejects(worker.run(), { code: Code.BadRequest, message: /no workers are taken at `http/ });
  other.forceShutdown();
});

test("what listens there in place of a server is named, with the address and what to do", LIMIT, async () => {
  const http = createServer((_, response) => response.end("hello"));
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const { port } = http.address() as { port: number };
  const closed = createServer();
  await new Promise<void>((resolve) => closed.listen(0, "127.0.0.1", resolve));
  const { port: nobody } = closed.address() as { port: number };
  await new Promise((resolve) => closed.close(resolve));
  for (const [address, reason, hint] of [
    [`http://127.0.0.1:${port}`, "Protocol error", "something else than Consort listens there"],
    [`https://127.0.0.1:${port}`, "wrong version number", "write `http://`"],
    [`http://127.0.0.1:${nobody}`, "ECONNREFUSED", "`consort up` runs"],
  ] as const) {
    const told = await new Promise<Record<string, unknown>>((resolve) => {
      const warn = (_: string, fields: Record<string, unknown> = {}) => {
        worker.stop();
        resolve(fields);
      };
      const worker = new Worker({ agents: [echo()], address, logger: { ...silent, warn }, handleSignals: false });
      void worker.run();
    });
    assert.ok(String(told.reason).startsWith(`the server at \`${address}\` cannot be reached: `), String(told.reason));
    assert.ok(String(told.reason).includes(reason) && !String(told.reason).includes("Resolution note"));
    assert.ok(String(told.hint).includes(hint), String(told.hint));
  }
  http.close();
});

test("a worker says where it is connected and with what, also after a reconnect", LIMIT, async () => {
  const said: unknown[] = [];
  let again = () => {};
  const twice = new Promise<void>((resolve) => {
    again = resolve;
  });
  const info = (message: string, fields?: Record<string, unknown>) => {
    if (message === "connected" && said.push(fields) === 2) {
      again();
    }
  };
  const server = await FakeServer.start();
  const agents = [
    agent("writer", { version: "1.2.0" })
      .capability("a", () => 1)
      .capability("b", () => 1),
    agent("idle"),
  ];
  const worker = new Worker({ agents, address: server.address, logger: { ...silent, info }, handleSignals: false });
  const left = worker.run();
  (await server.session()).break();
  const session = await server.session();
  await twice;
  const fields = {
    address: `http://${server.address}`,
    server: "fake",
    agents: "writer 1.2.0 (a, b); idle 0 (no capability)",
  };
  assert.deepEqual(said, [fields, fields]);
  await strike({ server, session, worker, left });
});

test("the environment says where the server is, unless the program does", LIMIT, async () => {
  const server = await FakeServer.start();
  const other = await FakeServer.start();
  process.env.CONSORT_SERVER = server.address;
  process.env.CONSORT_TOKEN = "hush";
  try {
    for (const [options, met, token] of [
      [{}, server, "Bearer hush"],
      [{ address: other.address, token: "mine" }, other, "Bearer mine"],
    ] as const) {
      const worker = new Worker({ agents: [echo()], ...options, logger: silent, handleSignals: false });
      const left = worker.run();
      const session = await met.session();
      assert.deepEqual(session.metadata.get("authorization"), [token]);
      session.send({ $case: "drain", value: {} });
      await left;
    }
  } finally {
    delete process.env.CONSORT_SERVER;
    delete process.env.CONSORT_TOKEN;
    server.kill();
    other.kill();
  }
});

test("an address may be a URL, as the server prints it", LIMIT, async () => {
  const server = await FakeServer.start();
  for (const scheme of ["grpc", "http"]) {
    const set = { server, ...(await join(server, [echo()], { address: `${scheme}://${server.address}` })) };
    set.session.send({ $case: "drain", value: {} });
    await set.left;
  }
  server.kill();
});

test("how many tasks an agent wants can be changed", LIMIT, async () => {
  const set = await stage([echo()]);
  set.worker.setConcurrency(0);
  assert.deepEqual(await set.session.expect("credit"), { tasks: 0 });
  assert.throws(() => set.worker.setConcurrency(10_001), { code: Code.LimitReached });
  await strike(set);
});

test("wrong settings and declarations are refused before anything connects", () => {
  const agents = [echo()];
  assert.throws(() => agent("not a name"), { code: Code.BadName });
  assert.throws(() => agent("a").capability("", () => 1), { code: Code.BadName });
  assert.throws(() => echo().capability("work", () => 1), { code: Code.BadRequest });
  assert.throws(() => agent("a").capability("x", { input: { type: "nonsense" } }, () => 1), { code: Code.BadRequest });
  assert.throws(() => agent("a").capability("x", { input: z.date() }, () => 1), { code: Code.BadRequest });
  assert.throws(() => new Worker({ agents: [] }), { code: Code.BadRequest });
  assert.throws(() => new Worker({ agents, concurrency: 0 }), { code: Code.LimitReached });
  assert.throws(() => new TaskError("x", {}) && new Worker({ agents, concurrency: 1.5 }), { code: Code.LimitReached });
});

test("a wrong address is refused when the worker runs", async () => {
  const worker = new Worker({ agents: [echo()], address: "ftp://nowhere/x", logger: silent, handleSignals: false });
  await assert.rejects(worker.run(), { code: Code.BadRequest });
});
