/**
 * What was written while a push was on its way, put on top of what the push came to.
 *
 * For: the state of a replica. Not for: merging with what other writers did (the server does, by the policy of the key).
 * Invariant: pure; what was inserted since the push is kept, and so is what the push came to.
 */
import type { JsonValue } from "./json.js";

/** A part of a row: a value (absent where there is none), and a version. */
export type Part = {
  version?: number;
  value?: JsonValue;
  /** The value that the writer saw, where the server has another one now. */
  saw?: JsonValue;
  /** Whether the server is told what was seen. */
  base?: true;
  conflict?: string;
  siblings?: JsonValue[];
  code?: string;
  message?: string;
};

/**
 * The write that is left, with the version that it has seen: `sent` was pushed in the record `version`, which made `made`
 * of it; `later` was written on top of `sent`.
 */
export function rebase(policy: string, sent: Part, later: Part, made: Part | undefined, version: number): Part {
  const now = { version: made?.version ?? 0 };
  if (same(made ?? {}, sent)) {
    return { ...later, ...now };
  }
  if (later.value === undefined || sent.value === undefined) {
    // A removal has not seen what others did; and one that others have superseded has changed nothing.
    return { ...later, ...seen(sent) };
  }
  if (policy === "reject" || policy === "last_writer_wins") {
    return { ...later, version, saw: sent.value };
  }
  const found = made === undefined ? empty(sent.value) : made.value;
  const value = found === undefined ? undefined : moved(policy, sent.value, later.value, found);
  return value === undefined ? { ...later, ...seen(sent) } : { ...later, ...now, value };
}

/** What a write says of the version that its writer has seen. */
export function seen(part: Part): Part {
  const { version, saw, base } = part;
  return {
    ...(version === undefined ? {} : { version }),
    ...(saw === undefined ? {} : { saw }),
    ...(base === undefined ? {} : { base }),
  };
}

/** Whether two parts have the same value, or both have none. */
export function same(one: Part, other: Part): boolean {
  if (one.value === undefined || other.value === undefined) {
    return one.value === other.value;
  }
  return canonical(one.value) === canonical(other.value);
}

/** The text of a value, members in the order of their names. */
export function canonical(value: JsonValue): string {
  if (Array.isArray(value)) {
    return `[${value.map(canonical).join(",")}]`;
  }
  if (typeof value === "object" && value !== null) {
    const names = Object.keys(value).sort();
    return `{${names.map((name) => `${JSON.stringify(name)}:${canonical(value[name] as JsonValue)}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

/** What a value of that form is before anything is written. */
function empty(value: JsonValue): JsonValue {
  if (typeof value === "string") {
    return "";
  }
  if (Array.isArray(value)) {
    return [];
  }
  return typeof value === "object" && value !== null ? {} : 0;
}

/** What `found` is with the change from `before` to `after`; nothing where the policy does not take such values. */
function moved(policy: string, before: JsonValue, after: JsonValue, found: JsonValue): JsonValue | undefined {
  const values = [before, after, found];
  switch (policy) {
    case "counter":
      return values.every(Number.isInteger) ? Number(found) + Number(after) - Number(before) : undefined;
    case "max":
    case "min":
      return after;
    case "set":
      return values.every(Array.isArray) ? movedSet(values as JsonValue[][]) : undefined;
    case "map":
      return values.every(isObject) ? movedMap(values as Record<string, JsonValue>[]) : undefined;
    case "text": {
      const texts = values.map((value) => (typeof value === "string" ? Array.from(value) : undefined));
      return texts.includes(undefined) ? undefined : splice(texts as string[][]).join("");
    }
    case "list":
      return values.every(Array.isArray) ? movedList(values as JsonValue[][]) : undefined;
    default:
      return undefined;
  }
}

function isObject(value: JsonValue): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The elements of a list by their texts. */
export function elements(list: readonly JsonValue[]): Map<string, JsonValue> {
  return new Map(list.map((element) => [canonical(element), element]));
}

function movedSet([before = [], after = [], found = []]: JsonValue[][]): JsonValue[] {
  const old = elements(before);
  const wanted = elements(after);
  const left = [...elements(found)].filter(([text]) => !old.has(text) || wanted.has(text));
  return [...new Map([...left, ...[...wanted].filter(([text]) => !old.has(text))]).values()];
}

function movedMap([before = {}, after = {}, found = {}]: Record<string, JsonValue>[]): JsonValue {
  const [old, wanted] = [new Map(Object.entries(before)), new Map(Object.entries(after))];
  const left = Object.entries(found).filter(([name]) => !old.has(name) || wanted.has(name));
  const changed = [...wanted].filter(([name, value]) => {
    const was = old.get(name);
    return was === undefined || canonical(was) !== canonical(value);
  });
  return Object.fromEntries(new Map([...left, ...changed]));
}

function movedList(values: JsonValue[][]): JsonValue[] {
  const all = elements(values.flat());
  return splice(values.map((each) => each.map(canonical))).map((text) => all.get(text) as JsonValue);
}

/**
 * The elements of `found` with the change from `before` to `after`.
 *
 * Each of the two changes is taken as one, from the first element that differs to the last. Where they overlap, what
 * both inserted stays, that of `found` first.
 */
export function splice([before = [], after = [], found = []]: readonly (readonly string[])[]): string[] {
  const ours = hunk(before, after);
  const theirs = hunk(before, found);
  const inserted = after.slice(ours[0], after.length - before.length + ours[1]);
  const shift = found.length - before.length;
  if (ours[0] >= theirs[1]) {
    return [...found.slice(0, ours[0] + shift), ...inserted, ...found.slice(ours[1] + shift)];
  }
  if (ours[1] <= theirs[0]) {
    return [...found.slice(0, ours[0]), ...inserted, ...found.slice(ours[1])];
  }
  const other = found.slice(theirs[0], theirs[1] + shift);
  const head = before.slice(0, Math.min(ours[0], theirs[0]));
  return [...head, ...other, ...inserted, ...before.slice(Math.max(ours[1], theirs[1]))];
}

/** The range of `before` that `after` has replaced. */
function hunk(before: readonly string[], after: readonly string[]): [number, number] {
  const most = Math.min(before.length, after.length);
  let first = 0;
  while (first < most && before[first] === after[first]) {
    first += 1;
  }
  let last = 0;
  while (last < most - first && before.at(-1 - last) === after.at(-1 - last)) {
    last += 1;
  }
  return [first, before.length - last];
}
