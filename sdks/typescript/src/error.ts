/**
 * Errors: how an attempt fails, and how the server refuses.
 *
 * For: handlers (`TaskError`) and clients (`ConsortError`). Not for: deciding what follows from an error.
 * Invariant: every error has a stable code; docs/reference/errors explains each. What cannot be reported is refused
 * where the error is made, so reporting one cannot fail.
 */
import { inspect } from "node:util";
import type { Diagnostic } from "./generated/models.js";
import type { Error as WireError } from "./proto/consort/v1/common.js";

/** The stable codes that the SDK itself uses or acts upon. */
export const Code = {
  BadRequest: "C0001",
  BadName: "C0002",
  BadJson: "C0005",
  PayloadTooLarge: "C0006",
  LimitReached: "C0007",
  BadInput: "C0103",
  RunNotFound: "C0201",
  RunEnded: "C0202",
  TaskNotFound: "C0301",
  Fenced: "C0302",
  JournalDiverged: "C0303",
  AgentFailed: "C0304",
  BadOutput: "C0311",
  Cancelled: "C0312",
  Overloaded: "C0401",
  Stopping: "C0402",
  Halted: "C0403",
  Locked: "C0404",
  Unreachable: "C0405",
  SessionLost: "C0406",
  Disk: "C0502",
  SpaceNotFound: "C0701",
  KeyNotFound: "C0702",
  StateConflict: "C0703",
  VersionGone: "C0704",
  NotMergeable: "C0706",
  ReplicaDamaged: "C0843",
  ReplicaTaken: "C0844",
  Internal: "C0901",
} as const;

/** Bytes of an error message or of a progress message; more is cut. */
export const MESSAGE_BYTES_MAX = 4 * 1024;

/** Milliseconds of the longest span: as many microseconds as fit into 63 bits. */
export const SPAN_MS_MAX = 9_223_372_036_854_000;

/** Half of a character, which UTF-8 does not have. */
export const LONE_SURROGATE = /\p{Surrogate}/u;

/** Characters of a value that an error shows; more is cut. */
const SHOWN_MAX = 64;

const UNAVAILABLE: ReadonlySet<string> = new Set([
  Code.Overloaded,
  Code.Stopping,
  Code.Halted,
  Code.Locked,
  Code.Unreachable,
  Code.SessionLost,
  Code.Disk,
]);

const LOST: ReadonlySet<string> = new Set([Code.Fenced, Code.TaskNotFound, Code.RunNotFound, Code.RunEnded]);

/** Whether the code, in the refusal of a report, means that this worker no longer owns the attempt. */
export function isLost(code: string): boolean {
  return LOST.has(code);
}

/** Details beside the message of an error. */
export interface ConsortErrorOptions extends ErrorOptions {
  /** What to do next. */
  hint?: string | undefined;
  /** Whether trying again later may help; by the code, where it is one that the SDK knows. */
  unavailable?: boolean | undefined;
  /** Of the source of a workflow: every finding. */
  diagnostics?: Diagnostic[] | undefined;
}

/** What Consort refused or what went wrong there: a stable code, a message, and a hint at what to do next. */
export class ConsortError extends Error {
  /** The stable code, such as `C0102`. */
  readonly code: string;
  /** What to do next, if there is a hint. */
  readonly hint: string | undefined;
  /** Whether trying again later may help, such as after a restart of the server. */
  readonly isUnavailable: boolean;
  /** Of the source of a workflow: every finding. */
  readonly diagnostics: readonly Diagnostic[];

  /** An error with this code. */
  constructor(code: string, message: string, options: ConsortErrorOptions = {}) {
    super(message, options);
    this.name = "ConsortError";
    this.code = code;
    this.hint = options.hint;
    this.isUnavailable = options.unavailable ?? UNAVAILABLE.has(code);
    this.diagnostics = options.diagnostics ?? [];
  }

  /** Code, message and hint in one text. */
  override toString(): string {
    const said = `error[${this.code}]: ${this.message}`;
    return this.hint ? `${said}\n  hint: ${this.hint}` : said;
  }
}

/** How an attempt fails, beside the message. */
export interface TaskErrorOptions extends ConsortErrorOptions {
  /** The stable code; `C0304` (agent failed) by default. */
  code?: string;
  /** Whether another attempt may help; it may, by default. */
  retryable?: boolean;
  /** When to try again, in milliseconds from now; makes the failure retryable by default. */
  retryAfterMs?: number;
}

/**
 * The failure of an attempt. Throw it to report more than a message: whether trying again may help, when, and a code.
 *
 * Every other error that leaves a handler is a retryable failure with its name and message.
 */
