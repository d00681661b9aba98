/**
 * A server of the worker protocol that is played by hand, over real gRPC on loopback.
 *
 * For: tests of workers: joining, reconnecting, leaving. Not for: the journal (see `rig`).
 * Invariant: nothing answers by itself but `Welcome`; whatever a test waits for must come, or the test fails by its
 * time limit.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import * as grpc from "@grpc/grpc-js";
import { type Agent, type Logger, Worker, type WorkerOptions } from "../src/index.js";
import { Error as WireError } from "../src/proto/consort/v1/common.js";
import {
  type Hello,
  type ServerMessage,
  ServerMessages,
  type Task,
  type WorkerMessage,
  WorkerMessages,
} from "../src/proto/consort/v1/worker.js";
import { task } from "./rig.js";

type Call = grpc.ServerDuplexStream<WorkerMessages, ServerMessages>;
/** What a worker says. */
export type Said = NonNullable<WorkerMessage["kind"]>;

/** What belongs to a message of that kind. */
type ValueOf<K extends Said["$case"]> = Extract<Said, { $case: K }>["value"];

export const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** A line that one side writes and the other waits for. */
class Line<T> {
  readonly #items: T[] = [];
  readonly #waiters: ((item: T) => void)[] = [];

  push(item: T): void {
    const waiter = this.#waiters.shift();
    if (waiter) {
      waiter(item);
    } else {
      this.#items.push(item);
    }
  }

  next(): Promise<T> {
    const item = this.#items.shift();
    return item === undefined ? new Promise((resolve) => this.#waiters.push(resolve)) : Promise.resolve(item);
  }
}

/** One stream of a worker. */
export class Session {
  readonly hello: Hello;
  readonly metadata: grpc.Metadata;
  /** How many messages each batch had. */
  readonly batches: number[] = [];
  readonly #call: Call;
  readonly #said = new Line<WorkerMessage | "end">();

  constructor(call: Call, hello: Hello) {
    this.#call = call;
    this.hello = hello;
    this.metadata = call.metadata;
    call.on("data", ({ messages }: WorkerMessages) => {
      this.batches.push(messages.length);
      for (const message of messages) {
        this.#said.push(message);
      }
    });
    call.on("end", () => {
      this.#said.push("end");
      call.end();
    });
    call.on("error", () => {});
  }

  /** Sends a message to the first instance, or another one. */
  send(kind: ServerMessage["kind"], instance = 0): void {
    this.sendAll([{ instance, kind }]);
  }

  /** Sends several messages in one batch. */
  sendAll(messages: ServerMessage[]): void {
    this.#call.write({ messages });
  }

  /** Hands a task out. */
  offer(token: bigint, input: unknown = null, change: Partial<Task> = {}): void {
    this.send({ $case: "task", value: { ...task(token, input), ...change } });
  }

  /** What the worker says next; bare signs of life are left out. */
  async next(): Promise<WorkerMessage> {
    for (;;) {
      const message = await this.#said.next();
      assert.notEqual(message, "end", "the worker has left");
      if (message !== "end" && message.kind?.$case !== "alive") {
        return message;
      }
    }
  }

  /** What the worker says next, which must be of this kind. */
  async expect<K extends Said["$case"]>(kind: K): Promise<ValueOf<K>> {
    const message = await this.next();
    assert.equal(message.kind?.$case, kind);
    return message.kind?.value as ValueOf<K>;
  }

  /** Ends once the worker says that it is alive, and nothing else. */
  async alive(): Promise<void> {
    const message = await this.#said.next();
    assert.ok(message !== "end" && message.kind?.$case === "alive");
  }

  /** Ends once the worker has closed the stream, without another word. */
  async left(): Promise<void> {
    for (;;) {
      const message = await this.#said.next();
      if (message === "end") {
        return;
      }
      assert.equal(message.kind?.$case, "alive");
    }
  }

  /** Breaks the stream, for this reason. */
  break(code: grpc.status = grpc.status.UNAVAILABLE): void {
    this.#call.emit("error", { code, details: "broken by the test" });
  }
}

/** See the module. */
export class FakeServer {
  port = 0;
  readonly #sessions = new Line<Session>();
  readonly #refusals: Partial<grpc.StatusObject>[] = [];
  #server = new grpc.Server();
  /** The content of the next `Welcome`. */
  welcome = { heartbeatIntervalUs: 60_000_000n, batchBytesMax: 4n * 1024n * 1024n, payloadBytesMax: 1024n * 1024n };

