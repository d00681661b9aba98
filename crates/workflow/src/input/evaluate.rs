//! Whether a value fits a schema, and what is wrong where it does not.
//!
//! For: one rule for the door, which refuses before anything is logged, and for child runs, whose input is made while
//! a record is applied. Not for: schemas as texts.
//! Invariant: the cost is counted before the work is done: each part and each rule costs one unit for each value
//! that it is held against. Findings are Consort's own words, never the value itself, which may be large or private.

use std::fmt;

use serde_json::{Map, Value};

use super::{
    compare::{compare, compare_numbers, is_multiple, weight},
    schema::{PartId, Pattern, Rule, Schema, Type},
};
use crate::{
    cel::{kind_name, text_of},
    suggest::listed,
};

/// Findings after which an evaluation ends.
const FINDINGS_MAX: usize = 5;

/// Characters of a name or an alternative that a finding shows.
const SHOWN_CHARS_MAX: usize = 60;

/// One thing that is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The keyword of JSON Schema that is not met; `false` where nothing is allowed.
    pub code: &'static str,
    /// The place, as an expression would name it: `input.items[2].name`.
    pub path: String,
    /// What is wrong, with the place.
    pub message: String,
}

/// What an evaluation found.
pub(super) enum Outcome {
    /// The value fits.
    Fits,
    /// The first findings, and whether there are more.
    Wrong(Vec<Finding>, bool),
    /// The budget is used up.
    TooCostly,
}

/// Why an evaluation ends before its time.
enum Stop {
    Cost,
    Findings,
}

type Checked = Result<bool, Stop>;

