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
  /**
   * `http://HOST:PORT`, `https://HOST:PORT` or `HOST:PORT`; without it `CONSORT_SERVER` of the environment, and without
   * that `http://127.0.0.1:7878`.
   */
  address?: string;
  /** The namespace; `default` by default. */
  namespace?: string;
  /** The token, where the server needs one; `CONSORT_TOKEN` of the environment without it. */
  token?: string;
  /** The certificate authority of the server, in PEM, where it is none of the known ones. */
  ca?: string | Buffer;
}

/** The options, with what the environment says where the program says nothing. */
export function withEnvironment(options: ServerOptions): ServerOptions & { address: string } {
  const { CONSORT_SERVER: address, CONSORT_TOKEN: token } = process.env;
  return {
    ...options,
    address: options.address || address || ADDRESS,
    ...(options.token === undefined && token ? { token } : {}),
  };
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
export function dial({ address, ca }: ServerOptions & { address: string }): grpc.Client {
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

/** What a broken connection says of the address, by the words of `grpc-js` and Node.js. */
const MISTAKES: readonly (readonly [string, string])[] = [
  ["wrong version number", "the server does not speak TLS there: write `http://` in place of `https://`"],
  ["protocol error", "something else than Consort listens there, or TLS is spoken there (`https://`)"],
  ["econnreset", "where it never succeeds: does something else listen there, or is TLS spoken there (`https://`)?"],
];

/** What a failed call to this server means. */
export function failure(status: Partial<grpc.StatusObject>, address: string): ConsortError {
  const [encoded] = status.metadata?.get("consort-error-bin") ?? [];
  if (encoded instanceof Buffer) {
    const { code, message, hint } = WireError.decode(encoded);
    const unavailable = status.code === grpc.status.UNAVAILABLE || undefined;
    return new ConsortError(code, message, { hint: hint || undefined, unavailable });
  }
  const said = reasonOf(status);
  if (status.code === grpc.status.UNAUTHENTICATED || status.code === grpc.status.PERMISSION_DENIED) {
    return new ConsortError("C0601", said, { hint: "give the server's token" });
  }
  if (status.code === undefined || PASSING.has(status.code)) {
    const known = MISTAKES.find(([sign]) => said.toLowerCase().includes(sign));
    const hint = known?.[1] ?? "check the address, and that `consort up` runs";
    return new ConsortError(Code.Unreachable, `the server at \`${address}\` cannot be reached: ${said}`, { hint });
  }
  if (status.code === grpc.status.UNIMPLEMENTED) {
    return new ConsortError(Code.BadRequest, `no workers are taken at \`${address}\`: ${said}`, {
      hint: "`consort up` prints where it takes workers, such as `grpc://127.0.0.1:7879`; see `grpc-listen`",
    });
  }
  const name = grpc.status[status.code];
  return new ConsortError(Code.Internal, `the server at \`${address}\` answered ${name}: ${said}`, {
    hint: "check that the address is that of Consort's gRPC interface",
  });
}

/** The reason in a status, without what `grpc-js` puts around it. */
function reasonOf({ details }: Partial<grpc.StatusObject>): string {
  const said = (details ?? "").replace(/^No connection established\. Last error: /, "");
  return (
    said
      .replace(/\.? ?Resolution note: ?$/, "")
      .replace(/\s+/g, " ")
      .trim() || "no reason was given"
  );
}
