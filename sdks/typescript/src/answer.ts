/**
 * The answer to a journal entry, as a promise.
 *
 * For: what the methods of a task's context return. Not for: making entries (see `context`).
 * Invariant: the entry exists as soon as the answer does, awaited or not; the journal knows which answers are awaited,
 * so that a task parks only for those.
 */
import type { Attempt } from "./attempt.js";
import type { TaskError } from "./error.js";

/** What a promise fails with: anything. */
type Reason = Parameters<NonNullable<Parameters<Promise<unknown>["catch"]>[0]>>[0];

/** Turns the document of an answer into what the code gets. */
export type Read<T> = (document: Uint8Array) => T | Promise<T>;

/**
 * The answer to a journal entry. It behaves as a promise; a failure that is not awaited is ignored, so it does not
 * count as an unhandled rejection.
 */
export class Answer<T> implements Promise<T> {
  readonly [Symbol.toStringTag] = "Answer";
  readonly #attempt: Attempt;
  /** The entry's position, or why there is none. */
  #entry: number | TaskError;
  readonly #read: Read<T>;
  /** Requests it again. */
  readonly #again: (() => number | TaskError) | undefined;
  #promise: Promise<T> | undefined;

  /**
   * The answer to an entry of this attempt, or the reason why it could not be requested. `again` makes another entry,
   * where the code waits again for one that was closed.
   */
  constructor(attempt: Attempt, entry: number | TaskError, read: Read<T>, again?: () => number | TaskError) {
    this.#attempt = attempt;
    this.#entry = entry;
    this.#read = read;
    this.#again = again;
  }

  // biome-ignore lint/suspicious/noThenProperty: being awaited is what this class is for
  then<A = T, B = never>(
    done?: ((value: T) => A | PromiseLike<A>) | null,
    failed?: ((reason: Reason) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.#reopen();
    this.#promise ??= new Promise<T>((resolve, reject) => this.#settle(resolve, reject));
    if (typeof this.#entry === "number" && !this.#attempt.over) {
      this.#attempt.await(this.#entry);
    }
    return this.#promise.then(done, failed);
  }

  catch<B = never>(failed?: ((reason: Reason) => B | PromiseLike<B>) | null): Promise<T | B> {
    return this.then(undefined, failed);
  }

  finally(settled?: (() => void) | null): Promise<T> {
    return this.then().finally(settled);
  }

  /** One place of the code, which called `then`, does not wait any longer. */
  forget(): void {
    if (typeof this.#entry === "number" && !this.#attempt.over) {
      this.#attempt.forget(this.#entry);
    }
  }

  /**
   * The code will not wait for this answer. A pause, a wait for a signal or a question to a person is closed: what waits
   * outside is withdrawn, and a signal goes to the next wait of its name. A call continues.
   */
  close(): void {
    if (typeof this.#entry === "number" && !this.#attempt.over) {
      this.#attempt.leave(this.#entry);
    }
  }

  /** It lost a race. A pause continues: the code may race it again, and then it must not begin again. */
  lose(): void {
    if (this.#again) {
      this.close();
    }
  }

  /** Requests again what was closed. */
  #reopen(): void {
    const entry = this.#entry;
    if (this.#again && typeof entry === "number" && !this.#attempt.over && this.#attempt.journal.isForgotten(entry)) {
      this.#entry = this.#again();
      this.#promise = undefined;
    }
  }

  #settle(resolve: (value: T | Promise<T>) => void, reject: (reason: unknown) => void): void {
    const entry = this.#entry;
    const attempt = this.#attempt;
    const look = () => {
      // A promise of an ended attempt never settles: its code must not see that as an outcome.
      if (attempt.over) {
        return;
      }
      if (typeof entry !== "number") {
        reject(entry);
        return;
      }
      const outcome = attempt.journal.outcome(entry);
      if (!outcome) {
        attempt.journal.watch(entry, look);
      } else if (outcome.ok) {
        this.#resolve(outcome.output, resolve, reject);
      } else {
        reject(outcome.error);
      }
    };
    look();
  }

  #resolve(document: Uint8Array, resolve: (value: T | Promise<T>) => void, reject: (reason: unknown) => void): void {
    try {
      resolve(this.#read(document));
    } catch (error) {
      reject(error);
    }
  }
}
