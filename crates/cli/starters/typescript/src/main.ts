/** Hosts the agent. `consort dev` starts it beside a server; without that, `npm start` beside `consort up`. */
import { Worker } from "@consort/sdk";

import { writer } from "./worker.js";

await new Worker({ agents: [writer] }).run();
