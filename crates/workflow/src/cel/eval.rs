//! The value of an expression.
//!
//! For: evaluating a parsed program. Not for: checks that need no values (see `types`).
//! Invariant: borrowed until something new must be built; each node pays for its work, so evaluation ends within
//! `limits::EXPRESSION_COST_MAX`; `&&`, `||`, `all` and `exists` absorb errors as CEL has it, but never the budget.

use std::borrow::Cow;

use consort_types::Error;
use serde_json::{Map, Value};

use super::{
    ast::{Id, Macro, MacroKind, NodeKind, Operator, Program, Root, StepField},
    catalog::Function,
    check_depth, functions, strings,
    value::{Budget, Fault, Number, Outcome, equal, kind_name, order, whole},
};
use crate::{
    Environment,
    suggest::{did_you_mean, listed},
};

static NULL: Value = Value::Null;
static TRUE: Value = Value::Bool(true);
static FALSE: Value = Value::Bool(false);

type Evaluated<'a> = Outcome<Cow<'a, Value>>;

/// Evaluates a program; `source` is its text, for messages.
pub(crate) fn evaluate<'a>(
    program: &'a Program,
    source: &str,
    environment: &'a Environment,
) -> Result<Cow<'a, Value>, Error> {
    let budget = Budget::new(environment.meter.left());
    let mut evaluator = Evaluator { program, source, environment, locals: Vec::new(), budget };
    let value = evaluator.eval(program.root());
    environment.meter.set_left(evaluator.budget.left());
    let value = value.map_err(|fault| fault.into_error(source))?;
    if let Cow::Owned(value) = &value {
        check_depth(value)?;
    }
    Ok(value)
}

struct Evaluator<'a, 's> {
    program: &'a Program,
    source: &'s str,
    environment: &'a Environment,
    /// Variables of the macros around the node, outermost first.
    locals: Vec<Cow<'a, Value>>,
    budget: Budget,
}

fn truth<'a>(value: bool) -> Cow<'a, Value> {
    Cow::Borrowed(if value { &TRUE } else { &FALSE })
}

