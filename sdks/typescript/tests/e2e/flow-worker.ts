/**
 * A worker process with a durable workflow as code: five calls and a wait.
 *
 * For: the test that kills it. Not for: learning (see `examples`).
 * Invariant: it prints to standard output what its effects do, so that a test can count them.
 */
import { agent, Worker } from "../../src/index.js";

const say = (text: string) => process.stdout.write(`${text}\n`);

const flow = agent("flow")
  .capability("flow.run", async (ctx, input) => {
    const sums: number[] = [];
    for (let n = 1; n <= 5; n += 1) {
      const squared = Number(await ctx.call("flow.square", n));
      sums.push(
        await ctx.run(`note-${n}`, () => {
          say(`noted ${n}`);
          return squared + (sums.at(-1) ?? 0);
        }),
      );
    }
    await ctx.run("wait", () => say("waiting"));
    const word = await ctx.waitSignal("go");
    return { input, sums, word };
  })
  .capability("flow.square", (_, n) => {
    say(`squared ${n}`);
    return Number(n) ** 2;
  });

await new Worker({ agents: [flow], address: process.argv[2] ?? "" }).run();
