/**
 * The file of a replica: lines, each with a checksum, and a lock beside it.
 *
 * For: keeping a `ReplicaState` through crashes; `docs/replicas.md` has the format, which the three SDKs share. Not for:
 * what a line means.
 * Invariant: a line is on the disk when `commit` returns; one that was torn by a crash, which can only be the last, counts
 * as not written; damage elsewhere is an error and is not repaired.
 */
import { randomUUID } from "node:crypto";
import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { hostname } from "node:os";
import { dirname, resolve } from "node:path";
import { Code, ConsortError } from "./error.js";
import { FORMAT, type Line, ReplicaState } from "./replica-state.js";
import { lossy } from "./values.js";

/** A file that is smaller is not compacted. */
const COMPACT_BYTES = 64 * 1024;

/** The files that this process has open. */
const OPEN = new Set<string>();

/** Of what a file is the replica. */
export type Header = { space: string; name: string; prefix: string };

/** An open file, and its state. */
export class ReplicaFile {
  readonly path: string;
  readonly state = new ReplicaState();
  readonly #lock: Lock;
  #descriptor = -1;
  #isBroken = false;
  #size = 0;
  #live = 0;

  /** Opens the file, or makes it. */
  constructor(path: string, header: Header) {
    this.path = resolve(path);
    this.#lock = new Lock(this.path);
    try {
      if (existsSync(this.path)) {
        this.#read(header);
      } else {
        this.state.fold({ meta: { format: FORMAT, ...header } });
        this.#rewrite();
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Appends a line, and then does what it says. */
  commit(line: Line): void {
    if (Object.keys(line).length === 0) {
      return;
    }
    if (this.#isBroken || this.#descriptor < 0) {
      const why = this.#isBroken ? "could not be written before, so what it has is not known" : "is closed";
      throw new ConsortError(Code.ReplicaDamaged, `the replica \`${this.path}\` ${why}`, { hint: "open it again" });
    }
    const data = encode(line);
    try {
      writeAll(this.#descriptor, data);
      fsyncSync(this.#descriptor);
    } catch (error) {
      this.#isBroken = true;
      throw error;
    }
    this.state.fold(line);
    this.#size += data.length;
    if (this.#size > 2 * Math.max(this.#live, COMPACT_BYTES)) {
      this.#rewrite();
    }
  }

  /** Closes it; another process may open it then. */
  close(): void {
    if (this.#descriptor >= 0) {
      closeSync(this.#descriptor);
      this.#descriptor = -1;
    }
    this.#lock.release();
  }

  #read(header: Header): void {
    const data = readFileSync(this.path);
    let [start, number] = [0, 1];
    for (let end = data.indexOf(10); end >= 0; end = data.indexOf(10, start), number += 1) {
      const line = this.#decoded(data.subarray(start, end));
      if (!line) {
        if (data.subarray(end + 1).some((byte) => byte !== 10)) {
          throw this.#damaged(`line ${number} does not fit its checksum`);
        }
        break;
      }
      this.state.fold(line);
      start = end + 1;
    }
    const { meta } = this.state;
    if (meta.format !== FORMAT) {
      throw this.#damaged(`its format is \`${meta.format}\`, this version knows ${FORMAT}`);
    }
    for (const [name, value] of Object.entries(header)) {
      const has = meta[name as keyof Header];
      if (has !== value) {
        const message = `the file \`${this.path}\` is a replica with the ${name} \`${has}\`, not \`${value}\``;
        throw new ConsortError(Code.ReplicaTaken, message, { hint: "use a file of its own for each replica" });
      }
    }
    ftruncate(this.path, start);
    this.#descriptor = openSync(this.path, "a");
    this.#size = start;
    for (const line of this.state.lines()) {
      this.#live += encode(line).length;
    }
  }

  #decoded(data: Buffer): Line | undefined {
    const line = decode(data);
    const lost = line && lossy(data.subarray(9).toString());
    if (lost) {
      const message = `the replica \`${this.path}\` has a number that JavaScript cannot hold exactly: ${lost.message}`;
      throw new ConsortError(Code.BadJson, message, {
        hint: "open it in another language, or let its writer write texts",
      });
    }
    return line;
  }

  #damaged(why: string): ConsortError {
    return new ConsortError(Code.ReplicaDamaged, `the replica \`${this.path}\` is damaged: ${why}`, {
      hint: "keep the file to see what it holds, and open another one: it begins with what the server has",
    });
  }

  /** Writes the file again, without what is over, and puts it in the place of the old one. */
  #rewrite(): void {
    const fresh = `${this.path}.new`;
    const descriptor = openSync(fresh, "w", 0o600);
    let size = 0;
    try {
      for (const line of this.state.lines()) {
        const data = encode(line);
        writeAll(descriptor, data);
        size += data.length;
      }
      fsyncSync(descriptor);
      renameSync(fresh, this.path);
      syncFolder(dirname(this.path));
    } catch (error) {
      closeSync(descriptor);
      this.#isBroken = true;
      throw error;
    }
    if (this.#descriptor >= 0) {
      closeSync(this.#descriptor);
    }
    this.#descriptor = descriptor;
    this.#size = size;
    this.#live = size;
  }
}

/** A line as it is in the file. */
export function encode(line: Line): Buffer {
  const text = Buffer.from(JSON.stringify(line));
  return Buffer.concat([Buffer.from(`${checksum(text)} `), text, Buffer.from("\n")]);
}

/** A line without its end; nothing where it does not fit its checksum. */
export function decode(data: Buffer): Line | undefined {
  const text = data.subarray(9);
  return data.subarray(0, 9).toString("latin1") === `${checksum(text)} ` ? JSON.parse(text.toString()) : undefined;
}

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) {
    value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  }
  return value;
});

