/**
 * One connected agent: its live attempts, and the last reports that may not have been delivered.
 *
 * For: what an instance keeps across connections. Not for: opening them (see `session`).
 * Invariant: for each task at most one attempt is live; a task with a newer token stops the older attempt. The last
 * report of an attempt is kept until it is sure to be delivered: reports are not acknowledged, so it is sent again
 * after a reconnect, and a report that arrives twice changes nothing.
 */
import type { Agent } from "./agent.js";
import { Attempt, failed, type Host, lastResort, type Report, type Timeouts, type Timer } from "./attempt.js";
import { isLost, recorded, stack } from "./error.js";
import type { Logger } from "./logger.js";
import { type Attempt as AttemptId, type Task, type ToWorkerKind, WorkerMessage } from "./messages.js";
import type { Error as WireError } from "./proto/consort/v1/common.js";
import type { Participant } from "./scheduler.js";

/** How long a report that was sent is kept, in milliseconds: longer than a disconnect takes to be noticed. */
const KEPT_FOR = 30_000;
/**
 * Reports that were sent and are kept, beyond twice the credit. The server assigns no more tasks than the credit, so
 * no more reports than that can be on their way; as many again may be taken and not durable.
 */
const KEPT_BEYOND = 64;
/** Attempts that an instance may claim. */
const HELD_MAX = 10_000;
/** Bytes of the reports that are kept although they were sent. */
const KEPT_BYTES_MAX = 64 * 1024 * 1024;

/** What instances share: the connection of the moment, and how patient they are. */
export interface Wire {
  readonly epoch: number;
  readonly connected: boolean;
  readonly payloadBytesMax: number;
  readonly timeouts: Timeouts;
  readonly logger: Logger;
  /** Sends an encoded message; without a connection it is dropped. */
  send(message: Uint8Array): void;
  /** Ends once there is room for more partial output. */
  room(): Promise<void>;
  /** Requests a turn. */
  request(participant?: Participant): void;
  /** An attempt has ended: checks whether the instance can leave now. */
  left(): void;
}

/** A last report, encoded without the number of its instance. */
interface Kept {
  id: AttemptId;
  report: Report;
  bytes: number;
  /** When it was sent, where it was. */
  sent: number | undefined;
  /** Whether it is the one in fixed words, after which nothing more is tried. */
  last: boolean;
}

/** See the module. */
export class Instance implements Host {
  readonly agent: Agent;
  /** Its number on the connection of the moment. */
  number = 0;
  /** Whether the server assigns nothing more to it. */
  drained = false;
  /** How many tasks it can hold, and how many the server knows of. */
  credit: number;
  #said = 0;
  /** The most tasks that it ever wanted to hold. */
  #most = 0;
  readonly #wire: Wire;
  readonly #live = new Map<string, Attempt>();
  readonly #kept = new Map<string, Kept>();
  #keptBytes = 0;

  /** An instance without tasks. */
  constructor(agent: Agent, credit: number, wire: Wire) {
    this.agent = agent;
    this.credit = credit;
    this.#wire = wire;
  }

  get epoch(): number {
    return this.#wire.epoch;
  }

  get connected(): boolean {
    return this.#wire.connected;
  }

  get payloadBytesMax(): number {
    return this.#wire.payloadBytesMax;
  }

  get timeouts(): Timeouts {
    return this.#wire.timeouts;
  }

  get logger(): Logger {
    return this.#wire.logger;
  }

  /** Whether nothing is under way, and every report was sent. */
  get idle(): boolean {
    return this.#live.size === 0 && [...this.#kept.values()].every((kept) => kept.sent !== undefined);
  }

