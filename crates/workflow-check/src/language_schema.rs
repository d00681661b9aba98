//! The JSON Schema of the language, for editors.
//!
//! For: completion, descriptions and checks while typing. Not for: `Definition::parse`, which checks more.
//! Invariant: what the parser accepts, the schema accepts; its keys are the parser's keys (both are tested).

use consort_types::limits;
use serde_json::{Value, json};

/// JSON Schema (2020-12) of a workflow file.
pub fn language_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Consort workflow",
        "description": "A workflow of Consort: named steps that call agents, wait, ask people, and use each other's outputs.",
        "type": "object",
        "required": ["workflow", "steps"],
        "additionalProperties": false,
        "properties": {
            "workflow": name("The workflow's name."),
            "version": {"type": ["string", "number"], "description": "The author's version, such as `1.2`."},
            "description": {"type": "string", "description": "What the workflow is for, in a sentence."},
            "input": input(),
            "steps": {"$ref": "#/$defs/steps"},
            "output": {"description": "The run's output; without it, the map of step names to outputs. May hold `${{ }}`."},
            "timeout": span("How long a whole run may take."),
            "retry": retry(),
        },
        "$defs": {
            "steps": {
                "type": "object",
                "description": "Steps by name. A step waits for those whose outputs it uses.",
                "minProperties": 1,
                "propertyNames": {"pattern": NAME, "maxLength": limits::NAME_BYTES_MAX},
                "additionalProperties": {"$ref": "#/$defs/step"},
            },
            "step": step(),
            "condition": {
                "type": ["string", "boolean"],
                "pattern": r"^\s*\$\{\{[\s\S]*\}\}\s*$",
                "description": "One expression, `${{ … }}`, that gives true or false.",
            },
            "name": {"type": "string", "pattern": NAME, "maxLength": limits::NAME_BYTES_MAX},
            "span": {
                "type": "string",
                "pattern": r"^\s*([0-9]+(d|h|m|s|ms|us))+\s*$",
                "examples": ["30s", "1h30m", "250ms"],
            },
            "spanOrExpression": {
                "description": "A duration such as `30s`, seconds as a whole number, or `${{ … }}`.",
                "type": ["string", "integer"],
                "minimum": 0,
            },
            "with": {
                "description": "The input: a map that may hold `${{ … }}`, or one expression that gives a map.",
                "type": ["object", "string"],
                "pattern": r"\$\{\{",
            },
        },
    })
}

const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9_.-]*$";

fn name(description: &str) -> Value {
    json!({"$ref": "#/$defs/name", "description": description})
}

fn span(description: &str) -> Value {
    json!({"$ref": "#/$defs/span", "description": description})
}

fn count(description: &str, max: u64) -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": max, "description": description})
}

fn input() -> Value {
    json!({
        "description": "The input's fields by name, each a JSON Schema or the name of a type; or one JSON Schema of type object. A field without `default` is required, unless it has `required: false`.",
        "type": "object",
    })
}

fn step() -> Value {
    let mut properties = serde_json::Map::new();
    for part in [actions(), order(), loops(), attempts(), effects()] {
        if let Value::Object(part) = part {
            properties.extend(part);
        }
    }
    json!({
        "type": "object",
        "description": "One step. It does one thing: `capability` and/or `agent`, `steps`, `workflow`, `wait`, `approve`, `consensus`, `publish` or `state`.",
        "additionalProperties": false,
        "properties": properties,
        "oneOf": [
            {"anyOf": [{"required": ["capability"]}, {"required": ["agent"]}]},
            {"required": ["steps"]},
            {"required": ["workflow"]},
            {"required": ["wait"]},
            {"required": ["approve"]},
            {"required": ["consensus"]},
            {"required": ["publish"]},
            {"required": ["state"]},
        ],
        "dependentRequired": {"max_parallel": ["for_each"], "fail_fast": ["for_each"]},
    })
}