/** The CRC-32 of some bytes (that of zlib), as eight digits. Node.js 20 has none. */
export function checksum(data: Uint8Array): string {
  let value = 0xffffffff;
  for (const byte of data) {
    value = (CRC[(value ^ byte) & 0xff] as number) ^ (value >>> 8);
  }
  return ((value ^ 0xffffffff) >>> 0).toString(16).padStart(8, "0");
}

function writeAll(descriptor: number, data: Buffer): void {
  for (let written = 0; written < data.length; ) {
    written += writeSync(descriptor, data, written);
  }
}

function ftruncate(path: string, size: number): void {
  const descriptor = openSync(path, "r+");
  try {
    ftruncateSync(descriptor, size);
  } finally {
    closeSync(descriptor);
  }
}

function syncFolder(folder: string): void {
  if (process.platform === "win32") {
    return;
  }
  const descriptor = openSync(folder, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** A file that names the process that has the replica open. One of a process that has ended is taken over. */
class Lock {
  readonly #of: string;
  readonly #path: string;
  #isHeld = false;

  /** Acquires it. */
  constructor(of: string) {
    this.#of = of;
    this.#path = `${of}.lock`;
    if (OPEN.has(of)) {
      throw this.#held(process.pid);
    }
    if (!make(this.#path)) {
      this.#takeOver();
    }
    OPEN.add(of);
    this.#isHeld = true;
  }

  /** Lets another process have it. */
  release(): void {
    if (this.#isHeld) {
      this.#isHeld = false;
      OPEN.delete(this.#of);
      rmSync(this.#path, { force: true });
    }
  }

  #takeOver(): void {
    // Of two that find the same old lock, one may remove it.
    const guard = `${this.#path}.old`;
    if (!make(guard)) {
      throw this.#held(undefined, guard);
    }
    try {
      const holder = holderOf(this.#path);
      if (holder !== undefined) {
        throw this.#held(holder);
      }
      rmSync(this.#path, { force: true });
      if (!make(this.#path)) {
        throw this.#held(undefined);
      }
    } finally {
      rmSync(guard, { force: true });
    }
  }

  #held(holder: number | undefined, file = this.#path): ConsortError {
    const who = holder === undefined ? "another process" : `process \`${holder}\``;
    return new ConsortError(Code.ReplicaTaken, `the replica \`${this.#of}\` is open in ${who}`, {
      hint: `close it there; where that process is gone, remove \`${file}\``,
    });
  }
}

/** Makes a lock, which has its content from the first moment on; false where there is one. */
function make(path: string): boolean {
  const draft = `${path}.${randomUUID()}`;
  writeFileSync(draft, JSON.stringify({ process: process.pid, host: hostname() }), { mode: 0o600 });
  try {
    linkSync(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") {
      return false;
    }
    throw error;
  } finally {
    rmSync(draft);
  }
}

/** The process that holds a lock; nothing where it has ended. */
function holderOf(path: string): number | undefined {
  let found: { process?: unknown; host?: unknown };
  try {
    found = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || error instanceof SyntaxError) {
      // It was removed by now, or power was lost before it was on the disk.
      return undefined;
    }
    throw error;
  }
  const holder = Number(found.process);
  const isGone = found.host === hostname() && (holder === process.pid || !lives(holder));
  return isGone ? undefined : holder;
}

function lives(holder: number): boolean {
  try {
    process.kill(holder, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
