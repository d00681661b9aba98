/**
 * The client, on a server that a function plays.
 *
 * For: how operations become requests, and answers values, errors and events. Not for: what the server does.
 * Invariant: no network; the answers of a test are given in their order.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { parseAddress } from "../src/address.js";
import { Client, type ClientOptions, Code, ConsortError, RunHandle } from "../src/index.js";

const RUN = "01J8Z3K4M5N6P7Q8R9S0T1V2W3";
const STREAM = { "content-type": "text/event-stream" };

interface Asked {
  method: string;
  target: string;
  headers: Headers;
  body: unknown;
}

/** A client whose server gives these answers, and what it was asked. */
function playing(answers: (Response | Error)[], options: ClientOptions = {}): { client: Client; asked: Asked[] } {
  const asked: Asked[] = [];
  const play = async (url: string | URL | Request, { method = "GET", headers, body }: RequestInit = {}) => {
    const text = body ? Buffer.from(body as Uint8Array).toString() : undefined;
    const target = String(url).replace("http://127.0.0.1:7878", "");
    asked.push({ method, target, headers: new Headers(headers), body: text && JSON.parse(text) });
    const answer = answers[asked.length - 1];
    if (!answer || answer instanceof Error) {
      throw answer ?? new TypeError("nothing more is answered");
    }
    return answer;
  };
  return { client: new Client({ ...options, fetch: play }), asked };
}

const json = (document: unknown, status = 200) => Response.json(document, { status });
const done = () => new Response(null, { status: 204 });
const refused = () => new TypeError("fetch failed", { cause: new Error("connect ECONNREFUSED") });

/** A stream of events, which may break off. */
function events(parts: (string | Uint8Array)[], broken = false): Response {
  const left = [...parts];
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const part = left.shift();
      if (part !== undefined) {
        controller.enqueue(Buffer.from(part as string));
      } else if (broken) {
        controller.error(new Error("reset"));
      } else {
        controller.close();
      }
    },
  });
  return new Response(body, { headers: STREAM });
}

const entry = (cursor: string) =>
  `event: entry\nid: ${cursor}\ndata: ${JSON.stringify({ cursor, time: "2026-11-22T10:00:00.000Z", event: "run_paused" })}\n\n`;

const run = (status: string, more: object = {}) => ({ run: RUN, workflow: "w", status, input: {}, ...more });
const ended = (status: string, more: object = {}) => run(status, { ended_at: "2026-11-22T10:01:00.000Z", ...more });
const end = `event: end\nid: end\ndata: ${JSON.stringify(ended("completed"))}\n\n`;

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) {
    found.push(item);
  }
  return found;
}

test("every operation has a method, and a run has those that are about one", () => {
  const file = new URL("../../../../docs/reference/openapi.json", import.meta.url);
  const { paths } = JSON.parse(readFileSync(file, "utf8")) as {
    paths: Record<string, Record<string, { operationId: string }>>;
  };
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.values(methods).map(({ operationId }) => ({ path, operationId })),
  );
  assert.ok(operations.length > 50);
  const client = new Client() as unknown as Record<string, unknown>;
  for (const { operationId } of operations) {
    assert.equal(typeof client[operationId], "function", operationId);
  }
  const handle = new Client().run(RUN) as unknown as Record<string, unknown>;
  const ofRun = operations.filter(({ path }) => path.startsWith("/v1/runs/{run}")).length;
  const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(RunHandle.prototype)).length - 1;
  assert.equal(methods, ofRun);
  for (const name of ["show", "tree", "history", "watch", "cancel", "retry", "fork", "signal", "delete", "compare"]) {
    assert.equal(typeof handle[name], "function", name);
  }
});

test("parameters are where the table puts them, and the body has the rest", async () => {
  const started = { run: RUN, deduplicated: false };
  const answers = [json({ items: [] }), done(), json(started, 201), done(), json({}), done()];
  const { client, asked } = playing(answers, { namespace: "a b", token: "hush" });
  const filter = { label: { team: "a/b", x: "1" }, status: ["failed", "running"] as const, children: true };
  assert.deepEqual(await client.listRuns(filter).all(), []);
  await client.removeQuota("key:tenant 7/x");
  await client.startRun({ workflow: "w", idempotencyKey: "order-7", input: { a: null }, timeout: "90s" });
  await client.weighAgent("writer", { version: "1.0+b", weight: 3 });
  await client.signalRun(RUN, "go");
  await client.run(RUN).pause();
  assert.deepEqual(
    asked.map(({ method, target, body }) => [method, target, body]),
    [
      ["GET", "/v1/runs?namespace=a+b&children=true&label.team=a%2Fb&label.x=1&status=failed%2Crunning", undefined],
      ["DELETE", "/v1/quotas/key%3Atenant%207%2Fx?namespace=a+b", undefined],
      ["POST", "/v1/runs?namespace=a+b", { workflow: "w", input: { a: null }, timeout: "90s" }],
      ["POST", "/v1/agents/writer/weight?namespace=a+b&version=1.0%2Bb", { weight: 3 }],
      ["POST", `/v1/runs/${RUN}/signals/go?namespace=a+b`, null],
      ["POST", `/v1/runs/${RUN}/pause?namespace=a+b`, {}],
    ],
  );
  assert.equal(asked[2]?.headers.get("idempotency-key"), "order-7");
  assert.ok(asked.every(({ headers }) => headers.get("authorization") === "Bearer hush"));
});