fn actions() -> Value {
    json!({
        "description": {"type": "string", "description": "What the step is for."},
        "capability": name("Calls an agent that has this capability."),
        "agent": name("Calls this agent."),
        "steps": {"$ref": "#/$defs/steps", "description": "Runs a group of steps; the output maps their names to their outputs."},
        "workflow": {
            "description": "Runs another workflow as a child run.",
            "oneOf": [
                {"$ref": "#/$defs/name"},
                {
                    "type": "object",
                    "required": ["name"],
                    "additionalProperties": false,
                    "properties": {
                        "name": name("The workflow's name."),
                        "version": {"type": ["string", "number"], "description": "Its version; without it, the newest."},
                    },
                },
            ],
        },
        "wait": wait(),
        "approve": {
            "description": "Asks a person; a refusal fails the step.",
            "oneOf": [
                {"type": "string", "description": "The question."},
                {
                    "type": "object",
                    "required": ["title"],
                    "additionalProperties": false,
                    "properties": {
                        "title": {"type": "string", "description": "The question; may hold `${{ }}`."},
                        "details": {"description": "More to show beside it; any value, may hold `${{ }}`."},
                        "timeout": span("How long to wait before the step fails."),
                    },
                },
            ],
        },
        "consensus": consensus(),
        "publish": publish(),
        "state": state(),
        "with": {"$ref": "#/$defs/with"},
        "assign": assign(),
    })
}

fn assign() -> Value {
    let bidders = u64::from(limits::AUCTION_BIDDERS_MAX);
    json!({
        "description": "How the agent of the capability is chosen: by an auction, in which the agents that have it bid.",
        "oneOf": [
            {"const": "auction"},
            {
                "type": "object",
                "required": ["auction"],
                "additionalProperties": false,
                "properties": {
                    "auction": {
                        "type": "object",
                        "additionalProperties": false,
                        "properties": {
                            "ask": name("The capability that is called for a bid; that of the step with `.bid` behind it, without it."),
                            "wait": span("How long bids are awaited."),
                            "enough": count("How many bids are enough to award the task.", bidders),
                            "award": {"type": "string", "description": "What a bid is worth, `${{ … }}`: the least number wins, `null` refuses it. Sees `bid`, and what the step's expressions see."},
                            "accept": span("How long the winner may leave the task in the queue before the next bid gets it."),
                            "max_awards": count("Bids at most that get the task, one after the other has failed.", bidders),
                        },
                    },
                },
            },
        ],
    })
}

fn consensus() -> Value {
    let whole = |description: &str| json!({"type": "integer", "minimum": 0, "description": description});
    json!({
        "description": "Asks several voters and decides by their answers; the output has `decision`, `tally`, `votes`, `dissent` and `silent`.",
        "type": "object",
        "required": ["question", "voters"],
        "additionalProperties": false,
        "properties": {
            "question": {"description": "What is decided; the voters' input, with the options. May hold `${{ }}`."},
            "options": {
                "type": "array",
                "minItems": 2,
                "maxItems": limits::BALLOT_OPTIONS_MAX,
                "items": {"type": "string"},
                "description": "What can be chosen; without it, answers are free.",
            },
            "voters": {
                "type": "object",
                "description": "Who votes, by name: calls. One that fails is silent.",
                "minProperties": 1,
                "maxProperties": limits::BALLOT_VOTERS_MAX,
                "propertyNames": {"pattern": NAME, "maxLength": limits::NAME_BYTES_MAX},
                "additionalProperties": voter(),
            },
            "rule": {"enum": consort_types::ballot::Rule::WORDS, "default": "majority", "description": "How votes become a decision."},
            "fraction": {"type": "string", "description": "Of `supermajority`: such as `2/3`."},
            "trim": whole("Of `trimmed_mean`: how many numbers are left out at each end."),
            "faults": whole("Of `equality`: how many voters may be faulty."),
            "against": {"enum": ["byzantine", "crash"], "description": "Of `equality`: what faulty voters may do."},
            "on_tie": {"enum": consort_types::ballot::Tie::WORDS, "description": "What happens where the rule does not find one answer."},
            "status_quo": {"type": "string", "description": "The option that is decided where the votes decide nothing."},
            "quorum": count("How many voters must have voted; more than half of them if not given.", limits::BALLOT_VOTERS_MAX as u64),
            "deadline": span("How long each voter may take."),
            "on_undecided": {"description": "The decision where the votes give none; without it, the step fails then. May hold `${{ }}`."},
        },
    })
}