  /** A server on a free port. */
  static async start(): Promise<FakeServer> {
    const server = new FakeServer();
    await server.listen();
    return server;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Listens, on the port of before where there was one. */
  async listen(): Promise<void> {
    this.#server = new grpc.Server();
    this.#server.addService(
      {
        Connect: {
          path: "/consort.v1.WorkerService/Connect",
          requestStream: true,
          responseStream: true,
          requestSerialize: (value: WorkerMessages) => Buffer.from(WorkerMessages.encode(value).finish()),
          requestDeserialize: WorkerMessages.decode,
          responseSerialize: (value: ServerMessages) => Buffer.from(ServerMessages.encode(value).finish()),
          responseDeserialize: ServerMessages.decode,
        },
      },
      { Connect: (call: Call) => void this.#connect(call) },
    );
    this.port = await new Promise<number>((resolve, reject) => {
      const bound = (error: Error | null, port: number) => (error ? reject(error) : resolve(port));
      this.#server.bindAsync(`127.0.0.1:${this.port}`, grpc.ServerCredentials.createInsecure(), bound);
    });
  }

  /** Refuses the next stream. */
  refuse(code: grpc.status, error?: WireError): void {
    const metadata = new grpc.Metadata();
    if (error) {
      metadata.set("consort-error-bin", Buffer.from(WireError.encode(error).finish()));
    }
    this.#refusals.push({ code, details: "refused", metadata });
  }

  /** The next session that a worker opens. */
  session(): Promise<Session> {
    return this.#sessions.next();
  }

  /** Dies without a word. */
  kill(): void {
    this.#server.forceShutdown();
  }

  async #connect(call: Call): Promise<void> {
    call.on("error", () => {});
    const [batch] = (await once(call, "data")) as [WorkerMessages];
    const refusal = this.#refusals.shift();
    if (refusal) {
      call.emit("error", refusal);
      return;
    }
    const [first] = batch.messages;
    assert.ok(first?.kind?.$case === "hello" && batch.messages.length === 1, "`Hello` is the only message");
    const hello = first.kind.value;
    const instances = hello.instances.map((_, index) => `instance-${index}`);
    const welcome = { protocol: 1, server: "fake", instances, ...this.welcome };
    call.write({ messages: [{ instance: 0, kind: { $case: "welcome", value: welcome } }] });
    this.#sessions.push(new Session(call, hello));
  }
}

/** A worker on a server of its own. */
export interface Stage {
  server: FakeServer;
  session: Session;
  worker: Worker;
  /** Ends when the worker has left. */
  left: Promise<void>;
}

/** Starts a server, and a worker that hosts these agents on it. It does not park, unless the test requires it. */
export async function stage(agents: Agent[], options: Partial<WorkerOptions> = {}): Promise<Stage> {
  const server = await FakeServer.start();
  return { server, ...(await join(server, agents, options)) };
}

/** Starts a worker on a server; it is connected when this ends. */
export async function join(
  server: FakeServer,
  agents: Agent[],
  options: Partial<WorkerOptions> = {},
): Promise<Omit<Stage, "server">> {
  const logger = options.logger ?? silent;
  let connected = () => {};
  const open = new Promise<void>((resolve) => {
    connected = resolve;
  });
  const info = (message: string) => {
    if (message === "connected") {
      connected();
    }
  };
  const settings = { handleSignals: false, handleRejections: false, parkAfter: 3_600_000 };
  const address = server.address;
  const worker = new Worker({ agents, address, ...settings, ...options, logger: { ...logger, info } });
  const left = worker.run();
  left.catch(() => {});
  const session = await server.session();
  await open;
  return { session, worker, left };
}

/** Lets the worker go, and closes the server. */
export async function strike({ server, session, left }: Stage): Promise<void> {
  for (const [instance] of session.hello.instances.entries()) {
    session.send({ $case: "drain", value: {} }, instance);
  }
  await left;
  server.kill();
}
