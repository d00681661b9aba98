/**
 * A real server for tests, in a folder of its own.
 *
 * For: end-to-end tests, where `CONSORT_BIN` names the binary. Not for: everything that a fake can cover.
 * Invariant: free ports and temporary folders only; a server that is started again has the same address and data.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** The binary, where one is named. */
export const BINARY = process.env.CONSORT_BIN;

/** Why the test is left out, where it is; and how long it may take. */
export const LIVE = { skip: BINARY ? false : "CONSORT_BIN does not name the binary", timeout: 60_000 };

/** See the module. */
export class Server {
  address = "127.0.0.1:0";
  readonly #folder = mkdtempSync(join(tmpdir(), "consort-e2e-"));
  #process: ChildProcess | undefined;

  /** A server that answers. */
  static async start(): Promise<Server> {
    const server = new Server();
    await server.up();
    return server;
  }

  /** Starts the server, at the address of before where there was one. */
  async up(): Promise<void> {
    assert.ok(BINARY);
    const listen = ["--listen", this.address];
    const child = spawn(BINARY, ["up", "--data-dir", join(this.#folder, "data"), ...listen], {
      cwd: this.#folder,
      env: { ...process.env, CONSORT_HEARTBEAT_TIMEOUT: "2s", CONSORT_GRACE: "3s" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#process = child;
    for await (const line of createInterface({ input: child.stdout })) {
      const address = /^http:\/\/(\S+)$/.exec(line)?.[1];
      if (address) {
        this.address = address;
        return;
      }
    }
    assert.fail("the server did not say where it listens");
  }

  /** Kills the server. */
  async kill(): Promise<void> {
    const child = this.#process;
    if (child && child.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  }

  /** Kills the server and removes its folder. */
  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** A process of a worker that logs to its standard output. */
export class WorkerProcess {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  /** Starts a program of this folder. */
  constructor(program: string, address: string) {
    const file = new URL(program, import.meta.url).pathname;
    this.#process = spawn(process.execPath, [file, address], { stdio: ["ignore", "pipe", "inherit"] });
    assert.ok(this.#process.stdout);
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  /** Ends when the worker has said this; returns what it said, up to there. */
  async until(said: string): Promise<string[]> {
    const lines: string[] = [];
    for (let next = await this.#lines.next(); !next.done; next = await this.#lines.next()) {
      lines.push(next.value);
      if (next.value === said) {
        return lines;
      }
    }
    assert.fail(`the worker ended without saying \`${said}\`; it said ${JSON.stringify(lines)}`);
  }

  /** Sends a signal and waits for the end; the exit code, or the signal. */
  async end(signal: NodeJS.Signals): Promise<number | string | null> {
    const child = this.#process;
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal);
      await once(child, "exit");
    }
    return child.exitCode ?? child.signalCode;
  }
}
