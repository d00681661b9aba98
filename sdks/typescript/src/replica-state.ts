/**
 * What a replica knows: the server's values, what is written here, and the push that is on its way.
 *
 * For: every rule of a replica, as pure functions from a state to the line of its file that changes it. Not for: the file
 * (see `replica-file`), or the server (see `replica`).
 * Invariant: a state is the fold of its lines; a write that is acknowledged stays until the server has answered it or the
 * program has given it up, and is done at the server at most once.
 */
import { Code, ConsortError } from "./error.js";
import type { JsonValue } from "./json.js";
import { canonical, type Part, rebase } from "./replica-merge.js";

/** The version of the file's format. */
export const FORMAT = 1;
/** The space in which the server remembers the last push of each replica. */
export const CURSORS = "replicas";
/** Keys of one push: a transaction has at most 64 conditions and operations. */
export const BATCH_KEYS = 60;
/** Bytes of the values of one push, where it is more than one. */
export const BATCH_BYTES = 1024 * 1024;
/** Bytes of a key. */
export const KEY_BYTES_MAX = 512;

const PARTS = ["server", "sent", "pending", "conflict"] as const;

/** What is known of a key. */
export type Row = Partial<Record<(typeof PARTS)[number], Part>>;

/** What the server remembers of a push. */
export type Cursor = { push: number; id: string };

/** The push that is on its way. */
export type Push = { number: number; id: string; keys: string[]; expect?: JsonValue; done?: number };

/** What is known of the replica. */
export type Meta = {
  format?: number;
  space?: string;
  name?: string;
  prefix?: string;
  at?: { position: string; made?: string };
  number?: number;
  done?: Cursor;
  push?: Push;
};

/** What is new; `null` where nothing is. */
export type Line = {
  meta?: { [name in keyof Meta]?: Meta[name] | null };
  rows?: Record<string, { [part in keyof Row]?: Part | null }>;
};

/** What a key has at the server since a record. */
export type Arrival = { key: string; version: number; server: Part | undefined };

/** The policy of a prefix. */
export type Policy = { prefix: string; policy: string };

