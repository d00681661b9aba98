//! From an expression's text to its tree.
//!
//! For: everything that CEL's grammar allows, except bytes and protobuf messages. Not for: types.
//! Invariant: recursion is at most `limits::EXPRESSION_DEPTH_MAX` brackets deep, checked before each descent, and
//! no node is higher than `limits::EXPRESSION_HEIGHT_MAX`.

use std::{ops::Range, sync::Arc};

use consort_types::limits;
use serde_json::Value;

use super::{
    ast::{Id, Macro, MacroKind, Node, NodeKind, Operator, Program, Root, StepField, Use},
    catalog::{self, Function},
    lexer::{Token, tokens},
    problem::Problem,
    strings,
};
use crate::suggest::did_you_mean;

/// Parses an expression. Syntax errors end it at the first; unknown names are all found.
pub fn parse(text: &str) -> Result<Program, Vec<Problem>> {
    if text.len() > limits::EXPRESSION_BYTES_MAX {
        let message = format!("the expression has {} bytes, the limit is {}", text.len(), limits::EXPRESSION_BYTES_MAX);
        let problem = Problem::new("expression-too-long", message, 0..text.len());
        return Err(vec![problem.hint("compute it in an agent, or in several steps")]);
    }
    let tokens = tokens(text).map_err(|problem| vec![problem])?;
    let program = Program { nodes: Vec::new(), uses: Vec::new(), uses_status: false };
    let mut parser = Parser { tokens, at: 0, depth: 0, locals: Vec::new(), program, problems: Vec::new() };
    match parser.whole() {
        Ok(()) if parser.problems.is_empty() => Ok(parser.program),
        Ok(()) => Err(parser.problems),
        Err(problem) => {
            parser.problems.push(problem);
            Err(parser.problems)
        }
    }
}

struct Parser {
    tokens: Vec<(Token, Range<usize>)>,
    at: usize,
    depth: usize,
    locals: Vec<String>,
    program: Program,
    /// Those after which parsing continued.
    problems: Vec<Problem>,
}

type Parsed<T = Id> = Result<T, Problem>;

