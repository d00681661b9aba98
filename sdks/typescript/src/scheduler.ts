/**
 * The scheduler: when a worker advances its attempts.
 *
 * For: acting only when the code of agents is quiescent. Not for: deciding what is done then (see `attempt`).
 * Invariant: a turn begins as a callback of its own of the event loop, so everything that the code could do without a
 * further result (all microtasks) is done before.
 */

/** An attempt or an instance that requests turns. */
export interface Participant {
  /** Takes its turn. */
  turn(): void;
}

/** See the module. */
export class Scheduler {
  #queued = new Set<Participant>();
  #planned = false;
  readonly #after: () => void;

  /** A scheduler that calls `after` at the end of each round. */
  constructor(after: () => void) {
    this.#after = after;
  }

  /** Whether no round is to come. */
  get idle(): boolean {
    return !this.#planned;
  }

  /** Lets `participant` take part in the next round; without one there is a round all the same. */
  request(participant?: Participant): void {
    if (participant) {
      this.#queued.add(participant);
    }
    if (!this.#planned) {
      this.#planned = true;
      setImmediate(() => this.#round());
    }
  }

  #round(): void {
    this.#planned = false;
    const participants = this.#queued;
    this.#queued = new Set();
    for (const participant of participants) {
      participant.turn();
    }
    this.#after();
  }
}
