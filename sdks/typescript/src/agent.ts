/**
 * Agents and their capabilities: what is declared, and the code behind it.
 *
 * For: saying what an agent can do, with typed inputs and outputs. Not for: running it (see `worker`).
 * Invariant: what a capability declares is derived from the schemas that its documents are checked against.
 */
import type { TaskContext } from "./context.js";
import { Code, ConsortError } from "./error.js";
import { type JsonValue, writeJson } from "./json.js";
import {
  type AgentDeclaration,
  type CapabilityDeclaration,
  EffectClass,
  EventOrder,
  type SubscriptionDeclaration,
} from "./proto/consort/v1/common.js";
import { declare, type InputOf, type OutputOf, type Schema } from "./schema.js";
import { toMicros } from "./span.js";

/** Bytes of a name. */
const NAME_BYTES_MAX = 128;

/** What repeating the work may do to the world: nothing, nothing more, or it must not be repeated blindly. */
export type Effect = "read" | "idempotent" | "write";

/** What is declared of a capability. */
export interface CapabilityOptions<I extends Schema | undefined, O extends Schema | undefined> {
  /** The schema of its input; anything fits where none is given. */
  input?: I;
  /** The schema of its output; anything fits where none is given. */
  output?: O;
  /** What repeating it may do outside; `idempotent` by default. */
  effect?: Effect;
  /** What it does, in a sentence. */
  description?: string;
  /** What one task costs, in your estimate, in US dollars. */
  costHint?: number;
  /** How long one task takes, in your estimate, in milliseconds. */
  timeHint?: number;
}

/**
 * The code of a capability: does the work of one attempt.
 *
 * It is run again from its start, with what it recorded, after a crash, a retry or a wait; so whatever must not happen
 * twice belongs into `ctx.run`.
 */
export type Handler<In, Out> = (ctx: TaskContext, input: In) => Out | Promise<Out>;

/** An event, as it comes to the code of a subscription: its attributes by their names, and its data. */
export interface HandedEvent<Data = JsonValue> {
  /** What identifies it among those of its source. */
  id: string;
  /** Where it happened. */
  source: string;
  /** Its kind. */
  type: string;
  /** Its topic. */
  topic: string;
  /** What it is about. */
  subject?: string;
  /** Its data. */
  data: Data;
  /** Its place in the events of the namespace. */
  position: string;
  /** When it was published. */
  published: string;
  /** Other attributes. */
  [attribute: string]: unknown;
}

/** How an agent is handed events, as tasks. */
export interface SubscriptionOptions {
  /** Which of the events: CEL over `event`, such as `event.data.total > 100`. */
  filter?: string;
  /** Handle events with the same key one at a time, in their order. */
  orderBy?: "subject" | "partitionkey";
  /** After how many attempts an event is a dead letter; 10 without it. */
  maxDeliveries?: number;
  /** The first pause between attempts and the longest, in milliseconds; 1 s and 60 s without it. */
  backOff?: readonly [first: number, longest: number];
  /** How long one attempt may take, in milliseconds. */
  timeout?: number;
  /** How many events are tasks at once; 64 without it. */
  maxInFlight?: number;
  /** How long the run of an acknowledged event is kept, in milliseconds; not at all without it. */
  keep?: number;
  /** Whether a new subscription begins with the oldest event that is kept. */
  fromStart?: boolean;
  /** What repeating the work may do outside; `idempotent` by default. */
  effect?: Effect;
  /** What it does, in a sentence. */
  description?: string;
}

/** Which changes of a space an agent is handed, as tasks. */
export interface ChangeOptions extends Omit<SubscriptionOptions, "filter" | "orderBy" | "fromStart"> {
  /** Only keys that begin with this. */
  prefix?: string;
  /** Only changes for which this is true: CEL over `event`, such as `event.data.value.open`. */
  when?: string;
}

/** What an agent declares of itself beside its capabilities. */
export interface AgentOptions {
  /** Its version; where it is a semantic version, tasks can request a range. `0` by default. */
  version?: string;
  /** What it is, in a sentence. */
  description?: string;
  /** What it is found and chosen by, beside its capabilities. */
  labels?: Record<string, string>;
}

/** A capability as the worker runs it. */
export interface Capability {
  name: string;
  options: CapabilityOptions<Schema | undefined, Schema | undefined>;
  handler: Handler<unknown, unknown>;
}

const ORDERS = { subject: EventOrder.SUBJECT, partitionkey: EventOrder.PARTITIONKEY };

const EFFECTS: Record<Effect, EffectClass> = {
  read: EffectClass.READ,
  idempotent: EffectClass.IDEMPOTENT,
  write: EffectClass.WRITE,
};

/** An agent: a name, a version and what it can do. Made by {@link agent}. */
export class Agent {
  /** Its name, unique in its namespace. */
  readonly name: string;
  /** What it declares of itself. */
  readonly options: Readonly<AgentOptions>;
  readonly #capabilities = new Map<string, Capability>();
  readonly #subscriptions: SubscriptionDeclaration[] = [];

  /** An agent that can do nothing yet. It throws where the name cannot be one. */
  constructor(name: string, options: AgentOptions = {}) {
    checkName("agent", name);
    this.name = name;
    this.options = options;
  }

