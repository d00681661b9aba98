/**
 * Values of JavaScript as values of JSON: what each becomes, and what is refused.
 *
 * For: every document that leaves or enters the process. Not for: its bytes (see `json`).
 * Invariant: nothing is changed silently: what JSON, or a number of JavaScript, cannot hold is refused with its JSON
 * path.
 */
import { LONE_SURROGATE, shown } from "./error.js";
import type { JsonValue } from "./json.js";

/** Levels of lists and objects in a document. */
export const DEPTH_MAX = 64;

/** A step of a JSON path: a position or a name. */
export type Step = number | string;

/** A value that cannot be written: where, and why. */
export class Unwritable extends Error {
  readonly steps: readonly Step[];

  constructor(steps: readonly Step[], why: string) {
    super(`\`${jsonPath(steps)}\` ${why}`);
    this.steps = steps;
  }
}

/** A document with too many levels. */
export class TooDeep extends Error {}

/** A JSON path, such as `$.queries[1].text`. */
export function jsonPath(steps: readonly Step[]): string {
  return `$${steps.map(pathStep).join("")}`;
}

/** A step as it is written. */
export function pathStep(key: Step): string {
  if (typeof key === "number") {
    return `[${key}]`;
  }
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}

/**
 * The value of JSON that a value becomes; `undefined` where it is left out. So many outer levels do not count as its
 * depth.
 */
export function plain(value: unknown, envelope = 0): JsonValue | undefined {
  return new Walk(envelope).value(value, "");
}

/** One walk through a value. */
class Walk {
  /** The way to the value that is looked at, and the lists and objects on it. */
  readonly #steps: Step[] = [];
  readonly #above: object[] = [];
  readonly #depthMax: number;

  constructor(envelope: number) {
    this.#depthMax = DEPTH_MAX + envelope;
  }

  value(value: unknown, key: string): JsonValue | undefined {
    switch (typeof value) {
      case "undefined":
      case "boolean":
        return value;
      case "string":
        return this.#text(value);
      case "number":
        return this.#number(value);
      case "object":
        return value === null ? null : this.#object(value, key);
      case "bigint":
        throw this.#refuse(`is the bigint \`${shown(value)}\`, which JSON does not have; write it as text`);
      default:
        throw this.#refuse(`is a ${typeof value}, which JSON does not have`);
    }
  }

  #text(value: string): string {
    if (LONE_SURROGATE.test(value)) {
      throw this.#refuse("has half of a character (a lone surrogate)");
    }
    return value;
  }

  #number(value: number): number {
    if (!Number.isFinite(value)) {
      throw this.#refuse(`is \`${value}\`, which is no number in JSON`);
    }
    // From 1e21 on JavaScript writes an exponent, and so no digits that it does not know.
    if (Number.isInteger(value) && !Number.isSafeInteger(value) && Math.abs(value) < 1e21) {
      throw this.#refuse(`is the whole number \`${value}\`, which a number cannot hold exactly; write it as text`);
    }
    return value;
  }

  #object(value: object, key: string): JsonValue | undefined {
    if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer || value instanceof SharedArrayBuffer) {
      throw this.#refuse(`is a \`${nameOf(value)}\`, which JSON does not have; encode it, as by base64`);
    }
    if (value instanceof Date && Number.isNaN(value.getTime())) {
      throw this.#refuse("is an invalid `Date`");
    }
    if ("toJSON" in value && typeof value.toJSON === "function") {
      return this.value(
        this.#below(value, () => (value.toJSON as (key: string) => unknown)(key)),
        key,
      );
    }
    if (Array.isArray(value)) {
      return this.#below(value, () => value.map((item, index) => this.#at(index, item) ?? null));
    }
    if (!isPlain(value)) {
      const hint = "make a plain object of it, or give it a `toJSON`";
      throw this.#refuse(`is a \`${nameOf(value)}\`, which JSON does not have; ${hint}`);
    }
    return this.#below(value, () => this.#members(value));
  }

  #members(value: object): { [key: string]: JsonValue } {
    // Without a prototype, so that a member can have any name.
    const members = Object.create(null) as { [key: string]: JsonValue };
    for (const [key, item] of Object.entries(value)) {
      const member = this.#at(this.#text(key), item);
      if (member !== undefined) {
        members[key] = member;
      }
    }
    return members;
  }

  #at(step: Step, item: unknown): JsonValue | undefined {
    this.#steps.push(step);
    const found = this.value(item, String(step));
    this.#steps.pop();
    return found;
  }

  #below<T>(value: object, look: () => T): T {
    if (this.#above.includes(value)) {
      throw this.#refuse("contains itself");
    }
    if (this.#above.length >= this.#depthMax) {
      throw new TooDeep();
    }
    this.#above.push(value);
    const found = look();
    this.#above.pop();
    return found;
  }

  #refuse(why: string): Unwritable {
    return new Unwritable(this.#steps, why);
  }
}

/** Whether it is an object and nothing more: of this realm, of another one, or without a prototype. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function nameOf(value: object): string {
  const made: unknown = value.constructor;
  return typeof made === "function" && made.name !== "" ? made.name : "object of a class";
}

/** A text of a document with its quotes, or a number. */
const SCALAR = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.eE+-]*/gs;

/**
 * A document, in which numbers are texts that begin with `n` and are otherwise what `write` makes of them, and all other
 * texts begin with `s`: a parsed number has lost what a double cannot hold. It throws where it is no document.
 */
export function tagged(document: string, write: (number: string) => string): unknown {
  JSON.parse(document);
  const marked = document.replace(SCALAR, (scalar) =>
    scalar.startsWith('"') ? `"s${scalar.slice(1)}` : `"n${write(scalar)}"`,
  );
  return JSON.parse(marked);
}

/** What a number must have for a double to lose something of it: many digits, or a large exponent. */
const SUSPECT = /\d{16}|[eE]\+?\d{3}/;

/** The first number of a document that a number of JavaScript cannot hold: a whole number, or one that is too large. */
export function lossy(document: string): Unwritable | undefined {
  if (!SUSPECT.test(document)) {
    return undefined;
  }
  return firstMarked(
    tagged(document, (number) => (isLossy(number) ? `!${number}` : "")),
    [],
  );
}

/** The first number in a tagged document that is marked. */
function firstMarked(value: unknown, steps: Step[]): Unwritable | undefined {
  if (typeof value === "string") {
    return value.startsWith("n!") ? new Unwritable(steps, `is \`${shownNumber(value.slice(2))}\``) : undefined;
  }
  for (const [key, item] of Object.entries(value ?? {})) {
    const found = firstMarked(item, [...steps, Array.isArray(value) ? Number(key) : key.slice(1)]);
    if (found) {
      return found;
    }
  }
  return undefined;
}

function isLossy(number: string): boolean {
  const parsed = Number(number);
  return /^-?\d+$/.test(number) ? !Number.isSafeInteger(parsed) : !Number.isFinite(parsed);
}

function shownNumber(number: string): string {
  return number.length > 40 ? `${number.slice(0, 40)}…` : number;
}