impl<'a> Evaluator<'a, '_> {
    fn eval(&mut self, id: Id) -> Evaluated<'a> {
        self.budget.charge(1)?;
        let program = self.program;
        match &program.node(id).kind {
            NodeKind::Literal(value) => Ok(Cow::Borrowed(value)),
            NodeKind::Root(root) => self.root(*root),
            NodeKind::Step(name, field) => self.step(name, *field),
            NodeKind::Local(at) => self.local(*at),
            NodeKind::Select(of, field) => self.select(id, *of, field),
            NodeKind::Has(of, field) => self.has(*of, field),
            NodeKind::Index(of, key) => self.index(*of, *key),
            NodeKind::Not(of) => Ok(truth(!self.boolean(*of)?)),
            NodeKind::Negate(of) => self.negate(*of),
            NodeKind::And(all) => self.logic(all, false),
            NodeKind::Or(all) => self.logic(all, true),
            NodeKind::Choose(condition, yes, no) => {
                let chosen = if self.boolean(*condition)? { yes } else { no };
                self.eval(*chosen)
            }
            NodeKind::Binary(operator, left, right) => self.binary(*operator, *left, *right),
            NodeKind::List(items) => self.list(items),
            NodeKind::Map(entries) => self.map(entries),
            NodeKind::Call(function, arguments) => self.call(*function, arguments),
            NodeKind::Matches(of, pattern) => {
                let subject = self.eval(*of)?;
                strings::matches(&subject, pattern, &mut self.budget).map(Cow::Owned)
            }
            NodeKind::Macro(call) => self.macro_call(call),
        }
    }

    /// The text of a node, for messages.
    fn text(&self, id: Id) -> &str {
        self.source.get(self.program.node(id).span.clone()).unwrap_or_default()
    }

    fn wrong_kind(&self, id: Id, value: &Value, wanted: &str) -> Fault {
        Fault::new(format!("`{}` is {}, not {wanted}", self.text(id), kind_name(value)))
    }

    fn root(&self, root: Root) -> Evaluated<'a> {
        let environment = self.environment;
        let found = match root {
            Root::Input => Some(Cow::Borrowed(&*environment.input)),
            Root::Run => Some(Cow::Borrowed(&*environment.run)),
            Root::Item => environment.item.as_deref().map(Cow::Borrowed),
            Root::Index => environment.index.map(|index| Cow::Owned(Value::from(index))),
            Root::Loop => environment.loop_.as_deref().map(Cow::Borrowed),
            Root::Output => environment.output.as_deref().map(Cow::Borrowed),
            Root::Event => environment.event.as_deref().map(Cow::Borrowed),
            Root::Lock => environment.lock.as_deref().map(Cow::Borrowed),
            Root::Reads => environment.reads.as_deref().map(Cow::Borrowed),
            Root::Write => environment.write.as_deref().map(Cow::Borrowed),
            Root::Bid => environment.bid.as_deref().map(Cow::Borrowed),
        };
        found.ok_or_else(|| Fault::new(format!("`{}` has no value here", root.name())))
    }

    fn step(&self, name: &str, field: StepField) -> Evaluated<'a> {
        let step = self.environment.steps.get(name);
        let step = step.ok_or_else(|| Fault::new(format!("step `{name}` has no outcome yet")))?;
        Ok(match field {
            StepField::Output => Cow::Borrowed(&step.output),
            StepField::Error => Cow::Borrowed(step.error.as_deref().unwrap_or(&NULL)),
            StepField::Status => Cow::Owned(Value::from(step.status)),
            StepField::Attempts => Cow::Owned(Value::from(step.attempts)),
        })
    }

    fn local(&mut self, at: usize) -> Evaluated<'a> {
        if let Cow::Owned(value) = &self.locals[at] {
            self.budget.charge_value(value)?;
        }
        Ok(self.locals[at].clone())
    }

    /// A value below a macro's own variable, found without copying the variable.
    fn peek(&self, id: Id) -> Option<&Value> {
        match &self.program.node(id).kind {
            NodeKind::Local(at) => match &self.locals[*at] {
                Cow::Owned(value) => Some(value),
                Cow::Borrowed(_) => None,
            },
            NodeKind::Select(of, field) => self.peek(*of)?.as_object()?.get(field),
            _ => None,
        }
    }

    fn select(&mut self, id: Id, of: Id, field: &str) -> Evaluated<'a> {
        if let Some(found) = self.peek(id) {
            let found = found.clone();
            self.budget.charge_value(&found)?;
            return Ok(Cow::Owned(found));
        }
        let value = self.eval(of)?;
        self.field(value, of, field)
    }

    fn field(&self, value: Cow<'a, Value>, of: Id, field: &str) -> Evaluated<'a> {
        match value {
            Cow::Borrowed(Value::Object(map)) => {
                map.get(field).map(Cow::Borrowed).ok_or_else(|| self.missing(of, field, map))
            }
            Cow::Owned(Value::Object(mut map)) => {
                map.remove(field).map(Cow::Owned).ok_or_else(|| self.missing(of, field, &map))
            }
            other => Err(self.wrong_kind(of, &other, &format!("a map with `{field}`"))),
        }
    }

    fn missing(&self, of: Id, field: &str, map: &Map<String, Value>) -> Fault {
        let keys = || map.keys().map(String::as_str);
        let available = if map.is_empty() { "it is empty".to_owned() } else { format!("it has {}", listed(keys())) };
        let hint = did_you_mean(field, keys()).map_or(available.clone(), |guess| format!("{guess} ({available})"));
        Fault::new(format!("`{}` has no key `{field}`", self.text(of))).hint(hint)
    }

    fn has(&mut self, of: Id, field: &str) -> Evaluated<'a> {
        if let Some(value) = self.peek(of) {
            return Ok(truth(value.get(field).is_some()));
        }
        let value = self.eval(of)?;
        match &*value {
            Value::Object(map) => Ok(truth(map.contains_key(field))),
            Value::Null => Ok(truth(false)),
            other => Err(self.wrong_kind(of, other, "a map")),
        }
    }

    fn index(&mut self, of: Id, key: Id) -> Evaluated<'a> {
        let value = self.eval(of)?;
        let key_value = self.eval(key)?;
        match (&*value, &*key_value) {
            (Value::Object(_), Value::String(field)) => {
                let field = field.clone();
                self.field(value, of, &field)
            }
            (Value::Array(items), Value::Number(_)) => {
                let length = items.len();
                let at = match Number::of(&key_value) {
                    Some(Number::Int(at)) => usize::try_from(at).ok(),
                    Some(Number::Double(at)) => whole(at).and_then(|at| usize::try_from(at).ok()),
                    None => None,
                };
                let at = at.filter(|at| *at < length).ok_or_else(|| {
                    Fault::new(format!("`{}` has no element {key_value}", self.text(of)))
                        .hint(format!("it has {length} elements, the first is 0"))
                })?;
                Ok(match value {
                    Cow::Borrowed(list) => Cow::Borrowed(&list[at]),
                    Cow::Owned(mut list) => Cow::Owned(list[at].take()),
                })
            }
            (Value::Array(_), other) => Err(self.wrong_kind(key, other, "a number")),
            (Value::Object(_), other) => Err(self.wrong_kind(key, other, "a text")),
            (other, _) => Err(self.wrong_kind(of, other, "a list or a map")),
        }
    }

    fn boolean(&mut self, id: Id) -> Outcome<bool> {
        let value = self.eval(id)?;
        value.as_bool().ok_or_else(|| self.wrong_kind(id, &value, "`true` or `false`"))
    }

    fn negate(&mut self, of: Id) -> Evaluated<'a> {
        let value = self.eval(of)?;
        match Number::of(&value) {
            Some(Number::Int(int)) => Number::Int(-int).value().map(Cow::Owned),
            Some(Number::Double(double)) => Number::Double(-double).value().map(Cow::Owned),
            None => Err(self.wrong_kind(of, &value, "a number")),
        }
    }

    /// `||` where `decisive` is true, `&&` where it is false: one decisive operand outweighs errors in the others.
    fn logic(&mut self, all: &[Id], decisive: bool) -> Evaluated<'a> {
        let mut first_fault = None;
        for id in all {
            match self.boolean(*id) {
                Ok(value) if value == decisive => return Ok(truth(decisive)),
                Ok(_) => {}
                Err(Fault::Budget) => return Err(Fault::Budget),
                Err(fault) => first_fault = first_fault.or(Some(fault)),
            }
        }
        first_fault.map_or(Ok(truth(!decisive)), Err)
    }

    fn binary(&mut self, operator: Operator, left: Id, right: Id) -> Evaluated<'a> {
        let a = self.eval(left)?;
        let b = self.eval(right)?;
        let budget = &mut self.budget;
        Ok(match operator {
            Operator::Add => return self.add(a, &b),
            Operator::Equal => truth(equal(&a, &b, budget)?),
            Operator::NotEqual => truth(!equal(&a, &b, budget)?),
            Operator::Less => truth(order(&a, &b, budget)?.is_lt()),
            Operator::LessEqual => truth(order(&a, &b, budget)?.is_le()),
            Operator::Greater => truth(order(&a, &b, budget)?.is_gt()),
            Operator::GreaterEqual => truth(order(&a, &b, budget)?.is_ge()),
            Operator::In => truth(functions::contains(&b, &a, budget)?),
            Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Modulo => {
                Cow::Owned(arithmetic(operator, &a, &b)?)
            }
        })
    }

    fn add(&mut self, a: Cow<'a, Value>, b: &Value) -> Evaluated<'a> {
        match (&*a, b) {
            (Value::String(_), Value::String(_)) | (Value::Array(_), Value::Array(_)) => {}
            _ => return arithmetic(Operator::Add, &a, b).map(Cow::Owned),
        }
        let a = self.owned(a)?;
        self.budget.charge_value(b)?;
        Ok(Cow::Owned(match (a, b) {
            (Value::String(text), Value::String(more)) => Value::String(text + more),
            (Value::Array(mut items), Value::Array(more)) => {
                items.extend_from_slice(more);
                Value::Array(items)
            }
            (other, _) => other,
        }))
    }

    /// The value itself, paid for where it must be copied.
    fn owned(&mut self, value: Cow<'a, Value>) -> Outcome<Value> {
        if let Cow::Borrowed(value) = value {
            self.budget.charge_value(value)?;
        }
        Ok(value.into_owned())
    }

    fn list(&mut self, items: &[Id]) -> Evaluated<'a> {
        let mut list = Vec::with_capacity(items.len());
        for item in items {
            let value = self.eval(*item)?;
            list.push(self.owned(value)?);
        }
        Ok(Cow::Owned(Value::Array(list)))
    }

    fn map(&mut self, entries: &[(Id, Id)]) -> Evaluated<'a> {
        let mut map = Map::new();
        for (key, value) in entries {
            let name = match self.eval(*key)?.into_owned() {
                Value::String(name) => name,
                other => return Err(self.wrong_kind(*key, &other, "a text")),
            };
            let value = self.eval(*value)?;
            let value = self.owned(value)?;
            if map.contains_key(&name) {
                return Err(Fault::new(format!("the key `{name}` appears twice in a map")));
            }
            map.insert(name, value);
        }
        Ok(Cow::Owned(Value::Object(map)))
    }

    fn call(&mut self, function: Function, arguments: &[Id]) -> Evaluated<'a> {
        let status = self.environment.status;
        match function {
            Function::Success => return Ok(truth(status.success)),
            Function::Failure => return Ok(truth(status.failure)),
            Function::Cancelled => return Ok(truth(status.cancelled)),
            Function::Always => return Ok(truth(true)),
            _ => {}
        }
        let values = arguments.iter().map(|id| self.eval(*id)).collect::<Outcome<Vec<_>>>()?;
        functions::call(function, &values, &mut self.budget).map(Cow::Owned)
    }

    fn macro_call(&mut self, call: &'a Macro) -> Evaluated<'a> {
        let items: Vec<Cow<'a, Value>> = match self.eval(call.range)? {
            Cow::Borrowed(Value::Array(items)) => items.iter().map(Cow::Borrowed).collect(),
            Cow::Owned(Value::Array(items)) => items.into_iter().map(Cow::Owned).collect(),
            value => match &*value {
                Value::Object(map) => map.keys().map(|key| Cow::Owned(Value::from(key.as_str()))).collect(),
                other => return Err(self.wrong_kind(call.range, other, "a list or a map")),
            },
        };
        self.budget.charge(items.len())?;
        let depth = self.locals.len();
        let result = match call.kind {
            MacroKind::Map | MacroKind::Filter => self.gather(call, items),
            MacroKind::All | MacroKind::Exists | MacroKind::ExistsOne => self.quantify(call, items),
        };
        self.locals.truncate(depth);
        result
    }

    fn gather(&mut self, call: &'a Macro, items: Vec<Cow<'a, Value>>) -> Evaluated<'a> {
        let mut list = Vec::new();
        for item in items {
            self.locals.push(item);
            let kept = match (call.kind, call.filter) {
                (MacroKind::Filter, _) => self.boolean(call.body)?,
                (_, Some(filter)) => self.boolean(filter)?,
                _ => true,
            };
            let mapped = if kept && call.kind == MacroKind::Map { Some(self.eval(call.body)?) } else { None };
            let item = self.locals.pop().unwrap_or_default();
            if kept {
                list.push(self.owned(mapped.unwrap_or(item))?);
            }
        }
        Ok(Cow::Owned(Value::Array(list)))
    }

    fn quantify(&mut self, call: &'a Macro, items: Vec<Cow<'a, Value>>) -> Evaluated<'a> {
        let (mut found, mut first_fault) = (0_usize, None);
        for item in items {
            self.locals.push(item);
            let verdict = self.boolean(call.body);
            self.locals.pop();
            match (call.kind, verdict) {
                (MacroKind::All, Ok(false)) => return Ok(truth(false)),
                (MacroKind::Exists, Ok(true)) => return Ok(truth(true)),
                (_, Ok(holds)) => found += usize::from(holds),
                (MacroKind::ExistsOne, Err(fault)) | (_, Err(fault @ Fault::Budget)) => return Err(fault),
                (_, Err(fault)) => first_fault = first_fault.or(Some(fault)),
            }
        }
        match (first_fault, call.kind) {
            (Some(fault), _) => Err(fault),
            (None, MacroKind::ExistsOne) => Ok(truth(found == 1)),
            (None, kind) => Ok(truth(kind == MacroKind::All)),
        }
    }
}

