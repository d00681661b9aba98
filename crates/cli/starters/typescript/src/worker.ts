import { agent } from "@consort/sdk";
import { z } from "zod";

/** The first sentences of a text. */
export function summarise(text: string, sentences: number): string {
  const all = text.split(".").map((sentence) => sentence.trim());
  return `${all.filter((sentence) => sentence !== "").slice(0, sentences).join(". ")}.`;
}

/** An agent with one capability. */
export const writer = agent("writer", { version: "1.0.0", description: "Makes texts short." }).capability(
  "summarise",
  // `read`: repeating it changes nothing outside. The default is `idempotent`; `write` is never repeated blindly.
  { input: z.object({ text: z.string(), sentences: z.int().default(1) }), output: z.string(), effect: "read" },
  async (ctx, { text, sentences }) => {
    ctx.progress("reading");
    return summarise(text, sentences);
  },
);
