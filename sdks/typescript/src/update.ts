/**
 * An update that the code of a task has: a signal whose sender waits for an answer.
 *
 * For: answering it, or rejecting it. Not for: waiting for one (see `context`), or sending one (clients do).
 * Invariant: the first answer counts; each is an entry of the journal, so a replay answers nothing again.
 */
import type { Answer } from "./answer.js";

/** What an update is answered: a value, or why it is rejected. */
export type Said = { value: unknown } | { rejection: string };

/** An update that the code has: its sender waits for an answer. */
export class Update<T> {
  /** Its id, unique in the run. */
  readonly id: string;
  /** What was sent. */
  readonly input: T;
  readonly #say: (said: Said) => Answer<void>;

  /** Made by `waitUpdate`. */
  constructor(id: string, input: T, say: (said: Said) => Answer<void>) {
    this.id = id;
    this.input = input;
    this.#say = say;
  }

  /**
   * Answers the sender. The first answer counts, and stays: a sender that asks again by the id gets it again. At most
   * 256 KiB of JSON.
   */
  answer(value: unknown = null): Answer<void> {
    return this.#say({ value });
  }

  /** Rejects the update: its sender is given the reason as an error (`C0211`). */
  reject(reason: string): Answer<void> {
    return this.#say({ rejection: reason });
  }
}