test("listings follow their pages", async () => {
  const page = (names: string, next: string | null) => json({ items: [...names].map((name) => ({ name })), next });
  const { client, asked } = playing([page("ab", "c1"), page("", "c2"), page("c", null)]);
  assert.deepEqual(
    (await client.listWorkflows({ limit: 2 }).all()).map(({ name }) => name),
    ["a", "b", "c"],
  );
  assert.deepEqual(
    asked.map(({ target }) => new URLSearchParams(target.split("?")[1]).get("cursor")),
    [null, "c1", "c2"],
  );
});

test("refusals keep their code and what else they say; other answers get one", async () => {
  const finding = { severity: "error", code: "no-steps", message: "m", line: 1, column: 1, start: 0, end: 1 };
  const problem = { type: "", title: "", status: 422, detail: "broken", code: "C0101", hint: "mend it" };
  const html = new Response("<html>", { status: 502 });
  const answers = [json({ ...problem, diagnostics: [finding] }, 422), html, refused(), new Response("nonsense")];
  const { client } = playing(answers);
  await assert.rejects(client.deployWorkflow({ source: "x" }), (error: ConsortError) => {
    assert.deepEqual([error.code, error.message, error.hint], ["C0101", "broken", "mend it"]);
    assert.deepEqual(error.diagnostics, [finding]);
    return true;
  });
  for (const code of [Code.Unreachable, Code.Unreachable, Code.Internal]) {
    await assert.rejects(client.listQueues(), { code });
  }
});

test("a watch continues behind the last event that was seen", async () => {
  const { client, asked } = playing([
    events([": hello\n\n", entry("4-0")], true),
    refused(),
    events([]),
    events([entry("5-0"), end]),
  ]);
  const found = await all(client.run(RUN).watch({ after: "3-0" }));
  assert.deepEqual(
    found.map(({ event, data }) => (event === "entry" ? data.cursor : event)),
    ["4-0", "5-0", "end"],
  );
  assert.deepEqual(
    asked.map(({ headers }) => headers.get("last-event-id")),
    [null, "4-0", "4-0", "4-0"],
  );
  assert.match(asked[0]?.target ?? "", /after=3-0/);
});

test("a watch ends where nothing follows, and fails where trying again is of no use", async () => {
  const problem = { type: "", title: "", status: 404, detail: "none", code: "C0201" };
  const { client } = playing([
    done(),
    json(problem, 404),
    events([`event: error\ndata: ${JSON.stringify(problem)}\n\n`]),
  ]);
  assert.deepEqual(await all(client.watchRun(RUN)), []);
  await assert.rejects(all(client.watchRun(RUN)), { code: Code.RunNotFound });
  await assert.rejects(all(client.watchRun(RUN)), { code: Code.RunNotFound });
});

test("a watch gives up after the reconnect timeout", async () => {
  const { client, asked } = playing([events([entry("4-0")]), ...Array.from({ length: 9 }, refused)], {
    reconnectTimeout: 0,
  });
  await assert.rejects(all(client.watchRun(RUN)), { code: Code.Unreachable });
  assert.ok(asked.length < 9);
});

test("a large event comes whole, however it is cut", async () => {
  const text = "ü".repeat(2_000_000);
  const data = Buffer.from(`event: progress\ndata: ${JSON.stringify({ kind: "text", text })}\n\n`);
  const parts = Array.from({ length: Math.ceil(data.length / 65_537) }, (_, at) =>
    data.subarray(at * 65_537, (at + 1) * 65_537),
  );
  const { client } = playing([events(parts), done()]);
  const [found] = await all(client.watchRun(RUN));
  assert.ok(found?.event === "progress" && found.data.text === text);
});

test("the result is waited for and read in full", async () => {
  const answers = [json(run("running")), refused(), json(ended("completed")), json({ n: 3 })];
  const { client, asked } = playing(answers);
  assert.deepEqual(await client.run(RUN).result(), { n: 3 });
  assert.match(asked[0]?.target ?? "", /wait=30s/);
  assert.match(asked[3]?.target ?? "", /\/output/);
});

test("a run that failed throws its own error", async () => {
  const error = { code: "C0304", message: "no such page", hint: "look" };
  const { client } = playing([json(ended("failed", { error })), json(ended("cancelled"))]);
  await assert.rejects(client.run(RUN).result(), { code: "C0304", message: "no such page", hint: "look" });
  await assert.rejects(client.run(RUN).result(), { code: Code.Cancelled });
});

test("one address serves workers and clients", () => {
  const cases = [
    ["http://127.0.0.1:7878", "127.0.0.1:7878", false],
    ["127.0.0.1:7878", "127.0.0.1:7878", false],
    ["grpc://127.0.0.1:7879", "127.0.0.1:7879", false],
    ["localhost", "localhost:7878", false],
    ["[::1]", "[::1]:7878", false],
    ["localhost:80", "localhost:80", false],
    ["grpc://localhost", "localhost:7878", false],
    ["http://consort.example", "consort.example:80", false],
    ["localhost:7878", "localhost:7878", false],
    ["https://consort.example/", "consort.example:443", true],
    ["http://[::1]:7878", "[::1]:7878", false],
  ] as const;
  for (const [text, host, secure] of cases) {
    const found = parseAddress(text);
    assert.deepEqual([found.host, found.secure], [host, secure]);
  }
  for (const address of ["", "ftp://x:1", "http://", "http://x:y", "http://x:1/path", "http://u@x:1"]) {
    assert.throws(() => new Client({ address }), ConsortError, address);
  }
});