  /** Adds something that it can do. It throws where the name is taken or cannot be one, or a schema is wrong. */
  capability(name: string, handler: Handler<JsonValue, unknown>): this;
  capability<I extends Schema | undefined = undefined, O extends Schema | undefined = undefined>(
    name: string,
    options: CapabilityOptions<I, O>,
    handler: Handler<OutputOf<I>, InputOf<O>>,
  ): this;
  capability(
    name: string,
    options: CapabilityOptions<Schema | undefined, Schema | undefined> | Handler<JsonValue, unknown>,
    handler?: Handler<never, unknown>,
  ): this {
    checkName("capability", name);
    if (this.#capabilities.has(name)) {
      throw new ConsortError(Code.BadRequest, `agent \`${this.name}\` declares the capability \`${name}\` twice`, {
        hint: "give each capability a name of its own",
      });
    }
    const [known, code] = typeof options === "function" ? [{}, options] : [options, handler];
    if (typeof code !== "function") {
      throw new ConsortError(Code.BadRequest, `the capability \`${name}\` has no code`, {
        hint: "give a function `(ctx, input) => …` as the last argument",
      });
    }
    const capability = { name, options: known, handler: code as Handler<unknown, unknown> };
    declarationOf(capability);
    this.#capabilities.set(name, capability);
    return this;
  }

  /**
   * Has a function handle the events of a topic, each as a task: acknowledged when it completes, tried again after the
   * pauses of `backOff` when it fails, and a dead letter after `maxDeliveries` attempts.
   *
   * The server makes the subscription `AGENT.NAME` when this version of the agent first joins; a capability of the same
   * name is what handles an event. It throws where the name is taken or cannot be one.
   */
  subscription<Data = JsonValue>(
    name: string,
    topic: string,
    options: SubscriptionOptions,
    handler: Handler<HandedEvent<Data>, unknown>,
  ): this {
    checkName("subscription", name);
    const capability = `${this.name}.${name}`;
    const { effect, description } = options;
    this.capability(
      capability,
      { ...(effect && { effect }), ...(description !== undefined && { description }) },
      handler as unknown as Handler<JsonValue, never>,
    );
    const micros = (what: string, span: number | undefined) => (span === undefined ? undefined : toMicros(what, span));
    this.#subscriptions.push({
      name,
      topic,
      capability,
      filter: options.filter ?? "",
      orderBy: options.orderBy === undefined ? EventOrder.UNSPECIFIED : ORDERS[options.orderBy],
      maxDeliveries: options.maxDeliveries,
      backOffFirstUs: micros("back-off", options.backOff?.[0]),
      backOffLongestUs: micros("back-off", options.backOff?.[1]),
      timeoutUs: micros("timeout", options.timeout),
      maxInFlight: options.maxInFlight,
      keepUs: micros("keep", options.keep),
      fromStart: options.fromStart ?? false,
    });
    return this;
  }

  /**
   * Has a function handle the changes of keys of a space, each as a task, those of one key in their order: a
   * {@link Agent.subscription} to `state.SPACE.changed`. The subject of the event is the key; its data has `change`,
   * `version`, `value` and `writer`. The space must publish its changes: `consort state set SPACE --events`.
   */
  onChange<Data = JsonValue>(
    name: string,
    space: string,
    options: ChangeOptions,
    handler: Handler<HandedEvent<Data>, unknown>,
  ): this {
    const { prefix, when, ...rest } = options;
    const conditions = prefix ? [`event.subject.startsWith(${JSON.stringify(prefix)})`] : [];
    if (when !== undefined) {
      conditions.push(`(${when})`);
    }
    const filter = conditions.length === 0 ? {} : { filter: conditions.join(" && ") };
    const topic = `state.${space.replaceAll(".", "/")}.changed`;
    return this.subscription(name, topic, { ...rest, ...filter, orderBy: "subject" }, handler);
  }

  /** The capability of that name; the only one, where the name is empty. */
  find(name: string): Capability | undefined {
    if (name === "" && this.#capabilities.size === 1) {
      return [...this.#capabilities.values()][0];
    }
    return this.#capabilities.get(name);
  }

  /** What is declared to the server. */
  declaration(): AgentDeclaration {
    const { version = "0", description = "", labels = {} } = this.options;
    const capabilities = [...this.#capabilities.values()].map(declarationOf);
    const subscriptions = [...this.#subscriptions];
    return { name: this.name, version, description, labels, capabilities, subscriptions };
  }
}

/** An agent of this name; add what it can do by {@link Agent.capability}. */
export function agent(name: string, options: AgentOptions = {}): Agent {
  return new Agent(name, options);
}

function declarationOf({ name, options }: Capability): CapabilityDeclaration {
  const schema = (side: "input" | "output") => {
    const what = `${side} schema of the capability \`${name}\``;
    const declared = declare(what, options[side], side);
    return declared === undefined ? new Uint8Array() : writeJson(what, declared);
  };
  const { costHint, timeHint } = options;
  return {
    name,
    description: options.description ?? "",
    effect: EFFECTS[options.effect ?? "idempotent"],
    inputSchema: schema("input"),
    outputSchema: schema("output"),
    costHintMicrodollars: costHint === undefined ? undefined : BigInt(Math.round(costHint * 1_000_000)),
    timeHintUs: timeHint === undefined ? undefined : toMicros("time hint", timeHint),
  };
}

function checkName(what: string, name: string): void {
  const length = Buffer.byteLength(name);
  if (length === 0 || length > NAME_BYTES_MAX) {
    throw new ConsortError(Code.BadName, `the ${what} has ${length} bytes, but must have 1 to ${NAME_BYTES_MAX}`);
  }
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(name)) {
    throw new ConsortError(Code.BadName, `\`${name}\` cannot be a ${what}`, {
      hint: "use letters, digits, `_`, `-` and `.`, and start with a letter or digit",
    });
  }
}
