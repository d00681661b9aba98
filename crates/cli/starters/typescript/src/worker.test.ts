/** Tests of the agent, without a server: `npm test`. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { replayTask } from "@consort/sdk/testing";

import { summarise, writer } from "./worker.js";

test("the first sentences are kept", () => {
  assert.equal(summarise("It rained. We stayed in. We read.", 2), "It rained. We stayed in.");
});

test("input that does not fit is refused, by its place", async () => {
  const good = await replayTask(writer, "summarise", { text: "It rained." }, []);
  assert.deepEqual([good.fits, good.failure], [true, undefined]);
  const bad = await replayTask(writer, "summarise", { text: 7 }, []);
  assert.match(bad.failure?.message ?? "", /\$\.text/);
});
