//! Which instances may perform a call.
//!
//! For: `route`, and the name of an agent. Not for: choosing an instance (the engine does).
//! Invariant: a range of versions that is accepted here can be read by the dispatcher.

use consort_types::{Name, limits};
use consort_workflow::{RouteSpec, Template};
use serde_json::Value;

use super::{scope::Place, values::ValueReader};
use crate::yaml::{Entry, NodeKind};

impl ValueReader<'_> {
    /// The name of an agent. `version` is parsed elsewhere.
    pub(super) fn agent(&mut self, entry: &Entry) -> Option<String> {
        let split = entry.value.as_str().and_then(|text| text.split_once('@'));
        let Some((name, version)) = split.filter(|(name, _)| Name::check("agent", name).is_ok()) else {
            return self.plain.name("agent", &entry.value);
        };
        let version: String = version.chars().take(40).collect();
        let message = "the agent must be a name, without a version";
        let found = self.plain.report.error("bad-name", entry.value.span.clone(), message);
        found.hint(format!("write `agent: {name}` and `route: {{ version: \"{version}\" }}`"));
        None
    }

    pub(super) fn route(&mut self, entry: &Entry, place: Place) -> Option<RouteSpec> {
        const KEYS: [&str; 3] = ["version", "labels", "sticky"];
        let fields = self.plain.map(&entry.value, "`route`", &KEYS)?;
        if !fields.misspelt && KEYS.iter().all(|key| fields.get(key).is_none()) {
            let found = self.plain.report.error("missing-key", entry.key_span.clone(), "`route` is empty");
            found.hint("add `version`, `labels` or `sticky`, or remove it");
            return None;
        }
        let version = fields.get("version").and_then(|entry| self.version_range(entry));
        let labels = fields.get("labels").map(|entry| self.labels(entry, place)).unwrap_or_default();
        let sticky = fields.get("sticky").map(|entry| self.template(&entry.value, place));
        Some(RouteSpec { version, labels, sticky })
    }

    /// A range of semantic versions, or one version of whatever form.
    fn version_range(&mut self, entry: &Entry) -> Option<String> {
        let text = match &entry.value.kind {
            // As it was written: `1.10` is not `1.1`.
            NodeKind::Scalar(Value::Number(_)) => self.plain.source.get(entry.value.span.clone())?.to_owned(),
            _ => self.plain.text(entry)?,
        };
        let text = text.trim();
        let (bytes, max) = (text.len(), limits::NAME_BYTES_MAX);
        let span = entry.value.span.clone();
        if text.contains("${{") {
            let found = self.plain.report.error("bad-version", span, "the versions must be known before a run");
            found.hint("write them out, or route by a label: its value may be an expression");
            return None;
        }
        if bytes == 0 || bytes > max {
            let message = format!("`version` has {bytes} bytes, but must have 1 to {max}");
            self.plain.report.error("bad-version", span, message);
            return None;
        }
        if looks_like_a_range(text)
            && let Err(error) = semver::VersionReq::parse(text)
        {
            let message = format!("`{text}` is not a range of versions: {error}");
            let found = self.plain.report.error("bad-version", span, message);
            found.hint("write it like `^1.2`, `~1.4.2` or `>=1.4, <2`; or one version as the agent's author wrote it");
            return None;
        }
        Some(text.to_owned())
    }

    fn labels(&mut self, entry: &Entry, place: Place) -> Vec<(String, Template)> {
        let NodeKind::Map(entries) = &entry.value.kind else {
            let message = format!("`labels` must be a map, found {}", entry.value.kind_name());
            self.plain
                .report
                .error("bad-type", entry.value.span.clone(), message)
                .hint("write `labels: { NAME: VALUE }`");
            return Vec::new();
        };
        let (count, max) = (entries.len(), limits::LABELS_MAX);
        if count == 0 || count > max {
            let message = format!("`labels` has {count} labels, but must have 1 to {max}");
            self.plain.report.error("out-of-range", entry.key_span.clone(), message);
            return Vec::new();
        }
        let mut labels: Vec<_> = entries.iter().filter_map(|entry| self.label(entry, place)).collect();
        labels.sort_by(|a, b| a.0.cmp(&b.0));
        labels
    }

    fn label(&mut self, entry: &Entry, place: Place) -> Option<(String, Template)> {
        if let Err(error) = Name::check("label", &entry.key) {
            let found = self.plain.report.error("bad-name", entry.key_span.clone(), error.message);
            if let Some(hint) = error.hint {
                found.hint(hint);
            }
            return None;
        }
        if matches!(entry.value.kind, NodeKind::List(_) | NodeKind::Map(_) | NodeKind::Scalar(Value::Null)) {
            let message = format!("label `{}` must be a text, found {}", entry.key, entry.value.kind_name());
            self.plain.report.error("bad-type", entry.value.span.clone(), message);
            return None;
        }
        let template = self.template(&entry.value, place);
        if let Template::Literal(Value::String(text)) = &template
            && text.len() > limits::NAME_BYTES_MAX
        {
            let message =
                format!("label `{}` has {} bytes, the limit is {}", entry.key, text.len(), limits::NAME_BYTES_MAX);
            self.plain.report.error("too-large", entry.value.span.clone(), message);
        }
        Some((entry.key.clone(), template))
    }
}

/// Whether a text can only be a range: an exact version has none of these characters.
fn looks_like_a_range(text: &str) -> bool {
    text.starts_with(['^', '~', '>', '<', '=']) || text.contains(['*', ',', ' '])
}
