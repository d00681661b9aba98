//! What a step does, and the settings that belong to it.
//!
//! For: calls, groups, child workflows, waits, approvals. Not for: fields that every step may have (see `step`).
//! Invariant: a step has exactly one action, and no setting that its action would ignore.

use consort_types::{EffectClass, OnUnknown, Span, Time, event::check_topic_pattern};
use consort_workflow::{
    Action, Approve, BlockId, Compensate, Concurrency, Retry, Step, Template, Wait, cel::Kind, listed,
};
use serde_json::Value;

use super::{
    Reader,
    auction::Auctions,
    declared_input::InputReader,
    fields::{Fields, fan_out},
    scope::Place,
    shared::Shared,
};
use crate::yaml::{Entry, NodeKind};

/// Keys that define what a step does; `capability` and `agent` may be combined.
const ACTIONS: [&str; 9] =
    ["capability", "agent", "steps", "workflow", "wait", "approve", "consensus", "publish", "state"];

/// Words of the language that this version does not carry out.
pub(crate) const LATER: [&str; 1] = ["expand"];

/// The keys of `wait`: what is waited for, and then what belongs to some of it.
const WAIT_KEYS: [&str; 7] = ["for", "until", "signal", "event", "timeout", "schema", "filter"];

/// Settings and the actions that they mean something to.
const SETTINGS: [(&str, &[&str]); 11] = [
    ("with", &["call", "workflow"]),
    ("retry", &["call", "state"]),
    ("timeout", &["call"]),
    ("priority", &["call"]),
    ("concurrency", &["call"]),
    ("route", &["call"]),
    ("effect", &["call"]),
    ("on_unknown", &["call"]),
    ("compensate", &["call", "workflow"]),
    ("agent", &["call"]),
    ("assign", &["call"]),
];

