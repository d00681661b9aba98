/**
 * The TypeScript SDK of Consort: agents, durable workflows as code, and a client.
 *
 * For: programs; import from `@consort/sdk`, and in tests from `@consort/sdk/testing` (see `testing`). Not for: anything inside (files may move).
 * Invariant: everything that is exported here is documented where it is made.
 */
export {
  Agent,
  type AgentOptions,
  agent,
  type CapabilityOptions,
  type ChangeOptions,
  type Effect,
  type HandedEvent,
  type Handler,
  type SubscriptionOptions,
} from "./agent.js";
export { Answer } from "./answer.js";
export { type ClientOptions, Pager } from "./caller.js";
export { Client } from "./client.js";
export { type Approval, type CallOptions, type Retry, type Route, TaskContext, type Titled } from "./context.js";
export { Code, ConsortError, type ConsortErrorOptions, TaskError, type TaskErrorOptions } from "./error.js";
export type * as models from "./generated/models.js";
export type { WatchAgentsEvent, WatchRunEvent, WatchStateEvent } from "./generated/operations.js";
export type { JsonValue } from "./json.js";
export { type Logger, lineLogger } from "./logger.js";
export { Replica, type ReplicaConflict, type ReplicaOptions, type ReplicaSync, type ReplicaValue } from "./replica.js";
export { RunHandle } from "./run.js";
export { type InputOf, type JsonSchema, jsonSchema, type OutputOf, type Schema } from "./schema.js";
export {
  type GetOptions,
  type PutOptions,
  type RemoveOptions,
  StateSpace,
  type StateTransaction,
  type StateValue,
  type StateWritten,
} from "./state.js";
export type { ServerOptions } from "./transport.js";
export { Update } from "./update.js";
export { Worker, type WorkerOptions } from "./worker.js";
