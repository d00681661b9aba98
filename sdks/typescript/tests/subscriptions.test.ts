/**
 * What an agent declares of the events that it is handed.
 *
 * For: declarations. Not for: what the server makes of them (its own tests, and the conformance scenarios).
 * Invariant: nothing here connects.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { agent, ConsortError } from "../src/index.js";
import { EffectClass, EventOrder } from "../src/proto/consort/v1/common.js";

test("a function is handed events", () => {
  const shop = agent("shop").subscription(
    "orders",
    "orders.>",
    {
      filter: "event.data.total > 100",
      orderBy: "subject",
      maxDeliveries: 5,
      backOff: [1_000, 9_000],
      timeout: 7_000,
      effect: "write",
    },
    (_, event) => event.subject,
  );
  const { capabilities, subscriptions } = shop.declaration();
  assert.deepEqual(
    [capabilities[0]?.name, capabilities[0]?.effect, subscriptions],
    [
      "shop.orders",
      EffectClass.WRITE,
      [
        {
          name: "orders",
          topic: "orders.>",
          capability: "shop.orders",
          filter: "event.data.total > 100",
          orderBy: EventOrder.SUBJECT,
          maxDeliveries: 5,
          backOffFirstUs: 1_000_000n,
          backOffLongestUs: 9_000_000n,
          timeoutUs: 7_000_000n,
          maxInFlight: undefined,
          keepUs: undefined,
          fromStart: false,
        },
      ],
    ],
  );
  assert.throws(() => shop.subscription("orders", "returns.>", {}, () => null), ConsortError);
});

test("the changes of a space are a subscription", () => {
  const options = { prefix: "problems/", when: "event.data.value.open" };
  const [subscription] = agent("solver")
    .onChange("solve", "team.board", options, () => null)
    .declaration().subscriptions;
  assert.equal(subscription?.topic, "state.team/board.changed");
  assert.equal(subscription?.filter, 'event.subject.startsWith("problems/") && (event.data.value.open)');
  assert.equal(subscription?.orderBy, EventOrder.SUBJECT);
});
