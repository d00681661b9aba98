/**
 * What a worker does in place of working when `consort replay-check` starts it.
 *
 * For: replaying the journals of tasks in flight against the code of this process. Not for: choosing the tasks (the
 * command does), or a replay in a test (see `testing`).
 * Invariant: no server is reached, nothing is recorded and no effect is begun.
 */
import { appendFileSync, readFileSync } from "node:fs";
import type { Agent } from "./agent.js";
import { TaskError } from "./error.js";
import { replayTask } from "./testing.js";

/** A task in flight, as the command wrote it. */
interface RecordedTask {
  run: string;
  step: string;
  agent: string | null;
  capability: string;
  input: unknown;
  items: unknown[];
}

/** The files of tasks and of results, where this process was started to replay, and not to work. */
export function replayFiles(): { tasks: string; results: string } | undefined {
  const { CONSORT_REPLAY: tasks, CONSORT_REPLAY_RESULTS: results } = process.env;
  return tasks && results ? { tasks, results } : undefined;
}

/** Replays every task of these agents, and adds a line of JSON for each to the file of results. */
export async function replayTasks(agents: readonly Agent[], files: { tasks: string; results: string }): Promise<void> {
  const { tasks } = JSON.parse(readFileSync(files.tasks, "utf8")) as { tasks: RecordedTask[] };
  const byName = new Map(agents.map((agent) => [agent.name, agent]));
  for (const task of tasks) {
    const agent = byName.get(task.agent ?? "");
    if (agent) {
      const { run, step } = task;
      appendFileSync(files.results, `${JSON.stringify({ run, step, ...(await outcome(agent, task)) })}\n`);
    }
  }
}

async function outcome(agent: Agent, task: RecordedTask): Promise<object> {
  try {
    const replayed = await replayTask(agent, task.capability, task.input, task.items);
    const { fits, waiting, failure, divergence } = replayed;
    return { fits, waiting, ...divergence, ...(failure && { failure: failure.message }) };
  } catch (error) {
    if (error instanceof TaskError) {
      return { fits: false, failure: error.message };
    }
    throw error;
  }
}
