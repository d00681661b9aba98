//! Expressions in the normal form of a workflow.
//!
//! For: writing a parsed program and reading it back without its grammar. Not for: text.
//! Invariant: a program that was read can be evaluated: its root is there, children come before their parents, no
//! node has two parents, and a macro's variable is used inside of that macro only.

use minicbor::{
    Decode, Decoder, Encode, Encoder,
    decode::{self, Error},
    encode::{self, Write},
};

use super::{
    ast::{Id, Node, NodeKind, Program},
    catalog::Function,
};

impl<C> Encode<C> for Function {
    /// By its name, which never changes its meaning.
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.str(Self::NAMES[*self as usize])?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Function {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, Error> {
        Self::of(d.str()?).ok_or_else(|| Error::message("there is no such function"))
    }
}

impl<C> Encode<C> for Program {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(2)?.bool(self.uses_status)?;
        self.nodes.encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for Program {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, Error> {
        d.array()?;
        let uses_status = d.bool()?;
        let mut nodes: Vec<Node> = decode::Decode::decode(d, ctx)?;
        set_heights(&mut nodes).ok_or_else(|| Error::message("the nodes of an expression are out of order"))?;
        let program = Self { nodes, uses: Vec::new(), uses_status };
        check_locals(&program).ok_or_else(|| Error::message("the nodes of an expression are no tree"))?;
        Ok(program)
    }
}

/// Sets what the evaluator's recursion is measured by; `None` where a child does not come before its parent.
fn set_heights(nodes: &mut [Node]) -> Option<()> {
    for at in 0..nodes.len() {
        let mut height = 0;
        for child in children(&nodes[at].kind) {
            height = height.max(nodes.get(child as usize).filter(|_| (child as usize) < at)?.height);
        }
        nodes[at].height = height + 1;
    }
    Some(())
}

/// Follows the program from its root; `None` where a node is reached twice, or a variable has no macro around it.
fn check_locals(program: &Program) -> Option<()> {
    let mut around: Vec<Option<usize>> = vec![None; program.nodes.len()];
    *around.last_mut()? = Some(0);
    for at in (0..program.nodes.len()).rev() {
        // What is not reached is left over from parsing, such as the pattern of `matches`.
        let Some(macros) = around[at] else { continue };
        let kind = &program.nodes[at].kind;
        if matches!(kind, NodeKind::Local(variable) if *variable >= macros) {
            return None;
        }
        let range = if let NodeKind::Macro(call) = kind { Some(call.range) } else { None };
        for child in children(kind) {
            let inside = usize::from(range.is_some_and(|range| range != child));
            if around[child as usize].replace(macros + inside).is_some() {
                return None;
            }
        }
    }
    Some(())
}

fn children(kind: &NodeKind) -> Vec<Id> {
    match kind {
        NodeKind::Literal(_) | NodeKind::Root(_) | NodeKind::Step(..) | NodeKind::Local(_) => Vec::new(),
        NodeKind::Select(of, _)
        | NodeKind::Has(of, _)
        | NodeKind::Not(of)
        | NodeKind::Negate(of)
        | NodeKind::Matches(of, _) => vec![*of],
        NodeKind::Index(a, b) | NodeKind::Binary(_, a, b) => vec![*a, *b],
        NodeKind::Choose(a, b, c) => vec![*a, *b, *c],
        NodeKind::And(all) | NodeKind::Or(all) | NodeKind::List(all) | NodeKind::Call(_, all) => all.clone(),
        NodeKind::Map(entries) => entries.iter().flat_map(|(key, value)| [*key, *value]).collect(),
        NodeKind::Macro(call) => [Some(call.range), call.filter, Some(call.body)].into_iter().flatten().collect(),
    }
}
