/**
 * Turns: when a worker looks at its attempts.
 *
 * For: doing things only when the code of agents stands still. Not for: deciding what is done then (see `attempt`).
 * Invariant: a turn begins as a callback of its own of the event loop, so everything that the code could do without a
 * further result (all microtasks) is done before.
 */

/** Whoever takes part in turns. */
export interface Player {
  /** Takes its turn. */
  turn(): void;
}

/** See the module. */
export class Turns {
  #queued = new Set<Player>();
  #planned = false;
  readonly #after: () => void;

  /** Turns that call `after` at the end of each round. */
  constructor(after: () => void) {
    this.#after = after;
  }

  /** Whether no round is to come. */
  get idle(): boolean {
    return !this.#planned;
  }

  /** Lets `player` take part in the next round; without one there is a round all the same. */
  request(player?: Player): void {
    if (player) {
      this.#queued.add(player);
    }
    if (!this.#planned) {
      this.#planned = true;
      setImmediate(() => this.#round());
    }
  }

  #round(): void {
    this.#planned = false;
    const players = this.#queued;
    this.#queued = new Set();
    for (const player of players) {
      player.turn();
    }
    this.#after();
  }
}
