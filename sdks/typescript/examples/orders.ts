/**
 * A durable workflow as code: it may be killed at any line, and continues after its last recorded entry.
 *
 * Run: `node build/examples/orders.js` beside `consort up`, and `node build/examples/start.js` to start an order.
 */
import { agent, Worker } from "@consort/sdk";
import { z } from "zod";

const item = z.object({ item: z.string() });

const shop = agent("shop", { version: "1.0.0" })
  .capability("shop.price", { input: item, output: z.number(), effect: "read" }, (_, { item }) => item.length)
  .capability("shop.in_stock", { input: item, output: z.boolean(), effect: "read" }, () => true)
  .capability("shop.order", { input: item }, async (ctx, order) => {
    // Done once: what it gives is durable before the next line.
    const number = await ctx.run("number", () => Math.floor(Math.random() * 1_000_000));

    // Tasks for whichever agents can do this, side by side.
    const [price, inStock] = await ctx.all([
      ctx.call("shop.price", order, { output: z.number(), retry: { attempts: 3 } }),
      ctx.call("shop.in_stock", order, { output: z.boolean(), timeout: 5_000 }),
    ]);
    if (!inStock) {
      return { number, status: "out of stock" };
    }

    // Waits of any length cost nothing: the task leaves this process and is offered again.
    const { approved, by } = await ctx.waitApproval(`sell ${order.item} for ${price}?`, { number, price });
    return { number, price, status: approved ? "sold" : "refused", by };
  });

await new Worker({ agents: [shop], address: process.env.CONSORT_ADDRESS ?? "127.0.0.1:7878" }).run();
