/**
 * One connection after another for all agents of a worker: joins, passes messages on, reconnects, leaves.
 *
 * For: keeping instances running across reconnects. Not for: their attempts (see `instance`).
 * Invariant: a connection that is lost is opened again for as long as the worker is wanted or holds something; what
 * the server refuses for good ends the session.
 */
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { parseAddress } from "./address.js";
import type { Agent } from "./agent.js";
import type { Timeouts } from "./attempt.js";
import { Connection } from "./connection.js";
import { type ConsortError, stack } from "./error.js";
import { Instance, type Wire } from "./instance.js";
import { PAYLOAD_BYTES_MAX } from "./json.js";
import type { Logger } from "./logger.js";
import { type Hello, WorkerMessage } from "./messages.js";
import type { ServerMessage, Welcome } from "./proto/consort/v1/worker.js";
import { type Participant, Scheduler } from "./scheduler.js";
import { toMillis } from "./span.js";
import type { ServerOptions } from "./transport.js";
import { VERSION } from "./version.js";

/** The version of the protocol. */
const PROTOCOL = 1;
/** The first pause after a lost connection, and the longest, in milliseconds. */
const BACK_OFF_FIRST = 100;
const BACK_OFF_LONGEST = 5_000;

/** How a worker works. */
export interface Settings {
  server: ServerOptions & { address: string };
  concurrency: number;
  labels: Record<string, string>;
  leaveWithin: number;
  timeouts: Timeouts;
  logger: Logger;
}

/** See the module. */
export class Session implements Wire {
  epoch = 0;
  payloadBytesMax = PAYLOAD_BYTES_MAX;
  readonly timeouts: Timeouts;
  readonly logger: Logger;
  readonly #settings: Settings;
  readonly #instances: Instance[];
  readonly #scheduler = new Scheduler(() => this.#connection?.flush());
  /** The instances of the connection, by their number. */
  #joined: Instance[] = [];
  #connection: Connection | undefined;
  #open = false;
  #backOff = BACK_OFF_FIRST;
  /** Identifies this worker, over its reconnects. */
  readonly #identity = randomUUID();
  #retry: NodeJS.Timeout | undefined;
  #beat: NodeJS.Timeout | undefined;
  #leaveBy: NodeJS.Timeout | undefined;
  #leaving = false;
  /** Whether the stream was closed from this side. */
  #ending = false;
  #finished = false;
  #done: { resolve: () => void; reject: (error: ConsortError) => void } | undefined;

  /** A session that is not open yet. */
  constructor(agents: Agent[], settings: Settings) {
    this.#settings = settings;
    this.timeouts = settings.timeouts;
    this.logger = settings.logger;
    this.#instances = agents.map((agent) => new Instance(agent, settings.concurrency, this));
  }

