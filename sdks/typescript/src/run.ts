/**
 * One run, as a client steers and follows it.
 *
 * For: everything that can be asked of a run, and its result. Not for: starting (see `client`).
 * Invariant: waiting for the result survives broken connections.
 */
import type { Client } from "./client.js";
import { Code, ConsortError } from "./error.js";
import type { Run } from "./generated/models.js";
import { RunOperations } from "./generated/operations.js";
import { fit, type OutputOf, type Schema } from "./schema.js";

/** How long one request waits for the end of the run. */
const WAIT = "30s";

/** One run. */
export class RunHandle extends RunOperations {
  readonly id: string;
  /** Whether it was started before this handle was made, such as by the same idempotency key. */
  readonly deduplicated: boolean;
  protected readonly client: Client;

  /** A handle on a run; made by a client. */
  constructor(client: Client, id: string, deduplicated: boolean) {
    super();
    this.client = client;
    this.id = id;
    this.deduplicated = deduplicated;
  }

  /**
   * The run's output, once it has ended. It throws the run's error where it failed or was cancelled, and a `TaskError`
   * with code `C0311` where the output does not fit the schema.
   */
  async result<S extends Schema | undefined = undefined>(schema?: S): Promise<OutputOf<S>> {
    const run = await this.#ended();
    if (run.status !== "completed") {
      const { code = Code.Cancelled, message = `run \`${this.id}\` ended as ${run.status}`, hint } = run.error ?? {};
      throw new ConsortError(code, message, { hint: hint ?? undefined });
    }
    const output = await this.client.patiently(() => this.output());
    return (await fit("output", Code.BadOutput, schema, output)) as OutputOf<S>;
  }

  async #ended(): Promise<Run> {
    for (;;) {
      const run = await this.client.patiently(() => this.show({ wait: WAIT }));
      if (run.ended_at) {
        return run;
      }
    }
  }
}
