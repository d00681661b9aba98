/**
 * A client: deploys a workflow, starts a run, decides what it asks and shows what happens.
 *
 * Run: `node build/examples/start.js` beside `consort up` and `node build/examples/orders.js`.
 */
import { Client } from "@consort/sdk";
import { z } from "zod";

const client = new Client({ address: process.env.CONSORT_ADDRESS ?? "http://127.0.0.1:7878" });

const source = `
workflow: order
input:
  item: { type: string, minLength: 1 }
steps:
  order:
    capability: shop.order
    with: { item: "\${{ input.item }}" }
output: \${{ steps.order.output }}
`;
await client.deployWorkflow({ source });

const run = await client.startRun({ workflow: "order", input: { item: "tea" }, labels: { customer: "ada" } });
for await (const { event, data } of run.watch()) {
  console.log(event, event === "entry" ? `${data.step ?? ""} ${data.event}` : "");
  for await (const item of client.listInbox()) {
    if (item.run === run.id) {
      await client.decide(item.task, { decision: "approve", by: "ada" });
    }
  }
}

const Order = z.object({ number: z.int(), price: z.number(), status: z.string() });
const { number, price, status } = await run.result(Order);
console.log(`order ${number} for ${price}: ${status}`);