  /** Works until every instance has left, or the server refuses the worker. */
  run(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#done = { resolve, reject };
      this.#connect();
    });
  }

  /** Requests no more tasks, finishes those that are held (within a time) and leaves. */
  leave(): void {
    if (this.#leaving || this.#finished) {
      return;
    }
    this.#leaving = true;
    this.logger.info("the worker leaves");
    this.#leaveBy = setTimeout(() => this.#giveUp(), this.#settings.leaveWithin);
    this.#sayLeaving();
    this.left();
  }

  /** How many tasks each agent can hold at once from now on. */
  setConcurrency(tasks: number): void {
    for (const instance of this.#instances.filter(({ drained }) => !drained)) {
      instance.credit = tasks;
      this.#sayCredit(instance);
    }
    this.request();
  }

  // What instances ask of their connection.

  get connected(): boolean {
    return this.#open;
  }

  send(message: Uint8Array): void {
    if (this.#open) {
      this.#connection?.send(message);
    }
  }

  room(): Promise<void> {
    return this.#connection?.room() ?? Promise.resolve();
  }

  request(participant?: Participant): void {
    this.#scheduler.request(participant);
  }

  /** Leaves, where nothing keeps the worker. */
  left(): void {
    const drained = this.#instances.every((instance) => instance.drained);
    if (!(drained || this.#leaving) || !this.#instances.every((instance) => instance.idle)) {
      return;
    }
    if (drained && this.#open) {
      this.#ending = true;
      this.#connection?.end();
    } else if (drained || (this.#leaving && !this.#open)) {
      this.#finish();
    }
  }

  // The connection.

  #connect(): void {
    this.#joined = this.#instances.filter((instance) => !instance.drained || !instance.idle);
    this.#joined.forEach((instance, number) => {
      instance.number = number;
    });
    this.#connection = new Connection(this.#settings.server, this.#hello(), {
      welcome: (welcome) => this.#welcome(welcome),
      messages: (messages) => this.#take(messages),
      closed: (error) => this.#closed(error),
    });
  }

  #hello(): Hello {
    const instances = this.#joined.map((instance) => ({
      agent: instance.agent.declaration(),
      credit: instance.introduce(this.#leaving || instance.drained),
      held: instance.held,
      labels: this.#settings.labels,
    }));
    const client = `typescript/${VERSION} ${hostname()}:${process.pid}`;
    const namespace = this.#settings.server.namespace ?? "default";
    return { protocol: PROTOCOL, protocolMin: PROTOCOL, namespace, instances, client, worker: this.#identity };
  }

  #welcome(welcome: Welcome): void {
    this.#open = true;
    this.epoch += 1;
    this.#backOff = BACK_OFF_FIRST;
    this.payloadBytesMax = Number(welcome.payloadBytesMax) || PAYLOAD_BYTES_MAX;
    this.logger.info("connected", {
      address: parseAddress(this.#settings.server.address).url,
      server: welcome.server,
      agents: this.#joined.map(({ agent }) => introduced(agent)).join("; "),
    });
    // Twice in each interval, so that a late timer does no harm.
    this.#beat = setInterval(() => this.#tick(), Math.max(toMillis(welcome.heartbeatIntervalUs) / 2, 10));
    for (const instance of this.#joined) {
      this.#sayCredit(instance);
      instance.reconnected();
    }
    if (this.#leaving) {
      this.#sayLeaving();
    }
    this.request();
    this.left();
  }

  #take(messages: ServerMessage[]): void {
    let drained = false;
    for (const { instance, kind } of messages) {
      try {
        this.#joined[instance]?.take(kind);
      } catch (error) {
        // It is about one task: the others are not to suffer from it.
        this.logger.error("a message of the server cannot be acted on", {
          kind: kind?.$case ?? "",
          stack: stack(error),
        });
      }
      drained ||= kind?.$case === "drain";
    }
    if (drained) {
      this.left();
    }
  }

  /** Sends a heartbeat, where no other message was sent. */
  #tick(): void {
    if (!this.#connection?.spoke()) {
      this.send(WorkerMessage.encode({ instance: 0, kind: { $case: "alive", value: {} } }).finish());
      this.#connection?.flush();
    }
    // What was just sent does not count for the next interval.
    this.#connection?.spoke();
    for (const instance of this.#instances) {
      instance.prune(Date.now());
    }
  }

  #sayCredit(instance: Instance): void {
    if (!this.#leaving) {
      instance.sayCredit();
    }
  }

  #sayLeaving(): void {
    if (this.#open) {
      for (const instance of this.#joined) {
        instance.send({ $case: "leaving", value: {} });
      }
      this.request();
    }
  }

  #closed(error: ConsortError | undefined): void {
    this.#open = false;
    this.#connection = undefined;
    clearInterval(this.#beat);
    if (this.#finished) {
      return;
    }
    if (error && !error.isUnavailable) {
      this.#finish(error);
      return;
    }
    if (error || !this.#ending) {
      for (const instance of this.#instances) {
        instance.lost();
      }
    }
    this.#ending = false;
    this.left();
    if (!this.#finished) {
      this.#retryLater(error);
    }
  }

  #retryLater(error: ConsortError | undefined): void {
    const pause = this.#backOff * (0.5 + Math.random() / 2);
    this.#backOff = Math.min(this.#backOff * 2, BACK_OFF_LONGEST);
    const reason = error?.message ?? "the server closed the connection";
    const hint = error?.hint === undefined ? {} : { hint: error.hint };
    this.logger.warn("not connected", { reason, ...hint, again_in_ms: Math.round(pause) });
    this.#retry = setTimeout(() => this.#connect(), pause);
  }

  /** Tasks that are not done by now are left; the server assigns them to other instances. */
  #giveUp(): void {
    this.logger.warn("left with tasks that are not done");
    this.#finish();
  }

  #finish(error?: ConsortError): void {
    if (this.#finished) {
      return;
    }
    this.#finished = true;
    clearTimeout(this.#retry);
    clearTimeout(this.#leaveBy);
    clearInterval(this.#beat);
    for (const instance of this.#instances) {
      instance.abandon();
    }
    this.#connection?.destroy();
    if (error) {
      this.#done?.reject(error);
    } else {
      this.#done?.resolve();
    }
  }
}

/** An agent for people: its name, its version and what it can do. */
function introduced(agent: Agent): string {
  const { name, version, capabilities } = agent.declaration();
  return `${name} ${version} (${capabilities.map((one) => one.name).join(", ") || "no capability"})`;
}