export class TaskError extends ConsortError {
  /** Whether another attempt may help. */
  readonly retryable: boolean;
  /** When to try again, in milliseconds. */
  readonly retryAfterMs: number | undefined;

  /**
   * A failure with this message, which is cut at 4 KiB. It throws a `TypeError` or `RangeError`, with the message, where
   * an option cannot be reported.
   */
  constructor(message: string, options: TaskErrorOptions = {}) {
    checkOptions(message, options);
    super(options.code ?? Code.AgentFailed, cut(message), options);
    this.name = "TaskError";
    this.retryable = options.retryable ?? true;
    this.retryAfterMs = options.retryAfterMs;
  }

  /** The failure in any thrown value. */
  static from(thrown: unknown): TaskError {
    try {
      return TaskError.#from(thrown);
    } catch {
      // Code of the thrown value itself, such as a getter, may fail.
      return new TaskError("the agent threw a value whose text cannot be read");
    }
  }

  static #from(thrown: unknown): TaskError {
    if (thrown instanceof TaskError) {
      return thrown;
    }
    if (thrown instanceof ConsortError) {
      const { code, hint, isUnavailable: retryable } = thrown;
      return new TaskError(thrown.message, { code, hint, retryable, cause: thrown });
    }
    return new TaskError(describe(thrown), { cause: thrown });
  }
}

function checkOptions(message: string, { code, hint, retryAfterMs }: TaskErrorOptions): void {
  for (const [name, text] of Object.entries({ message, code: code ?? "", hint: hint ?? "" })) {
    if (typeof text !== "string") {
      throw new TypeError(`the ${name} of an error is text, not \`${shown(text)}\``);
    }
  }
  if (retryAfterMs !== undefined && !isSpan(retryAfterMs)) {
    const limits = `no span of time from 0 to ${SPAN_MS_MAX} ms`;
    throw new RangeError(`\`retryAfterMs\` of \`${shown(retryAfterMs)}\` is ${limits} (of the failure: ${message})`);
  }
}

/** Whether this is a span in milliseconds. */
export function isSpan(ms: unknown): ms is number {
  // Not a number compares as false.
  return typeof ms === "number" && ms >= 0 && ms <= SPAN_MS_MAX;
}

/** A value for people, in one short line. */
export function shown(value: unknown): string {
  let text: string;
  try {
    text = typeof value === "string" ? JSON.stringify(value) : String(value);
  } catch {
    return `a value of type ${typeof value}`;
  }
  return text.length <= SHOWN_MAX ? text : `${text.slice(0, SHOWN_MAX)}…`;
}

/** A recorded failure as the code meets it: a replay gives the same again, so another attempt cannot help. */
export function recorded(error: WireError): TaskError {
  return new TaskError(error.message, { code: error.code, hint: error.hint || undefined, retryable: false });
}

/** An error as it travels. What its author has put into it since it was made is not trusted. */
export function toWire(error: ConsortError): WireError {
  const { code, message, hint = "" } = error;
  if ([code, message, hint].every((text) => typeof text === "string")) {
    return { code, message: cut(message), hint: cut(hint) };
  }
  return { code: Code.AgentFailed, message: "the agent failed, and the words of its failure are no text", hint: "" };
}

/** Name and message of a thrown value, with what caused it. */
function describe(thrown: unknown): string {
  if (!(thrown instanceof Error)) {
    return typeof thrown === "string" ? thrown : `the agent threw ${String(thrown)}`;
  }
  const parts = [`${thrown.name}: ${thrown.message}`];
  let cause = thrown.cause;
  for (let depth = 0; cause instanceof Error && depth < 8; depth += 1) {
    parts.push(`${cause.name}: ${cause.message}`);
    cause = cause.cause;
  }
  return parts.join(": ");
}

/** Shortens a text to the limit of a message, at the end of a character. */
export function cut(message: string): string {
  if (message.length * 3 <= MESSAGE_BYTES_MAX || Buffer.byteLength(message) <= MESSAGE_BYTES_MAX) {
    return message;
  }
  const bytes = Buffer.from(message);
  let end = MESSAGE_BYTES_MAX;
  // A byte of the form 10xxxxxx continues the character before it.
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) {
    end -= 1;
  }
  return bytes.toString("utf8", 0, end);
}

/** Where a thrown value comes from, for logs: its stack and those of its causes. */
export function stack(thrown: unknown): string {
  try {
    return thrown instanceof Error ? inspect(thrown) : shown(thrown);
  } catch {
    return "a value that cannot be shown";
  }
}
