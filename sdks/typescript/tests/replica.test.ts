/**
 * The rules of a replica, its file and its lock, without a server.
 *
 * For: what is decided without sending anything. Not for: policies and lost answers (see `e2e/replica`).
 * Invariant: what a file holds is what a replica had when its last write returned.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type TestContext, test } from "node:test";
import { Client, ConsortError, Replica, type ReplicaOptions } from "../src/index.js";
import { checksum, decode, encode } from "../src/replica-file.js";
import { type Part, rebase, splice } from "../src/replica-merge.js";
import { ReplicaState } from "../src/replica-state.js";

const FIXTURES = new URL("../../../replicas/", import.meta.url).pathname;
const CLIENT = new Client({ address: "127.0.0.1:1" });

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "consort-replica-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function opened(path: string, options: Partial<ReplicaOptions> = {}): Replica {
  return Replica.open(CLIENT, { space: "team", path, name: "laptop", ...options });
}

function fails(code: string, message: RegExp) {
  return (error: unknown) => error instanceof ConsortError && error.code === code && message.test(error.message);
}

test("local writes are seen and survive", (t) => {
  const path = join(folder(t), "r");
  const first = opened(path);
  first.put("plan", { goal: "ship" });
  first.put("__proto__", null);
  assert.equal(first.add("visits", 2), 2);
  assert.equal(first.add("visits"), 3);
  first.addTo("tags", "a", "b", "a");
  first.removeFrom("tags", "a", "c");
  first.put("gone", 1);
  first.delete("gone");
  first.close();
  const replica = opened(path);
  const all = { __proto__: null, plan: { goal: "ship" }, tags: ["b"], visits: 3 };
  assert.deepEqual([...replica.list()], [["__proto__", null], ...Object.entries(all)]);
  assert.deepEqual([...replica.list("p").keys()], ["plan"]);
  assert.deepEqual(replica.pending(), ["__proto__", "plan", "tags", "visits"]);
  assert.deepEqual([replica.entry("plan")?.version, replica.entry("plan")?.pending], [0, true]);
  assert.equal(replica.entry("gone"), undefined);
  replica.takeServer("plan");
  assert.equal(replica.get("plan"), undefined);
  replica.close();
});

test("what is no write is refused", (t) => {
  const replica = opened(join(folder(t), "r"), { prefix: "a/" });
  for (const key of ["", `a/${"x".repeat(511)}`, "a/\n", "b/x"]) {
    assert.throws(() => replica.put(key, 1), fails("C0001", /key/));
  }
  replica.put("a/x", "text");
  assert.throws(() => replica.add("a/x"), fails("C0706", /not a whole number/));
  assert.throws(() => replica.addTo("a/x", 1), fails("C0706", /not a list/));
  assert.throws(() => replica.put("a/y", Number.NaN), fails("C0005", /JSON/));
  replica.close();
  assert.throws(() => opened("s", { name: "a/b" }), fails("C0001", /name/));
});

test("a torn tail counts as not written", (t) => {
  const path = join(folder(t), "r");
  const first = opened(path);
  first.put("a", 1);
  first.put("b", 2);
  first.close();
  const data = readFileSync(path);
  for (let cut = 1; cut < 40; cut += 3) {
    for (const tail of ["", "\0\0\0\0"]) {
      writeFileSync(path, Buffer.concat([data.subarray(0, -cut), Buffer.from(tail)]));
      const replica = opened(path);
      assert.deepEqual([...replica.list()], [["a", 1]]);
      replica.put("c", 3);
      replica.close();
      const again = opened(path);
      assert.deepEqual([...again.list().keys()], ["a", "c"]);
      again.close();
    }
  }
});

test("damage in the middle is an error", (t) => {
  const path = join(folder(t), "r");
  const first = opened(path);
  first.put("a", 1);
  first.put("b", 2);
  first.close();
  writeFileSync(path, readFileSync(path, "utf8").replace('"a"', '"A"'));
  assert.throws(() => opened(path), fails("C0843", /line 2 does not fit/));
  writeFileSync(path, encode({ meta: { format: 2 } }));
  assert.throws(() => opened(path), fails("C0843", /format is `2`/));
  writeFileSync(path, "");
  assert.throws(() => opened(path), fails("C0843", /format/));
  const header = encode({ meta: { format: 1, space: "team", name: "laptop", prefix: "" } });
  const text = '{"rows":{"k":{"server":{"version":1,"value":9007199254740993}}}}';
  writeFileSync(path, Buffer.concat([header, Buffer.from(`${checksum(Buffer.from(text))} ${text}\n`)]));
  assert.throws(() => opened(path), fails("C0005", /cannot hold exactly/));
});

test("a file is of one replica, and open once", (t) => {
  const path = join(folder(t), "r");
  const replica = opened(path);
  assert.throws(() => opened(path), fails("C0844", new RegExp(`process \`${process.pid}\``)));
  replica.close();
  assert.throws(() => replica.put("a", 2), fails("C0843", /closed/));
  assert.throws(() => opened(path, { prefix: "a/" }), fails("C0844", /the prefix ``, not `a\/`/));
});

test("the lock of a killed process is taken over", async (t) => {
  const path = join(folder(t), "r");
  const holder = spawn(
    process.execPath,
    [
      "--input-type=module",
      "-e",
      `import { Client, Replica } from ${JSON.stringify(new URL("../src/index.js", import.meta.url).href)};
       const replica = Replica.open(new Client(), { space: "team", path: process.argv[1], name: "laptop" });
       replica.put("a", 1);
       console.log("open");
       process.stdin.resume();`,
      path,
    ],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  for await (const line of createInterface({ input: holder.stdout })) {
    assert.equal(line, "open");
    break;
  }
  assert.throws(() => opened(path), fails("C0844", new RegExp(`process \`${holder.pid}\``)));
  holder.kill("SIGKILL");
  await once(holder, "exit");
  const replica = opened(path);
  assert.equal(replica.get("a"), 1);
  replica.close();
  assert.deepEqual(readdirSync(join(path, "..")), ["r"]);
});

test("the file is compacted", (t) => {
  const path = join(folder(t), "r");
  const first = opened(path);
  for (let number = 0; number < 300; number += 1) {
    first.put("large", [number, "x".repeat(1000)]);
  }
  assert.ok(statSync(path).size < 2 * 64 * 1024 + 2000);
  first.close();
  const replica = opened(path);
  assert.equal((replica.get("large") as unknown[])[0], 299);
  replica.close();
});

type Case = { name: string; policy: string; sent: Part; later: Part; made?: Part; version: number; left: Part };

test("a write during a push is put on top of its outcome", () => {
  for (const one of JSON.parse(readFileSync(join(FIXTURES, "rebase.json"), "utf8")) as Case[]) {
    assert.deepEqual(rebase(one.policy, one.sent, one.later, one.made, one.version), one.left, one.name);
  }
});

test("splices keep what both inserted", () => {
  const spliced = (...texts: string[]) => splice(texts.map((text) => [...text])).join("");
  assert.equal(spliced("abc", "aXbc", "abcY"), "aXbcY");
  assert.equal(spliced("abc", "abYc", "Xabc"), "XabYc");
  assert.equal(spliced("abc", "aXc", "aYc"), "aYXc");
  assert.equal(spliced("abc", "", "abc"), "");
  assert.equal(spliced("", "X", "Y"), "YX");
});

test("files of every SDK are read", () => {
  const files = readdirSync(FIXTURES).filter((name) => name.endsWith(".replica"));
  assert.ok(files.length > 0);
  for (const name of files) {
    const state = new ReplicaState();
    for (const text of readFileSync(join(FIXTURES, name), "latin1").split("\n").slice(0, -1)) {
      const line = decode(Buffer.from(text, "latin1"));
      assert.ok(line);
      state.fold(line);
    }
    const expected = JSON.parse(readFileSync(join(FIXTURES, name.replace(".replica", ".json")), "utf8"));
    assert.deepEqual({ meta: state.meta, rows: Object.fromEntries(state.rows) }, expected, name);
  }
});

test("a push whose seen version is gone is sent with what was seen", () => {
  const state = new ReplicaState();
  state.fold({ meta: { format: 1, space: "s", name: "n", prefix: "" } });
  state.fold(state.listed([{ key: "k", version: 7, server: { version: 7, value: 10 } }], { position: "7-1" }));
  state.fold(state.write("k", { value: 12 }));
  state.fold(state.listed([{ key: "k", version: 900, server: { version: 900, value: 50 } }], { position: "900-1" }));
  state.policies = [{ prefix: "", policy: "counter" }];
  state.fold(state.beginPush("1", new Set(), {}));
  const put = { op: "put", space: "s", key: "k", version: 7, value: 12 };
  assert.deepEqual(state.request().do[1], put);
  state.fold(state.refused("C0704", "gone"));
  state.fold(state.beginPush("2", new Set(), {}));
  assert.deepEqual(state.request().do[1], { ...put, base: 10 });
  state.fold(state.refused("C0704", "gone"));
  assert.equal(state.rows.get("k")?.conflict?.code, "C0704");
  assert.deepEqual(state.beginPush("3", new Set(), {}), {});
  // A program that decides has seen what is there.
  state.fold(state.write("k", { value: 52 }));
  assert.deepEqual(state.rows.get("k")?.pending, { version: 900, value: 52 });
});
