/**
 * One stream between a worker and the server: batches in both directions.
 *
 * For: carrying messages in order, with few bytes and calls for each. Not for: what they mean (see `session`).
 * Invariant: a batch is sent when the stream can take it, and holds what was there by then, up to the server's limit;
 * so batches grow under load by themselves.
 */
import * as grpc from "@grpc/grpc-js";
import { Code, ConsortError } from "./error.js";
import {
  type Hello,
  type ServerMessage,
  ServerMessages,
  type Welcome,
  WorkerMessage,
} from "./proto/consort/v1/worker.js";
import { dial, failure, metadata, type ServerOptions } from "./transport.js";

const PATH = "/consort.v1.WorkerService/Connect";
/** How long the server may take to send `Welcome`, and how long to end a stream that was closed, in milliseconds. */
const WELCOME_WITHIN = 10_000;
const END_WITHIN = 5_000;
/** Bytes that wait to be sent before partial output is asked to wait. */
const CONGESTED_BYTES = 1024 * 1024;
/** Bytes and messages of a batch after which the next begins: one batch should not hold up others for long. */
const BATCH_BYTES_FULL = 1024 * 1024;
const BATCH_MESSAGES_MAX = 5_000;
/** The tag of `WorkerMessages.messages`: field 1, with a length before its bytes. */
const MESSAGES_TAG = 0x0a;

/** The receiver of the server's messages. */
export interface Listener {
  /** The session is open. */
  welcome(welcome: Welcome): void;
  /** Messages came, in this order. */
  messages(messages: ServerMessage[]): void;
  /** Nothing more comes: the stream has ended, for this reason where it broke. */
  closed(error: ConsortError | undefined): void;
}

/** See the module. */
export class Connection {
  readonly #client: grpc.Client;
  readonly #stream: grpc.ClientDuplexStream<Buffer, ServerMessages>;
  readonly #listener: Listener;
  #welcome: Welcome | undefined;
  #closed = false;
  #blocked = false;
  /** Encoded messages that wait, each with its tag and length before it. */
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #said = false;
  /** Whether nothing more comes from this side, once what waits is sent. */
  #ending = false;
  #deadline: NodeJS.Timeout | undefined;
  #room: (() => void)[] = [];

  /** Opens a stream and sends `hello`. */
  constructor(server: ServerOptions & { address: string }, hello: Hello, listener: Listener) {
    this.#listener = listener;
    this.#client = dial(server);
    const identity = (bytes: Buffer) => bytes;
    this.#stream = this.#client.makeBidiStreamRequest(PATH, identity, ServerMessages.decode, metadata(server));
    this.#stream.on("data", (batch: ServerMessages) => this.#take(batch.messages));
    this.#stream.on("drain", () => this.#drained());
    this.#stream.on("error", (error: grpc.ServiceError) => this.#close(failure(error, server.address)));
    this.#stream.on("status", (status: grpc.StatusObject) => {
      this.#close(status.code === grpc.status.OK ? undefined : failure(status, server.address));
    });
    this.#deadline = setTimeout(() => this.#late("send `Welcome`", WELCOME_WITHIN), WELCOME_WITHIN);
    this.#write(frame(WorkerMessage.encode({ instance: 0, kind: { $case: "hello", value: hello } }).finish()));
  }

  /** Whether something was sent since this was asked last. */
  spoke(): boolean {
    const said = this.#said;
    this.#said = false;
    return said;
  }

  /** Sends an encoded `WorkerMessage` with the next batch. */
  send(message: Uint8Array): void {
    if (!this.#closed) {
      const framed = frame(message);
      this.#waiting.push(framed);
      this.#waitingBytes += framed.length;
    }
  }

  /** Ends when there is room for more partial output. */
  room(): Promise<void> {
    if (this.#closed || this.#waitingBytes < CONGESTED_BYTES) {
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#room.push(resolve));
  }

  /** Sends what waits, as far as the stream takes it. */
  flush(): void {
    while (!this.#blocked && !this.#closed && this.#welcome && this.#waiting.length > 0) {
      this.#write(this.#nextBatch(Math.min(Number(this.#welcome.batchBytesMax), BATCH_BYTES_FULL)));
    }
    if (this.#ending && !this.#closed && this.#waiting.length === 0 && !this.#stream.writableEnded) {
      this.#stream.end();
    }
    if (this.#room.length > 0 && this.#waitingBytes < CONGESTED_BYTES) {
      for (const resolve of this.#room.splice(0)) {
        resolve();
      }
    }
  }

  /** Takes the messages of the next batch out of the queue. A message alone may be larger than the limit. */
  #nextBatch(bytesMax: number): Buffer {
    let [count, bytes] = [0, 0];
    for (const message of this.#waiting) {
      if (count === BATCH_MESSAGES_MAX || (count > 0 && bytes + message.length > bytesMax)) {
        break;
      }
      count += 1;
      bytes += message.length;
    }
    this.#waitingBytes -= bytes;
    const batch = count === this.#waiting.length ? this.#waiting : this.#waiting.slice(0, count);
    this.#waiting = count === this.#waiting.length ? [] : this.#waiting.slice(count);
    return Buffer.concat(batch, bytes);
  }

  /** Closes this side, and waits for the server to end the stream. */
  end(): void {
    if (!this.#closed && !this.#ending) {
      this.#ending = true;
      this.#deadline = setTimeout(() => this.#late("end the stream", END_WITHIN), END_WITHIN);
      this.flush();
    }
  }

  /** Breaks the stream. */
  destroy(): void {
    this.#close(undefined);
  }

  #write(batch: Buffer): void {
    this.#said = true;
    this.#blocked = !this.#stream.write(batch);
  }

  #drained(): void {
    this.#blocked = false;
    this.flush();
  }

  #take(messages: ServerMessage[]): void {
    if (this.#closed) {
      return;
    }
    if (this.#welcome) {
      this.#listener.messages(messages);
      return;
    }
    const [first, ...rest] = messages;
    if (first?.kind?.$case !== "welcome" || rest.length > 0) {
      this.#close(new ConsortError(Code.Internal, "the server did not begin with `Welcome`"));
      return;
    }
    clearTimeout(this.#deadline);
    this.#welcome = first.kind.value;
    this.#listener.welcome(this.#welcome);
  }

  #late(what: string, within: number): void {
    this.#close(new ConsortError(Code.Unreachable, `the server did not ${what} within ${within / 1000} s`));
  }

  #close(error: ConsortError | undefined): void {
    if (this.#closed) {
      return;
    }
    this.#closed = true;
    clearTimeout(this.#deadline);
    this.#stream.cancel();
    this.#client.close();
    this.#waiting = [];
    for (const resolve of this.#room.splice(0)) {
      resolve();
    }
    this.#listener.closed(error);
  }
}

/** A message inside a batch: tag, length, bytes. */
function frame(message: Uint8Array): Buffer {
  const head = [MESSAGES_TAG];
  let length = message.length;
  for (; length > 0x7f; length >>>= 7) {
    head.push((length & 0x7f) | 0x80);
  }
  head.push(length);
  const framed = Buffer.allocUnsafe(head.length + message.length);
  framed.set(head);
  framed.set(message, head.length);
  return framed;
}
