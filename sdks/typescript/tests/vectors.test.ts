/**
 * The replay rule against the vectors that every SDK and the server follow.
 *
 * For: what counts as the same request. Not for: what a difference leads to (see `journal.test`).
 * Invariant: every vector is compared both ways round.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { isSame, isSameDocument, type Request } from "../src/replay.js";

type Said =
  | { kind: "run" | "signal"; name: string }
  | { kind: "sleep"; span_us: number }
  | { kind: "approval"; prompt: string; detail: string }
  | { kind: "state"; transaction: string }
  | { kind: "expose"; name: string; value: string }
  | { kind: "labels"; labels: Record<string, string> }
  | { kind: "update"; name: string }
  | { kind: "answer"; update: number; value?: string; rejection?: string }
  | { kind: "call"; capability: string; input: string; priority?: number };

interface Vector {
  name: string;
  same: boolean;
  recorded: Said;
  asked: Said;
}

// From `build/tests`, where the compiled test is.
const FILE = new URL("../../../conformance/replay-vectors.json", import.meta.url);
const vectors = JSON.parse(readFileSync(FILE, "utf8")) as Vector[];

function request(said: Said): Request {
  switch (said.kind) {
    case "run":
      return { $case: "run", value: { name: said.name } };
    case "signal":
      return { $case: "signal", value: { name: said.name, schema: Buffer.alloc(0) } };
    case "sleep":
      return { $case: "sleep", value: { spanUs: BigInt(said.span_us) } };
    case "approval":
      return { $case: "approval", value: { prompt: said.prompt, detail: Buffer.from(said.detail) } };
    case "state":
      return { $case: "state", value: { transaction: Buffer.from(said.transaction) } };
    case "expose":
      return { $case: "expose", value: { name: said.name, value: Buffer.from(said.value) } };
    case "labels":
      return { $case: "labels", value: { labels: said.labels } };
    case "update":
      return { $case: "update", value: { name: said.name, schema: Buffer.alloc(0) } };
    case "answer": {
      const { update, value, rejection = "" } = said;
      const outcome =
        value === undefined
          ? ({ $case: "rejection", value: rejection } as const)
          : ({ $case: "value", value: Buffer.from(value) } as const);
      return { $case: "answer", value: { update, outcome } };
    }
    case "call": {
      const { capability, input, priority } = said;
      const options = { agent: "", route: undefined, retry: undefined, timeoutUs: undefined, priority };
      return { $case: "call", value: { capability, input: Buffer.from(input), options } };
    }
  }
}

function same(a: string, b: string): boolean {
  return isSameDocument(Buffer.from(a), Buffer.from(b));
}

for (const vector of vectors) {
  test(`replay vector: ${vector.name}`, () => {
    const [recorded, asked] = [request(vector.recorded), request(vector.asked)];
    assert.equal(isSame(recorded, asked), vector.same);
    assert.equal(isSame(asked, recorded), vector.same);
  });
}

test("what is no document is the same as equal bytes only", () => {
  for (const bad of ["", "{", "[1 2]", "01", "1.", "nul", "NaN", "[".repeat(100_000)]) {
    assert.ok(same(bad, bad));
    assert.ok(!same(bad, `${bad} `), bad.slice(0, 20));
  }
  assert.ok(!isSameDocument(Uint8Array.of(0x22, 0xff, 0x22), Uint8Array.of(0x22, 0xff, 0x22, 0x20)));
});

test("exponents of any length are compared", () => {
  const huge = "9".repeat(40);
  assert.ok(same(`0e${huge}`, "-0e-1"));
  assert.ok(same(`[1e${huge}]`, `[1e${huge} ]`));
  assert.ok(!same(`1e${huge}`, "1e9"));
  assert.ok(!same(`1e-${huge}`, `1e${huge}`));
  assert.ok(same("1e0000000000000000000002", "100"));
});

test("large documents are compared without running out of stack", () => {
  const list = JSON.stringify(Array.from({ length: 2_000 }, (_, index) => ({ id: index, text: 'x"y\\z'.repeat(20) })));
  assert.ok(same(list, ` ${list}`));
  const long = JSON.stringify("\\".repeat(200_000));
  assert.ok(same(long, ` ${long}`));
});
