/**
 * What a worker does under `consort replay-check`.
 *
 * For: the files that the command and the worker exchange. Not for: the replay itself (`patches`), or the command.
 * Invariant: no server is reached, and no effect is begun.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { agent, type TaskContext, Worker } from "../src/index.js";

const RUN = "01J8Z3K4M5N6P7Q8R9S0T1V2W3";

const shop = () =>
  agent("shop").capability("order", async (ctx: TaskContext) => {
    await ctx.run("price", () => assert.fail("a replay does nothing"));
    return ctx.waitSignal("go");
  });

const task = (step: string, items: unknown[], changed: object = {}) => ({
  run: RUN,
  step,
  agent: "shop",
  version: "1.0.0",
  capability: "order",
  input: "tea",
  items,
  ...changed,
});

test("the tasks of the worker's agents are replayed and told", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "consort-replay-"));
  t.after(() => {
    rmSync(folder, { recursive: true });
    delete process.env.CONSORT_REPLAY;
    delete process.env.CONSORT_REPLAY_RESULTS;
  });
  const price = { index: 0, kind: "run", name: "price", output: 7 };
  const tasks = [
    task("fits", [price, { index: 1, kind: "signal", name: "go", after: [0] }]),
    task("diverges", [{ ...price, name: "prize" }]),
    task("unknown", [price], { capability: "refund" }),
    task("elsewhere", [price], { agent: "other" }),
  ];
  const [asked, said] = [join(folder, "tasks.json"), join(folder, "results.jsonl")];
  writeFileSync(asked, JSON.stringify({ tasks }));
  process.env.CONSORT_REPLAY = asked;
  process.env.CONSORT_REPLAY_RESULTS = said;
  await new Worker({ agents: [shop()], address: "127.0.0.1:1" }).run();
  const results = readFileSync(said, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  assert.deepEqual(
    results.map((result) => result.step),
    ["fits", "diverges", "unknown"],
  );
  assert.deepEqual(results[0], { run: RUN, step: "fits", fits: true, waiting: [1] });
  assert.deepEqual([results[1].fits, results[1].entry, results[1].found], [false, 0, "run `price`"]);
  assert.match(results[2].failure, /has no capability `refund`/);
});
