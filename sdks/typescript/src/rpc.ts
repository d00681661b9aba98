/**
 * Calls of the client interface.
 *
 * For: unary calls and server streams, typed by the generated definitions. Not for: what they mean (see `client`).
 * Invariant: every failure is a `ConsortError`.
 */
import type * as grpc from "@grpc/grpc-js";
import { dial, failure, metadata, type ServerOptions } from "./transport.js";

/** How long a call may take, in milliseconds. */
const CALL_WITHIN = 30_000;

/** How a message of the generated code travels. */
interface Codec<T> {
  encode(message: T): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
}

/** A service of the generated code. */
interface Service {
  fullName: string;
}

/** A method of a service of the generated code. */
interface Method<Req, Res> {
  name: string;
  requestType: Codec<Req>;
  responseType: Codec<Res>;
}

/** One connection of a client. */
export class Rpc {
  readonly namespace: string;
  readonly #options: ServerOptions;
  readonly #client: grpc.Client;

  /** A connection that opens with the first call. */
  constructor(options: ServerOptions) {
    this.#options = options;
    this.namespace = options.namespace ?? "default";
    this.#client = dial(options);
  }

  /** Calls a method once. */
  unary<Req, Res>(service: Service, method: Method<Req, Res>, request: Req): Promise<Res> {
    const { requestType, responseType } = method;
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        `/${service.fullName}/${method.name}`,
        (value: Req) => Buffer.from(requestType.encode(value).finish()),
        (bytes: Buffer) => responseType.decode(bytes),
        request,
        metadata(this.#options),
        { deadline: Date.now() + CALL_WITHIN },
        (error, response) => (response === undefined || error ? reject(failure(error ?? {})) : resolve(response)),
      );
    });
  }

  /** Follows what the server streams; leaving the loop ends the call. */
  async *stream<Req, Res>(
    service: Service,
    method: Method<Req, Res>,
    request: Req,
  ): AsyncGenerator<Res, void, undefined> {
    const { requestType, responseType } = method;
    const call = this.#client.makeServerStreamRequest(
      `/${service.fullName}/${method.name}`,
      (value: Req) => Buffer.from(requestType.encode(value).finish()),
      (bytes: Buffer) => responseType.decode(bytes),
      request,
      metadata(this.#options),
    );
    try {
      for await (const response of call) {
        yield response as Res;
      }
    } catch (error) {
      throw failure(error as grpc.ServiceError);
    } finally {
      call.cancel();
    }
  }

  /** Closes the connection. */
  close(): void {
    this.#client.close();
  }
}
