/**
 * An agent that makes texts short, and reports its progress.
 *
 * Run: `node build/examples/writer.js` beside `consort up`; then `consort run examples/summary.yaml --input text=…`.
 */
import { agent, TaskError, Worker } from "@consort/sdk";
import { z } from "zod";

const writer = agent("writer", { version: "1.0.0", description: "Makes texts short.", labels: { region: "eu" } })
  .capability(
    "summarise",
    { input: z.object({ text: z.string(), words: z.int().default(10) }), output: z.string(), effect: "read" },
    async (ctx, { text, words }) => {
      ctx.progress(`reading ${text.length} characters`);
      const kept = text.split(/\s+/).slice(0, words);
      for (const word of kept) {
        await ctx.stream(`${word} `);
      }
      ctx.log.info("summarised", { words: kept.length });
      return kept.join(" ");
    },
  )
  .capability(
    "fetch",
    { input: z.object({ url: z.url() }), output: z.string(), effect: "read" },
    async (ctx, { url }) => {
      const answer = await fetch(url, { signal: ctx.signal });
      if (answer.status === 404) {
        // Every attempt would fail in the same way.
        throw new TaskError(`there is no page \`${url}\``, { retryable: false });
      }
      if (answer.status === 429) {
        throw new TaskError("too many requests", { retryAfterMs: 30_000 });
      }
      return answer.text();
    },
  );

await new Worker({ agents: [writer], address: process.env.CONSORT_ADDRESS ?? "127.0.0.1:7878" }).run();