fn voter() -> Value {
    let (mut properties, attempts, effects) = (serde_json::Map::new(), attempts(), effects());
    let parts = [attempts.as_object(), effects.as_object()].into_iter().flatten().flatten();
    properties.extend(parts.filter(|(key, _)| *key != "compensate").map(|(key, value)| (key.clone(), value.clone())));
    let own = json!({
        "capability": name("Calls an agent that has this capability."),
        "agent": name("Calls this agent."),
        "weight": count("How much the vote counts.", u64::from(limits::BALLOT_WEIGHT_MAX)),
        "with": {"$ref": "#/$defs/with"},
        "deadline": span("How long this voter may take."),
    });
    properties.extend(own.as_object().cloned().unwrap_or_default());
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "anyOf": [{"required": ["capability"]}, {"required": ["agent"]}],
    })
}

fn publish() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    json!({
        "description": "Publishes an event in the record in which the step completes; the output has its `position`.",
        "type": "object",
        "required": ["type"],
        "additionalProperties": false,
        "properties": {
            "type": text("What kind of event it is. May hold `${{ }}`, as the others."),
            "topic": text("By what it is subscribed to; the type, without it."),
            "subject": text("What it is about."),
            "id": text("What identifies it among those of its source; the step instance, without it."),
            "source": text("Where it happened, as a URI reference; the run, without it."),
            "data": {"description": "Its data: any value, may hold `${{ }}`."},
        },
    })
}

fn state() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let list = |description: &str| {
        json!({
            "type": ["array", "string"],
            "maxItems": limits::STATE_OPERATIONS_MAX,
            "pattern": r"^\s*\$\{\{",
            "description": description,
        })
    };
    json!({
        "description": "Reads or writes shared state in the record in which the step completes: one operation, or a transaction.",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "space": text("The space of the operation. May hold `${{ }}`, as the others."),
            "get": text("Reads this key."),
            "put": text("Gives this key a value."),
            "delete": text("Removes the value of this key."),
            "value": {"description": "The value of `put`: any value, may hold `${{ }}`."},
            "version": {"type": ["integer", "string"], "minimum": 0, "description": "The version that the write saw; 0 where there was none."},
            "ttl": text("How long the value stays, such as `1d`."),
            "if": list("Conditions: `{ space, key }` with `exists`, `version` or `equals`."),
            "do": list("What is done where they hold: `{ op, space, key, value, version, ttl }`."),
            "else": list("What is done where they do not; without it, the step fails then."),
            "fence": list("Grants of locks that must be current: `{ lock, token }`."),
        },
        "oneOf": [
            {"required": ["space", "get"]},
            {"required": ["space", "put", "value"]},
            {"required": ["space", "delete"]},
            {"required": ["do"]},
        ],
    })
}

fn wait() -> Value {
    json!({
        "description": "Waits for a length of time, an instant, a signal or an event.",
        "oneOf": [
            {"$ref": "#/$defs/spanOrExpression"},
            {
                "type": "object",
                "required": ["for"],
                "additionalProperties": false,
                "properties": {"for": {"$ref": "#/$defs/spanOrExpression"}},
            },
            {
                "type": "object",
                "required": ["until"],
                "additionalProperties": false,
                "properties": {"until": {"type": "string", "description": "An instant such as `2026-11-22T10:00:00Z`, or `${{ … }}`."}},
            },
            {
                "type": "object",
                "required": ["signal"],
                "additionalProperties": false,
                "properties": {
                    "signal": name("The signal's name; its payload is the step's output."),
                    "timeout": span("How long to wait before the step fails."),
                    "schema": {
                        "type": ["object", "boolean"],
                        "description": "JSON Schema of the payload: one that does not fit is refused where it is sent, and the wait goes on.",
                    },
                },
            },
            {
                "type": "object",
                "required": ["event"],
                "additionalProperties": false,
                "properties": {
                    "event": {"type": "string", "description": "The topic, or a pattern of topics: the next event that is published is the step's output. May hold `${{ }}`."},
                    "filter": {"$ref": "#/$defs/condition", "description": "Which of those events: sees `event`, and what the step's expressions see."},
                    "timeout": span("How long to wait before the step fails."),
                },
            },
        ],
    })
}