impl Parser {
    fn whole(&mut self) -> Parsed<()> {
        if *self.peek() == Token::End {
            return Err(Problem::new("expression-syntax", "the expression is empty", self.here()));
        }
        self.expression()?;
        if *self.peek() == Token::End { Ok(()) } else { Err(self.unexpected("an operator or the end")) }
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn here(&self) -> Range<usize> {
        self.tokens[self.at].1.clone()
    }

    fn advance(&mut self) -> Token {
        let token = self.tokens[self.at].0.clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn accept(&mut self, sign: &'static str) -> bool {
        let found = *self.peek() == Token::Sign(sign);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, sign: &'static str) -> Parsed<()> {
        if self.accept(sign) { Ok(()) } else { Err(self.unexpected(&format!("`{sign}`"))) }
    }

    fn unexpected(&self, wanted: &str) -> Problem {
        let message = format!("expected {wanted}, found {}", self.peek().shown());
        let problem = Problem::new("expression-syntax", message, self.here());
        match self.peek() {
            Token::Name(name) if name == "and" => problem.hint("write `&&`"),
            Token::Name(name) if name == "or" => problem.hint("write `||`"),
            Token::Name(name) if name == "not" => problem.hint("write `!`"),
            _ => problem,
        }
    }

    fn push(&mut self, kind: NodeKind, span: Range<usize>, children: &[Id]) -> Parsed {
        let height = 1 + children.iter().map(|id| self.program.node(*id).height).max().unwrap_or(0);
        if height > limits::EXPRESSION_HEIGHT_MAX {
            let message = format!("the expression chains more than {} operations", limits::EXPRESSION_HEIGHT_MAX);
            return Err(Problem::new("expression-too-deep", message, span).hint("use a list, or several steps"));
        }
        self.program.nodes.push(Node { kind, span, height });
        Ok(self.program.root())
    }

    fn span(&self, from: Id, to: Id) -> Range<usize> {
        self.program.node(from).span.start..self.program.node(to).span.end
    }

    /// Runs a descent into brackets, arguments or a branch.
    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= limits::EXPRESSION_DEPTH_MAX {
            let message = format!("the expression is nested deeper than {} levels", limits::EXPRESSION_DEPTH_MAX);
            return Err(Problem::new("expression-too-deep", message, self.here()).hint("split it over several steps"));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn expression(&mut self) -> Parsed {
        let condition = self.chain("||", NodeKind::Or, |p| p.chain("&&", NodeKind::And, Self::relation))?;
        if !self.accept("?") {
            return Ok(condition);
        }
        let yes = self.nested(Self::expression)?;
        self.expect(":")?;
        let no = self.nested(Self::expression)?;
        self.push(NodeKind::Choose(condition, yes, no), self.span(condition, no), &[condition, yes, no])
    }

    /// Operands joined by one sign, as one node however many there are.
    fn chain(&mut self, sign: &'static str, kind: fn(Vec<Id>) -> NodeKind, operand: fn(&mut Self) -> Parsed) -> Parsed {
        let first = operand(self)?;
        let mut all = vec![first];
        while self.accept(sign) {
            all.push(operand(self)?);
        }
        match all[..] {
            [_] => Ok(first),
            _ => self.push(kind(all.clone()), self.span(first, all[all.len() - 1]), &all),
        }
    }

    fn relation(&mut self) -> Parsed {
        let mut left = self.sum()?;
        loop {
            let operator = match self.peek() {
                Token::Sign("==") => Operator::Equal,
                Token::Sign("!=") => Operator::NotEqual,
                Token::Sign("<") => Operator::Less,
                Token::Sign("<=") => Operator::LessEqual,
                Token::Sign(">") => Operator::Greater,
                Token::Sign(">=") => Operator::GreaterEqual,
                Token::Name(name) if name == "in" => Operator::In,
                _ => return Ok(left),
            };
            self.advance();
            let right = self.sum()?;
            left = self.push(NodeKind::Binary(operator, left, right), self.span(left, right), &[left, right])?;
        }
    }

    fn sum(&mut self) -> Parsed {
        let mut left = self.product()?;
        loop {
            let operator = match self.peek() {
                Token::Sign("+") => Operator::Add,
                Token::Sign("-") => Operator::Subtract,
                _ => return Ok(left),
            };
            self.advance();
            let right = self.product()?;
            left = self.push(NodeKind::Binary(operator, left, right), self.span(left, right), &[left, right])?;
        }
    }

    fn product(&mut self) -> Parsed {
        let mut left = self.unary()?;
        loop {
            let operator = match self.peek() {
                Token::Sign("*") => Operator::Multiply,
                Token::Sign("/") => Operator::Divide,
                Token::Sign("%") => Operator::Modulo,
                _ => return Ok(left),
            };
            self.advance();
            let right = self.unary()?;
            left = self.push(NodeKind::Binary(operator, left, right), self.span(left, right), &[left, right])?;
        }
    }

    fn unary(&mut self) -> Parsed {
        let mut signs = Vec::new();
        while let Token::Sign(sign @ ("!" | "-")) = *self.peek() {
            signs.push((sign, self.here().start));
            self.advance();
        }
        // The smallest integer has no positive twin, so its sign belongs to the literal.
        if let (Some(("-", start)), &Token::Int(number)) = (signs.last().copied(), self.peek())
            && number <= 1 << 63
        {
            signs.pop();
            let span = start..self.here().end;
            self.advance();
            let value = number.cast_signed().wrapping_neg();
            let literal = self.push(NodeKind::Literal(Value::from(value)), span, &[])?;
            let operand = self.postfix(literal)?;
            return self.signed(signs, operand);
        }
        let primary = self.primary()?;
        let operand = self.postfix(primary)?;
        self.signed(signs, operand)
    }

    fn signed(&mut self, signs: Vec<(&'static str, usize)>, mut operand: Id) -> Parsed {
        for (sign, start) in signs.into_iter().rev() {
            let kind = if sign == "!" { NodeKind::Not(operand) } else { NodeKind::Negate(operand) };
            operand = self.push(kind, start..self.program.node(operand).span.end, &[operand])?;
        }
        Ok(operand)
    }

    fn primary(&mut self) -> Parsed {
        let span = self.here();
        match self.peek().clone() {
            Token::Int(number) => self.literal(Value::from(number)),
            Token::Double(number) => self.literal(Value::from(number)),
            Token::Text(text) => self.literal(Value::from(text)),
            Token::Name(name) => self.name(&name),
            Token::Sign("(") => {
                self.advance();
                let inner = self.nested(Self::expression)?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Sign("[") => {
                self.advance();
                let items = self.list("]", Self::expression)?;
                let span = span.start..self.tokens[self.at - 1].1.end;
                self.push(NodeKind::List(items.clone()), span, &items)
            }
            Token::Sign("{") => {
                self.advance();
                let entries = self.list("}", |p| {
                    let key = p.expression()?;
                    p.expect(":")?;
                    Ok((key, p.expression()?))
                })?;
                let children: Vec<Id> = entries.iter().flat_map(|(key, value)| [*key, *value]).collect();
                let span = span.start..self.tokens[self.at - 1].1.end;
                self.push(NodeKind::Map(entries), span, &children)
            }
            _ => Err(self.unexpected("a value")),
        }
    }

    fn literal(&mut self, value: Value) -> Parsed {
        let span = self.here();
        self.advance();
        self.push(NodeKind::Literal(value), span, &[])
    }

    /// Elements up to a closing sign; a comma may precede it.
    fn list<T>(&mut self, close: &'static str, element: fn(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut all = Vec::new();
        while !self.accept(close) {
            all.push(self.nested(element)?);
            if !self.accept(",") {
                if *self.peek() != Token::Sign(close) {
                    return Err(self.unexpected(&format!("`,` or `{close}`")));
                }
                self.advance();
                break;
            }
        }
        Ok(all)
    }

    fn name(&mut self, name: &str) -> Parsed {
        let span = self.here();
        match name {
            "true" => return self.literal(Value::Bool(true)),
            "false" => return self.literal(Value::Bool(false)),
            "null" => return self.literal(Value::Null),
            "in" => return Err(self.unexpected("a value")),
            _ => {}
        }
        self.advance();
        if *self.peek() == Token::Sign("(") {
            return self.call(name, span, None);
        }
        if let Some(local) = self.locals.iter().rposition(|local| local == name) {
            return self.push(NodeKind::Local(local), span, &[]);
        }
        if name == "steps" {
            return self.step(span);
        }
        if let Some(root) = Root::of(name) {
            self.program.uses.push(Use::Root(root, span.clone()));
            return self.push(NodeKind::Root(root), span, &[]);
        }
        let names = Root::NAMES.iter().copied().chain(self.locals.iter().map(String::as_str));
        let hint =
            did_you_mean(name, names).unwrap_or_else(|| format!("there are {}", crate::suggest::listed(Root::NAMES)));
        self.problems
            .push(Problem::new("unknown-variable", format!("there is no variable `{name}`"), span.clone()).hint(hint));
        self.push(NodeKind::Literal(Value::Null), span, &[])
    }

    /// `steps.NAME.field` or `steps["NAME"].field`, behind `steps`.
    fn step(&mut self, start: Range<usize>) -> Parsed {
        let hint = "write `steps.NAME.output`, or `steps[\"NAME\"].output` for a name with `-` or `.`";
        let bad = |message: &str, span| Problem::new("bad-step-reference", message, span).hint(hint);
        let (name, span) = if self.accept(".") {
            let span = self.here();
            let Token::Name(name) = self.advance() else { return Err(bad("a step's name must follow `steps.`", span)) };
            (name, span)
        } else if self.accept("[") {
            let span = self.here();
            let Token::Text(name) = self.advance() else {
                return Err(bad("`steps` needs a literal name, so that dependencies are known before a run", span));
            };
            self.expect("]")?;
            (name, span)
        } else {
            return Err(bad("`steps` cannot be used as a value", start));
        };
        let name: Arc<str> = Arc::from(name);
        self.program.uses.push(Use::Step(Arc::clone(&name), span.clone()));
        if !self.accept(".") {
            let problem = bad("a step has several values: name one", span);
            return Err(problem.hint(format!("write `steps.{name}.output`, `.status`, `.error` or `.attempts`")));
        }
        let at = self.here();
        let Token::Name(field) = self.advance() else { return Err(bad("a step's field must follow", at)) };
        let Some(field) = StepField::of(&field) else {
            let hint = did_you_mean(&field, StepField::NAMES)
                .unwrap_or_else(|| format!("what it returned is under `output`: `steps.{name}.output.{field}`"));
            return Err(bad(&format!("a step has no `{field}`"), at).hint(hint));
        };
        self.push(NodeKind::Step(name, field), start.start..at.end, &[])
    }

    fn postfix(&mut self, mut operand: Id) -> Parsed {
        loop {
            if self.accept(".") {
                let span = self.here();
                let Token::Name(field) = self.advance() else {
                    self.at -= usize::from(self.at + 1 < self.tokens.len());
                    return Err(Problem::new("expression-syntax", "expected a field name after `.`", span)
                        .hint("for a key that is no name write `[\"key\"]`"));
                };
                operand = if *self.peek() == Token::Sign("(") {
                    self.call(&field, span, Some(operand))?
                } else {
                    let span = self.program.node(operand).span.start..span.end;
                    self.push(NodeKind::Select(operand, field), span, &[operand])?
                };
            } else if self.accept("[") {
                let key = self.nested(Self::expression)?;
                let end = self.here().end;
                self.expect("]")?;
                let span = self.program.node(operand).span.start..end;
                operand = self.push(NodeKind::Index(operand, key), span, &[operand, key])?;
            } else {
                return Ok(operand);
            }
        }
    }

    fn call(&mut self, name: &str, span: Range<usize>, receiver: Option<Id>) -> Parsed {
        self.expect("(")?;
        if let (Some(range), Some(kind)) = (receiver, MacroKind::of(name)) {
            return self.macro_call(kind, name, range, span);
        }
        let mut arguments: Vec<Id> = receiver.into_iter().collect();
        arguments.extend(self.list(")", Self::expression)?);
        let start = receiver.map_or(span.start, |id| self.program.node(id).span.start);
        let whole = start..self.tokens[self.at - 1].1.end;
        if name == "has" && receiver.is_none() {
            return self.has(&arguments, whole);
        }
        let Some(function) = Function::of(name) else {
            self.problems.push(catalog::unknown(name, receiver.is_some(), span));
            return self.push(NodeKind::Literal(Value::Null), whole, &[]);
        };
        if let Err(message) = function.check_arguments(name, arguments.len()) {
            self.problems.push(Problem::new("bad-arguments", message, span).hint(function.usage()));
        }
        self.program.uses_status |= function.is_status();
        if function == Function::Matches
            && let [text, pattern] = arguments[..]
            && let NodeKind::Literal(Value::String(pattern_text)) = &self.program.node(pattern).kind
        {
            let at = self.program.node(pattern).span.clone();
            match strings::regex(pattern_text) {
                Ok(regex) => return self.push(NodeKind::Matches(text, regex), whole, &[text]),
                Err(error) => {
                    let message = strings::explained(pattern_text, &error);
                    self.problems.push(Problem::new("bad-pattern", message, at));
                }
            }
        }
        self.push(NodeKind::Call(function, arguments.clone()), whole, &arguments)
    }

    fn has(&mut self, arguments: &[Id], span: Range<usize>) -> Parsed {
        let bad = Problem::new("bad-arguments", "`has` needs one field of a value", span.clone())
            .hint("write `has(value.field)`");
        let [argument] = *arguments else { return Err(bad) };
        match self.program.node(argument).kind.clone() {
            NodeKind::Select(of, field) => self.push(NodeKind::Has(of, field), span, &[of]),
            NodeKind::Index(of, key) => match &self.program.node(key).kind {
                NodeKind::Literal(Value::String(field)) => {
                    let field = field.clone();
                    self.push(NodeKind::Has(of, field), span, &[of])
                }
                _ => Err(bad),
            },
            _ => Err(bad),
        }
    }

    fn macro_call(&mut self, kind: MacroKind, name: &str, range: Id, span: Range<usize>) -> Parsed {
        let Token::Name(variable) = self.peek().clone() else { return Err(self.unexpected("the name of a variable")) };
        self.advance();
        self.expect(",")?;
        self.locals.push(variable);
        let arguments = self.list(")", Self::expression);
        self.locals.pop();
        let arguments = arguments?;
        let (filter, body) = match arguments[..] {
            [body] => (None, body),
            [filter, body] if kind == MacroKind::Map => (Some(filter), body),
            _ => {
                let message = format!("`{name}` needs a variable and an expression");
                let hint = format!("write `list.{name}(x, expression)`");
                return Err(Problem::new("bad-arguments", message, span).hint(hint));
            }
        };
        let span = self.program.node(range).span.start..self.tokens[self.at - 1].1.end;
        let children: Vec<Id> = [range, body].into_iter().chain(filter).collect();
        self.push(NodeKind::Macro(Box::new(Macro { kind, range, filter, body })), span, &children)
    }
}
