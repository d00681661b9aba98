/**
 * The worker: hosts agents in this process and keeps them connected.
 *
 * For: a program that takes tasks. Not for: what its agents do.
 * Invariant: a worker runs once; it ends when it was asked to leave, or the server let it go or refuses it.
 */
import type { Agent } from "./agent.js";
import { Code, ConsortError, TaskError } from "./error.js";
import { type Logger, lineLogger } from "./logger.js";
import { replayFiles, replayTasks } from "./replay-check.js";
import { Session } from "./session.js";
import { type ServerOptions, withEnvironment } from "./transport.js";

/** Tasks that one instance holds at once, at most. */
const CONCURRENCY_MAX = 10_000;

/** How a worker works. Spans are in milliseconds. */
export interface WorkerOptions extends ServerOptions {
  /** The agents that it hosts; at least one. */
  agents: Agent[];
  /** Tasks that each agent holds at once; 16 by default. */
  concurrency?: number;
  /** Labels of this process, such as its zone; they override those of its agents. */
  labels?: Record<string, string>;
  /** Where messages of the worker and of its tasks go; standard error by default. */
  logger?: Logger;
  /** How long a worker that leaves stays for what it holds; 30,000. */
  leaveWithin?: number;
  /** How long a task only waits before it frees its place; 10. */
  parkAfter?: number;
  /** How long cancelled code may continue; 2,000. */
  cancelGrace?: number;
  /** Whether SIGINT and SIGTERM make the worker leave (a second one ends the process); they do, where not `false`. */
  handleSignals?: boolean;
  /**
   * Whether an unhandled rejection is logged instead of ending the process, where the program has no listener of its
   * own: one task's forgotten promise then does no harm to others. It is, where not `false`.
   */
  handleRejections?: boolean;
}

/** Hosts agents, and keeps them connected to a server. */
export class Worker {
  readonly #options: WorkerOptions;
  readonly #session: Session;
  readonly #logger: Logger;
  #ran = false;

  /** A worker that is not connected yet. It throws where a setting is wrong. */
  constructor(options: WorkerOptions) {
    const { agents, concurrency = 16, labels = {} } = options;
    if (agents.length === 0) {
      throw new ConsortError(Code.BadRequest, "the worker hosts no agent", { hint: "give it `agents: [...]`" });
    }
    checkConcurrency(concurrency);
    this.#options = options;
    this.#logger = options.logger ?? lineLogger();
    this.#session = new Session([...agents], {
      server: withEnvironment(options),
      concurrency,
      labels,
      leaveWithin: options.leaveWithin ?? 30_000,
      timeouts: { parkAfter: options.parkAfter ?? 10, cancelGrace: options.cancelGrace ?? 2_000 },
      logger: this.#logger,
    });
  }

  /**
   * Takes tasks until the worker was asked to leave (by {@link stop} or a signal) and what it held is done, or the
   * server let it go. Lost connections are opened again.
   *
   * It fails with a `ConsortError` where the server refuses the worker. Under `consort replay-check` it replays the
   * journals of tasks in flight against the code of its agents instead, and ends.
   */
  async run(): Promise<void> {
    if (this.#ran) {
      throw new ConsortError(Code.BadRequest, "the worker has run already", { hint: "make a new one" });
    }
    this.#ran = true;
    const files = replayFiles();
    if (files) {
      return replayTasks(this.#options.agents, files);
    }
    const { handleSignals = true, handleRejections = true } = this.#options;
    const undo = [
      ...(handleSignals ? [this.#heedSignal("SIGINT"), this.#heedSignal("SIGTERM")] : []),
      ...(handleRejections ? [this.#heedRejections()] : []),
    ];
    try {
      await this.#session.run();
    } finally {
      for (const step of undo) {
        step();
      }
    }
  }

  /** Requests no more tasks, finishes those that are held and leaves; {@link run} then ends. */
  stop(): void {
    this.#session.leave();
  }

  /** How many tasks each agent can hold at once from now on; 0 takes nothing more and keeps what is held. */
  setConcurrency(tasks: number): void {
    if (tasks !== 0) {
      checkConcurrency(tasks);
    }
    this.#session.setConcurrency(tasks);
  }

  /** Leaves at the first signal; a second one does what it does without us. Returns what undoes it. */
  #heedSignal(signal: NodeJS.Signals): () => void {
    const listener = () => this.stop();
    process.once(signal, listener);
    return () => process.removeListener(signal, listener);
  }

  #heedRejections(): () => void {
    const listener = (reason: unknown) => {
      if (process.listenerCount("unhandledRejection") === 1) {
        const stopped = reason instanceof TaskError && reason.code === Code.Cancelled;
        const message = reason instanceof Error ? (reason.stack ?? reason.message) : String(reason);
        this.#logger[stopped ? "debug" : "error"]("an unawaited promise failed", { reason: message });
      }
    };
    process.on("unhandledRejection", listener);
    return () => process.removeListener("unhandledRejection", listener);
  }
}

function checkConcurrency(tasks: number): void {
  if (!Number.isInteger(tasks) || tasks < 1 || tasks > CONCURRENCY_MAX) {
    const message = `a concurrency of \`${tasks}\` is not within 1 to ${CONCURRENCY_MAX}`;
    throw new ConsortError(Code.LimitReached, message);
  }
}
