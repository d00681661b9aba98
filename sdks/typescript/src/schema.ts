/**
 * Schemas: what documents must look like, checked here and declared to the server.
 *
 * For: any library that speaks Standard Schema (Zod, ArkType, Valibot …), and plain JSON Schema (2020-12).
 * Not for: the meaning of a failed check. Invariant: what does not fit is named by its JSON path, such as
 * `$.queries[1].text`.
 */
import type { StandardJSONSchemaV1, StandardSchemaV1 } from "@standard-schema/spec";
import { Ajv2020, type ErrorObject, type ValidateFunction } from "ajv/dist/2020.js";
import { Code, ConsortError, TaskError } from "./error.js";
import type { JsonValue } from "./json.js";
import { pathStep } from "./values.js";

/** A plain JSON Schema (2020-12); `true` accepts anything. */
export type JsonSchema = boolean | { [keyword: string]: unknown };

/** A schema: of a library that speaks Standard Schema, or plain JSON Schema. */
export type Schema = StandardSchemaV1 | JsonSchema;

/** What the code gets for a document that fits the schema. */
export type OutputOf<S> = S extends StandardSchemaV1 ? StandardSchemaV1.InferOutput<S> : JsonValue;

/** What the code may give where the schema is to be fitted. */
export type InputOf<S> = S extends StandardSchemaV1 ? StandardSchemaV1.InferInput<S> : unknown;

/** One place where a document does not fit. */
interface Misfit {
  path: string;
  message: string;
}

type Checked = { value: unknown } | { misfits: Misfit[] };

/** Gives a plain JSON Schema the TypeScript type of the documents that fit it. */
export function jsonSchema<T>(schema: JsonSchema): StandardSchemaV1<T, T> & StandardJSONSchemaV1<T, T> {
  const validate = (value: unknown): StandardSchemaV1.Result<T> => {
    const checked = checkJson(schema, value);
    if ("value" in checked) {
      return { value: value as T };
    }
    return { issues: checked.misfits.map(({ path, message }) => ({ message, path: [new JsonPath(path)] })) };
  };
  const plain = (): Record<string, unknown> => (typeof schema === "boolean" ? (schema ? {} : { not: {} }) : schema);
  return { "~standard": { version: 1, vendor: "consort", validate, jsonSchema: { input: plain, output: plain } } };
}

/** A path that is written already: it is the only segment of an issue. */
class JsonPath {
  readonly key: string;

  constructor(key: string) {
    this.key = key;
  }
}

function isStandard(schema: Schema): schema is StandardSchemaV1 {
  return (typeof schema === "object" || typeof schema === "function") && "~standard" in schema;
}

/** The JSON Schema that is declared: of documents that go in, or that come out. */
export function declare(what: string, schema: Schema | undefined, side: "input" | "output"): JsonSchema | undefined {
  if (schema === undefined || !isStandard(schema)) {
    if (schema !== undefined) {
      validator(what, schema);
    }
    return schema;
  }
  const converter = (schema as StandardSchemaV1 & Partial<StandardJSONSchemaV1>)["~standard"].jsonSchema;
  if (!converter) {
    // The library cannot express it; the check on this side is made all the same.
    return undefined;
  }
  try {
    return converter[side]({ target: "draft-2020-12" });
  } catch (error) {
    throw new ConsortError(Code.BadRequest, `the ${what} has no JSON Schema: ${(error as Error).message}`, {
      hint: "use types that JSON has, or give a plain JSON Schema",
      cause: error,
    });
  }
}

/**
 * The value of a document that fits the schema. It throws a `TaskError` with this code where the document does not;
 * `what` names the document.
 */
export async function fit(what: string, code: string, schema: Schema | undefined, value: unknown): Promise<unknown> {
  if (schema === undefined) {
    return value;
  }
  const checked = isStandard(schema) ? await checkStandard(schema, value) : checkJson(schema, value);
  if ("value" in checked) {
    return checked.value;
  }
  const [first, ...more] = checked.misfits;
  const others = more.length > 0 ? ` (and ${more.length} more)` : "";
  const message = `the ${what} does not fit at \`${first?.path ?? "$"}\`: ${first?.message ?? "no reason given"}${others}`;
  throw new TaskError(message, { code, retryable: false });
}

async function checkStandard(schema: StandardSchemaV1, value: unknown): Promise<Checked> {
  let result = schema["~standard"].validate(value);
  if (result instanceof Promise) {
    result = await result;
  }
  if (!result.issues) {
    return { value: result.value };
  }
  return { misfits: result.issues.map(({ message, path }) => ({ message, path: writePath(path ?? []) })) };
}

function writePath(path: readonly (PropertyKey | StandardSchemaV1.PathSegment)[]): string {
  const [only] = path;
  if (only instanceof JsonPath) {
    return only.key;
  }
  return path.reduce<string>((written, segment) => {
    const key = typeof segment === "object" ? segment.key : segment;
    return written + pathStep(typeof key === "number" ? key : String(key));
  }, "$");
}

const ajv = new Ajv2020({ strict: false, validateFormats: false, logger: false });
const validators = new WeakMap<object, ValidateFunction>();

function validator(what: string, schema: JsonSchema): ValidateFunction {
  if (typeof schema === "boolean") {
    return ajv.compile(schema);
  }
  let known = validators.get(schema);
  if (!known) {
    try {
      known = ajv.compile(schema);
    } catch (error) {
      const message = `the ${what} is no JSON Schema (2020-12): ${(error as Error).message}`;
      throw new ConsortError(Code.BadRequest, message, { cause: error });
    }
    validators.set(schema, known);
  }
  return known;
}

function checkJson(schema: JsonSchema, value: unknown): Checked {
  const check = validator("schema", schema);
  if (check(value)) {
    return { value };
  }
  return { misfits: (check.errors ?? []).map((error) => misfit(error, value)) };
}

/** An error of the validator with its JSON pointer as a JSON path. */
function misfit(error: ErrorObject, document: unknown): Misfit {
  let at: unknown = document;
  let path = "$";
  for (const segment of error.instancePath.split("/").slice(1)) {
    const key = segment.replaceAll("~1", "/").replaceAll("~0", "~");
    path += pathStep(Array.isArray(at) ? Number(key) : key);
    at = (at as Record<string, unknown> | undefined)?.[key];
  }
  return { path, message: error.message ?? "it does not fit" };
}
