/**
 * JSON documents: how they are read and written.
 *
 * For: whatever travels between the code of an agent and the server. Not for: schemas (see `schema`).
 * Invariant: a document on the wire is UTF-8 JSON text; what cannot be written so is refused by name.
 */
import { Code, TaskError } from "./error.js";

/** A JSON document. */
export type JsonValue = null | boolean | number | string | JsonValue[] | { [key: string]: JsonValue };

/** The default limit of bytes of a document. */
export const PAYLOAD_BYTES_MAX = 64 * 1024 * 1024;

const decoder = new TextDecoder("utf-8", { fatal: true });

/** The text in these bytes of UTF-8; it throws a `TypeError` where they are none. */
export function text(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** Reads a document; no bytes at all mean `null`. */
export function readJson(what: string, bytes: Uint8Array): JsonValue {
  if (bytes.length === 0) {
    return null;
  }
  try {
    return JSON.parse(text(bytes)) as JsonValue;
  } catch (error) {
    throw new TaskError(`the ${what} is not a JSON document: ${(error as Error).message}`, {
      code: Code.BadJson,
      retryable: false,
    });
  }
}

/** Writes a value within the limit of a document; `undefined` is written as `null`. `what` names it in the error. */
export function writeJson(what: string, value: unknown, bytesMax: number = PAYLOAD_BYTES_MAX): Uint8Array {
  let written: string | undefined;
  try {
    written = JSON.stringify(value);
  } catch (error) {
    throw unwritable(what, (error as Error).message);
  }
  if (written === undefined) {
    if (value !== undefined) {
      throw unwritable(what, `it is a ${typeof value}`);
    }
    written = "null";
  }
  const bytes = Buffer.from(written, "utf8");
  if (bytes.length > bytesMax) {
    throw new TaskError(`the ${what} has ${bytes.length} bytes, the limit is ${bytesMax}`, {
      code: Code.PayloadTooLarge,
      hint: "store the document elsewhere and pass a reference",
      retryable: false,
    });
  }
  return bytes;
}

function unwritable(what: string, why: string): TaskError {
  const message = `the ${what} cannot be written as JSON: ${why.split("\n", 1)[0]}`;
  return new TaskError(message, { code: Code.BadJson, retryable: false });
}