fn order() -> Value {
    json!({
        "needs": {
            "description": "Steps beside this one to wait for, beyond those whose outputs it uses.",
            "oneOf": [{"$ref": "#/$defs/name"}, {"type": "array", "items": {"$ref": "#/$defs/name"}}],
        },
        "if": {"$ref": "#/$defs/condition", "description": "Whether to run. `success()` is implied unless `success`, `failure`, `always` or `cancelled` is called."},
        "continue_on_error": {"type": "boolean", "description": "Whether the run continues when the step fails."},
        "with_lock": {
            "description": "The lock that the step holds from before it does anything until it has ended; `lock.token` is its fencing token.",
            "oneOf": [
                {"type": "string", "description": "The name of the lock; may hold `${{ }}`."},
                {
                    "type": "object",
                    "required": ["name"],
                    "additionalProperties": false,
                    "properties": {
                        "name": {"type": "string", "description": "The name of the lock; may hold `${{ }}`."},
                        "permits": count("How many hold the lock at once; all holders name the same number.", u64::from(limits::LOCK_PERMITS_MAX)),
                        "wait": span("How long to wait for it before the step fails."),
                    },
                },
            ],
        },
        "reads": {
            "type": "object",
            "description": "Keys of shared state that are read once, before `if` is decided: `reads.NAME.value` and `reads.NAME.version`.",
            "maxProperties": limits::STEP_READS_MAX,
            "additionalProperties": {
                "type": "object",
                "required": ["space", "key"],
                "additionalProperties": false,
                "properties": {
                    "space": {"type": "string", "description": "The space; may hold `${{ }}`."},
                    "key": {"type": "string", "description": "The key; may hold `${{ }}`."},
                },
            },
        },
        "deadline": span("How long the step may take from when it became ready, all attempts and waits together."),
    })
}

fn loops() -> Value {
    json!({
        "for_each": {
            "description": "Runs the step once for each item: a list, or `${{ … }}` that gives one. `item` and `index` are known inside; the output is the list of outputs.",
            "type": ["array", "string"],
            "maxItems": limits::FAN_OUT_ITEMS_MAX,
            "pattern": r"^\s*\$\{\{",
        },
        "max_parallel": count("How many items run at once.", limits::FAN_OUT_ITEMS_MAX as u64),
        "fail_fast": {"type": "boolean", "default": true, "description": "Whether no new item starts after one has failed."},
        "repeat": {
            "description": "Runs the step again and again; the output is that of the last iteration. `loop.index` and `loop.previous` are known inside.",
            "type": "object",
            "required": ["max"],
            "additionalProperties": false,
            "properties": {
                "until": {"$ref": "#/$defs/condition", "description": "Ends the loop when true after an iteration; sees the group's steps and `output`."},
                "while": {"$ref": "#/$defs/condition", "description": "Ends the loop when false after an iteration."},
                "max": count("Iterations at most.", u64::from(limits::REPEAT_ITERATIONS_MAX)),
                "delay": span("The pause between two iterations."),
            },
            "not": {"required": ["until", "while"]},
        },
    })
}

fn attempts() -> Value {
    json!({
        "retry": retry(),
        "timeout": span("How long one attempt may take."),
        "priority": {"type": "integer", "minimum": -100, "maximum": 100, "default": 0, "description": "Higher goes first."},
        "concurrency": {
            "description": "How many run at once: a number for this step, or a limit shared by all steps with the same key.",
            "oneOf": [
                {"type": "integer", "minimum": 1, "maximum": limits::FAN_OUT_ITEMS_MAX},
                {
                    "type": "object",
                    "required": ["limit"],
                    "additionalProperties": false,
                    "properties": {
                        "key": {"description": "Steps with the same key share the limit; may contain `${{ }}`."},
                        "limit": count("How many at once.", limits::FAN_OUT_ITEMS_MAX as u64),
                    },
                },
            ],
        },
        "route": route(),
    })
}

fn retry() -> Value {
    json!({
        "description": "How failed attempts are repeated.",
        "type": "object",
        "anyOf": [{"required": ["attempts"]}, {"required": ["max_elapsed"]}, {"required": ["losses"]}],
        "additionalProperties": false,
        "properties": {
            "attempts": count("Attempts at most, the first included; without it 1, or with `max_elapsed` as many as fit.", u64::from(limits::ATTEMPTS_MAX)),
            "max_elapsed": span("How long further attempts are made, from when the first one was queued."),
            "losses": count("How often its worker may die while it runs, without an entry of its journal in between; 3 if not given.", u64::from(limits::LOSSES_MAX)),
            "on": {
                "type": "array",
                "minItems": 1,
                "description": "The failures that are tried again; every one if not given.",
                "items": {"type": "string", "pattern": "^(failure|timeout|output|C[0-9]{4})$"},
            },
            "backoff": {
                "type": "object",
                "description": "The pauses between attempts.",
                "additionalProperties": false,
                "properties": {
                    "initial": span("The pause after the first failure; 1s if not given."),
                    "factor": {"type": "number", "minimum": 1, "maximum": 100, "description": "What each further pause grows by; 2 if not given."},
                    "max": span("The longest pause; 1m if not given."),
                },
            },
        },
    })
}

