// Writes the TypeScript form of Consort's protobuf files into `src/proto`; with `--check` compares instead.
//
// For: `npm run generate` and the tests. Not for: users of the package (the generated code is checked in).
// Invariant: needs only what `npm install` brings; no protoc on the machine.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const protos = join(root, "../../crates/proto/proto");
const target = join(root, "src/proto");
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

function generate(out) {
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

if (process.argv.includes("--check")) {
  const fresh = mkdtempSync(join(tmpdir(), "consort-proto-"));
  try {
    generate(fresh);
    const stale = differences(fresh, target);
    if (stale.length > 0) {
      console.error(`not current: ${stale.join(", ")}; run \`npm run generate\``);
      process.exitCode = 1;
    }
  } finally {
    rmSync(fresh, { recursive: true });
  }
} else {
  rmSync(target, { recursive: true, force: true });
  generate(target);
}
