/**
 * The way of a worker to its server: credentials, and what a failed call means.
 *
 * For: the worker's stream. Not for: the messages on it (see `connection`), or clients (see `caller`).
 * Invariant: every failure of a call becomes a `ConsortError`, with the server's own code where it sent one.
 */
import * as grpc from "@grpc/grpc-js";
import { ADDRESS, parseAddress } from "./address.js";
import { Code, ConsortError } from "./error.js";
import { Error as WireError } from "./proto/consort/v1/common.js";

/** How to reach a server. */
export interface ServerOptions {
  /** `http://HOST:PORT`, `https://HOST:PORT` or `HOST:PORT`; `http://127.0.0.1:7878` by default. */
  address?: string;
  /** The namespace; `default` by default. */
  namespace?: string;
  /** The token, where the server needs one. */
  token?: string;
  /** The certificate authority of the server, in PEM, where it is none of the known ones. */
  ca?: string | Buffer;
}

const CHANNEL_OPTIONS: grpc.ChannelOptions = {
  // The session itself decides when to try again.
  "grpc.use_local_subchannel_pool": 1,
  "grpc.max_receive_message_length": -1,
  "grpc.max_send_message_length": -1,
  // A peer that disappears silently is noticed within 15 s.
  "grpc.keepalive_time_ms": 10_000,
  "grpc.keepalive_timeout_ms": 5_000,
};

/** A new connection to a server; it opens with the first call. */
export function dial({ address = ADDRESS, ca }: ServerOptions): grpc.Client {
  const { host, secure } = parseAddress(address);
  const credentials =
    secure || ca !== undefined
      ? grpc.credentials.createSsl(ca === undefined ? null : Buffer.from(ca))
      : grpc.credentials.createInsecure();
  return new grpc.Client(host, credentials, CHANNEL_OPTIONS);
}

/** What every call carries. */
export function metadata({ token }: ServerOptions): grpc.Metadata {
  const said = new grpc.Metadata();
  if (token !== undefined) {
    said.set("authorization", `Bearer ${token}`);
  }
  return said;
}

/** Codes of gRPC that a broken connection may give. All others, without a code of the server, are defects or wrong settings. */
const PASSING: ReadonlySet<grpc.status> = new Set([
  grpc.status.UNAVAILABLE,
  grpc.status.CANCELLED,
  grpc.status.UNKNOWN,
  grpc.status.INTERNAL,
  grpc.status.ABORTED,
  grpc.status.DEADLINE_EXCEEDED,
]);

/** What a failed call means. */
export function failure(status: Partial<grpc.StatusObject>): ConsortError {
  const [encoded] = status.metadata?.get("consort-error-bin") ?? [];
  if (encoded instanceof Buffer) {
    const { code, message, hint } = WireError.decode(encoded);
    const unavailable = status.code === grpc.status.UNAVAILABLE || undefined;
    return new ConsortError(code, message, { hint: hint || undefined, unavailable });
  }
  const said = status.details || "no reason was given";
  if (status.code === grpc.status.UNAUTHENTICATED || status.code === grpc.status.PERMISSION_DENIED) {
    return new ConsortError("C0601", said, { hint: "give the server's token" });
  }
  if (status.code === undefined || PASSING.has(status.code)) {
    const hint = "start the server by `consort up`, or check the address";
    return new ConsortError(Code.Unreachable, `the server could not be reached: ${said}`, { hint });
  }
  const name = grpc.status[status.code];
  return new ConsortError(Code.Internal, `the server answered ${name}: ${said}`, {
    hint: "check that the address is that of Consort's gRPC interface",
  });
}