fn route() -> Value {
    json!({
        "description": "Which instances may perform the call, where the capability and the agent are not enough.",
        "type": "object",
        "minProperties": 1,
        "additionalProperties": false,
        "properties": {
            "version": {
                "type": ["string", "number"],
                "minLength": 1,
                "maxLength": limits::NAME_BYTES_MAX,
                "description": "Versions of the agent: a range of semantic versions, or one version as its author wrote it.",
                "examples": ["^1.2", ">=1.4, <2", "2026-11-22"],
            },
            "labels": {
                "type": "object",
                "description": "Labels that the instance or its agent must have, with these values; they may hold `${{ }}`.",
                "minProperties": 1,
                "maxProperties": limits::LABELS_MAX,
                "propertyNames": {"pattern": NAME, "maxLength": limits::NAME_BYTES_MAX},
                "additionalProperties": {"type": ["string", "number", "boolean"]},
            },
            "sticky": {"description": "Calls with the same value go to the same instance while it is there and healthy; may hold `${{ }}`."},
        },
    })
}

fn effects() -> Value {
    json!({
        "effect": {"enum": ["read", "idempotent", "write"], "description": "What repeating the call may do; without it, what the capability declares."},
        "on_unknown": {
            "description": "What to do when the outcome of a `write` attempt is unknown.",
            "type": "string",
            "pattern": "^(ask|retry|fail|reconcile with [A-Za-z0-9][A-Za-z0-9_.-]*)$",
            "examples": ["ask", "retry", "fail", "reconcile with payments.check"],
        },
        "compensate": {
            "description": "What undoes the step when the run fails or is cancelled later.",
            "type": "object",
            "required": ["capability"],
            "additionalProperties": false,
            "properties": {
                "capability": name("The capability to call."),
                "with": {"$ref": "#/$defs/with"},
                "retry": retry(),
                "timeout": span("How long one attempt may take."),
                "route": route(),
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{
        AUCTION_KEYS, CONSENSUS_KEYS, LATER, LOCK_KEYS, PUBLISH_KEYS, READ_KEYS, ROOT_KEYS, STATE_KEYS, STEP_KEYS,
        VOTER_KEYS,
    };

    #[test]
    fn the_schema_has_exactly_the_keys_of_the_parser() {
        let schema = language_schema();
        let keys = |pointer: &str| -> Vec<String> {
            schema.pointer(pointer).and_then(Value::as_object).unwrap().keys().cloned().collect()
        };
        let sorted = |keys: &[&str]| {
            let mut keys: Vec<String> =
                keys.iter().filter(|key| !LATER.contains(key)).map(|key| (*key).to_owned()).collect();
            keys.sort();
            keys
        };
        assert_eq!(keys("/properties"), sorted(&ROOT_KEYS));
        assert_eq!(keys("/$defs/step/properties"), sorted(&STEP_KEYS));
        assert_eq!(keys("/$defs/step/properties/publish/properties"), sorted(&PUBLISH_KEYS));
        assert_eq!(keys("/$defs/step/properties/state/properties"), sorted(&STATE_KEYS));
        assert_eq!(keys("/$defs/step/properties/with_lock/oneOf/1/properties"), sorted(&LOCK_KEYS));
        assert_eq!(keys("/$defs/step/properties/reads/additionalProperties/properties"), sorted(&READ_KEYS));
        let consensus = "/$defs/step/properties/consensus/properties";
        assert_eq!(keys(consensus), sorted(&CONSENSUS_KEYS));
        let auction = "/$defs/step/properties/assign/oneOf/1/properties/auction/properties";
        assert_eq!(keys(auction), sorted(&AUCTION_KEYS));
        assert_eq!(keys(&format!("{consensus}/voters/additionalProperties/properties")), sorted(&VOTER_KEYS));
    }
}
