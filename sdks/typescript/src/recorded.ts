/**
 * Recorded journals as JSON, for replaying them without a server.
 *
 * For: `testing`. Not for: the wire, which has its own form.
 * Invariant: an entry that cannot be read is refused with its position, never passed over.
 */
import { checkText, checkTexts, checkWhole } from "./bounds.js";
import { Code, TaskError } from "./error.js";
import { ENTRIES_MAX } from "./journal.js";
import { type JsonValue, readJson, writeJson } from "./json.js";
import type { JournalEntry } from "./proto/consort/v1/worker.js";
import type { Request } from "./replay.js";
import { parseSpan } from "./span.js";

type Members = { readonly [name: string]: JsonValue | undefined };

/** The entries of a journal: of its list, of the page that has it as `items`, or of the text of either. */
export function journalEntries(journal: unknown): JournalEntry[] {
  const bytes = typeof journal === "string" ? Buffer.from(journal) : writeJson("journal", journal);
  const document = readJson("journal", bytes);
  const entries = Array.isArray(document) ? document : members(document).items;
  if (!Array.isArray(entries)) {
    throw unreadable("the journal cannot be read: it is no list of entries, and has none as `items`");
  }
  return entries.map((entry, index) => {
    try {
      return entryOf(members(entry));
    } catch (error) {
      throw unreadable(`entry ${index} of the journal cannot be read: ${(error as Error).message}`);
    }
  });
}

function entryOf(entry: Members): JournalEntry {
  const { after = [] } = entry;
  if (!Array.isArray(after)) {
    throw new TypeError("`after` is no list");
  }
  const positions = after.map((position) => checkWhole("position", position, 0, ENTRIES_MAX));
  return { request: requestOf(entry), title: "", after: positions, result: resultOf(entry) };
}

function requestOf(entry: Members): Request {
  switch (entry.kind) {
    case "run":
      return { $case: "run", value: { name: checkText("name", entry.name) } };
    case "call": {
      const input = writeJson("input of the call", entry.input);
      const capability = checkText("capability", entry.capability);
      return { $case: "call", value: { capability, input, options: undefined } };
    }
    case "sleep": {
      const spanUs = parseSpan(checkText("span", entry.span));
      if (spanUs === undefined) {
        throw new TypeError(`\`${entry.span}\` is no span of time; one looks like \`1h30m\``);
      }
      return { $case: "sleep", value: { spanUs } };
    }
    case "signal":
      return { $case: "signal", value: { name: checkText("name", entry.name), schema: Buffer.alloc(0) } };
    case "approval": {
      const detail = writeJson("detail of the approval", entry.detail);
      return { $case: "approval", value: { prompt: checkText("prompt", entry.prompt), detail } };
    }
    case "forget": {
      if (!Array.isArray(entry.entries)) {
        throw new TypeError("`entries` is no list");
      }
      const entries = entry.entries.map((position) => checkWhole("position", position, 0, ENTRIES_MAX));
      return { $case: "forget", value: { entries } };
    }
    case "state":
      return { $case: "state", value: { transaction: writeJson("transaction", entry.input) } };
    case "expose": {
      const value = writeJson("exposed value", entry.value ?? null);
      return { $case: "expose", value: { name: checkText("name", entry.name), value } };
    }
    case "labels":
      return { $case: "labels", value: { labels: checkTexts("label", members(entry.labels ?? null)) } };
    case "update":
      return { $case: "update", value: { name: checkText("name", entry.name), schema: Buffer.alloc(0) } };
    case "answer": {
      const update = checkWhole("position", entry.update, 0, ENTRIES_MAX);
      const { value, rejection } = entry;
      const outcome =
        typeof rejection === "string"
          ? ({ $case: "rejection", value: rejection } as const)
          : ({ $case: "value", value: writeJson("answer", value ?? null) } as const);
      return { $case: "answer", value: { update, outcome } };
    }
    default:
      throw new TypeError(`\`${JSON.stringify(entry.kind)}\` is no kind of entry`);
  }
}

function resultOf(entry: Members): JournalEntry["result"] {
  const { output, error } = entry;
  if (error !== undefined && error !== null) {
    const { code, message, hint } = members(error);
    const value = { code: checkText("code", code), message: checkText("message", message), hint: "" };
    return { $case: "error", value: { ...value, hint: checkText("hint", hint ?? "") } };
  }
  return output === undefined ? undefined : { $case: "output", value: writeJson("output", output) };
}

function members(value: JsonValue): Members {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
}

function unreadable(message: string): TaskError {
  return new TaskError(message, { code: Code.BadJson, retryable: false });
}
