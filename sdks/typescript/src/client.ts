/**
 * The client: deploys workflows, starts and finds runs, answers the inbox, finds agents.
 *
 * For: programs that ask for work. Not for: doing it (see `worker`).
 * Invariant: every failure is a `ConsortError` with the server's code, and every answer is of durable state.
 */
import { writeJson } from "./json.js";
import {
  AgentServiceDefinition as Agents,
  InboxServiceDefinition as Inbox,
  RunServiceDefinition as Runs,
  WorkflowServiceDefinition as Workflows,
} from "./proto/consort/v1/client.js";
import { Rpc } from "./rpc.js";
import { RunHandle } from "./run.js";
import { toMicros } from "./span.js";
import type { ServerOptions } from "./transport.js";
import {
  type AgentInfo,
  agentOf,
  type InboxItem,
  inboxItemOf,
  type Run,
  type RunStatus,
  runOf,
  wireStatus,
} from "./views.js";

/** How a run is started. */
export interface StartOptions {
  /** A revision number or an author's version; the newest where nothing is said. */
  version?: string;
  /** Makes the start repeatable: the same key again gives the run that it started before. */
  idempotencyKey?: string;
  /** What the run is found by. */
  labels?: Record<string, string>;
  /** Higher goes first. */
  priority?: number;
  /** How long the run may take, in milliseconds. */
  timeout?: number;
}

/** Which runs are listed, newest first. */
export interface RunFilter {
  workflow?: string;
  statuses?: RunStatus[];
  labels?: Record<string, string>;
}

/** Which agents are listed. */
export interface AgentFilter {
  capability?: string;
  labels?: Record<string, string>;
  /** A text in the name, the description or the capabilities, whatever the case. */
  text?: string;
}

/** A workflow as it was deployed. */
export interface Deployed {
  name: string;
  revision: number;
  /** The content hash, in hexadecimal digits. */
  hash: string;
  /** Whether this revision is new. */
  new: boolean;
}

/** A person's decision about an approval. */
export interface Decision {
  /** Yes, where not `false`. */
  approved?: boolean;
  /** Who decides. */
  by: string;
  comment?: string;
}

/** What became of a lost `write` attempt: it was done and gave this, it is to be tried again, or it failed. */
export type Resolution = { done: unknown } | { retry: true } | { fail: string };

/** A client of a server. Close it when it is not needed any more. */
export class Client {
  readonly #rpc: Rpc;

  /** A client that connects with its first call. It throws where the address is none. */
  constructor(options: ServerOptions = {}) {
    this.#rpc = new Rpc(options);
  }

  /** Deploys a workflow, given as YAML; the same source again is the same revision. */
  async deploy(source: string): Promise<Deployed> {
    const request = { namespace: this.#rpc.namespace, source };
    return this.#rpc.unary(Workflows, Workflows.methods.deployWorkflow, request);
  }

  /** Starts a run. */
  async start(workflow: string, input: unknown = {}, options: StartOptions = {}): Promise<RunHandle> {
    const { version = "", idempotencyKey = "", labels = {}, priority = 0, timeout } = options;
    const { run, existing } = await this.#rpc.unary(Runs, Runs.methods.startRun, {
      namespace: this.#rpc.namespace,
      workflow,
      version,
      input: writeJson("input", input),
      idempotencyKey,
      labels,
      priority,
      timeoutUs: timeout === undefined ? undefined : toMicros("timeout", timeout),
    });
    return new RunHandle(this.#rpc, run, existing);
  }

  /** A handle on a run that was started before. */
  run(id: string): RunHandle {
    return new RunHandle(this.#rpc, id);
  }

  /** The runs that match, newest first; pages are fetched as the loop goes on. */
  async *listRuns({ workflow = "", statuses = [], labels = {} }: RunFilter = {}): AsyncGenerator<Run, void, undefined> {
    const wanted = {
      namespace: this.#rpc.namespace,
      workflow,
      statuses: statuses.map(wireStatus),
      labels,
      pageSize: 0,
    };
    let cursor = "";
    do {
      const { runs, next } = await this.#rpc.unary(Runs, Runs.methods.listRuns, { ...wanted, cursor });
      yield* runs.map(runOf);
      cursor = next;
    } while (cursor !== "");
  }

  /** What waits for a person; pages are fetched as the loop goes on. */
  async *inbox(): AsyncGenerator<InboxItem, void, undefined> {
    let cursor = "";
    do {
      const request = { namespace: this.#rpc.namespace, pageSize: 0, cursor };
      const { items, next } = await this.#rpc.unary(Inbox, Inbox.methods.listInbox, request);
      yield* items.map(inboxItemOf);
      cursor = next;
    } while (cursor !== "");
  }

  /** Decides an approval. */
  async approve(task: string, { approved = true, by, comment = "" }: Decision): Promise<void> {
    const request = { namespace: this.#rpc.namespace, task, approved, by, comment };
    await this.#rpc.unary(Inbox, Inbox.methods.approve, request);
  }

  /** Decides what became of a lost `write` attempt. */
  async resolveUnknown(
    task: string,
    resolution: Resolution,
    { by, comment = "" }: { by: string; comment?: string },
  ): Promise<void> {
    const request = { namespace: this.#rpc.namespace, task, resolution: wireResolution(resolution), by, comment };
    await this.#rpc.unary(Inbox, Inbox.methods.resolveUnknown, request);
  }

  /** The agents that match, with what they declare and how they do. */
  async agents({ capability = "", labels = {}, text = "" }: AgentFilter = {}): Promise<AgentInfo[]> {
    const request = { namespace: this.#rpc.namespace, capability, labels, text };
    const { agents } = await this.#rpc.unary(Agents, Agents.methods.listAgents, request);
    return agents.map(agentOf);
  }

  /** Closes the connection; calls under way fail. */
  close(): void {
    this.#rpc.close();
  }
}

function wireResolution(resolution: Resolution) {
  if ("done" in resolution) {
    return { $case: "done", value: writeJson("output", resolution.done) } as const;
  }
  if ("retry" in resolution) {
    return { $case: "retry", value: true } as const;
  }
  return { $case: "fail", value: resolution.fail } as const;
}
