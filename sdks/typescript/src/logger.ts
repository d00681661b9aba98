/**
 * Logs of workers and tasks.
 *
 * For: passing messages with fields to whatever logger a program has. Not for: progress that watchers see.
 * Invariant: a message of a task carries its run, step and attempt as fields.
 */

/** Where messages go. `console` is one; so are most loggers by a line of glue. */
export interface Logger {
  /** For finding a defect. */
  debug(message: string, fields?: Record<string, unknown>): void;
  /** What is worth knowing. */
  info(message: string, fields?: Record<string, unknown>): void;
  /** What may be wrong. */
  warn(message: string, fields?: Record<string, unknown>): void;
  /** What is wrong. */
  error(message: string, fields?: Record<string, unknown>): void;
}

type Level = keyof Logger;

const LEVELS: readonly Level[] = ["debug", "info", "warn", "error"];

/**
 * Writes messages from a level on to standard error, a line each: time, level, message, fields. A field `stack` follows
 * on lines of its own.
 */
export function lineLogger(from: Level = "info"): Logger {
  const write =
    (level: Level) =>
    (message: string, fields: Record<string, unknown> = {}) => {
      if (LEVELS.indexOf(level) >= LEVELS.indexOf(from)) {
        const { stack, ...others } = fields;
        const said = Object.entries(others).map(([key, value]) => ` ${key}=${show(value)}`);
        const below = stack === undefined ? "" : `${String(stack)}\n`;
        process.stderr.write(`${new Date().toISOString()} ${level.padEnd(5)} ${message}${said.join("")}\n${below}`);
      }
    };
  return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
}

function show(value: unknown): string {
  if (typeof value === "string" && /^[^\s"=]+$/.test(value)) {
    return value;
  }
  if (typeof value === "bigint") {
    return value.toString();
  }
  return value instanceof Error ? JSON.stringify(value.message) : (JSON.stringify(value) ?? String(value));
}

/** A logger whose every message carries these fields, and that is silent while `muted` returns true. */
export function withFields(logger: Logger, fields: Record<string, unknown>, muted: () => boolean): Logger {
  const pass = (level: Level) => (message: string, more?: Record<string, unknown>) => {
    if (!muted()) {
      logger[level](message, { ...fields, ...more });
    }
  };
  return { debug: pass("debug"), info: pass("info"), warn: pass("warn"), error: pass("error") };
}
