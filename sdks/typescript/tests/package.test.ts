/**
 * The package: generated code, lock file, README.
 *
 * For: what must be current beside the code. Not for: behaviour.
 * Invariant: needs nothing but what `npm install` brings.
 */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { STREAM_BYTES_MAX } from "../src/attempt.js";
import { ATTEMPTS_MAX } from "../src/context.js";
import { MESSAGE_BYTES_MAX } from "../src/error.js";
import { ENTRIES_MAX } from "../src/journal.js";
import { PAYLOAD_BYTES_MAX } from "../src/json.js";
import { BATCH_KEYS, KEY_BYTES_MAX } from "../src/replica-state.js";
import { DEPTH_MAX } from "../src/values.js";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

test("the generated code is that of the protobuf files", () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(ROOT, "scripts/generate.mjs"), "--check"], {
    encoding: "utf8",
  });
  assert.equal(status, 0, stdout + stderr);
});

test("limits are those of the server", () => {
  const table = readFileSync(join(ROOT, "../../docs/reference/limits.md"), "utf8");
  const limit = (name: string) =>
    Number(table.match(new RegExp(`^\\| \`${name}\` \\| ([\\d,]+) \\|`, "m"))?.[1]?.replaceAll(",", ""));
  assert.equal(ATTEMPTS_MAX, limit("ATTEMPTS_MAX"));
  assert.equal(DEPTH_MAX, limit("NESTING_DEPTH_MAX"));
  assert.equal(PAYLOAD_BYTES_MAX, limit("PAYLOAD_BYTES_MAX"));
  assert.equal(MESSAGE_BYTES_MAX, limit("ERROR_MESSAGE_BYTES_MAX"));
  assert.equal(ENTRIES_MAX, limit("TASK_JOURNAL_ENTRIES_MAX"));
  assert.equal(STREAM_BYTES_MAX, limit("STREAM_DELTA_BYTES_MAX"));
  assert.equal(KEY_BYTES_MAX, limit("STATE_KEY_BYTES_MAX"));
  // The condition, the cursor and what is read where the condition fails.
  assert.ok(BATCH_KEYS + 3 <= limit("STATE_OPERATIONS_MAX"));
});

test("the lock file names no registry", () => {
  assert.ok(!readFileSync(join(ROOT, "package-lock.json"), "utf8").includes('"resolved"'));
});

test("the examples of the README compile, and an agent is shorter than 20 lines", () => {
  const readme = readFileSync(join(ROOT, "README.md"), "utf8");
  const blocks = [...readme.matchAll(/^```ts\n(.*?)^```/gms)].map((match) => match[1] ?? "");
  assert.ok(blocks.length >= 4);
  assert.ok((blocks[0] ?? "").trim().split("\n").length < 20);
  const folder = join(ROOT, "build/readme");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  blocks.forEach((block, index) => {
    writeFileSync(join(folder, `block-${index}.ts`), block);
  });
  const compilerOptions = { noEmit: true, noUnusedLocals: false, rootDir: "../.." };
  const config = { extends: "../../tsconfig.json", compilerOptions, include: ["*.ts"], exclude: [] };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
  const { status, stdout } = spawnSync(join(ROOT, "node_modules/.bin/tsc"), ["-p", folder], { encoding: "utf8" });
  assert.equal(status, 0, stdout);
});

test("the package brings what it needs and nothing else", () => {
  const pack = execFileSync("npm", ["pack", "--dry-run", "--json"], { cwd: ROOT, encoding: "utf8", stdio: "pipe" });
  const [packed] = JSON.parse(pack) as { files: { path: string }[] }[];
  const paths = packed?.files.map(({ path }) => path) ?? [];
  const folders = new Set(paths.map((path) => path.split("/")[0]));
  assert.deepEqual([...folders].sort(), ["LICENSE", "README.md", "dist", "package.json"]);
  for (const module of ["index", "testing"]) {
    assert.ok(paths.includes(`dist/${module}.js`) && paths.includes(`dist/${module}.d.ts`));
  }
});
