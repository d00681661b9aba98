//! Values with expressions in them.
//!
//! For: templates and conditions. Not for: literal fields (see `fields`).
//! Invariant: a finding inside an expression points at its very characters, where the text is in the source as it was
//! parsed (escapes in quotes prevent that).

use std::ops::Range;

use consort_types::limits;
use consort_workflow::{
    Environment, Expression, InputSpec, Reference, STEP_STATUSES, Template, TextPart,
    cel::{self, Kind, Problem, Use},
    listed,
};
use serde_json::Value;

use super::{
    fields::PlainReader,
    habits::{self, Known},
    scope::{Place, Scope},
};
use crate::yaml::{Entry, Node, NodeKind};

/// A part of a text: literal, or an expression between `${{` and `}}`.
enum Part<'t> {
    Literal(String),
    Expression(&'t str),
}

const OPEN: &str = "${{";

/// Cuts a text at its expressions. `$${{` is a literal `${{`. The error is the rest that is not closed.
fn parts(text: &str) -> Result<Vec<Part<'_>>, &str> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(OPEN) {
        if rest[..at].ends_with('$') {
            literal.push_str(&rest[..at - 1]);
            literal.push_str(OPEN);
            rest = &rest[at + OPEN.len()..];
            continue;
        }
        literal.push_str(&rest[..at]);
        let inner = &rest[at + OPEN.len()..];
        let length = cel::closing(inner).ok_or(&rest[at..])?;
        if !literal.is_empty() {
            parts.push(Part::Literal(std::mem::take(&mut literal)));
        }
        parts.push(Part::Expression(&inner[..length]));
        rest = &inner[length + 2..];
    }
    literal.push_str(rest);
    if !literal.is_empty() || parts.is_empty() {
        parts.push(Part::Literal(literal));
    }
    Ok(parts)
}

/// Reads values with expressions, and resolves the names in them.
pub(super) struct ValueReader<'s> {
    pub(super) plain: PlainReader<'s>,
    pub(super) scope: Scope,
    /// The declared input, for the types of expressions.
    pub(super) input: InputSpec,
    /// Bytes of expressions read so far.
    pub(super) expression_bytes: usize,
}

