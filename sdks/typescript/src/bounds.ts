/**
 * What the parts of a request may be: texts, whole numbers, numbers within limits.
 *
 * For: checking what code asks where it asks it, so that what is sent can be written. Not for: documents (see `json`)
 * or spans (see `span`).
 * Invariant: what is refused is named with its value and its limits, permanently.
 */
import { Code, LONE_SURROGATE, shown, TaskError } from "./error.js";

/** A text; `what` names it in the error. */
export function checkText(what: string, value: unknown): string {
  if (typeof value !== "string") {
    throw refused(`the ${what} of \`${shown(value)}\` is no text`);
  }
  if (LONE_SURROGATE.test(value)) {
    throw refused(`the ${what} has half of a character (a lone surrogate)`);
  }
  return value;
}

/** Texts by their names. */
export function checkTexts(what: string, values: Record<string, unknown>): Record<string, string> {
  const checked = Object.entries(values).map(([key, value]) => [checkText(what, key), checkText(what, value)]);
  return Object.fromEntries(checked) as Record<string, string>;
}

/** A number from `least` to `most`. */
export function checkNumber(what: string, value: unknown, least: number, most: number): number {
  // Not a number compares as false.
  if (typeof value !== "number" || !(value >= least && value <= most)) {
    throw refused(`the ${what} of \`${shown(value)}\` is no number from ${least} to ${most}`);
  }
  return value;
}

/** A whole number from `least` to `most`. */
export function checkWhole(what: string, value: unknown, least: number, most: number): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < least || value > most) {
    throw refused(`the ${what} of \`${shown(value)}\` is no whole number from ${least} to ${most}`);
  }
  return value;
}

function refused(message: string): TaskError {
  return new TaskError(message, { code: Code.BadRequest, retryable: false });
}
