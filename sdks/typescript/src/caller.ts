/**
 * Sends the requests of operations, reads their answers, and follows events.
 *
 * For: the generated methods. Not for: any one operation (see `generated/operations`).
 * Invariant: every refusal and every lost connection is a `ConsortError` with a stable code. Following survives lost
 * connections: it continues behind the last event that was seen.
 */
import { setTimeout as pause } from "node:timers/promises";
import { EventSourceParserStream } from "eventsource-parser/stream";
import { ADDRESS, parseAddress } from "./address.js";
import { Code, ConsortError } from "./error.js";
import type { Problem } from "./generated/models.js";
import { NAMESPACE } from "./generated/table.js";
import { readJson, writeJson } from "./json.js";

const PAUSE_FIRST = 100;
const PAUSE_LONGEST = 5_000;
/** How long a connection may be silent: the server sends something at least every 60 s. */
const SILENCE = 90_000;

/** Operations whose whole answer is a document of the user. */
const DOCUMENTS: ReadonlySet<string> = new Set(["runOutput", "stepOutput"]);

/** An operation of the interface. */
export interface Operation {
  id: string;
  method: string;
  /** A part in braces is a parameter. */
  path: string;
  /** The place of each parameter: `path`, `query`, `header`, or `family` (`label.KEY` in the query). */
  places: Record<string, string>;
  /** The parameter with the cursor of a listing, where it has pages. */
  cursor?: string;
  /** The content type of the answer; nothing where there is none. */
  contentType?: string;
}

/** The parameters of an operation; one that is `undefined` is left out. */
export type Params = Record<string, unknown>;

/** How a client reaches its server. */
export interface ClientOptions {
  /** `http://HOST:PORT`, `https://HOST:PORT` or `HOST:PORT`; `http://127.0.0.1:7878` by default. */
  address?: string;
  /** The namespace; `default` by default. */
  namespace?: string;
  /** The token, where the server needs one. */
  token?: string;
  /** What sends the requests, such as one with a certificate authority of your own; the `fetch` of Node.js if none. */
  fetch?: typeof fetch;
  /**
   * How long the server may be unreachable before a watch, or a wait for a result, fails, in milliseconds; 60,000 by
   * default. Until then they reconnect and continue where they were.
   */
  reconnectTimeout?: number;
}

/** When to try again after the server could not be reached, and when to give up. */
class BackOff {
  readonly #reconnectTimeout: number;
  #pause = PAUSE_FIRST;
  #since: number | undefined;

  /** With the milliseconds that the server may be unreachable. */
  constructor(reconnectTimeout: number) {
    this.#reconnectTimeout = reconnectTimeout;
  }

  /** The server has answered. */
  reached(): void {
    this.#pause = PAUSE_FIRST;
    this.#since = undefined;
  }

  /** Waits until the next try; throws the error where another try will not help, or none has so far. */
  async after(error: unknown): Promise<void> {
    this.#since ??= performance.now();
    const passing = error instanceof ConsortError && error.isUnavailable;
    if (!passing || performance.now() - this.#since > this.#reconnectTimeout) {
      throw error;
    }
    await pause(this.#pause * (0.5 + Math.random() / 2));
    this.#pause = Math.min(2 * this.#pause, PAUSE_LONGEST);
  }
}

/** The items of a listing: an iterable, which requests the next page when it gets there. */
export class Pager<Page extends { items: Item[]; next?: string | null }, Item> implements AsyncIterable<Item> {
  readonly #caller: Caller;
  readonly #operation: Operation;
  readonly #params: Params;

  /** Made by the methods of a client. */
  constructor(caller: Caller, operation: Operation, params: Params) {
    this.#caller = caller;
    this.#operation = operation;
    this.#params = params;
  }