impl ValueReader<'_> {
    /// A value with expressions anywhere inside.
    pub(super) fn template(&mut self, node: &Node, place: Place) -> Template {
        match &node.kind {
            NodeKind::Scalar(Value::String(text)) => self.text_template(text, node, place).0,
            NodeKind::Scalar(value) => Template::Literal(value.clone()),
            NodeKind::List(items) => {
                let items: Vec<Template> = items.iter().map(|item| self.template(item, place)).collect();
                literal_list(items)
            }
            NodeKind::Map(entries) => {
                let mut map: Vec<(String, Template)> =
                    entries.iter().map(|entry| (entry.key.clone(), self.template(&entry.value, place))).collect();
                map.sort_by(|a, b| a.0.cmp(&b.0));
                literal_map(map)
            }
        }
    }

    /// A template whose value must be of a kind, as far as that is known.
    pub(super) fn template_of(&mut self, entry: &Entry, wanted: Kind, place: Place) -> Template {
        let (template, kind) = match &entry.value.kind {
            NodeKind::Scalar(Value::String(text)) => self.text_template(text, &entry.value, place),
            NodeKind::List(_) => (self.template(&entry.value, place), Kind::List),
            NodeKind::Map(_) => (self.template(&entry.value, place), Kind::Map),
            NodeKind::Scalar(Value::Null) => (Template::Literal(Value::Null), Kind::Null),
            NodeKind::Scalar(Value::Bool(value)) => (Template::Literal(Value::from(*value)), Kind::Bool),
            NodeKind::Scalar(value) => (Template::Literal(value.clone()), Kind::Number),
        };
        if kind != Kind::Any && kind != wanted {
            let message = format!("`{}` must be {}, found {}", entry.key, wanted.name(), kind.name());
            self.plain.report.error("type-mismatch", entry.value.span.clone(), message);
        }
        template
    }

    fn text_template(&mut self, text: &str, node: &Node, place: Place) -> (Template, Kind) {
        let parts = match parts(text) {
            Ok(parts) => parts,
            Err(rest) => {
                let span = self.locate(rest, &node.span, node.span.start).unwrap_or(node.span.clone());
                let found = self.plain.report.error("expression-syntax", span, "`${{` is not closed");
                found.hint("end the expression with `}}`, or write `$${{` for these characters themselves");
                return (Template::Literal(Value::Null), Kind::Any);
            }
        };
        let mut compiled = Vec::new();
        let (mut kind, mut from) = (Kind::Any, node.span.start);
        for part in parts {
            compiled.push(match part {
                Part::Literal(literal) => {
                    self.warn_of_forgotten(&literal, node, from);
                    TextPart::Literal(literal)
                }
                Part::Expression(inner) => {
                    if self.plain.report.is_full() || self.expression_bytes > limits::EXPRESSIONS_BYTES_MAX {
                        break;
                    }
                    let place_of = self.locate(inner, &node.span, from);
                    from = place_of.as_ref().map_or(from, |span| span.end);
                    let Some((expression, known)) = self.expression(inner, place_of.as_ref(), &node.span, place) else {
                        continue;
                    };
                    kind = known;
                    TextPart::Expression(expression)
                }
            });
        }
        match compiled.len() {
            1 => match compiled.remove(0) {
                TextPart::Literal(literal) => (Template::Literal(Value::String(literal)), Kind::Text),
                TextPart::Expression(expression) => (Template::Expression(expression), kind),
            },
            0 => (Template::Literal(Value::Null), Kind::Any),
            _ => (Template::Text(compiled), Kind::Text),
        }
    }

    /// Warns where a literal text reads like an expression.
    fn warn_of_forgotten(&mut self, literal: &str, node: &Node, from: usize) {
        let step = |name: &str| self.scope.knows(name);
        let input = |name: &str| {
            let fields = self.input.schema().and_then(|schema| schema.get("properties"));
            fields.is_some_and(|fields| fields.get(name).is_some())
        };
        let each = self.scope.frames.iter().any(|frame| frame.each);
        let Some((at, inner)) = habits::forgotten(literal, &Known { step: &step, input: &input, each }) else { return };
        let found = &literal[at];
        let span = self.locate(found, &node.span, from).unwrap_or(node.span.clone());
        let message =
            format!("`{found}` is taken as it is written: an expression is written between `${{{{` and `}}}}`");
        let hint = format!("write `${{{{ {inner} }}}}`, or `${{{{ '{found}' }}}}` for these very characters");
        self.plain.report.warning("no-expression", span, message).hint(hint);
    }

    /// One expression that must give `true` or `false`: `${{ … }}`, or a literal truth value.
    pub(super) fn condition(&mut self, entry: &Entry, place: Place) -> Option<Expression> {
        let node = &entry.value;
        let text = match &node.kind {
            NodeKind::Scalar(Value::Bool(value)) => {
                let source = if *value { "true" } else { "false" };
                return self.expression(source, None, &node.span, place).map(|(expression, _)| expression);
            }
            NodeKind::Scalar(Value::String(text)) => text,
            _ => {
                let message = format!("`{}` must be an expression, found {}", entry.key, node.kind_name());
                self.plain.report.error("bad-type", node.span.clone(), message).hint("write `${{ … }}`");
                return None;
            }
        };
        self.only_expression(entry, text, (Kind::Bool, "true or false", "compare it, such as `size(value) > 0`"), place)
    }

    /// One expression that must give a number, as far as that is known: `${{ … }}`.
    pub(super) fn number(&mut self, entry: &Entry, hint: &str, place: Place) -> Option<Expression> {
        let Some(text) = entry.value.as_str() else {
            let message = format!("`{}` must be an expression, found {}", entry.key, entry.value.kind_name());
            self.plain.report.error("bad-type", entry.value.span.clone(), message).hint(hint);
            return None;
        };
        self.only_expression(entry, text, (Kind::Number, Kind::Number.name(), hint), place)
    }

    /// A text that is one expression of a kind, which messages call so; another kind is refused with the hint.
    fn only_expression(
        &mut self,
        entry: &Entry,
        text: &str,
        (wanted, named, hint): (Kind, &str, &str),
        place: Place,
    ) -> Option<Expression> {
        let node = &entry.value;
        match self.text_template(text.trim(), node, place) {
            (Template::Expression(expression), kind) if kind == Kind::Any || kind == wanted => Some(expression),
            (Template::Expression(_), kind) => {
                let message = format!("`{}` must be {named}, but this is {}", entry.key, kind.name());
                let found = self.plain.report.error("type-mismatch", node.span.clone(), message);
                found.hint(hint);
                None
            }
            (Template::Literal(Value::Null), _) => None,
            (Template::Literal(_), _) => {
                let message = format!("`{}` must be one expression, found plain text", entry.key);
                let shown: String = text.chars().take(60).collect();
                self.plain
                    .report
                    .error("bad-type", node.span.clone(), message)
                    .hint(format!("write `${{{{ {shown} }}}}`"));
                None
            }
            _ => {
                let message = format!("`{}` must be one expression, found text around it", entry.key);
                self.plain
                    .report
                    .error("bad-type", node.span.clone(), message)
                    .hint("put all of it inside one `${{ … }}`");
                None
            }
        }
    }

    /// The value of a constant condition.
    pub(super) fn constant(&mut self, expression: &Expression, entry: &Entry) -> Option<bool> {
        if !expression.references().is_empty() || expression.uses_status() {
            return None;
        }
        match expression.evaluate_bool(&Environment::default()) {
            Ok(value) => Some(value),
            Err(error) => {
                let found = self.plain.report.error("constant-error", entry.value.span.clone(), error.message);
                if let Some(hint) = error.hint {
                    found.hint(hint);
                }
                None
            }
        }
    }

    /// Where a text is in the source, within a node and not before `from`.
    fn locate(&self, text: &str, within: &Range<usize>, from: usize) -> Option<Range<usize>> {
        let start = from.clamp(within.start, within.end);
        let found = start + self.plain.source.get(start..within.end)?.find(text)?;
        Some(found..found + text.len())
    }

    /// Compiles the expression between `${{` and `}}`; `at` is its place, `whole` the value around it.
    fn expression(
        &mut self,
        inner: &str,
        at: Option<&Range<usize>>,
        whole: &Range<usize>,
        place: Place,
    ) -> Option<(Expression, Kind)> {
        let text = inner.trim();
        let lead = inner.len() - inner.trim_start().len();
        let span = |span: &Range<usize>| match at {
            Some(at) => at.start + lead + span.start..at.start + lead + span.end,
            None => whole.clone(),
        };
        if self.plain.report.is_full() || self.expression_bytes > limits::EXPRESSIONS_BYTES_MAX {
            return None;
        }
        self.expression_bytes += text.len();
        if self.expression_bytes > limits::EXPRESSIONS_BYTES_MAX {
            let message = format!("the expressions of the file have more than {} bytes", limits::EXPRESSIONS_BYTES_MAX);
            self.plain
                .report
                .error("too-large", whole.clone(), message)
                .hint("compute in agents, or split the workflow");
            return None;
        }
        let program = match cel::parse(text) {
            Ok(program) => program,
            Err(problems) => {
                self.problems(problems, &span);
                return None;
            }
        };
        let references = self.resolve(&program, place, &span)?;
        if program.uses_status && !place.status {
            let message = "`success`, `failure`, `always` and `cancelled` can be called only in `if`";
            self.plain.report.error("misplaced-function", span(&(0..text.len())), message);
            return None;
        }
        let (kind, problems) = cel::infer(&program, text, self.input.schema());
        self.problems(problems, &span);
        for (word, at) in program.compared_statuses().into_iter().filter(|(word, _)| !STEP_STATUSES.contains(word)) {
            let message = format!("the status of a step is never `{word}`");
            let words = listed(STEP_STATUSES);
            self.plain.report.warning("no-such-status", span(at), message).hint(format!("it is one of {words}"));
        }
        Some((Expression::new(text, program, references), kind))
    }

    fn problems(&mut self, problems: Vec<Problem>, span: &impl Fn(&Range<usize>) -> Range<usize>) {
        for problem in problems {
            let found = self.plain.report.error(problem.code, span(&problem.span), problem.message);
            if let Some(hint) = problem.hint {
                found.hint(hint);
            }
        }
    }

    /// The references of the program; `None` where a name means nothing here.
    fn resolve(
        &mut self,
        program: &cel::Program,
        place: Place,
        span: &impl Fn(&Range<usize>) -> Range<usize>,
    ) -> Option<Vec<Reference>> {
        let mut references = Some(Vec::new());
        for used in &program.uses {
            let (result, at) = match used {
                Use::Root(root, at) => (self.scope.root(*root, place), at),
                Use::Step(name, at) => (self.scope.step(name, place), at),
            };
            match result {
                Ok(reference) => references.iter_mut().for_each(|list| list.push(reference.clone())),
                Err(unresolved) => {
                    self.plain.report.error(unresolved.code, span(at), unresolved.message).hint(unresolved.hint);
                    references = None;
                }
            }
        }
        references
    }
}

/// A list without holes is a literal as a whole.
fn literal_list(items: Vec<Template>) -> Template {
    if !items.iter().all(|item| matches!(item, Template::Literal(_))) {
        return Template::List(items);
    }
    let values =
        items.into_iter().filter_map(|item| if let Template::Literal(value) = item { Some(value) } else { None });
    Template::Literal(values.collect())
}

/// A map without holes is a literal as a whole.
pub(super) fn literal_map(entries: Vec<(String, Template)>) -> Template {
    if !entries.iter().all(|(_, value)| matches!(value, Template::Literal(_))) {
        return Template::Map(entries);
    }
    let literal = |(key, value)| if let Template::Literal(value) = value { Some((key, value)) } else { None };
    Template::Literal(Value::Object(entries.into_iter().filter_map(literal).collect()))
}
