/**
 * The replay rule: whether a request matches the entry of a journal.
 *
 * For: the journal. Not for: what a difference leads to (see `journal`).
 * Invariant: it agrees with `sdks/conformance/replay-vectors.json`, which the server and the other SDKs follow too.
 *
 * Inputs are compared by value, as JSON Schema compares instances, and numbers by their exact mathematical value: an id
 * that does not fit into a double is common.
 */
import { isDeepStrictEqual } from "node:util";
import { text } from "./json.js";
import type { JournalEntry } from "./proto/consort/v1/worker.js";
import { tagged } from "./values.js";

/** The request of an entry. */
export type Request = NonNullable<JournalEntry["request"]>;

/**
 * Whether `asked` is the request that was recorded. How a call is to be done (retry, timeout, route), what an approval
 * is about, and what others are shown or answered may change between two attempts: that does not change what the answer
 * means.
 */
export function isSame(recorded: Request, asked: Request): boolean {
  switch (recorded.$case) {
    case "call":
      return (
        asked.$case === "call" &&
        recorded.value.capability === asked.value.capability &&
        isSameDocument(recorded.value.input, asked.value.input)
      );
    case "state":
      return asked.$case === "state" && isSameDocument(recorded.value.transaction, asked.value.transaction);
    default:
      return recorded.$case === asked.$case && isDeepStrictEqual(compared(recorded), compared(asked));
  }
}

/** What a request other than a call or a transaction is compared by. */
function compared(request: Request): unknown {
  switch (request.$case) {
    case "run":
    case "signal":
    case "update":
    case "expose":
      return request.value.name;
    case "sleep":
      return request.value.spanUs;
    case "approval":
      return request.value.prompt;
    case "forget":
      return request.value.entries;
    case "answer":
      return request.value.update;
    default:
      return undefined;
  }
}

/**
 * Whether two JSON documents have the same value. The order of members and white space do not count; of members with
 * one name the last counts. `1`, `1.0` and `1e0` are one number, `-0` is `0`, and no digit is lost. What is no JSON is
 * the same as equal bytes only.
 */
export function isSameDocument(a: Uint8Array, b: Uint8Array): boolean {
  if (Buffer.compare(a, b) === 0) {
    return true;
  }
  try {
    return isDeepStrictEqual(tagged(text(a), normalNumber), tagged(text(b), normalNumber));
  } catch {
    return false;
  }
}

/** Digits of an exponent that is calculated with; beyond, a number is compared as it is written. */
const EXPONENT_DIGITS_MAX = 9;

/** One form for all ways to write a number: its sign, its digits without zeros at either end, and its exponent. */
function normalNumber(number: string): string {
  const [mantissa = "", exponent = ""] = number.toLowerCase().split("e");
  const [whole = "", fraction = ""] = mantissa.replace("-", "").split(".");
  const digits = (whole + fraction).replace(/^0+/, "");
  if (digits === "") {
    return "0";
  }
  const size = exponent.replace(/^[+-]?0*/, "");
  if (size.length > EXPONENT_DIGITS_MAX) {
    return number;
  }
  let end = digits.length;
  while (digits[end - 1] === "0") {
    end -= 1;
  }
  const power = (exponent.startsWith("-") ? -1 : 1) * Number(size) + digits.length - end - fraction.length;
  return `${mantissa.startsWith("-") ? "-" : ""}${digits.slice(0, end)}e${power}`;
}
