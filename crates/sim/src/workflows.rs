//! Workflows made by chance.
//!
//! For: a pool of definitions that uses the whole language. Not for: running them.
//! Invariant: every workflow that is given out passes the language's own check.

use consort_workflow::CompiledWorkflow;
use consort_workflow_check::check;
use serde_json::{Map, Value, json};

use crate::random::Random;

/// A workflow of the pool.
#[derive(Clone, Debug)]
pub(crate) struct Workflow {
    pub(crate) name: String,
    /// As the door makes it of its text.
    pub(crate) compiled: CompiledWorkflow,
    /// Whether nothing but its input decides how it ends.
    pub(crate) pure: bool,
}

impl Workflow {
    /// The workflow of this source, which has no errors.
    fn sound(name: &str, source: &Value) -> Self {
        let source = source.to_string();
        match check(&source) {
            Ok(checked) => Self { name: name.to_owned(), compiled: checked.compiled, pure: true },
            Err(found) => panic!("workflow `{name}` of the pool has errors: {found:?}"),
        }
    }
}

/// Builds the steps of one workflow.
struct Builder<'a> {
    random: &'a mut Random,
    /// Workflows that may be called: name, and whether they are pure.
    children: Vec<(String, bool)>,
    pure: bool,
    depth: u32,
}

/// A pool of workflows; later ones call earlier ones.
pub(crate) fn pool(random: &mut Random, count: usize) -> Vec<Workflow> {
    let mut workflows: Vec<Workflow> = Vec::new();
    for number in 0..count {
        let name = format!("flow{number}");
        let children = workflows.iter().map(|flow| (flow.name.clone(), flow.pure)).collect::<Vec<_>>();
        let made = (0..40).find_map(|_| {
            let mut builder = Builder { random: &mut *random, children: children.clone(), pure: true, depth: 0 };
            let source = builder.workflow(&name);
            let pure = builder.pure;
            let compiled = check(&source).ok()?.compiled;
            Some(Workflow { name: name.clone(), compiled, pure })
        });
        workflows.push(made.unwrap_or_else(|| plain(&name)));
    }
    workflows
}

/// A workflow that is always fine.
fn plain(name: &str) -> Workflow {
    let source = json!({
        "workflow": name,
        "input": input_schema(),
        "steps": {
            "a": {
                "capability": "work",
                "with": { "ns": "${{ input.ns }}", "n": "${{ input.n }}" },
                "retry": { "attempts": 4 },
            },
            "b": {
                "capability": "pay",
                "with": { "ns": "${{ input.ns }}", "n": "${{ steps.a.output.v }}" },
                "retry": { "attempts": 4 },
            },
        },
    });
    Workflow::sound(name, &source)
}

/// A loop that is long enough to see whether its steps grow dearer.
pub(crate) fn long() -> Workflow {
    let source = json!({
        "workflow": "long",
        "input": input_schema(),
        "steps": { "again": {
            "repeat": { "while": "${{ loop.index < 40 }}", "max": 40 },
            "capability": "work",
            "with": { "ns": "${{ input.ns }}", "n": "${{ loop.index }}" },
            "retry": { "attempts": 4 },
        } },
    });
    Workflow::sound("long", &source)
}

fn input_schema() -> Value {
    json!({
        "ns": { "type": "string" },
        "n": { "type": "integer" },
        "items": { "type": "array", "default": [1, 2, 3] },
        "pad": { "type": "string", "default": "" },
    })
}

