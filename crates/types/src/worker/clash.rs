//! Where declarations of agents contradict each other.
//!
//! For: what differs between two declarations, of what decides which tasks an agent gets and what they are held against.
//! Not for: what happens then (the engine decides).
//! Invariant: descriptions, estimates and the order of capabilities are no difference: they change nothing for a task.

use super::{AgentDeclaration, CapabilityDeclaration};

impl AgentDeclaration {
    /// What this declaration has that `other`, of the same agent and version, has not, or has otherwise; `None` where
    /// they declare the same.
    pub fn difference(&self, other: &Self) -> Option<String> {
        for own in &self.capabilities {
            let Some(theirs) = other.capability(&own.name) else {
                return Some(format!("only one of them declares the capability `{}`", own.name));
            };
            if own.effect != theirs.effect {
                let (one, two) = (own.effect.as_str(), theirs.effect.as_str());
                return Some(format!("the effect class of `{}` is `{one}` in one and `{two}` in the other", own.name));
            }
            if let Some(side) = own.schema_difference(theirs) {
                return Some(format!("the {side} schema of `{}` differs", own.name));
            }
        }
        if let Some(more) = other.capabilities.iter().find(|theirs| self.capability(&theirs.name).is_none()) {
            return Some(format!("only one of them declares the capability `{}`", more.name));
        }
        if self.subscriptions != other.subscriptions {
            return Some("the subscriptions differ".to_owned());
        }
        (self.labels != other.labels).then(|| "the labels differ".to_owned())
    }

    /// What it declares of a capability.
    pub fn capability(&self, name: &str) -> Option<&CapabilityDeclaration> {
        self.capabilities.iter().find(|capability| capability.name == name)
    }
}

impl CapabilityDeclaration {
    /// Whose schema differs: that of the `input`, or else that of the `output`.
    pub fn schema_difference(&self, other: &Self) -> Option<&'static str> {
        if self.input_schema != other.input_schema {
            return Some("input");
        }
        (self.output_schema != other.output_schema).then_some("output")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::EffectClass;

    fn capability(name: &str) -> CapabilityDeclaration {
        CapabilityDeclaration {
            name: name.to_owned(),
            description: String::new(),
            effect: EffectClass::Read,
            input_schema: true.into(),
            output_schema: true.into(),
            cost_hint_microdollars: None,
            time_hint: None,
        }
    }

    fn agent(capabilities: Vec<CapabilityDeclaration>) -> AgentDeclaration {
        let (name, version, description) = ("a".to_owned(), "1".to_owned(), String::new());
        AgentDeclaration {
            name,
            version,
            description,
            labels: std::collections::BTreeMap::new(),
            capabilities,
            subscriptions: Vec::new(),
        }
    }

    #[test]
    fn what_decides_about_tasks_is_a_difference_and_what_people_read_is_none() {
        let known = agent(vec![capability("x"), capability("y")]);
        let number = || json!({"type": "integer"});
        for (other, said) in [
            (agent(vec![capability("x")]), "only one of them declares the capability `y`"),
            (
                agent(vec![capability("y"), capability("z"), capability("x")]),
                "only one of them declares the capability `z`",
            ),
            (
                agent(vec![CapabilityDeclaration { effect: EffectClass::Write, ..capability("x") }, capability("y")]),
                "the effect class of `x` is `read` in one and `write` in the other",
            ),
            (
                agent(vec![capability("x"), CapabilityDeclaration { input_schema: number(), ..capability("y") }]),
                "the input schema of `y` differs",
            ),
            (
                agent(vec![capability("x"), CapabilityDeclaration { output_schema: number(), ..capability("y") }]),
                "the output schema of `y` differs",
            ),
            (
                AgentDeclaration { labels: [("gpu".to_owned(), "1".to_owned())].into(), ..known.clone() },
                "the labels differ",
            ),
        ] {
            assert_eq!(known.difference(&other).as_deref(), Some(said));
            assert!(other.difference(&known).is_some(), "{said}");
        }
        let shown = CapabilityDeclaration {
            description: "says more".to_owned(),
            cost_hint_microdollars: Some(7),
            ..capability("y")
        };
        let other = AgentDeclaration { description: "new".to_owned(), ..agent(vec![shown, capability("x")]) };
        assert_eq!(known.difference(&other), None);
    }
}