/// A place in a value.
enum Path<'p> {
    Root(&'p str),
    Field(&'p Path<'p>, &'p str),
    Item(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(name) => f.write_str(name),
            Self::Field(above, name) => write!(f, "{above}.{}", cut(name)),
            Self::Item(above, at) => write!(f, "{above}[{at}]"),
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

/// Where findings go; without a place only the answer counts, and the first misfit ends it.
type At<'p> = Option<&'p Path<'p>>;

pub(super) struct Evaluation<'s> {
    schema: &'s Schema,
    budget: u64,
    left: u64,
    findings: Vec<Finding>,
}

impl<'s> Evaluation<'s> {
    pub(super) fn new(schema: &'s Schema, budget: u64) -> Self {
        Self { schema, budget, left: budget, findings: Vec::new() }
    }

    /// What was used of the budget.
    pub(super) fn cost(&self) -> u64 {
        self.budget - self.left
    }

    /// Holds a value against the whole schema; findings call it `root`.
    pub(super) fn run(&mut self, root: &str, value: &Value) -> Outcome {
        let result = self.part(self.schema.root(), value, Some(&Path::Root(root)));
        match result {
            Ok(true) => Outcome::Fits,
            Ok(false) => Outcome::Wrong(std::mem::take(&mut self.findings), false),
            Err(Stop::Findings) => Outcome::Wrong(std::mem::take(&mut self.findings), true),
            Err(Stop::Cost) => Outcome::TooCostly,
        }
    }

    /// Whether a value fits one part; what costs too much does not.
    pub(super) fn fits(&mut self, part: PartId, value: &Value) -> bool {
        self.part(part, value, None).unwrap_or(false)
    }

    fn charge(&mut self, cost: u64) -> Result<(), Stop> {
        let left = self.left.checked_sub(cost);
        self.left = left.unwrap_or(0);
        left.map(drop).ok_or(Stop::Cost)
    }

    fn part(&mut self, id: PartId, value: &Value, at: At<'_>) -> Checked {
        self.charge(1)?;
        let mut fits = true;
        for rule in &self.schema.part(id).rules {
            self.charge(1)?;
            if !self.rule(rule, value, at)? {
                fits = false;
                if at.is_none() {
                    break;
                }
            }
        }
        Ok(fits)
    }

    /// Answers that a value does not fit, and notes why where that is wanted.
    fn wrong(&mut self, at: At<'_>, code: &'static str, what: impl FnOnce() -> String) -> Checked {
        if let Some(path) = at {
            if self.findings.len() >= FINDINGS_MAX {
                return Err(Stop::Findings);
            }
            let path = path.to_string();
            let message = format!("`{path}` {}", what());
            self.findings.push(Finding { code, path, message });
        }
        Ok(false)
    }

    fn expect(&mut self, fits: bool, at: At<'_>, code: &'static str, what: impl FnOnce() -> String) -> Checked {
        if fits { Ok(true) } else { self.wrong(at, code, what) }
    }

    fn rule(&mut self, rule: &'s Rule, value: &Value, at: At<'_>) -> Checked {
        match (rule, value) {
            (Rule::Never, _) => self.wrong(at, "false", || "is not allowed".to_owned()),
            (Rule::Types(types), _) => self.types(types, value, at),
            (Rule::OneOf(_), _) => self.one_of(rule, value, at),
            (Rule::All(parts), _) => self.all(parts, value, at),
            (Rule::Any(parts), _) => self.any(parts, value, at),
            (Rule::ExactlyOne(parts), _) => self.exactly_one(parts, value, at),
            (Rule::Not(part), _) => {
                let fits = self.part(*part, value, None)?;
                self.expect(!fits, at, "not", || "fits what it must not be".to_owned())
            }
            (Rule::If { condition, then, otherwise }, _) => {
                let chosen = if self.part(*condition, value, None)? { then } else { otherwise };
                chosen.map_or(Ok(true), |part| self.part(part, value, at))
            }
            (_, Value::Number(_)) => self.number(rule, value, at),
            (_, Value::String(text)) => self.text(rule, text, at),
            (_, Value::Array(items)) => self.list(rule, items, at),
            (_, Value::Object(map)) => self.map(rule, map, value, at),
            _ => Ok(true),
        }
    }

    fn types(&mut self, types: &[Type], value: &Value, at: At<'_>) -> Checked {
        let fits = types.iter().any(|wanted| is_of(value, *wanted));
        self.expect(fits, at, "type", || {
            let names: Vec<String> = types.iter().map(|wanted| format!("`{}`", wanted.name())).collect();
            format!("is {}, not of type {}", kind_name(value), names.join(" or "))
        })
    }

    fn one_of(&mut self, rule: &Rule, value: &Value, at: At<'_>) -> Checked {
        let Rule::OneOf(allowed) = rule else { return Ok(true) };
        for one in allowed {
            // A value of another kind is recognised at once.
            let alike = std::mem::discriminant(&one.0) == std::mem::discriminant(value);
            self.charge(if alike { weight(&one.0) } else { 1 })?;
            if alike && compare(&one.0, value).is_eq() {
                return Ok(true);
            }
        }
        self.wrong(at, "enum", || {
            let shown: Vec<String> = allowed.iter().map(|one| cut(&text_of(&one.0))).collect();
            let listed = listed(shown.iter().map(String::as_str));
            if allowed.len() == 1 { format!("is not {listed}") } else { format!("is not one of {listed}") }
        })
    }

    fn all(&mut self, parts: &[PartId], value: &Value, at: At<'_>) -> Checked {
        let mut fits = true;
        for part in parts {
            fits &= self.part(*part, value, at)?;
            if !fits && at.is_none() {
                break;
            }
        }
        Ok(fits)
    }

    fn any(&mut self, parts: &[PartId], value: &Value, at: At<'_>) -> Checked {
        for part in parts {
            if self.part(*part, value, None)? {
                return Ok(true);
            }
        }
        self.wrong(at, "anyOf", || format!("fits none of the {} alternatives", parts.len()))
    }

    fn exactly_one(&mut self, parts: &[PartId], value: &Value, at: At<'_>) -> Checked {
        let mut fitting = 0;
        for part in parts {
            fitting += usize::from(self.part(*part, value, None)?);
            if fitting > 1 {
                return self.wrong(at, "oneOf", || "fits more than one of the alternatives".to_owned());
            }
        }
        self.expect(fitting == 1, at, "oneOf", || format!("fits none of the {} alternatives", parts.len()))
    }

    fn number(&mut self, rule: &Rule, value: &Value, at: At<'_>) -> Checked {
        let order = |limit: &Value| compare_numbers(value, limit);
        match rule {
            Rule::AtLeast(limit) => {
                let fits = order(&limit.0).is_none_or(std::cmp::Ordering::is_ge);
                self.expect(fits, at, "minimum", || format!("is less than {}", limit.0))
            }
            Rule::Above(limit) => {
                let fits = order(&limit.0).is_none_or(std::cmp::Ordering::is_gt);
                self.expect(fits, at, "exclusiveMinimum", || format!("is not more than {}", limit.0))
            }
            Rule::AtMost(limit) => {
                let fits = order(&limit.0).is_none_or(std::cmp::Ordering::is_le);
                self.expect(fits, at, "maximum", || format!("is more than {}", limit.0))
            }
            Rule::Below(limit) => {
                let fits = order(&limit.0).is_none_or(std::cmp::Ordering::is_lt);
                self.expect(fits, at, "exclusiveMaximum", || format!("is not less than {}", limit.0))
            }
            Rule::MultipleOf(of) => {
                let fits = is_multiple(value, &of.0).unwrap_or(true);
                self.expect(fits, at, "multipleOf", || format!("is not a multiple of {}", of.0))
            }
            _ => Ok(true),
        }
    }

    fn text(&mut self, rule: &Rule, text: &str, at: At<'_>) -> Checked {
        match rule {
            Rule::MinLength(min) => {
                let length = self.length(text)?;
                self.expect(length >= *min, at, "minLength", || format!("is shorter than {min} characters"))
            }
            Rule::MaxLength(max) => {
                let length = self.length(text)?;
                self.expect(length <= *max, at, "maxLength", || format!("is longer than {max} characters"))
            }
            Rule::Pattern(pattern) => {
                let fits = self.matches(pattern, text)?;
                self.expect(fits, at, "pattern", || format!("does not match `{}`", cut(pattern.0.as_str())))
            }
            _ => Ok(true),
        }
    }

    fn length(&mut self, text: &str) -> Result<u64, Stop> {
        self.charge(text.len() as u64 / 64)?;
        Ok(text.chars().count() as u64)
    }

    fn matches(&mut self, pattern: &Pattern, text: &str) -> Checked {
        self.charge(1 + text.len() as u64 / 16)?;
        Ok(pattern.0.is_match(text))
    }

    fn list(&mut self, rule: &'s Rule, items: &[Value], at: At<'_>) -> Checked {
        let count = items.len() as u64;
        match rule {
            Rule::MinItems(min) => self.expect(count >= *min, at, "minItems", || format!("has fewer than {min} items")),
            Rule::MaxItems(max) => self.expect(count <= *max, at, "maxItems", || format!("has more than {max} items")),
            Rule::UniqueItems => self.unique(items, at),
            Rule::Items { prefix, rest } => self.items(prefix, *rest, items, at),
            Rule::Contains { part, min, max } => self.contains(*part, *min, *max, items, at),
            _ => Ok(true),
        }
    }

    fn unique(&mut self, items: &[Value], at: At<'_>) -> Checked {
        // Sorting compares each item as often as the list can be halved.
        let rounds = u64::from(items.len().max(1).ilog2()) + 1;
        for item in items {
            // Before the next item is weighed, so that weighing is paid for too.
            self.charge(weight(item) * rounds)?;
        }
        let mut sorted: Vec<&Value> = items.iter().collect();
        sorted.sort_by(|a, b| compare(a, b));
        let unique = sorted.windows(2).all(|pair| compare(pair[0], pair[1]).is_ne());
        self.expect(unique, at, "uniqueItems", || "has equal items".to_owned())
    }

    fn items(&mut self, prefix: &[PartId], rest: Option<PartId>, items: &[Value], at: At<'_>) -> Checked {
        let mut fits = true;
        for (n, item) in items.iter().enumerate() {
            let Some(part) = prefix.get(n).copied().or(rest) else { break };
            let path = at.map(|above| Path::Item(above, n));
            fits &= self.part(part, item, path.as_ref())?;
            if !fits && at.is_none() {
                break;
            }
        }
        Ok(fits)
    }

    fn contains(&mut self, part: PartId, min: u64, max: Option<u64>, items: &[Value], at: At<'_>) -> Checked {
        let mut found = 0_u64;
        for item in items {
            found += u64::from(self.part(part, item, None)?);
        }
        if found < min {
            return self.wrong(at, "contains", || format!("has {found} of the items that it must contain, not {min}"));
        }
        let most = max.unwrap_or(u64::MAX);
        self.expect(found <= most, at, "maxContains", || {
            format!("has more than {most} of the items that it may contain")
        })
    }

    fn map(&mut self, rule: &'s Rule, map: &Map<String, Value>, whole: &Value, at: At<'_>) -> Checked {
        let count = map.len() as u64;
        match rule {
            Rule::MinProperties(min) => {
                self.expect(count >= *min, at, "minProperties", || format!("has fewer than {min} fields"))
            }
            Rule::MaxProperties(max) => {
                self.expect(count <= *max, at, "maxProperties", || format!("has more than {max} fields"))
            }
            Rule::Required(names) => self.required(names, map, at),
            Rule::DependentRequired(all) => {
                let mut fits = true;
                for (name, names) in all.iter().filter(|(name, _)| map.contains_key(name)) {
                    self.charge(1 + name.len() as u64 / 16)?;
                    fits &= self.required(names, map, at)?;
                }
                Ok(fits)
            }
            Rule::DependentParts(all) => {
                let mut fits = true;
                for (_, part) in all.iter().filter(|(name, _)| map.contains_key(name)) {
                    fits &= self.part(*part, whole, at)?;
                }
                Ok(fits)
            }
            Rule::Fields { named, matching, rest } => self.fields(named, matching, *rest, map, at),
            Rule::FieldNames(part) => self.field_names(*part, map, at),
            _ => Ok(true),
        }
    }

    fn required(&mut self, names: &[String], map: &Map<String, Value>, at: At<'_>) -> Checked {
        let mut fits = true;
        self.charge(names.len() as u64)?;
        for name in names.iter().filter(|name| !map.contains_key(name.as_str())) {
            let path = at.map(|above| Path::Field(above, name));
            fits = self.wrong(path.as_ref(), "required", || "is missing".to_owned())?;
            if at.is_none() {
                break;
            }
        }
        Ok(fits)
    }

    fn fields(
        &mut self,
        named: &'s [(String, PartId)],
        matching: &'s [(Pattern, PartId)],
        rest: Option<PartId>,
        map: &Map<String, Value>,
        at: At<'_>,
    ) -> Checked {
        let mut fits = true;
        for (name, value) in map {
            self.charge(1 + name.len() as u64 / 16)?;
            let path = at.map(|above| Path::Field(above, name));
            let known = named.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok();
            let mut declared = known.is_some();
            if let Some(known) = known {
                fits &= self.part(named[known].1, value, path.as_ref())?;
            }
            for (pattern, part) in matching {
                if self.matches(pattern, name)? {
                    declared = true;
                    fits &= self.part(*part, value, path.as_ref())?;
                }
            }
            if let Some(rest) = rest.filter(|_| !declared) {
                fits &= self.undeclared(rest, value, path.as_ref())?;
            }
            if !fits && at.is_none() {
                break;
            }
        }
        Ok(fits)
    }

    fn undeclared(&mut self, rest: PartId, value: &Value, at: At<'_>) -> Checked {
        if matches!(self.schema.part(rest).rules[..], [Rule::Never]) {
            return self.wrong(at, "additionalProperties", || "is not declared".to_owned());
        }
        self.part(rest, value, at)
    }

    fn field_names(&mut self, part: PartId, map: &Map<String, Value>, at: At<'_>) -> Checked {
        for name in map.keys() {
            self.charge(1 + name.len() as u64 / 16)?;
            if !self.part(part, &Value::from(name.as_str()), None)? {
                let path = at.map(|above| Path::Field(above, name));
                return self.wrong(path.as_ref(), "propertyNames", || "has a name that is not allowed".to_owned());
            }
        }
        Ok(true)
    }
}

fn is_of(value: &Value, wanted: Type) -> bool {
    match (wanted, value) {
        (Type::Null, Value::Null)
        | (Type::Boolean, Value::Bool(_))
        | (Type::Number, Value::Number(_))
        | (Type::String, Value::String(_))
        | (Type::Array, Value::Array(_))
        | (Type::Object, Value::Object(_)) => true,
        (Type::Integer, Value::Number(number)) => {
            number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|double| double.fract() == 0.0)
        }
        _ => false,
    }
}