/** Texts in the order of their bytes. */
export function inOrder(texts: Iterable<string>): string[] {
  return [...texts].sort((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
}

/** Changes that become one line. */
class Draft {
  readonly #old: ReadonlyMap<string, Row>;
  readonly #rows = new Map<string, Row>();
  meta: NonNullable<Line["meta"]> = {};

  constructor(old: ReadonlyMap<string, Row>) {
    this.#old = old;
  }

  /** The row of a key, to be changed; its parts are replaced, never changed. */
  row(key: string): Row {
    const row = this.#rows.get(key) ?? { ...this.#old.get(key) };
    this.#rows.set(key, row);
    return row;
  }

  /** What has changed; nothing at all where nothing has. */
  line(): Line {
    const rows: [string, { [part in keyof Row]?: Part | null }][] = [];
    for (const [key, row] of this.#rows) {
      const old = this.#old.get(key) ?? {};
      const changed = PARTS.filter((part) => row[part] !== old[part]);
      if (changed.length > 0) {
        rows.push([key, Object.fromEntries(changed.map((part) => [part, row[part] ?? null]))]);
      }
    }
    return {
      ...(Object.keys(this.meta).length > 0 ? { meta: this.meta } : {}),
      ...(rows.length > 0 ? { rows: Object.fromEntries(rows) } : {}),
    };
  }
}

/** The fold of the lines of a file. */
export class ReplicaState {
  readonly meta: Meta = {};
  readonly rows = new Map<string, Row>();
  /** Those of the space, as the server said last; they are not in the file. */
  policies: readonly Policy[] = [];

  /** Does what a line says. */
  fold(line: Line): void {
    assign(this.meta, line.meta ?? {});
    for (const [key, parts] of Object.entries(line.rows ?? {})) {
      const row = { ...this.rows.get(key) };
      assign(row, parts);
      if (Object.keys(row).length > 0) {
        this.rows.set(key, row);
      } else {
        this.rows.delete(key);
      }
    }
  }

  /** The lines of a file that is written again. */
  *lines(): Generator<Line, void, undefined> {
    yield { meta: this.meta };
    for (const [key, row] of this.rows) {
      yield { rows: Object.fromEntries([[key, row]]) };
    }
  }

  /** The policy of a key. */
  policy(key: string): string {
    let found: Policy | undefined;
    for (const one of this.policies) {
      if (key.startsWith(one.prefix) && (found === undefined || one.prefix.length > found.prefix.length)) {
        found = one;
      }
    }
    return found?.policy ?? "reject";
  }

  /** What a reader sees of a key. */
  visible(key: string): Part {
    const row = this.rows.get(key);
    return row?.pending ?? row?.sent ?? row?.server ?? {};
  }

  // Local writes.

  /** A local write, or where there is no value a removal. */
  write(key: string, value: Part): Line {
    const draft = new Draft(this.rows);
    const row = draft.row(key);
    if (row.sent) {
      row.pending = value;
    } else if (row.pending && !row.conflict) {
      row.pending = { ...without(row.pending), ...value };
    } else {
      // Where there was a conflict, what the server has was seen, and this decides.
      row.pending = { version: row.server?.version ?? 0, ...value };
      delete row.conflict;
    }
    forgetNothing(row);
    return draft.line();
  }

  /** Forgets what is written here and not on its way. */
  giveUp(key: string): Line {
    const draft = new Draft(this.rows);
    const row = draft.row(key);
    delete row.pending;
    delete row.conflict;
    return draft.line();
  }

  // Pushes.

  /**
   * Begins a push of the next keys under an id that no other push has; an empty line where there are none.
   *
   * Keys that are likely to be refused, and those of `alone`, are pushed alone: so that the others get there. Before the
   * first push that was done, `expect` has as its value what the cursor has.
   */
  beginPush(id: string, alone: ReadonlySet<string>, expect: Part): Line {
    const waiting = inOrder(this.rows.keys()).filter((key) => {
      const row = this.rows.get(key);
      return row?.pending && !row.conflict;
    });
    const apart = waiting.find((key) => alone.has(key) || this.#isStale(key));
    const keys = apart === undefined ? this.#batch(waiting) : [apart];
    if (keys.length === 0) {
      return {};
    }
    const draft = new Draft(this.rows);
    const number = (this.meta.number ?? 0) + 1;
    const expected = this.meta.done || expect.value === undefined ? {} : { expect: expect.value };
    draft.meta = { number, push: { number, id, keys, ...expected } };
    for (const key of keys) {
      const row = draft.row(key);
      row.sent = row.pending as Part;
      delete row.pending;
    }
    return draft.line();
  }

  #isStale(key: string): boolean {
    const row = this.rows.get(key);
    return this.policy(key) === "reject" && row?.pending?.version !== (row?.server?.version ?? 0);
  }

  #batch(waiting: readonly string[]): string[] {
    const keys: string[] = [];
    let size = 0;
    for (const key of waiting.slice(0, BATCH_KEYS)) {
      size += Buffer.byteLength(canonical(this.rows.get(key)?.pending?.value ?? null));
      if (keys.length > 0 && size > BATCH_BYTES) {
        break;
      }
      keys.push(key);
    }
    return keys;
  }

  /** The push that is on its way. */
  get push(): Push {
    if (!this.meta.push) {
      throw new ConsortError(Code.Internal, "no push is on its way");
    }
    return this.meta.push;
  }

  /** What the server remembers of the push that is on its way. */
  cursor(): Cursor {
    return { push: this.push.number, id: this.push.id };
  }

  /** The transaction of the push that is on its way. */
  request(): { if: object[]; do: object[]; else: object[]; by: string | undefined } {
    const { space, name, done } = this.meta;
    const { expect, keys } = this.push;
    const place = { space: CURSORS, key: `${space}/${name}` };
    const found = done ?? expect;
    const condition = found === undefined ? { exists: false } : { equals: found };
    return {
      if: [{ ...place, ...condition }],
      do: [{ op: "put", ...place, value: this.cursor() }, ...keys.map((key) => this.#operation(key))],
      else: [{ op: "get", ...place }],
      by: name,
    };
  }

  #operation(key: string): object {
    const row = this.rows.get(key) ?? {};
    const sent = row.sent ?? {};
    const place = { space: this.meta.space, key, version: sent.version };
    if (sent.value === undefined) {
      return { op: "delete", ...place };
    }
    const base = sawOf(row, sent);
    return { op: "put", ...place, value: sent.value, ...(sent.base && base !== undefined ? { base } : {}) };
  }

  /** The push was done in a record, and these are what its keys have. */
  answered(arrivals: readonly Arrival[], version: number): Line {
    const draft = new Draft(this.rows);
    for (const { key, server } of arrivals) {
      this.#settle(draft.row(key), key, server, version);
    }
    return this.#end(draft);
  }

  /** The push was done in a record, and its answer was lost: what it came to is pulled. */
  foundDone(version: number): Line {
    return { meta: { push: { ...this.push, done: version } } };
  }

  /** All changes up to a push whose answer was lost are here: what has not changed, it has not changed. */
  settled(): Line {
    const { push } = this.meta;
    if (push?.done === undefined) {
      return {};
    }
    const draft = new Draft(this.rows);
    for (const key of push.keys) {
      const row = draft.row(key);
      if (row.sent) {
        this.#settle(row, key, row.server, push.done);
      }
    }
    return this.#end(draft);
  }

  #end(draft: Draft): Line {
    draft.meta = { push: null, done: this.cursor() };
    return draft.line();
  }

  /** The push was refused, so nothing of it was done. Of a single key that is a conflict. */
  refused(code: string, message: string): Line {
    const { keys } = this.push;
    const draft = new Draft(this.rows);
    draft.meta = { push: null };
    for (const key of keys) {
      const row = draft.row(key);
      const { sent = {}, pending: later } = row;
      delete row.sent;
      row.pending = later === undefined ? sent : { ...without(sent), ...later };
      const alone = keys.length === 1;
      if (code === Code.VersionGone && alone && !sent.base && sent.value !== undefined) {
        // The server is told what was seen.
        row.pending = { ...row.pending, base: true };
      } else if (alone && later === undefined) {
        row.conflict = { code, message };
      }
      forgetNothing(row);
    }
    return draft.line();
  }

  // What comes.

  /** Changes in their order, up to a position. */
  pulled(arrivals: Iterable<Arrival>, position: string): Line {
    const draft = new Draft(this.rows);
    for (const { key, version, server } of arrivals) {
      const row = draft.row(key);
      if (row.sent && this.meta.push?.done === version) {
        this.#settle(row, key, server, version);
      } else if (version > versionOf(row) || (version === versionOf(row) && !isSame(server, row.server))) {
        // Of the same version: the answer to a push does not say in which order a set is kept.
        replace(row, server);
      }
    }
    draft.meta = { at: { ...this.meta.at, position } };
    return draft.line();
  }

  /** All that the server has. */
  listed(arrivals: Iterable<Arrival>, at: { position: string; made?: string }): Line {
    const draft = new Draft(this.rows);
    const found = new Map([...arrivals].map(({ key, server }) => [key, server]));
    const done = this.meta.push?.done;
    for (const key of new Set([...this.rows.keys(), ...found.keys()])) {
      const row = draft.row(key);
      const server = found.get(key);
      if (row.sent && done !== undefined) {
        this.#settle(row, key, server, done);
      } else if (!isSame(server, row.server)) {
        replace(row, server);
      }
    }
    draft.meta = { at };
    return draft.line();
  }

  #settle(row: Row, key: string, made: Part | undefined, version: number): void {
    const before = row.sent ?? {};
    const sent = { ...before, ...sawField(row, before) };
    replace(row, made);
    delete row.sent;
    if (row.pending) {
      row.pending = rebase(this.policy(key), sent, row.pending, made, version);
    }
    forgetNothing(row);
  }
}

