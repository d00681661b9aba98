/**
 * What the client shows: runs, inbox items and agents, with plain values in place of wire forms.
 *
 * For: reading. Not for: asking (see `client` and `run`).
 * Invariant: instants are `Date`s, documents are read, absent things are `undefined`.
 */
import { ConsortError } from "./error.js";
import { type JsonValue, readJson } from "./json.js";
import {
  type Agent as WireAgent,
  Health as WireHealth,
  type InboxItem as WireInboxItem,
  type Run as WireRun,
  RunStatus as WireStatus,
} from "./proto/consort/v1/client.js";
import type { CapabilityDeclaration } from "./proto/consort/v1/common.js";
import { toDate, toMillis } from "./span.js";

const STATUSES = {
  running: WireStatus.RUNNING,
  cancelling: WireStatus.CANCELLING,
  compensating: WireStatus.COMPENSATING,
  completed: WireStatus.COMPLETED,
  failed: WireStatus.FAILED,
  cancelled: WireStatus.CANCELLED,
  deleted: WireStatus.DELETED,
} as const;

const HEALTHS = {
  healthy: WireHealth.HEALTHY,
  degraded: WireHealth.DEGRADED,
  unhealthy: WireHealth.UNHEALTHY,
  draining: WireHealth.DRAINING,
  lost: WireHealth.LOST,
} as const;

/** How far a run is. */
export type RunStatus = keyof typeof STATUSES;
/** How well an agent or an instance does; `unknown` where a newer server says something else. */
export type Health = keyof typeof HEALTHS | "unknown";

/** A run. */
export interface Run {
  id: string;
  namespace: string;
  workflow: string;
  /** `unknown` where a newer server says something else. */
  status: RunStatus | "unknown";
  paused: boolean;
  created: Date;
  ended: Date | undefined;
  labels: Record<string, string>;
  priority: number;
  /** Absent in listings. */
  input: JsonValue | undefined;
  /** Absent in listings, and where there is none. */
  output: JsonValue | undefined;
  /** Why it failed or was cancelled. */
  error: ConsortError | undefined;
}

/** Something that waits for a person. */
export interface InboxItem {
  /** What to name in the decision. */
  task: string;
  run: string;
  workflow: string;
  step: string;
  since: Date;
  /** `approval` or `unknown_outcome`. */
  ask: string;
  title: string;
  /** What to decide upon. */
  details: JsonValue | undefined;
}

/** A capability as an agent declares it, and as it was observed since the server started. */
export interface CapabilityInfo {
  name: string;
  description: string;
  inputSchema: JsonValue | undefined;
  outputSchema: JsonValue | undefined;
  completed: number;
  failed: number;
  /** How long attempts took, in milliseconds, at the median and at the 95th percentile. */
  p50: number | undefined;
  p95: number | undefined;
}

/** A version of an agent. */
export interface AgentInfo {
  name: string;
  version: string;
  description: string;
  labels: Record<string, string>;
  health: Health;
  /** Why its health is what it is; may be empty. */
  reason: string;
  /** Its share of the work beside other versions. */
  weight: number;
  draining: boolean;
  since: Date;
  seen: Date | undefined;
  capabilities: CapabilityInfo[];
  instances: { name: string; client: string; health: Health; held: number; credit: number }[];
}

function nameOf<K extends string>(table: Record<K, number>, value: number): K | "unknown" {
  const found = (Object.keys(table) as K[]).find((key) => table[key] === value);
  return found ?? "unknown";
}

/** How a status travels. */
export function wireStatus(status: RunStatus): WireStatus {
  return STATUSES[status];
}

/** A run as it is shown. */
export function runOf(run: WireRun): Run {
  const { namespace, workflow, paused, labels, priority, error } = run;
  return {
    id: run.run,
    namespace,
    workflow,
    status: nameOf(STATUSES, run.status),
    paused,
    created: toDate(run.createdUs),
    ended: run.endedUs === undefined ? undefined : toDate(run.endedUs),
    labels,
    priority,
    input: run.input && readJson("input", run.input),
    output: run.output && readJson("output", run.output),
    error: error && new ConsortError(error.code, error.message, { hint: error.hint || undefined }),
  };
}

/** An inbox item as it is shown. */
export function inboxItemOf({ sinceUs, details, ...item }: WireInboxItem): InboxItem {
  return { ...item, since: toDate(sinceUs), details: details && readJson("details", details) };
}

/** An agent as it is shown. */
export function agentOf(agent: WireAgent): AgentInfo {
  const { name = "", version = "", description = "", labels = {}, capabilities = [] } = agent.declaration ?? {};
  const skills = new Map(agent.skills.map((skill) => [skill.capability, skill]));
  const capability = (declared: CapabilityDeclaration): CapabilityInfo => {
    const skill = skills.get(declared.name);
    const schema = (bytes: Uint8Array) => (bytes.length > 0 ? readJson("schema", bytes) : undefined);
    return {
      name: declared.name,
      description: declared.description,
      inputSchema: schema(declared.inputSchema),
      outputSchema: schema(declared.outputSchema),
      completed: Number(skill?.completed ?? 0n),
      failed: Number(skill?.failed ?? 0n),
      p50: skill?.p50Us === undefined ? undefined : toMillis(skill.p50Us),
      p95: skill?.p95Us === undefined ? undefined : toMillis(skill.p95Us),
    };
  };
  return {
    name,
    version,
    description,
    labels,
    health: nameOf(HEALTHS, agent.health),
    reason: agent.reason,
    weight: agent.weight,
    draining: agent.draining,
    since: toDate(agent.sinceUs),
    seen: agent.seenUs === undefined ? undefined : toDate(agent.seenUs),
    capabilities: capabilities.map(capability),
    instances: agent.instances.map((instance) => ({
      name: instance.name,
      client: instance.client,
      health: nameOf(HEALTHS, instance.health),
      held: instance.held,
      credit: instance.credit,
    })),
  };
}
