/**
 * The messages of the worker protocol that the SDK's parts name.
 *
 * For: one place to import them from. Not for: their meaning (docs/worker-protocol.md).
 * Invariant: only what the generated code has.
 */
import type { ServerMessage } from "./proto/consort/v1/worker.js";

export { type Attempt, type Hello, type Task, WorkerMessage } from "./proto/consort/v1/worker.js";

/** A message of the server, without the instance that it is for. */
export type ToWorkerKind = ServerMessage["kind"];