/** The version of the server's value; 0 where it has none. */
function versionOf(row: Row): number {
  return row.server?.version ?? 0;
}

function isSame(one: Part | undefined, other: Part | undefined): boolean {
  return canonical((one ?? null) as JsonValue) === canonical((other ?? null) as JsonValue);
}

function assign(into: object, parts: object): void {
  for (const [name, value] of Object.entries(parts)) {
    if (value === null) {
      delete (into as Record<string, unknown>)[name];
    } else {
      (into as Record<string, unknown>)[name] = value;
    }
  }
}

/** A write without its value. */
function without({ value: _, ...others }: Part): Part {
  return others;
}

/** Gives a row what the server has now. Writes keep what they saw. */
function replace(row: Row, server: Part | undefined): void {
  for (const part of ["pending", "sent"] as const) {
    const write = row[part];
    if (write?.version !== undefined && server?.version !== write.version) {
      const field = sawField(row, write);
      row[part] = field.saw === undefined ? write : { ...write, ...field };
    }
  }
  if (server) {
    row.server = server;
  } else {
    delete row.server;
  }
}

/** The value that a write saw; nothing where it saw none. */
function sawOf(row: Row, write: Part): JsonValue | undefined {
  if (write.saw !== undefined) {
    return write.saw;
  }
  return row.server?.version === write.version ? row.server?.value : undefined;
}

function sawField(row: Row, write: Part): Part {
  const saw = sawOf(row, write);
  return saw === undefined ? {} : { saw };
}

/** The value that the pending write of a row saw; nothing where it saw none. */
export function saw(row: Row): JsonValue | undefined {
  return row.pending ? sawOf(row, row.pending) : undefined;
}

/** A removal of what the server never had is no write. */
function forgetNothing(row: Row): void {
  if (!row.sent && row.pending?.version === 0 && row.pending.value === undefined) {
    delete row.pending;
    delete row.conflict;
  }
}

/** The key, where it can be one. */
export function checkKey(key: string): string {
  const size = Buffer.byteLength(key);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (size === 0 || size > KEY_BYTES_MAX || /[\u0000-\u001f\u007f]/.test(key)) {
    const message = `the key \`${key.slice(0, 64)}\` has ${size} bytes, or control characters; a key has 1 to ${KEY_BYTES_MAX} bytes`;
    throw new ConsortError(Code.BadRequest, message);
  }
  return key;
}
