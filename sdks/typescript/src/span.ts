/**
 * Spans and instants: milliseconds in the API, whole microseconds on the wire.
 *
 * For: reading and writing time fields. Not for: clocks.
 * Invariant: a span is never negative.
 */
import { Code, isSpan, SPAN_MS_MAX, shown, TaskError } from "./error.js";

const UNITS: readonly (readonly [string, bigint])[] = [
  ["d", 86_400_000_000n],
  ["h", 3_600_000_000n],
  ["m", 60_000_000n],
  ["s", 1_000_000n],
  ["ms", 1_000n],
  ["us", 1n],
];

/** Milliseconds as microseconds; `what` names the span in the error. */
export function toMicros(what: string, ms: number): bigint {
  if (!isSpan(ms)) {
    const message = `the ${what} of \`${shown(ms)}\` ms is no span of time from 0 to ${SPAN_MS_MAX} ms`;
    throw new TaskError(message, { code: Code.BadRequest, hint: "give milliseconds as a number", retryable: false });
  }
  return BigInt(Math.round(ms * 1000));
}

/** Microseconds as milliseconds. */
export function toMillis(micros: bigint): number {
  return Number(micros) / 1000;
}

/** An instant, in microseconds since 1970. */
export function toDate(micros: bigint): Date {
  return new Date(toMillis(micros));
}

/** A span for people, such as `1h30m`. */
export function describeSpan(micros: bigint): string {
  let left = micros;
  let said = "";
  for (const [name, unit] of UNITS) {
    if (left >= unit) {
      said += `${left / unit}${name}`;
      left %= unit;
    }
  }
  return said || "0s";
}

/** The span that such a text describes, in microseconds; nothing where it describes none. */
export function parseSpan(said: string): bigint | undefined {
  const parts = [...said.matchAll(/(\d+)(ms|us|[dhms])/g)];
  if (parts.length === 0 || parts.map(([part]) => part).join("") !== said) {
    return undefined;
  }
  const units = new Map(UNITS);
  return parts.reduce((sum, [, count = "0", unit = ""]) => sum + BigInt(count) * (units.get(unit) ?? 0n), 0n);
}