impl Reader<'_> {
    /// The one thing that the step does.
    pub(super) fn action(&mut self, fields: &Fields<'_>, block: BlockId, at: usize) -> Option<Action> {
        let given: Vec<&Entry> = ACTIONS.iter().filter_map(|key| fields.get(key)).collect();
        let call = |entry: &Entry| entry.key == "capability" || entry.key == "agent";
        match given[..] {
            [] => {
                // A misspelt or later word was reported already, and defines the action.
                if !fields.misspelt && !LATER.iter().any(|word| fields.get(word).is_some()) {
                    let found = self.report().error("no-action", fields.place.clone(), "the step does nothing");
                    found.hint(format!("add one of {}", listed(ACTIONS)));
                }
                return None;
            }
            [_] => {}
            [first, second] if call(first) && call(second) => {}
            [first, .., second] => {
                let message = format!("a step does one thing, but this one has `{}` and `{}`", first.key, second.key);
                let found = self.report().error("contradiction", second.key_span.clone(), message);
                found.hint("make two steps of it");
            }
        }
        let entry = given[0];
        match entry.key.as_str() {
            "steps" => Some(Action::Group(self.block(entry, Some((block, at))))),
            "workflow" => self.child(entry),
            "wait" => self.wait(entry).map(Action::Wait),
            "approve" => self.approve(entry).map(Action::Approve),
            "consensus" => self.consensus(entry, block, at),
            "publish" => Shared(self).publish(entry),
            "state" => Shared(self).state(entry).map(Action::State),
            _ => {
                let capability =
                    fields.get("capability").and_then(|entry| self.plain().name("capability", &entry.value));
                let agent = fields.get("agent").and_then(|entry| self.values.agent(entry));
                (capability.is_some() || agent.is_some()).then_some(Action::Call { capability, agent })
            }
        }
    }

    fn child(&mut self, entry: &Entry) -> Option<Action> {
        if matches!(entry.value.kind, NodeKind::Scalar(_)) {
            let name = self.plain().name("workflow name", &entry.value)?;
            return Some(Action::Workflow { name, version: None });
        }
        let fields = self.plain().map(&entry.value, "`workflow`", &["name", "version"])?;
        let version = fields.get("version").and_then(|entry| self.plain().version(entry));
        let name = self.plain().required(
            &fields,
            "name",
            "write `workflow: NAME`, or `workflow: { name: NAME, version: V }`",
        )?;
        Some(Action::Workflow { name: self.plain().name("workflow name", &name.value)?, version })
    }

    fn wait(&mut self, entry: &Entry) -> Option<Wait> {
        if !matches!(entry.value.kind, NodeKind::Map(_)) {
            return Some(Wait::For(self.span_template(entry)));
        }
        let fields = self.plain().map(&entry.value, "`wait`", &WAIT_KEYS)?;
        let given: Vec<&Entry> = WAIT_KEYS[..4].iter().filter_map(|key| fields.get(key)).collect();
        let [only] = given[..] else {
            let message = "`wait` needs one of `for`, `until`, `signal` and `event`";
            let found = self.report().error("contradiction", entry.key_span.clone(), message);
            found.hint("write `wait: 30s`, `wait: { signal: NAME }` or `wait: { event: TOPIC }`");
            return None;
        };
        let takes: &[&str] = match only.key.as_str() {
            "signal" => &["timeout", "schema"],
            "event" => &["timeout", "filter"],
            _ => &[],
        };
        for extra in WAIT_KEYS[4..].iter().filter(|key| !takes.contains(key)).filter_map(|key| fields.get(key)) {
            let message = format!("`{}` means nothing beside `{}`", extra.key, only.key);
            self.report().error("misplaced-key", extra.key_span.clone(), message).hint("take it out");
        }
        let timeout = fields.get("timeout").filter(|_| takes.contains(&"timeout"));
        let timeout = timeout.and_then(|entry| self.plain().span(entry));
        match only.key.as_str() {
            "signal" => {
                let schema =
                    fields.get("schema").and_then(|entry| InputReader { plain: self.plain() }.read_schema(entry));
                Some(Wait::Signal { name: self.plain().name("signal name", &only.value)?, timeout, schema })
            }
            "event" => Some(self.wait_for_event(only, fields.get("filter"), timeout)),
            "for" => Some(Wait::For(self.span_template(only))),
            _ => Some(Wait::Until(self.time_template(only))),
        }
    }

    fn wait_for_event(&mut self, entry: &Entry, filter: Option<&Entry>, timeout: Option<Span>) -> Wait {
        let topic = self.values.template_of(entry, Kind::Text, Place::default());
        if let Template::Literal(Value::String(text)) = &topic
            && let Err(error) = check_topic_pattern(text)
        {
            Shared(self).refused(entry, error);
        }
        let place = Place { event: true, ..Place::default() };
        Wait::Event { topic, filter: filter.and_then(|entry| self.values.condition(entry, place)), timeout }
    }

    /// A duration, literal or by expression.
    fn span_template(&mut self, entry: &Entry) -> Template {
        let template = self.values.template(&entry.value, Place::default());
        if let Template::Literal(value) = &template
            && let Err(error) = consort_workflow::span_of(value)
        {
            let found = self.report().error("bad-duration", entry.value.span.clone(), error.message);
            found.hint("write a number and a unit, such as `30s`, `1h30m` or `250ms`");
        }
        template
    }

    /// An instant, literal or by expression.
    fn time_template(&mut self, entry: &Entry) -> Template {
        let template = self.values.template(&entry.value, Place::default());
        if let Template::Literal(value) = &template
            && let Err(error) = value.as_str().map_or_else(|| consort_workflow::time_of(value), Time::parse_rfc3339)
        {
            let found = self.report().error("bad-time", entry.value.span.clone(), error.message);
            found.hint("write it as RFC 3339 in UTC, such as `2026-11-22T10:00:00Z`");
        }
        template
    }

    fn approve(&mut self, entry: &Entry) -> Option<Approve> {
        if entry.value.as_str().is_some() {
            let title = self.values.template(&entry.value, Place::default());
            return Some(Approve { title, details: None, timeout: None });
        }
        let fields = self.plain().map(&entry.value, "`approve`", &["title", "details", "timeout"])?;
        let title =
            self.plain().required(&fields, "title", "say what is to be decided: `approve: { title: \"…\" }`")?;
        let title = self.values.template_of(title, Kind::Text, Place::default());
        let details = fields.get("details").map(|entry| self.values.template(&entry.value, Place::default()));
        Some(Approve { title, details, timeout: fields.get("timeout").and_then(|entry| self.plain().span(entry)) })
    }

    fn later(&mut self, entry: &Entry) {
        let message = format!("`{}` is not available yet in this version", entry.key);
        self.report().error("not-available", entry.key_span.clone(), message);
    }

    /// Everything that depends on the action.
    pub(super) fn action_settings(&mut self, fields: &Fields<'_>, step: &mut Step) {
        LATER.iter().filter_map(|word| fields.get(word)).for_each(|entry| self.later(entry));
        self.refuse_misplaced(fields, step.action.kind());
        if let Some(entry) = fields.get("with") {
            step.with = self.with(entry);
        }
        step.retry = match fields.get("retry") {
            Some(entry) => self.retry(entry).unwrap_or_default(),
            None if step.action.kind() == "call" => self.retry.clone(),
            None => Retry::default(),
        };
        step.timeout = fields.get("timeout").and_then(|entry| self.plain().span(entry));
        step.priority =
            fields.get("priority").and_then(|entry| self.plain().integer(entry, -100..=100)).unwrap_or_default();
        step.concurrency = fields.get("concurrency").and_then(|entry| self.concurrency(entry));
        step.route = fields.get("route").and_then(|entry| self.values.route(entry, Place::default()));
        step.effect = fields.get("effect").and_then(|entry| self.effect(entry));
        step.on_unknown = fields.get("on_unknown").and_then(|entry| self.on_unknown(entry)).unwrap_or_default();
        step.compensate = fields.get("compensate").and_then(|entry| self.compensate(entry));
        step.auction = fields.get("assign").and_then(|entry| Auctions(self).assign(entry, &step.action));
    }

    fn refuse_misplaced(&mut self, fields: &Fields<'_>, kind: &'static str) {
        for (key, kinds) in SETTINGS {
            if let Some(entry) = fields.get(key).filter(|_| !kinds.contains(&kind)) {
                let message = format!("`{key}` means nothing on a step of kind `{kind}`");
                let hint = match (key, kind) {
                    ("timeout", "wait") => {
                        "use `deadline`, or `timeout` beside the `signal` or `event` of `wait`".to_owned()
                    }
                    ("timeout", "approve") => "write `approve: { title: …, timeout: … }`".to_owned(),
                    ("timeout", "consensus") => "use `deadline` inside of `consensus`".to_owned(),
                    ("timeout", _) => "use `deadline`".to_owned(),
                    (_, "consensus") => "put it on the voters".to_owned(),
                    (_, "group") => "put it on the steps inside of the group".to_owned(),
                    _ => "take it out".to_owned(),
                };
                self.report().error("misplaced-key", entry.key_span.clone(), message).hint(hint);
            }
        }
    }

    fn with(&mut self, entry: &Entry) -> Template {
        self.values.template_of(entry, Kind::Map, Place::default())
    }

    fn concurrency(&mut self, entry: &Entry) -> Option<Concurrency> {
        if matches!(entry.value.kind, NodeKind::Scalar(Value::Number(_))) {
            return self.plain().integer(entry, fan_out()).map(|limit| Concurrency { key: None, limit });
        }
        let fields = self.plain().map(&entry.value, "`concurrency`", &["key", "limit"])?;
        let key = fields.get("key").map(|entry| self.values.template(&entry.value, Place::default()));
        let limit = self.plain().required(&fields, "limit", "say how many run at once")?;
        Some(Concurrency { key, limit: self.plain().integer(limit, fan_out())? })
    }

    fn effect(&mut self, entry: &Entry) -> Option<EffectClass> {
        let classes = [EffectClass::Read, EffectClass::Idempotent, EffectClass::Write];
        self.plain().word(entry, &classes.map(|class| (class.as_str(), class)))
    }

    fn on_unknown(&mut self, entry: &Entry) -> Option<OnUnknown> {
        if let Some(capability) = entry.value.as_str().and_then(|text| text.strip_prefix("reconcile with ")) {
            return match consort_types::Name::check("capability", capability) {
                Ok(()) => Some(OnUnknown::Reconcile(capability.to_owned())),
                Err(error) => {
                    self.report().error("bad-name", entry.value.span.clone(), error.message);
                    None
                }
            };
        }
        let words = [("ask", 0), ("retry", 1), ("fail", 2), ("reconcile with CAPABILITY", 3)];
        match self.plain().word(entry, &words)? {
            0 => Some(OnUnknown::Ask),
            1 => Some(OnUnknown::Retry),
            _ => Some(OnUnknown::Fail),
        }
    }

    fn compensate(&mut self, entry: &Entry) -> Option<Compensate> {
        const KEYS: [&str; 5] = ["capability", "with", "retry", "timeout", "route"];
        let fields = self.plain().map(&entry.value, "`compensate`", &KEYS)?;
        let hint = "name the capability that undoes the step";
        let capability = self.plain().required(&fields, "capability", hint)?;
        let capability = self.plain().name("capability", &capability.value);
        let own = Place { own: true, ..Place::default() };
        let with = fields.get("with").map(|entry| self.values.template_of(entry, Kind::Map, own));
        let with = with.unwrap_or_else(|| Template::Literal(Value::Object(serde_json::Map::new())));
        let retry = fields.get("retry").and_then(|entry| self.retry(entry));
        let timeout = fields.get("timeout").and_then(|entry| self.plain().span(entry));
        let route = fields.get("route").and_then(|entry| self.values.route(entry, own));
        Some(Compensate { capability: capability?, with, retry, timeout, route })
    }
}