fn arithmetic(operator: Operator, a: &Value, b: &Value) -> Outcome<Value> {
    let (Some(x), Some(y)) = (Number::of(a), Number::of(b)) else {
        let fault = Fault::new(format!("`{}` between {} and {}", operator.symbol(), kind_name(a), kind_name(b)));
        let joins_text = operator == Operator::Add && (a.is_string() || b.is_string());
        return Err(if joins_text { fault.hint("make a text of the other with `string()`") } else { fault });
    };
    let (Number::Int(x), Number::Int(y)) = (x, y) else {
        let (x, y) = (x.double(), y.double());
        return match operator {
            Operator::Add => Number::Double(x + y),
            Operator::Subtract => Number::Double(x - y),
            Operator::Multiply => Number::Double(x * y),
            Operator::Divide => Number::Double(x / y),
            _ => return Err(Fault::new("`%` needs whole numbers")),
        }
        .value();
    };
    let result = match operator {
        Operator::Add => x.checked_add(y),
        Operator::Subtract => x.checked_sub(y),
        Operator::Multiply => x.checked_mul(y),
        _ if y == 0 => return Err(Fault::new("division by zero")),
        Operator::Divide => x.checked_div(y),
        _ => x.checked_rem(y),
    };
    // Whatever leaves 128 bits has left 64 bits long before.
    Number::Int(result.unwrap_or(i128::MAX)).value()
}