impl Builder<'_> {
    fn workflow(&mut self, name: &str) -> String {
        let steps = self.steps();
        let mut flow = json!({ "workflow": name, "input": input_schema(), "steps": steps });
        if self.random.chance(60) {
            self.pure = false;
            flow["timeout"] = json!("20m");
        }
        flow.to_string()
    }

    fn steps(&mut self) -> Value {
        let count = if self.depth == 0 { self.random.between(2, 7) } else { self.random.between(1, 3) };
        let mut steps = Map::new();
        let mut names: Vec<String> = Vec::new();
        for number in 0..count {
            let name = format!("s{number}");
            let step = self.step(&names);
            steps.insert(name.clone(), step);
            names.push(name);
        }
        Value::Object(steps)
    }

    fn step(&mut self, before: &[String]) -> Value {
        let mut step = match self.random.below(100) {
            0..=43 => self.call(before),
            44..=46 => self.auction(before),
            47 => self.publish(),
            48 => self.share(),
            49 => self.listen(),
            50..=52 => self.beside_others(before),
            53..=62 => self.fan(before),
            63..=70 => self.repeat(),
            71..=78 if self.depth < 2 => self.group(),
            79..=86 => self.child(),
            87..=91 => json!({ "wait": self.wait() }),
            92..=94 => json!({ "wait": { "signal": "go" } }),
            95..=98 => json!({ "approve": { "title": "on with ${{ input.n }}?" } }),
            _ => self.limited_wait(),
        };
        self.order(&mut step, before);
        step
    }

    fn wait(&mut self) -> &'static str {
        self.random.pick::<&str>(&["10ms", "1s", "7s", "90s", "10m", "1h"])
    }

    fn limited_wait(&mut self) -> Value {
        self.pure = false;
        if self.random.chance(500) {
            return json!({ "wait": { "signal": "go", "timeout": "40s" } });
        }
        json!({ "approve": { "title": "quick?", "timeout": "2m" } })
    }

    /// `needs`, `if` and what else decides the order.
    fn order(&mut self, step: &mut Value, before: &[String]) {
        let known = step.as_object().is_some_and(|step| step.contains_key("needs"));
        if !before.is_empty() && !known && self.random.chance(450) {
            let need = self.random.pick(before).clone();
            step["needs"] = json!([need]);
            match self.random.below(10) {
                0 => step["if"] = json!("${{ always() }}"),
                1 => step["if"] = json!("${{ failure() }}"),
                2 => step["if"] = json!("${{ success() && input.n > 5 }}"),
                3 => step["if"] = json!("${{ cancelled() || success() }}"),
                _ => {}
            }
        }
        if self.random.chance(80) {
            step["continue_on_error"] = json!(true);
        }
        if self.random.chance(25) {
            self.pure = false;
            step["deadline"] = json!(*self.random.pick(&["20s", "5m"]));
        }
    }

    fn with(&mut self, before: &[String]) -> Value {
        let number = self.random.below(1_000);
        let mut with = json!({ "ns": "${{ input.ns }}", "n": "${{ input.n }}", "k": number });
        if !before.is_empty() && self.random.chance(400) {
            let from = self.random.pick(before);
            with["from"] = json!(format!("${{{{ steps.{from}.output }}}}"));
        }
        if self.random.chance(50) {
            with["fail"] = json!(true);
        }
        if self.random.chance(30) {
            with["big"] = json!(true);
        }
        if self.random.chance(50) {
            with["pad"] = json!("${{ input.pad }}");
        }
        with
    }

    fn call(&mut self, before: &[String]) -> Value {
        let capability = *self.random.pick(&["work", "work", "look", "pay", "charge", "flow", "flow"]);
        let mut step = json!({ "capability": capability, "with": self.with(before) });
        self.policies(&mut step, capability);
        step
    }

    /// A call whose agent is chosen by bids.
    fn auction(&mut self, before: &[String]) -> Value {
        // Which agents there are, and how quick they are, decides who wins, and whether one does.
        self.pure = false;
        let capability = *self.random.pick(&["job", "job", "deal"]);
        let mut step = json!({ "capability": capability, "with": self.with(before) });
        self.policies(&mut step, capability);
        step["assign"] = match self.random.below(4) {
            0 => json!("auction"),
            1 => json!({ "auction": { "enough": 1, "wait": "20s", "accept": "5s" } }),
            2 => json!({ "auction": { "award": "${{ bid.cost > 2 ? null : bid.seconds * bid.record.slowness }}" } }),
            _ => json!({ "auction": { "award": "${{ bid.cost + input.n }}", "accept": "2s", "max_awards": 2 } }),
        };
        if self.random.chance(200) {
            step["for_each"] = json!([1, 2]);
        }
        step
    }

    /// Retry, effect, compensation and the like.
    fn policies(&mut self, step: &mut Value, capability: &str) {
        let initial = *self.random.pick(&["50ms", "1s", "20s"]);
        step["retry"] = json!({ "attempts": 4, "backoff": { "initial": initial, "factor": 2, "max": "1m" } });
        if capability == "charge" {
            step["effect"] = json!("write");
        }
        if matches!(capability, "charge" | "pay" | "deal") {
            match self.random.below(8) {
                0 | 1 => step["on_unknown"] = json!("reconcile with check"),
                2 => {
                    step["on_unknown"] = json!("retry");
                    step["with"]["again"] = json!(true);
                }
                3 => {
                    self.pure = false;
                    step["on_unknown"] = json!("fail");
                }
                _ => {}
            }
        }
        if self.random.chance(120) {
            step["compensate"] = json!({ "capability": "undo", "with": { "ns": "${{ input.ns }}" } });
        }
        if self.random.chance(100) {
            let key = *self.random.pick(&["shared", "${{ input.n }}"]);
            let limit = self.random.between(1, 2);
            step["concurrency"] = json!({ "key": key, "limit": limit });
        }
        if self.random.chance(150) {
            step["priority"] = json!(self.random.below(20));
        }
        if self.random.chance(40) {
            self.pure = false;
            step["timeout"] = json!(*self.random.pick(&["300ms", "5s", "2m"]));
        }
    }

    fn publish(&mut self) -> Value {
        self.pure = false;
        let topic = *self.random.pick(&["steps.done", "orders.paid"]);
        json!({ "publish": { "type": "sim.step", "topic": topic, "data": { "n": "${{ input.n }}" } } })
    }

    fn share(&mut self) -> Value {
        self.pure = false;
        match self.random.below(3) {
            0 => json!({ "state": { "space": "steps", "get": "run/${{ run.id }}" } }),
            1 => json!({ "state": { "space": "steps", "put": "run/all", "value": "${{ input.n }}" } }),
            _ => json!({ "state": { "space": "steps", "put": "run/${{ run.id }}", "value": "${{ input.n }}" } }),
        }
    }

    fn listen(&mut self) -> Value {
        self.pure = false;
        json!({ "wait": { "event": *self.random.pick(&["steps.done", "steps.*", "orders.*"]), "timeout": "40s" } })
    }

    /// A call under a lock, or one that has read shared state.
    fn beside_others(&mut self, before: &[String]) -> Value {
        let mut step = self.call(before);
        if self.random.chance(850) {
            step["with_lock"] = json!(*self.random.pick(&["flow.a", "flow.b"]));
            return step;
        }
        self.pure = false;
        step["reads"] = json!({ "seen": { "space": "steps", "key": "run/all" } });
        step["with"]["seen"] = json!("${{ reads.seen.version }}");
        step
    }

    fn fan(&mut self, before: &[String]) -> Value {
        let mut step = self.call(before);
        let count = self.random.below(7);
        step["for_each"] =
            if self.random.chance(500) { json!("${{ input.items }}") } else { json!((0..count).collect::<Vec<_>>()) };
        step["max_parallel"] = json!(self.random.between(1, 4));
        step["with"]["item"] = json!("${{ item }}");
        step["with"]["at"] = json!("${{ index }}");
        step
    }

    fn repeat(&mut self) -> Value {
        let max = self.random.between(1, 5);
        let mut repeat = json!({ "until": "${{ output.v > 700 }}", "max": max });
        if self.random.chance(300) {
            repeat["delay"] = json!("2s");
        }
        json!({
            "repeat": repeat,
            "capability": *self.random.pick(&["work", "look"]),
            "with": { "ns": "${{ input.ns }}", "n": "${{ input.n }}", "turn": "${{ loop.index }}" },
            "retry": { "attempts": 4 },
        })
    }

    fn group(&mut self) -> Value {
        self.depth += 1;
        let steps = self.steps();
        self.depth -= 1;
        let mut step = json!({ "steps": steps });
        if self.random.chance(250) {
            step["for_each"] = json!([1, 2]);
        }
        step
    }

    fn child(&mut self) -> Value {
        if self.children.is_empty() {
            return json!({ "wait": "1s" });
        }
        let (name, pure) = self.random.pick(&self.children).clone();
        self.pure &= pure;
        json!({ "workflow": name, "with": { "ns": "${{ input.ns }}", "n": "${{ input.n + 1 }}" } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_workflows_pass_the_check_and_some_are_not_pure() {
        check(&long().compiled.source).unwrap();
        check(&plain("p").compiled.source).unwrap();
        let mut random = Random::new(3);
        let workflows = pool(&mut random, 200);
        let fallbacks = workflows.iter().filter(|flow| flow.compiled == plain(&flow.name).compiled).count();
        assert!(fallbacks < 10, "{fallbacks} of 200 workflows could not be made");
        assert!(workflows.iter().any(|flow| !flow.pure) && workflows.iter().any(|flow| flow.pure));
        let all: String = workflows.iter().map(|flow| flow.compiled.source.as_str()).collect();
        for part in [
            "for_each",
            "repeat",
            "approve",
            "signal",
            "compensate",
            "reconcile with",
            "deadline",
            "\"flow\"",
            "publish",
            "\"put\"",
            "steps.done",
            "with_lock",
            "reads",
            "\"assign\"",
        ] {
            assert!(all.contains(part), "no workflow uses {part}");
        }
    }
}
