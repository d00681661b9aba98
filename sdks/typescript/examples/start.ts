/**
 * A client: deploys a workflow, starts a run, decides what it asks and shows what happens.
 *
 * Run: `node build/examples/start.js` beside `consort up` and `node build/examples/orders.js`.
 */
import { Client } from "@consort/sdk";
import { z } from "zod";

const client = new Client({ address: process.env.CONSORT_ADDRESS ?? "127.0.0.1:7878" });

await client.deploy(`
workflow: order
input:
  item: { type: string, minLength: 1 }
steps:
  order:
    capability: shop.order
    with: { item: "\${{ input.item }}" }
output: \${{ steps.order.output }}
`);

const run = await client.start("order", { item: "tea" }, { labels: { customer: "ada" } });
for await (const event of run.watch()) {
  console.log(event.kind, event.kind === "entry" ? `${event.step} ${event.event}` : "");
  for await (const item of client.inbox()) {
    if (item.run === run.id) {
      await client.approve(item.task, { by: "ada" });
    }
  }
}

const Order = z.object({ number: z.int(), price: z.number(), status: z.string() });
const { number, price, status } = await run.result(Order);
console.log(`order ${number} for ${price}: ${status}`);
client.close();
