/**
 * What values of JavaScript become as documents, and which are refused, on the way out and on the way in.
 *
 * For: every way in and out of the process. Not for: schemas (see `worker`).
 * Invariant: what is refused is named by its path.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { runInNewContext } from "node:vm";
import { Client, Code, type TaskContext } from "../src/index.js";
import { readJson, writeJson } from "../src/json.js";
import { document, Rig } from "./rig.js";

class Point {
  x = 1;
}

function nested(levels: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < levels; level += 1) {
    value = [value];
  }
  return value;
}

test("each value becomes one document", () => {
  const cases: [unknown, unknown][] = [
    [undefined, null],
    [{ a: undefined, b: null }, { b: null }],
    [
      [undefined, 1],
      [null, 1],
    ],
    [new Date(0), "1970-01-01T00:00:00.000Z"],
    [new URL("http://a/b"), "http://a/b"],
    [{ toJSON: () => ({ x: 1 }) }, { x: 1 }],
    [Object.assign(Object.create(null), { a: 1 }), { a: 1 }],
    [runInNewContext("({ a: [1] })"), { a: [1] }],
    [
      [Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER, 0.1, 6.02e23, -0],
      [Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER, 0.1, 6.02e23, 0],
    ],
    [JSON.parse('{"__proto__": 1}'), JSON.parse('{"__proto__": 1}')],
    ["grüße 😀", "grüße 😀"],
    [nested(64), nested(64)],
  ];
  for (const [value, expected] of cases) {
    assert.deepEqual(document(writeJson("output", value)), expected);
  }
});

const cyclic: { self?: unknown } = {};
cyclic.self = cyclic;

const BAD: [unknown, string][] = [
  [Number.NaN, "`$` is `NaN`, which is no number in JSON"],
  [{ a: [1, Number.POSITIVE_INFINITY] }, "`$.a[1]` is `Infinity`"],
  [2 ** 53, "`$` is the whole number `9007199254740992`"],
  [{ "a b": -1e20 }, '`$["a b"]` is the whole number `-100000000000000000000`'],
  [10n, "`$` is the bigint `10`"],
  [{ f: () => 1 }, "`$.f` is a function"],
  [[Symbol("s")], "`$[0]` is a symbol"],
  [{ m: new Map([[1, 2]]) }, "`$.m` is a `Map`"],
  [new Set([1]), "`$` is a `Set`"],
  [/a/, "`$` is a `RegExp`"],
  [{ e: new Error("x") }, "`$.e` is a `Error`"],
  [{ p: Promise.resolve(1) }, "`$.p` is a `Promise`"],
  [new Point(), "`$` is a `Point`"],
  [{ d: new Date(Number.NaN) }, "`$.d` is an invalid `Date`"],
  [new Uint8Array(2), "`$` is a `Uint8Array`"],
  [{ b: Buffer.from("x") }, "`$.b` is a `Buffer`"],
  [new ArrayBuffer(2), "`$` is a `ArrayBuffer`"],
  ["hello 😀".slice(0, 7), "`$` has half of a character"],
  [{ a: ["\udfff"] }, "`$.a[0]` has half of a character"],
  [{ "\ud800": 1 }, "`$` has half of a character"],
  [cyclic, "`$.self` contains itself"],
  [
    {
      toJSON: () => {
        throw new Error("no");
      },
    },
    "no",
  ],
  [{ x: { toJSON: () => Number.NaN } }, "`$.x` is `NaN`"],
];

test("what JSON does not have is refused by its path", () => {
  for (const [value, message] of BAD) {
    assert.throws(
      () => writeJson("output", value),
      (error: { code: string; message: string; retryable: boolean }) => {
        assert.deepEqual([error.code, error.retryable], [Code.BadJson, false]);
        assert.ok(error.message.startsWith(`the output cannot be written as JSON: ${message}`), error.message);
        return true;
      },
    );
  }
});

test("what nests too deep is refused", () => {
  for (const levels of [65, 100_000]) {
    assert.throws(() => writeJson("output", nested(levels)), {
      code: Code.LimitReached,
      retryable: false,
      message: "the output nests more than 64 levels deep, the limit is 64",
    });
  }
});

test("each way out refuses alike", async () => {
  const bad = { a: Number.NaN };
  const ways: ((ctx: TaskContext) => unknown)[] = [
    () => bad,
    (ctx) => ctx.call("x", bad),
    (ctx) => ctx.waitApproval("x", bad),
    (ctx) => ctx.stream(bad),
  ];
  for (const way of ways) {
    const rig = new Rig(way);
    rig.offer();
    const failure = await rig.failure();
    assert.deepEqual([failure.code, failure.retryable], [Code.BadJson, false]);
    assert.match(failure.message, /`\$\.a` is `NaN`/);
  }
  const rig = new Rig((ctx) => ctx.run("x", () => bad));
  rig.offer();
  const recorded = await rig.recordNext();
  assert.ok(recorded.result?.$case === "error" && recorded.result.value.code === Code.BadJson);
  const sent: unknown[] = [];
  const client = new Client({
    fetch: async (...given) => {
      sent.push(given);
      return new Response("{}");
    },
  });
  await assert.rejects(client.startRun({ workflow: "w", input: bad }), { code: Code.BadJson });
  await assert.rejects(client.signalRun("r", "go", bad), { code: Code.BadJson });
  assert.deepEqual(sent, []);
});

test("a number that JavaScript cannot hold is refused on the way in, by its path", async () => {
  const read = (written: string) => readJson("input", Buffer.from(written));
  assert.deepEqual(
    read('{"id": 9007199254740991, "x": 0.12345678901234567890, "t": "9007199254740993", "big": 1e21}'),
    {
      id: 9007199254740991,
      x: 0.12345678901234568,
      t: "9007199254740993",
      big: 1e21,
    },
  );
  for (const [written, path] of [
    ["9007199254740993", "`$` is `9007199254740993`"],
    ['{"a": [{"n!": 18446744073709551615}]}', '`$.a[0]["n!"]` is `18446744073709551615`'],
    ['["n!x", -9007199254740993]', "`$[1]` is `-9007199254740993`"],
    ['{"x": 1e400}', "`$.x` is `1e400`"],
  ] as const) {
    assert.throws(() => read(written), {
      code: Code.BadJson,
      retryable: false,
      message: `the input has a number that JavaScript cannot hold exactly: ${path}`,
      hint: "let the sender write it as text",
    });
  }
  const client = new Client({ fetch: async () => new Response('{"id":9007199254740993}') });
  await assert.rejects(client.runOutput("r"), { code: Code.BadJson });
});
