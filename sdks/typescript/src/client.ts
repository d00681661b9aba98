/**
 * The client: every operation of the interface, and handles on runs.
 *
 * For: programs that start and operate runs. Not for: doing it (see `worker`), or the operations themselves (they are
 * generated).
 * Invariant: every failure is a `ConsortError` with the server's code, and every answer is of durable state.
 */
import type { Started } from "./generated/models.js";
import { Operations } from "./generated/operations.js";
import { RunHandle } from "./run.js";

/** A client of a server. */
export class Client extends Operations {
  /** A handle on a run that was started before. */
  run(id: string): RunHandle {
    return new RunHandle(this, id, true);
  }

  protected override started({ run, deduplicated }: Started): RunHandle {
    return new RunHandle(this, run, deduplicated);
  }
}
