/**
 * What code shows and answers: exposed values, labels, updates.
 *
 * For: the entries that the SDK makes of them, and that a replay shows and answers nothing again. Not for: what the server
 * does with them.
 * Invariant: a server that is played by hand, or none.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";
import { agent, type TaskContext } from "../src/index.js";
import type { JournalEntry } from "../src/proto/consort/v1/worker.js";
import { replayTask } from "../src/testing.js";
import { Rig } from "./rig.js";

async function asked(ctx: TaskContext): Promise<unknown> {
  await ctx.expose("stage", { n: 1 });
  await ctx.setLabels({ stage: "asked" });
  const update = await ctx.waitUpdate("move", z.object({ city: z.string() }));
  if (update.input.city === "nowhere") {
    await update.reject("no such place");
  } else {
    await update.answer({ moved: update.input.city });
  }
  return [update.id, update.input.city];
}

function answered(entry: JournalEntry, output: unknown): JournalEntry {
  return { ...entry, result: { $case: "output", value: Buffer.from(JSON.stringify(output)) } };
}

test("each use is an entry", async () => {
  const rig = new Rig(asked);
  rig.offer();
  const exposed = (await rig.entry()).entry;
  assert.deepEqual(exposed.request, { $case: "expose", value: { name: "stage", value: Buffer.from('{"n":1}') } });
  rig.record(0, answered(exposed, null));
  const labels = (await rig.entry()).entry;
  assert.deepEqual(labels.request, { $case: "labels", value: { labels: { stage: "asked" } } });
  rig.record(1, answered(labels, null));
  const wait = (await rig.entry()).entry;
  assert.ok(wait.request?.$case === "update" && Buffer.from(wait.request.value.schema).includes('"city"'));
  rig.record(2, answered(wait, { id: "u1", input: { city: "Bonn" } }));
  const answer = (await rig.entry()).entry;
  const outcome = { $case: "value", value: Buffer.from('{"moved":"Bonn"}') };
  assert.deepEqual(answer.request, { $case: "answer", value: { update: 2, outcome } });
  rig.record(3, answered(answer, null));
  assert.deepEqual(await rig.output(), ["u1", "Bonn"]);
});

test("a replay compares names and the position of the update", async () => {
  const journal = [
    { kind: "expose", name: "stage", value: 7, output: null },
    { kind: "labels", labels: { other: "label" }, output: null },
    { kind: "update", name: "move", output: { id: "u1", input: { city: "nowhere" } } },
    { kind: "answer", update: 2, value: 1, output: null },
  ];
  const tested = agent("test").capability("asked", {}, asked);
  assert.equal((await replayTask(tested, "asked", null, journal)).divergence, undefined);
  const other = journal.map((entry) => (entry.kind === "answer" ? { ...entry, update: 1 } : entry));
  const { divergence } = await replayTask(tested, "asked", null, other);
  assert.equal(divergence?.found, "answer to the update of entry 2");
});
