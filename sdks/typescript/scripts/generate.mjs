// Writes what is made from the interface: the messages of the worker protocol into `src/proto`, the documents and
// operations of the client into `src/generated`. With `--check` it compares instead.
//
// For: `npm run generate` and the tests. Not for: users of the package (the generated code is checked in).
// Invariant: needs only what `npm install` brings; no protoc on the machine.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { generateClient } from "./generate-client.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const protos = join(root, "../../crates/proto/proto");
const document = join(root, "../../docs/reference/openapi.json");
const bin = join(root, "node_modules/.bin");

/** The options of ts-proto: plain data and codecs, oneofs as tagged unions, 64-bit numbers as `bigint`. */
const options = [
  "env=both",
  "outputServices=generic-definitions",
  "forceLong=bigint",
  "oneof=unions-value",
  "importSuffix=.js",
  "unrecognizedEnum=false",
  "removeEnumPrefix=true",
  "outputJsonMethods=false",
  "outputPartialMethods=false",
  "outputTypeRegistry=false",
  "exportCommonSymbols=false",
  "annotateFilesWithVersion=false",
];

function generateMessages(out) {
  const template = { version: "v2", plugins: [{ local: "protoc-gen-ts_proto", out, opt: options }] };
  execFileSync(join(bin, "buf"), ["generate", protos, "--template", JSON.stringify(template)], {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, PATH: bin + delimiter + process.env.PATH },
  });
}

function files(folder) {
  const found = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return found.map((entry) => relative(folder, join(entry.parentPath ?? entry.path, entry.name))).sort();
}

/** The files that differ between the two folders. */
function differences(a, b) {
  const names = new Set([...files(a), ...files(b)]);
  const text = (folder, name) => {
    try {
      return readFileSync(join(folder, name), "utf8");
    } catch {
      return undefined;
    }
  };
  return [...names].filter((name) => text(a, name) !== text(b, name));
}

async function generate(proto, generated) {
  mkdirSync(generated, { recursive: true });
  generateMessages(proto);
  await generateClient(document, generated);
}

const targets = ["src/proto", "src/generated"].map((folder) => join(root, folder));
if (process.argv.includes("--check")) {
  const fresh = mkdtempSync(join(tmpdir(), "consort-generated-"));
  try {
    const folders = targets.map((_, at) => join(fresh, String(at)));
    await generate(...folders);
    const stale = folders.flatMap((folder, at) => differences(folder, targets[at]));
    if (stale.length > 0) {
      console.error(`not current: ${stale.join(", ")}; run \`npm run generate\``);
      process.exitCode = 1;
    }
  } finally {
    rmSync(fresh, { recursive: true });
  }
} else {
  for (const target of targets) {
    rmSync(target, { recursive: true, force: true });
  }
  await generate(...targets);
}
