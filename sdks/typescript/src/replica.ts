/**
 * A replica of a space: it works without the server, and synchronises with it.
 *
 * For: programs that read and write shared state while they are offline. Not for: the rules (see `replica-state`).
 * Invariant: whatever is lost or killed, each local write is done at the server once, or is reported as a conflict.
 */
import { randomUUID } from "node:crypto";
import type { Client } from "./client.js";
import { Code, ConsortError } from "./error.js";
import type {
  Space,
  StateChange,
  StateResult,
  StateTransaction,
  StateValue,
  TransactStateRequest,
} from "./generated/models.js";
import { type JsonValue, readJson, writeJson } from "./json.js";
import { ReplicaFile } from "./replica-file.js";
import { canonical, elements, type Part, same } from "./replica-merge.js";
import { type Arrival, CURSORS, checkKey, inOrder, type Line, type ReplicaState, saw } from "./replica-state.js";

const NAME_BYTES_MAX = 128;
/** Changes that become one line of the file. */
const CHANGES = 500;
/** So many times a space is listed again while its changes go faster than they can be followed. */
const LISTINGS = 5;
const NOTHING: ReadonlySet<string> = new Set([Code.SpaceNotFound, Code.KeyNotFound]);
const REFUSALS: ReadonlySet<string> = new Set([
  Code.BadRequest,
  "C0002",
  Code.BadJson,
  Code.PayloadTooLarge,
  Code.LimitReached,
]);

/** What a replica is of, and where it is kept. */
export interface ReplicaOptions {
  /** The space. */
  space: string;
  /** The file; it is made where it is not there. */
  path: string;
  /** The name of the replica: no other replica of the space has it. */
  name: string;
  /** It holds only the keys that begin so. */
  prefix?: string;
  /** Called by `sync` with each key of which a reader sees another value, and that value. */
  onChange?: (key: string, value: JsonValue | undefined) => void;
}

/** What a replica has of a key. */
export interface ReplicaValue {
  key: string;
  /** What a reader sees: what was written here, or else what the server has. */
  value: JsonValue;
  /** The version of the server's value that is here; 0 where it has none. */
  version: number;
  /** Whether something was written here that the server has not answered yet. */
  pending: boolean;
  /** The conflict that waits for a decision about the key at the server (policy `agent`). */
  conflict: string | undefined;
  /** The values that are kept beside the server's until then. */
  siblings: JsonValue[];
}

/** A write that the server refused. It stays until `put`, `delete` or `takeServer` decides about the key. */
export interface ReplicaConflict {
  key: string;
  /** Why it was refused, such as `C0703`. */
  code: string;
  message: string;
  /** The value that the writer had seen. */
  base: JsonValue | undefined;
  /** The value that was written here; nothing where it was removed. */
  local: JsonValue | undefined;
  /** The value that the server has. */
  server: JsonValue | undefined;
}

/** What a synchronisation did. */
export interface ReplicaSync {
  /** All changes of the space up to this position are here. */
  position: string;
  /** The keys whose writes are done. */
  pushed: string[];
  /** The keys of which a reader sees another value. */
  changed: string[];
  /** The writes that were refused, also earlier, and are not decided. */
  conflicts: ReplicaConflict[];
}

/** What a synchronisation gathers. */
interface Gathered {
  pushed: Set<string>;
  changed: Set<string>;
  alone: Set<string>;
}

/**
 * A replica of a space in a file.
 *
 * Reading and writing need no server. `sync` pushes what was written and pulls what others wrote; conflicts are resolved by
 * the policies of the space.
 */
export class Replica {
  readonly #client: Client;
  readonly #space: string;
  readonly #onChange: ReplicaOptions["onChange"];
  readonly #file: ReplicaFile;
  readonly #state: ReplicaState;
  #syncing: Promise<unknown> = Promise.resolve();

  /**
   * Opens the replica of a space; the server is not needed.
   *
   * It throws a `ConsortError`: `C0844` where the file is open elsewhere or is that of another replica, `C0843` where it is
   * damaged.
   */
  static open(client: Client, options: ReplicaOptions): Replica {
    return new Replica(client, options);
  }

  private constructor(client: Client, { space, path, name, prefix = "", onChange }: ReplicaOptions) {
    const size = Buffer.byteLength(name);
    if (size === 0 || size > NAME_BYTES_MAX || name.includes("/")) {
      const message = `the name \`${name.slice(0, 64)}\` of a replica has ${size} bytes, or a \`/\`; it has 1 to ${NAME_BYTES_MAX} bytes`;
      throw new ConsortError(Code.BadRequest, message);
    }
    this.#client = client;
    this.#space = space;
    this.#onChange = onChange;
    this.#file = new ReplicaFile(path, { space, name, prefix });
    this.#state = this.#file.state;
  }

