/**
 * Replicas on a real server: policies, lost answers and convergence.
 *
 * For: what only both together show. Not for: the file and the rules (see `replica.test`).
 * Invariant: whatever is lost, counters are exact, nothing that was added is lost, and in the end all are equal.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Client, ConsortError, type models, Replica } from "../../src/index.js";
import { LIVE, Server } from "./server.js";

const POLICIES = Object.entries({
  "n/": "counter",
  "s/": "set",
  "m/": "map",
  "t/": "text",
  "l/": "list",
  "a/": "agent",
}).map(([prefix, policy]) => ({ prefix, policy })) as models.StatePolicy[];

/** What is lost of a push, or what is done while it is on its way. */
type Loss = "" | "request" | "answer" | (() => void);

/** A server, a client whose way there may lose something, a client whose way does not, and a folder. */
async function staged(
  body: (stage: { client: Client; faulty: Client; lose: (what: Loss) => void; folder: string }) => Promise<void>,
) {
  const server = await Server.start();
  const folder = mkdtempSync(join(tmpdir(), "consort-replica-"));
  let losing: Loss = "";
  const faulty: typeof fetch = async (target, options) => {
    const isPush = String(target).includes("/transact");
    if (isPush && losing === "request") {
      throw new TypeError("the request was lost");
    }
    const response = await fetch(target, options);
    if (isPush && typeof losing === "function") {
      losing();
    }
    if (isPush && losing === "answer") {
      await response.arrayBuffer();
      throw new TypeError("the answer was lost");
    }
    return response;
  };
  try {
    const client = new Client({ address: server.address });
    const lose = (what: Loss) => {
      losing = what;
    };
    await client.setSpace("team", { policies: POLICIES });
    await body({ client, faulty: new Client({ address: server.address, fetch: faulty }), lose, folder });
  } finally {
    await server.remove();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function all(client: Client): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {};
  for await (const { key } of client.listState("team")) {
    found[key] = (await client.getState("team", key)).value;
  }
  return found;
}

test("two replicas work offline under each policy", LIVE, async () => {
  await staged(async ({ client, folder }) => {
    const first = {
      "a/owner": "none",
      "l/todo": ["build", "test", "ship"],
      "m/card": { name: "x", age: 1 },
      "n/visits": 10,
      plan: "draft",
      "s/tags": ["a", "b"],
      "t/brief": "Ship on Friday.",
    };
    for (const [key, value] of Object.entries(first)) {
      await client.putState("team", key, { value });
    }
    const [ann, bob] = ["ann", "bob"].map((name) =>
      Replica.open(client, { space: "team", path: join(folder, name), name }),
    ) as [Replica, Replica];
    assert.deepEqual((await ann.sync()).changed, Object.keys(first));
    await bob.sync();
    assert.deepEqual(Object.fromEntries(bob.list()), first);
    const values = {
      "a/owner": ["ann", "bob"],
      "l/todo": [
        ["review", ...first["l/todo"]],
        ["build", "ship", "tell"],
      ],
      "m/card": [
        { name: "x", age: 2 },
        { name: "y", age: 1 },
      ],
      plan: ["ship", "wait"],
      "t/brief": ["Ship on Friday, after the review.", "Ship version 2 on Friday."],
    };
    for (const [key, [anns, bobs]] of Object.entries(values)) {
      ann.put(key, anns);
      bob.put(key, bobs);
    }
    ann.add("n/visits", 2);
    bob.add("n/visits", 3);
    ann.addTo("s/tags", "c");
    bob.addTo("s/tags", "d");
    bob.removeFrom("s/tags", "a");
    bob.put("large", "x".repeat(40_000));
    assert.deepEqual((await ann.sync()).conflicts, []);
    const { conflicts } = await bob.sync();
    const [conflict] = conflicts;
    assert.deepEqual(
      [conflicts.length, conflict?.key, conflict?.code, conflict?.base, conflict?.local, conflict?.server],
      [1, "plan", "C0703", "draft", "wait", "ship"],
    );
    await ann.sync();
    const merged = {
      "a/owner": "ann",
      large: "x".repeat(40_000),
      "l/todo": ["review", "build", "ship", "tell"],
      "m/card": { age: 2, name: "y" },
      "n/visits": 15,
      plan: "ship",
      "s/tags": ["b", "c", "d"],
      "t/brief": "Ship version 2 on Friday, after the review.",
    };
    assert.deepEqual(Object.fromEntries(ann.list()), merged);
    assert.deepEqual(await all(client), merged);
    assert.deepEqual([bob.entry("a/owner")?.value, bob.entry("a/owner")?.siblings], ["ann", ["bob"]]);
    bob.takeServer("plan");
    assert.deepEqual((await bob.sync()).conflicts, []);
    assert.deepEqual(Object.fromEntries(bob.list()), merged);
    ann.close();
    bob.close();
  });
});

test("what was lost is done once", LIVE, async () => {
  await staged(async ({ client, faulty, lose, folder }) => {
    await client.putState("team", "n/x", { value: 100 });
    const options = { space: "team", path: join(folder, "r"), name: "r" };
    let replica = Replica.open(faulty, options);
    for (const what of ["request", "answer", "answer", "request"] as const) {
      lose(what);
      replica.add("n/x", 5);
      await assert.rejects(replica.sync(), (error) => error instanceof ConsortError && error.isUnavailable);
      await client.putState("team", "n/x", { value: 1 });
      replica.add("n/x", 2);
      replica.close();
      replica = Replica.open(faulty, options);
      lose("");
      await replica.sync();
      assert.deepEqual(replica.pending(), []);
      assert.deepEqual(Object.fromEntries(replica.list()), await all(client));
    }
    assert.equal(replica.get("n/x"), 100 + 4 * (5 + 1 + 2));
    replica.close();
  });
});

test("what is written during a push is put on top of its outcome", LIVE, async () => {
  await staged(async ({ client, faulty, lose, folder }) => {
    const replica = Replica.open(faulty, { space: "team", path: join(folder, "r"), name: "r" });
    await client.putState("team", "t/x", { value: "Ship." });
    await replica.sync();
    replica.add("n/x", 5);
    replica.addTo("s/x", "mine");
    replica.put("t/x", "Ship on Friday.");
    replica.put("gone", 1);
    const { version } = await client.getState("team", "t/x");
    await client.putState("team", "n/x", { value: 100 });
    await client.putState("team", "s/x", { value: ["theirs"] });
    await client.putState("team", "t/x", { value: "Please: Ship.", version });
    lose(() => {
      lose("");
      replica.add("n/x", 2);
      replica.addTo("s/x", "later");
      replica.put("t/x", "Ship on Friday, after lunch.");
      replica.delete("gone");
    });
    assert.deepEqual((await replica.sync()).conflicts, []);
    const expected = { "n/x": 107, "s/x": ["later", "mine", "theirs"], "t/x": "Please: Ship on Friday, after lunch." };
    assert.deepEqual(Object.fromEntries(replica.list()), expected);
    assert.deepEqual(await all(client), expected);
    replica.close();
  });
});

test("a position that is not kept is listed again, and a space that was made again too", LIVE, async () => {
  await staged(async ({ client, folder }) => {
    await client.setSpace("team", { policies: POLICIES, keep_changes: 100 });
    const seen: [string, unknown][] = [];
    const options = { space: "team", path: join(folder, "r"), name: "r", prefix: "n/" };
    const replica = Replica.open(client, { ...options, onChange: (key, value) => seen.push([key, value]) });
    await client.putState("team", "n/gone", { value: 1 });
    await client.putState("team", "n/x", { value: 1 });
    await replica.sync();
    replica.add("n/x", 5);
    await client.deleteState("team", "n/gone");
    for (let number = 0; number < 150; number += 1) {
      await client.putState("team", "noise", { value: number });
    }
    assert.deepEqual((await replica.sync()).conflicts, []);
    assert.deepEqual([...replica.list()], [["n/x", 6]]);
    assert.equal(replica.position, (await client.showSpace("team")).position);
    await client.deleteSpace("team");
    await client.putState("team", "n/y", { value: 2 });
    await replica.sync();
    assert.deepEqual([...replica.list()], [["n/y", 2]]);
    assert.deepEqual(new Set(seen.map(([key]) => key)), new Set(["n/gone", "n/x", "n/y"]));
    replica.close();
  });
});

test("replicas converge", LIVE, async () => {
  await staged(async ({ client, faulty, lose, folder }) => {
    // A generator of its own, so that a failure comes again.
    let seed = 7;
    const chance = (below: number) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return Math.floor((seed / 2 ** 31) * below);
    };
    const replicas = [0, 1, 2].map((n) =>
      Replica.open(faulty, { space: "team", path: join(folder, String(n)), name: `r${n}` }),
    );
    const added = new Set<string>();
    let total = 0;
    const edits = [
      (replica: Replica) => {
        const amount = chance(11) - 5;
        replica.add("n/x", amount);
        total += amount;
      },
      (replica: Replica, step: string) => {
        replica.addTo("s/all", step);
        added.add(step);
      },
      (replica: Replica, step: string) => {
        const text = String(replica.get("t/x") ?? "");
        const place = chance(text.length + 1);
        replica.put("t/x", `${text.slice(0, place)}<${step}>${text.slice(place)}`);
      },
    ];
    for (let step = 0; step < 150; step += 1) {
      const replica = replicas[chance(3)] as Replica;
      const edit = edits[chance(edits.length + 1)];
      edit?.(replica, String(step));
      if (!edit) {
        lose((["request", "answer", "", ""] as const)[chance(4)] ?? "");
        await replica.sync().catch((error) => assert.ok(error.isUnavailable, String(error)));
      }
    }
    lose("");
    for (const replica of [...replicas, ...replicas]) {
      assert.deepEqual((await replica.sync()).conflicts, []);
    }
    const found = await all(client);
    for (const replica of replicas) {
      assert.deepEqual(Object.fromEntries(replica.list()), found);
      replica.close();
    }
    assert.equal(found["n/x"], total);
    assert.deepEqual(new Set(found["s/all"] as string[]), added);
  });
});