  /** The pages; each has `items`, and in `next` the cursor of the one after it. */
  async *pages(): AsyncGenerator<Page, void, undefined> {
    const { cursor = "cursor" } = this.#operation;
    let params = this.#params;
    for (;;) {
      const page = await this.#caller.call<Page>(this.#operation, params);
      yield page;
      if (!page.next) {
        return;
      }
      params = { ...params, [cursor]: page.next };
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Item, void, undefined> {
    for await (const page of this.pages()) {
      yield* page.items;
    }
  }

  /** Every item. */
  async all(): Promise<Item[]> {
    const items: Item[] = [];
    for await (const item of this) {
      items.push(item);
    }
    return items;
  }
}

/** A way to a server. */
export class Caller {
  readonly #url: string;
  readonly #namespace: string;
  readonly #headers: Record<string, string>;
  readonly #fetch: typeof fetch;
  readonly #reconnectTimeout: number;

  /** A client that connects with its first request. It throws where the address is none. */
  constructor(options: ClientOptions = {}) {
    this.#url = parseAddress(options.address ?? ADDRESS).url;
    this.#namespace = options.namespace ?? NAMESPACE;
    this.#headers = options.token === undefined ? {} : { authorization: `Bearer ${options.token}` };
    this.#fetch = options.fetch ?? fetch;
    this.#reconnectTimeout = options.reconnectTimeout ?? 60_000;
  }

  /** Tries again while the server cannot be reached, until the reconnect timeout. */
  async patiently<T>(ask: () => Promise<T>): Promise<T> {
    const backOff = new BackOff(this.#reconnectTimeout);
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        await backOff.after(error);
      }
    }
  }

  /** Calls an operation of the table; what the generated methods do. Without a body nothing is sent. */
  async call<T>(operation: Operation, params: Params, body?: unknown): Promise<T> {
    const silence = new AbortController();
    const timer = setTimeout(() => silence.abort(), SILENCE);
    try {
      const response = await this.#send(operation, params, silence.signal, body);
      clearTimeout(timer);
      return (await this.#read(operation, response)) as T;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Follows the events of an operation. An event of a newer server comes with its own name. */
  async *events<E extends { event: string; data: unknown }>(
    operation: Operation,
    params: Params,
  ): AsyncGenerator<E, void, undefined> {
    const backOff = new BackOff(this.#reconnectTimeout);
    let seen = "";
    for (;;) {
      let lost: unknown = this.#unreachable("the stream of events broke off");
      try {
        for await (const found of this.#stream(operation, params, seen)) {
          if (found === "over") {
            return;
          }
          backOff.reached();
          if (found === "open") {
            continue;
          }
          seen = found.id || seen;
          yield { event: found.event, data: found.data } as E;
          if (found.event === "end") {
            return;
          }
        }
      } catch (error) {
        lost = error;
      }
      await backOff.after(lost);
    }
  }

  /** The events of one connection: first that it is open; or that nothing follows. */
  async *#stream(operation: Operation, params: Params, seen: string) {
    const silence = new AbortController();
    const timer = setTimeout(() => silence.abort(), SILENCE);
    try {
      const response = await this.#send(operation, params, silence.signal, undefined, seen);
      if (response.status === 204 || !response.body) {
        yield "over" as const;
        return;
      }
      yield "open" as const;
      const heard = new TransformStream<Uint8Array, Uint8Array>({
        transform(chunk, controller) {
          timer.refresh();
          controller.enqueue(chunk);
        },
      });
      const texts = response.body.pipeThrough(heard).pipeThrough(new TextDecoderStream());
      for await (const { event, id, data } of texts.pipeThrough(new EventSourceParserStream())) {
        if (event === "error") {
          throw problemError(JSON.parse(data) as Problem);
        }
        yield { event: event ?? "message", id, data: JSON.parse(data) as unknown };
      }
    } catch (error) {
      throw error instanceof ConsortError ? error : this.#unreachable(reason(error));
    } finally {
      clearTimeout(timer);
      silence.abort();
    }
  }

  /** Sends a request; an answer that is not a good one is thrown. */
  async #send(operation: Operation, params: Params, signal: AbortSignal, body: unknown, seen = ""): Promise<Response> {
    const given = "namespace" in operation.places ? { namespace: this.#namespace, ...params } : params;
    const { target, headers } = place(operation, given);
    const request: RequestInit = {
      method: operation.method,
      headers: { accept: operation.contentType ?? "*/*", ...this.#headers, ...headers },
      signal,
      redirect: "error",
    };
    if (seen !== "") {
      request.headers = { ...request.headers, "last-event-id": seen };
    }
    if (body !== undefined) {
      request.headers = { ...request.headers, "content-type": "application/json" };
      request.body = writeJson("request", body, undefined, 1) as Uint8Array<ArrayBuffer>;
    }
    let response: Response;
    let refused: string;
    try {
      response = await this.#fetch(this.#url + target, request);
      if (response.ok) {
        return response;
      }
      refused = await response.text();
    } catch (error) {
      throw this.#unreachable(reason(error));
    }
    throw refusal(response.status, refused);
  }

  async #read(operation: Operation, response: Response): Promise<unknown> {
    let bytes: Uint8Array;
    try {
      bytes = new Uint8Array(await response.arrayBuffer());
    } catch (error) {
      throw this.#unreachable(reason(error));
    }
    if (DOCUMENTS.has(operation.id)) {
      return readJson("output", bytes);
    }
    const text = new TextDecoder().decode(bytes);
    if (operation.contentType !== "application/json") {
      return operation.contentType === undefined ? undefined : text;
    }
    try {
      return JSON.parse(text);
    } catch (error) {
      const message = `the server's answer to \`${operation.id}\` cannot be understood: ${(error as Error).message}`;
      throw new ConsortError(Code.Internal, message, { hint: "use the same version of Consort on both sides" });
    }
  }

  #unreachable(why: string): ConsortError {
    return new ConsortError(Code.Unreachable, `the server at \`${this.#url}\` cannot be reached: ${why}`, {
      hint: "check the address, and that `consort up` runs",
    });
  }
}

/** Puts each parameter into its place. */
function place({ path, places }: Operation, params: Params): { target: string; headers: Record<string, string> } {
  let target = path;
  const query = new URLSearchParams();
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(params)) {
    if (value === undefined || value === null) {
      continue;
    }
    switch (places[name]) {
      case "path":
        target = target.replace(`{${name}}`, encodeURIComponent(String(value)));
        break;
      case "header":
        headers[name] = String(value);
        break;
      case "family":
        for (const [key, text] of Object.entries(value)) {
          query.append(`${name}.${key}`, String(text));
        }
        break;
      default:
        // A list is written with commas.
        query.append(name, String(value));
    }
  }
  return { target: query.size > 0 ? `${target}?${query}` : target, headers };
}

/** The error in an answer that is not a good one. */
function refusal(status: number, text: string): ConsortError {
  try {
    const problem = JSON.parse(text) as Problem;
    if (typeof problem.code === "string" && typeof problem.detail === "string") {
      return problemError(problem);
    }
  } catch {
    // It is none of Consort's answers.
  }
  return new ConsortError(Code.Unreachable, `the server answered \`${status}\`, and not as Consort does`, {
    hint: "check the address; is something else listening there?",
  });
}

function problemError({ code, detail, hint, status, diagnostics }: Problem): ConsortError {
  const unavailable = status === 503 || undefined;
  return new ConsortError(code, detail, { hint: hint ?? undefined, unavailable, diagnostics });
}

/** Why a request got no answer: `fetch` has it in the cause. */
function reason(error: unknown): string {
  const { cause, message } = error as Error;
  return cause instanceof Error ? cause.message || cause.name : message;
}