  /** Closes the file; another process may open it then. */
  close(): void {
    this.#file.close();
  }

  /** All changes of the space up to it are here; nothing before the first synchronisation. */
  get position(): string | undefined {
    return this.#state.meta.at?.position;
  }

  /** The value of a key, with what was written here. */
  get(key: string): JsonValue | undefined {
    return structuredClone(this.#state.visible(key).value);
  }

  /** The value of a key with what is known of it. */
  entry(key: string): ReplicaValue | undefined {
    const value = this.get(key);
    if (value === undefined) {
      return undefined;
    }
    const { server, pending, sent } = this.#state.rows.get(key) ?? {};
    return {
      key,
      value,
      version: server?.version ?? 0,
      pending: pending !== undefined || sent !== undefined,
      conflict: server?.conflict,
      siblings: structuredClone(server?.siblings ?? []),
    };
  }

  /** The keys that begin with `prefix`, in the order of their bytes, with their values. */
  list(prefix = ""): Map<string, JsonValue> {
    const found = new Map<string, JsonValue>();
    for (const key of inOrder(this.#state.rows.keys())) {
      const value = key.startsWith(prefix) ? this.get(key) : undefined;
      if (value !== undefined) {
        found.set(key, value);
      }
    }
    return found;
  }

  /** The keys whose writes the server has not answered yet, or has refused. */
  pending(): string[] {
    return inOrder([...this.#state.rows].filter(([, row]) => row.pending || row.sent).map(([key]) => key));
  }

  /** The writes that the server refused, until it is decided about their keys. */
  conflicts(): ReplicaConflict[] {
    return inOrder(this.#state.rows.keys()).flatMap((key) => {
      const row = this.#state.rows.get(key) ?? {};
      if (!row.conflict) {
        return [];
      }
      const { code = "", message = "" } = row.conflict;
      return [
        {
          key,
          code,
          message,
          ...structuredClone({ base: saw(row), local: row.pending?.value, server: row.server?.value }),
        },
      ];
    });
  }

  /**
   * Gives a key a value, here. It is on the disk when this returns, and at the server after `sync`.
   *
   * Of a key in conflict it decides: it has seen what the server has.
   */
  put(key: string, value: unknown): void {
    this.#file.commit(this.#state.write(this.#checked(key), { value: plain(value) }));
  }

  /** Removes the value of a key, here; as `put`. */
  delete(key: string): void {
    this.#file.commit(this.#state.write(this.#checked(key), {}));
  }

  /** Adds to a whole number, which is 0 where there is none; the new number. For keys of the policy `counter`. */
  add(key: string, amount = 1): number {
    const found = this.#state.visible(key).value ?? 0;
    if (!Number.isInteger(found)) {
      throw misfit(key, "a whole number");
    }
    this.put(key, Number(found) + amount);
    return Number(found) + amount;
  }

  /** Adds elements to a list that has each once. For keys of the policy `set`. */
  addTo(key: string, ...added: unknown[]): void {
    this.put(key, [...new Map([...this.#elements(key), ...elements(added.map(plain))]).values()]);
  }

  /** Removes elements from such a list. */
  removeFrom(key: string, ...removed: unknown[]): void {
    const gone = elements(removed.map(plain));
    this.put(
      key,
      [...this.#elements(key)].filter(([text]) => !gone.has(text)).map(([, element]) => element),
    );
  }

  /**
   * Gives up what was written here about a key: what the server has counts, also where that is nothing. What is on its way
   * to the server stays.
   */
  takeServer(key: string): void {
    this.#file.commit(this.#state.giveUp(key));
  }

  /**
   * Pushes what was written here, and pulls what the server has.
   *
   * A write that the server refuses does not hold up the others: it is in `conflicts`. Without a server it fails with an
   * error that `isUnavailable`, and may be called again at any time; nothing is done twice. `C0844` says that another file
   * has the name of this replica.
   */
  sync(): Promise<ReplicaSync> {
    const next = this.#syncing.then(() => this.#sync());
    this.#syncing = next.catch(() => undefined);
    return next;
  }

  async #sync(): Promise<ReplicaSync> {
    const gathered: Gathered = { pushed: new Set(), changed: new Set(), alone: new Set() };
    let space = await this.#show();
    const { push } = this.#state.meta;
    if (push && push.done === undefined) {
      await this.#send(gathered);
      // It may have been done since.
      space = await this.#show();
    }
    await this.#pull(space, gathered);
    while (this.#begin(gathered, await this.#cursor())) {
      await this.#send(gathered);
      if (this.#state.meta.push) {
        await this.#pull(await this.#show(), gathered);
      }
    }
    await this.#pull(await this.#show(), gathered);
    const position = this.position ?? "0-0";
    return { position, pushed: [...gathered.pushed], changed: [...gathered.changed], conflicts: this.conflicts() };
  }

  #begin({ alone }: Gathered, expect: Part): boolean {
    const line = this.#state.beginPush(randomUUID().replaceAll("-", ""), alone, expect);
    this.#file.commit(line);
    return line.rows !== undefined;
  }

  /** The space as it is now; nothing where it is not there. */
  async #show(): Promise<Space | undefined> {
    const found = await unless(NOTHING, this.#client.showSpace(this.#space));
    this.#state.policies = found?.policies ?? [];
    return found;
  }

  /** What the cursor has before the first push; nothing is asked later. */
  async #cursor(): Promise<Part> {
    const { done, space, name } = this.#state.meta;
    const found = done ? undefined : await unless(NOTHING, this.#client.getState(CURSORS, `${space}/${name}`));
    return found ? { value: found.value as JsonValue } : {};
  }

  /** Sends the push that is on its way, for the first time or again. */
  async #send({ pushed, changed, alone }: Gathered): Promise<void> {
    const { keys } = this.#state.push;
    let answer: StateTransaction;
    try {
      answer = await this.#client.transactState(this.#state.request() as TransactStateRequest);
    } catch (error) {
      if (!(error instanceof ConsortError && isRefusal(error.code))) {
        throw error;
      }
      this.#file.commit(this.#state.refused(error.code, error.message));
      addAll(alone, keys.length > 1 ? keys : []);
      return;
    }
    const [first, ...results] = answer.results;
    if (answer.succeeded) {
      const outcomes = keys.map((key, place) => this.#outcome(key, results[place] as StateResult));
      this.#arrive(this.#state.answered(await Promise.all(outcomes), answer.version), changed);
    } else if (same({ value: this.#state.cursor() }, { value: (first?.value ?? null) as JsonValue })) {
      this.#arrive(this.#state.foundDone(first?.version ?? 0), changed);
    } else {
      throw this.#notDone(first?.value);
    }
    addAll(pushed, keys);
  }

  /** What a key has after an operation of a push. */
  async #outcome(key: string, result: StateResult): Promise<Arrival> {
    const { outcome, version } = result;
    if (outcome === "deleted" || outcome === "absent") {
      return { key, version, server: undefined };
    }
    const sent = this.#state.rows.get(key)?.sent ?? {};
    const server = { ...sent, ...(result as Part) };
    if (outcome === "undecided" || isReference(server.value)) {
      return { key, version, server: await this.#read(key, outcome === "undecided" ? undefined : version) };
    }
    return { key, version, server: { version, value: server.value as JsonValue } };
  }

  #notDone(found: unknown): ConsortError {
    const last = canonical((found ?? null) as JsonValue);
    const { name } = this.#state.meta;
    const message = `the last push of replica \`${name}\` is \`${last}\` at the server, which is not what this file did`;
    return new ConsortError(Code.ReplicaTaken, message, {
      hint:
        "another file has the name, or this one is an older copy: open a new file with a name of its own, and write again " +
        "what `pending` shows and the server does not have",
    });
  }

  /** Pulls all changes up to those of now, and ends a push whose answer was lost. */
  async #pull(now: Space | undefined, { changed }: Gathered): Promise<void> {
    let space = now;
    for (let left = LISTINGS; ; left -= 1, space = await this.#show()) {
      const { at } = this.#state.meta;
      if (!space) {
        this.#arrive(this.#state.listed([], { position: "0-0" }), changed);
        break;
      }
      if (left === 0) {
        throw new ConsortError(Code.Overloaded, `space \`${this.#space}\` changes faster than it can be followed`, {
          hint: "have the space keep more changes, or synchronise again",
        });
      }
      if (at === undefined || at.made !== space.created_at) {
        await this.#list(space, changed);
      } else if (reached(at.position, space.position) || (await this.#follow(at.position, space.position, changed))) {
        break;
      } else {
        await this.#list(space, changed);
      }
    }
    this.#arrive(this.#state.settled(), changed);
  }

  /** Pulls all that is there, because the changes since then are not kept, or were never seen. */
  async #list(space: Space, changed: Set<string>): Promise<void> {
    const { prefix } = this.#state.meta;
    const arrivals: Arrival[] = [];
    let position: string | undefined;
    for await (const page of this.#client
      .listState(this.#space, { ...(prefix ? { prefix } : {}), limit: 1000 })
      .pages()) {
      position ??= page.position;
      for (const item of page.items) {
        const large = item.conflict || isReference(item.value);
        const server = large ? await this.#read(item.key, undefined) : listedValue(item);
        if (server) {
          arrivals.push({ key: item.key, version: server.version ?? 0, server });
        }
      }
    }
    this.#arrive(this.#state.listed(arrivals, { position: position ?? "0-0", made: space.created_at }), changed);
  }

  /** Pulls the changes behind a position, up to another one; false where they are no longer kept. */
  async #follow(after: string, until: string, changed: Set<string>): Promise<boolean> {
    // Those of other keys are read, too: they tell when all have come.
    const events = this.#client.watchState(this.#space, { after });
    const { prefix = "" } = this.#state.meta;
    let arrivals: Arrival[] = [];
    let count = 0;
    try {
      for await (const { event, data } of events) {
        if (event !== "change") {
          continue;
        }
        count += 1;
        if (data.key.startsWith(prefix)) {
          arrivals.push(await this.#arrival(data));
        }
        const over = reached(data.position, until);
        if (over || count % CHANGES === 0) {
          this.#arrive(this.#state.pulled(arrivals, data.position), changed);
          arrivals = [];
        }
        if (over) {
          return true;
        }
      }
    } catch (error) {
      if (!(error instanceof ConsortError && (error.code === Code.VersionGone || error.code === Code.SpaceNotFound))) {
        throw error;
      }
    }
    return false;
  }

  async #arrival({ key, version, change, value }: StateChange): Promise<Arrival> {
    if (value === undefined) {
      return { key, version, server: undefined };
    }
    if (change === "undecided" || isReference(value)) {
      return { key, version, server: await this.#read(key, change === "undecided" ? undefined : version) };
    }
    return { key, version, server: { version, value: value as JsonValue } };
  }

  /** The value of a key in whole, at a version where that is kept. */
  async #read(key: string, version: number | undefined): Promise<Part | undefined> {
    const at = version === undefined ? {} : { version };
    const gone = new Set([...NOTHING, Code.VersionGone]);
    const found = await unless(gone, this.#client.getState(this.#space, key, at));
    if (!found) {
      return version === undefined ? undefined : this.#read(key, undefined);
    }
    return listedValue(found);
  }

  /** Commits what the server has said, and tells of what a reader sees of it. */
  #arrive(line: Line, changed: Set<string>): void {
    const before = Object.keys(line.rows ?? {}).map((key) => [key, this.#state.visible(key)] as const);
    this.#file.commit(line);
    const told = before.filter(([key, old]) => !same(old, this.#state.visible(key)));
    for (const [key] of told) {
      changed.add(key);
      this.#onChange?.(key, this.get(key));
    }
  }

  #elements(key: string): Map<string, JsonValue> {
    const found = this.#state.visible(key).value ?? [];
    if (!Array.isArray(found)) {
      throw misfit(key, "a list");
    }
    return elements(found);
  }

  #checked(key: string): string {
    const { prefix = "" } = this.#state.meta;
    if (!checkKey(key).startsWith(prefix)) {
      const message = `the key \`${key}\` does not begin with \`${prefix}\`, as the keys of this replica do`;
      throw new ConsortError(Code.BadRequest, message);
    }
    return key;
  }
}

function plain(value: unknown): JsonValue {
  return readJson("value", writeJson("value", value));
}

function misfit(key: string, wanted: string): ConsortError {
  return new ConsortError(Code.NotMergeable, `the value of key \`${key}\` is not ${wanted}`);
}

function addAll(set: Set<string>, keys: readonly string[]): void {
  for (const key of keys) {
    set.add(key);
  }
}

/** Whether the server will never do such a write, so that its key is in conflict. */
function isRefusal(code: string): boolean {
  return REFUSALS.has(code) || code.startsWith("C07");
}

/** What is answered, or nothing where it is refused for one of these reasons. */
async function unless<T>(codes: ReadonlySet<string>, answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ConsortError && codes.has(error.code)) {
      return undefined;
    }
    throw error;
  }
}

/** Whether an answer has a reference in place of a value that is large. */
function isReference(value: unknown): boolean {
  return typeof value === "object" && value !== null && Object.keys(value).sort().join(" ") === "$blob bytes";
}

/** Whether a position is not before another one. */
function reached(position: string, other: string): boolean {
  const [record = 0, place = 0] = position.split("-").map(Number);
  const [until = 0, last = 0] = other.split("-").map(Number);
  return record > until || (record === until && place >= last);
}

/** What a row keeps of a value of the server. */
function listedValue({ version, value, conflict, siblings = [] }: StateValue): Part {
  const beside = siblings.flatMap((one) => (one.value === undefined ? [] : [one.value as JsonValue]));
  return {
    version,
    value: value as JsonValue,
    ...(conflict ? { conflict } : {}),
    ...(beside.length > 0 ? { siblings: beside } : {}),
  };
}
