/**
 * Shared state from the code of a task.
 *
 * For: reading and writing keys of spaces as entries of the journal: what was read is recorded, and nothing is written
 * twice. Not for: clients (they call the server), or what a write comes to (the server decides).
 * Invariant: one call is one entry and one transaction, so all that it does is done, or nothing.
 */
import type { Answer, Read } from "./answer.js";
import { checkText, checkWhole } from "./bounds.js";
import type { Titled } from "./context.js";
import { Code } from "./error.js";
import { readJson } from "./json.js";
import { fit, type OutputOf, type Schema } from "./schema.js";
import { toMicros } from "./span.js";

/** A value with its version: the number of the record that wrote it. */
export interface StateValue<T> {
  value: T;
  version: number;
}

/** The outcome of an operation. */
export interface StateWritten {
  space: string;
  key: string;
  /** `written`, `merged` with others, `superseded` by another, `undecided`, `deleted`, `absent`, or `read`. */
  outcome: string;
  /** The version that the key has now; 0 where it has no value. */
  version: number;
  /** Of a read: the value. Of a write: what the key has now, where that is another one than was written. */
  value?: unknown;
  /** The conflict, where the write had not seen the latest value. */
  conflict?: string;
}

/** The outcome of a transaction. */
export interface StateTransaction {
  /** That of every key that it wrote. */
  version: number;
  /** Whether the conditions held. */
  succeeded: boolean;
  /** The outcome of each operation, in order. */
  results: StateWritten[];
}

/** How a value is written. */
export interface PutOptions extends Titled {
  /**
   * The version that the code has read, 0 where it has read that there is none. Without it, the code has seen nothing:
   * by the policy `reject` the write overwrites, by the others it is merged.
   */
  seen?: number;
  /** How long the value stays, in milliseconds. */
  ttl?: number;
}

/** How a value is removed. */
export interface RemoveOptions extends Titled {
  /** The version that the code has read; without it, whatever is there is removed. */
  seen?: number;
}

/** How a value is read. */
export interface GetOptions<S extends Schema | undefined> extends Titled {
  /** The schema of the value, which gives its type. */
  output?: S;
}

/** Requests a transaction, with the function that reads its answer. */
export type Ask = <T>(titled: Titled, transaction: () => unknown, read: Read<T>) => Answer<T>;

/**
 * A space of shared state, as the code of a task uses it. Each call is an entry of the journal.
 *
 * A write that names a version that is not the latest fails with `C0703`, where the policy of the key is `reject`. That
 * failure is recorded: read the key again, and decide again.
 */
export class StateSpace {
  readonly #ask: Ask;
  readonly #space: string;

  constructor(ask: Ask, space: string) {
    this.#ask = ask;
    this.#space = space;
  }

  /** The value of a key with its version; `undefined` where it has none. */
  get<S extends Schema | undefined = undefined>(
    key: string,
    options: GetOptions<S> = {},
  ): Answer<StateValue<OutputOf<S>> | undefined> {
    const read: Read<StateValue<OutputOf<S>> | undefined> = async (document) => {
      const { value, version } = first(document);
      if (value === undefined) {
        return undefined;
      }
      const { output } = options;
      const fitted = output === undefined ? value : await fit("value", Code.BadOutput, output, value as never);
      return { value: fitted as OutputOf<S>, version };
    };
    return this.#ask(options, () => ({ do: [this.#operation("get", key)] }), read);
  }

  /** Gives a key a value. */
  put(key: string, value: unknown, options: PutOptions = {}): Answer<StateWritten> {
    const operation = (): unknown => {
      const ttl = options.ttl === undefined ? {} : { ttl: `${toMicros("time to live", options.ttl)}us` };
      return { do: [{ ...this.#operation("put", key, options.seen), ...ttl, value }] };
    };
    return this.#ask(options, operation, first);
  }

  /** Removes the value of a key. */
  delete(key: string, options: RemoveOptions = {}): Answer<StateWritten> {
    return this.#ask(options, () => ({ do: [this.#operation("delete", key, options.seen)] }), first);
  }

  #operation(op: string, key: string, seen?: number): object {
    const version = seen === undefined ? {} : { version: checkWhole("version", seen, 0, Number.MAX_SAFE_INTEGER) };
    return { op, space: checkText("space", this.#space), key: checkText("key", key), ...version };
  }
}

/** The outcome of a transaction. */
export function readTransaction(document: Uint8Array): StateTransaction {
  return readJson("answer", document) as unknown as StateTransaction;
}

/** The outcome of its first operation. */
function first(document: Uint8Array): StateWritten {
  return readTransaction(document).results[0] as StateWritten;
}
