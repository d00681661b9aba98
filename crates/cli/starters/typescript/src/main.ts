/** Hosts the agent. Start it beside `consort up`: `npm start`. */
import { Worker } from "@consort/sdk";

import { writer } from "./worker.js";

await new Worker({ agents: [writer] }).run();
