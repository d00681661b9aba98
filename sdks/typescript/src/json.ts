/**
 * JSON documents: how they are read and written.
 *
 * For: whatever travels between the code of an agent and the server. Not for: schemas (see `schema`).
 * Invariant: a document on the wire is UTF-8 JSON text; what cannot be written so is refused by name.
 */
import { Code, shown, TaskError } from "./error.js";
import { DEPTH_MAX, lossy, plain, TooDeep } from "./values.js";

/** A JSON document. */
export type JsonValue = null | boolean | number | string | JsonValue[] | { [key: string]: JsonValue };

/** The default limit of bytes of a document. */
export const PAYLOAD_BYTES_MAX = 64 * 1024 * 1024;

const decoder = new TextDecoder("utf-8", { fatal: true });

/** The text in these bytes of UTF-8; it throws a `TypeError` where they are none. */
export function text(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** Reads a document; no bytes at all mean `null`. A number that would lose something is refused by its path. */
export function readJson(what: string, bytes: Uint8Array): JsonValue {
  if (bytes.length === 0) {
    return null;
  }
  let written: string;
  let value: JsonValue;
  try {
    written = text(bytes);
    value = JSON.parse(written) as JsonValue;
  } catch (error) {
    throw new TaskError(`the ${what} is not a JSON document: ${(error as Error).message}`, {
      code: Code.BadJson,
      retryable: false,
    });
  }
  const lost = lossy(written);
  if (lost) {
    throw new TaskError(`the ${what} has a number that JavaScript cannot hold exactly: ${lost.message}`, {
      code: Code.BadJson,
      hint: "let the sender write it as text",
      retryable: false,
    });
  }
  return value;
}

/**
 * Writes a value within the limits of a document; `undefined` is written as `null`. `what` names it in the error. So
 * many outer levels of the document do not count as its depth.
 */
export function writeJson(
  what: string,
  value: unknown,
  bytesMax: number = PAYLOAD_BYTES_MAX,
  envelope = 0,
): Uint8Array {
  const bytes = Buffer.from(JSON.stringify(plainOf(what, value, envelope) ?? null), "utf8");
  if (bytes.length > bytesMax) {
    throw new TaskError(`the ${what} has ${bytes.length} bytes, the limit is ${bytesMax}`, {
      code: Code.PayloadTooLarge,
      hint: "store the document elsewhere and pass a reference",
      retryable: false,
    });
  }
  return bytes;
}

function plainOf(what: string, value: unknown, envelope: number): JsonValue | undefined {
  try {
    return plain(value, envelope);
  } catch (error) {
    if (error instanceof TooDeep) {
      const message = `the ${what} nests more than ${DEPTH_MAX} levels deep, the limit is ${DEPTH_MAX}`;
      throw new TaskError(message, { code: Code.LimitReached, hint: "flatten the document", retryable: false });
    }
    // Code of the value itself, such as a `toJSON`, may fail with anything.
    const why = error instanceof Error ? error.message : shown(error);
    const message = `the ${what} cannot be written as JSON: ${why.split("\n", 1)[0]}`;
    throw new TaskError(message, { code: Code.BadJson, retryable: false, cause: error });
  }
}
