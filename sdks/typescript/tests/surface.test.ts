/**
 * What the package offers, by name.
 *
 * For: noticing that something becomes public, or goes, which is to be decided and not to happen. Not for: behaviour.
 * Invariant: the lists are written by hand; types leave no trace at run time, so values and their methods are counted.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as sdk from "../src/index.js";

/** The methods and accessors of each class, and of its constructor after `static`. */
const CLASSES: Record<string, string> = {
  Agent: "capability declaration find onChange subscription",
  Answer: "catch close finally forget lose then",
  Client: "run started",
  ConsortError: "toString",
  Pager: "all pages",
  Replica:
    "static open add addTo close conflicts delete entry get list pending position put removeFrom sync takeServer",
  RunHandle: "result",
  StateSpace: "delete get put",
  TaskContext:
    "all attempt call capability deadline deprecatePatch expose idempotencyKey patched progress race replaying run runId " +
    "setLabels signal sleep state step stream task token traceparent transact waitApproval waitSignal waitUpdate workflow",
  TaskError: "static from",
  Update: "answer reject",
  Worker: "run setConcurrency stop",
};

/** What else there is. */
const OTHERS = "Code agent jsonSchema lineLogger";

function own(value: object, left: string[]): string[] {
  return Object.getOwnPropertyNames(value).filter((name) => !left.includes(name));
}

test("the package exports what is decided", () => {
  assert.deepEqual(Object.keys(sdk).sort(), [...Object.keys(CLASSES), ...OTHERS.split(" ")].sort());
});

for (const [name, members] of Object.entries(CLASSES)) {
  test(`the class ${name} has the members that are decided`, () => {
    const found = (sdk as unknown as Record<string, { prototype: object }>)[name];
    assert.ok(found);
    const statics = own(found, ["length", "name", "prototype"]).map((member) => `static ${member}`);
    assert.equal([...statics, ...own(found.prototype, ["constructor"]).sort()].join(" "), members);
  });
}