  /** What it holds, or has a report for; as much of that, the newest first, as the server takes. */
  get held(): AttemptId[] {
    const live = [...this.#live.values()].map((attempt) => attempt.id);
    const kept = [...this.#kept.values()].map(({ id }) => id);
    return [...live, ...kept.reverse()].slice(0, HELD_MAX);
  }

  /** How many tasks it can hold, as it is sent when the instance joins: there, at least one. */
  introduce(leaving: boolean): number {
    return this.#say(leaving ? 1 : Math.max(this.credit, 1));
  }

  /** Sends the server how many tasks it can hold, where that has changed. */
  sayCredit(): void {
    if (this.connected && this.#said !== this.credit) {
      this.send({ $case: "credit", value: { tasks: this.#say(this.credit) } });
    }
  }

  #say(credit: number): number {
    this.#said = credit;
    this.#most = Math.max(this.#most, credit);
    return credit;
  }

  send(message: Report): void {
    this.#wire.send(WorkerMessage.encode({ instance: this.number, kind: message }).finish());
  }

  room(): Promise<void> {
    return this.#wire.room();
  }

  request(participant: Participant): void {
    this.#wire.request(participant);
  }

  after(ms: number, action: () => void): Timer {
    const timer = setTimeout(action, ms);
    return { clear: () => clearTimeout(timer) };
  }

  ended(attempt: Attempt, report: Report | undefined): void {
    const { task } = attempt.id;
    // The entry may belong to a newer attempt of the task by now.
    if (this.#live.get(task) === attempt) {
      this.#live.delete(task);
    }
    if (report) {
      this.#keep({ id: attempt.id, report, bytes: 0, sent: undefined, last: false });
    }
    this.#wire.left();
  }

  /** Acts on a message. */
  take(message: ToWorkerKind): void {
    switch (message?.$case) {
      case "task":
        this.#start(message.value);
        return;
      case "cancel":
        this.#settled(message.value.attempt);
        this.#find(message.value.attempt)?.cancel(message.value.reason);
        return;
      case "recorded": {
        const { task, index, entry } = message.value;
        if (entry) {
          this.#live.get(task)?.recorded(index, entry);
        }
        return;
      }
      case "refused":
        this.#refused(message.value.attempt, message.value.error ?? { code: "", message: "", hint: "" });
        return;
      case "drain":
        this.drained = true;
        this.credit = 0;
    }
  }

  /** A connection is open: sends what may not have been delivered. */
  reconnected(): void {
    for (const attempt of this.#live.values()) {
      attempt.reconnected();
    }
    for (const kept of this.#kept.values()) {
      this.#deliver(kept);
    }
  }

  /** The connection broke: what was sent on it may not have been delivered. */
  lost(): void {
    for (const kept of this.#kept.values()) {
      kept.sent = undefined;
    }
  }

  /** Drops reports that were sent long ago. */
  prune(now: number): void {
    for (const [task, kept] of this.#kept) {
      const over = this.#kept.size > 2 * this.#most + KEPT_BEYOND || this.#keptBytes > KEPT_BYTES_MAX;
      if (kept.sent === undefined || !(over || now - kept.sent > KEPT_FOR)) {
        return;
      }
      this.#drop(task);
    }
  }

  /** Stops everything at once, without reports. */
  abandon(): void {
    for (const attempt of [...this.#live.values()]) {
      attempt.abandon();
    }
  }

  /** Starts an attempt, unless it is an old one or runs already. */
  #start(task: Task): void {
    if (!task.attempt) {
      return;
    }
    const { task: name, token } = task.attempt;
    const older = this.#live.get(name);
    const known = older?.id.token ?? this.#kept.get(name)?.id.token;
    if (known !== undefined && (token < known || (token === known && older))) {
      return;
    }
    this.#drop(name);
    older?.abandon();
    this.#live.set(name, new Attempt(task, this.agent.find(task.capability), this));
  }

  #find(id: AttemptId | undefined): Attempt | undefined {
    const attempt = id && this.#live.get(id.task);
    return attempt?.id.token === id?.token ? attempt : undefined;
  }

  #refused(id: AttemptId | undefined, error: WireError): void {
    const attempt = this.#find(id);
    const kept = id && this.#kept.get(id.task);
    this.#settled(id);
    if (isLost(error.code)) {
      attempt?.abandon();
      return;
    }
    this.logger.warn("a report was refused", { task: id?.task ?? "", code: error.code, reason: error.message });
    if (attempt) {
      attempt.refuse(recorded(error));
    } else if (kept && kept.id.token === id?.token && !kept.last) {
      // Its last report was not taken, and the task still needs one.
      const last = kept.report.$case === "fail";
      const report = last ? lastResort(kept.id) : failed(kept.id, recorded(error));
      this.#keep({ id: kept.id, report, bytes: 0, sent: undefined, last });
    }
  }

  /** The server has answered the report of this attempt. */
  #settled(id: AttemptId | undefined): void {
    if (id && this.#kept.get(id.task)?.id.token === id.token) {
      this.#drop(id.task);
    }
  }

  #keep(kept: Kept): void {
    this.#drop(kept.id.task);
    this.#kept.set(kept.id.task, kept);
    if (this.connected) {
      this.#deliver(kept);
    }
    this.#wire.request();
    this.prune(Date.now());
  }

  #deliver(kept: Kept): void {
    const message = this.#encode(kept);
    this.#wire.send(message);
    this.#keptBytes += message.length - kept.bytes;
    kept.bytes = message.length;
    kept.sent = Date.now();
  }

  #encode(kept: Kept): Uint8Array {
    const encode = () => WorkerMessage.encode({ instance: this.number, kind: kept.report }).finish();
    try {
      return encode();
    } catch (error) {
      this.logger.error("a report cannot be written", { task: kept.id.task, stack: stack(error) });
      kept.report = lastResort(kept.id);
      kept.last = true;
      return encode();
    }
  }

  #drop(task: string): void {
    this.#keptBytes -= this.#kept.get(task)?.bytes ?? 0;
    this.#kept.delete(task);
  }
}
