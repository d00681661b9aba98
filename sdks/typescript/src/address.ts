/**
 * The address of a server, which workers and clients share.
 *
 * For: `http://127.0.0.1:7878`, `https://consort.example`, or `HOST:PORT` alone. Not for: opening connections.
 * Invariant: one text means the same server for gRPC and for HTTP.
 */
import { Code, ConsortError } from "./error.js";

/** The port of a server by default. */
const PORT = "7878";
/** Where a server listens by default. */
export const ADDRESS = `http://127.0.0.1:${PORT}`;

/** Where a server listens. */
export interface Address {
  /** The host with its port, such as `127.0.0.1:7878`. */
  host: string;
  /** Whether TLS is spoken. */
  secure: boolean;
  /** As a URL without a slash at its end. */
  url: string;
}

/**
 * The address in a text. Without a scheme it is `http`, and without a port too that of Consort; a URL without a port has
 * that of its scheme. It throws where it is none.
 */
export function parseAddress(text: string): Address {
  const url = parseUrl(text);
  const secure = url?.protocol === "https:";
  const rest = url && url.pathname.replace(/\/+$/, "") + url.search + url.hash + url.username;
  if (!url?.hostname || !(secure || url.protocol === "http:") || rest) {
    throw new ConsortError(Code.BadRequest, `\`${text}\` is no address of a server`, {
      hint: `one looks like \`${ADDRESS}\``,
    });
  }
  return { host: `${url.hostname}:${url.port || (secure ? "443" : "80")}`, secure, url: url.origin };
}

function parseUrl(text: string): URL | undefined {
  const isUrl = text.includes("://");
  // A listener for workers alone is printed with `grpc`, which speaks over HTTP too.
  const full = isUrl ? text.replace(/^grpc:/, "http:") : `http://${text}`;
  if (!URL.canParse(full)) {
    return undefined;
  }
  const url = new URL(full);
  // A `URL` leaves the port of its scheme out, so whether one was written is seen in the text.
  if ((!isUrl || text.startsWith("grpc:")) && url.port === "" && !/:\d+\/*$/.test(text)) {
    url.port = PORT;
  }
  return url;
}
