//! What a route is: its path, what it takes, what it answers, and what handles it.
//!
//! For: the one description from which router, argument checks and OpenAPI document are made. Not for: handlers.
//! Invariant: a handler can read only parameters that its route describes, and a request that brings another one is
//! refused; so the description cannot lie.

use axum::{body::Body, http::Response};
use futures::future::BoxFuture;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::{call::Call, problem::Problem};

/// What a handler gives.
pub(crate) type Answer = Result<Response<Body>, Problem>;

/// Makes the schema of a type.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The methods that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Delete,
}

impl Verb {
    /// As a key of an OpenAPI path.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Put => "put",
            Self::Delete => "delete",
        }
    }
}

/// The form of a parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// A whole number from 1.
    Count {
        /// The largest that is taken.
        max: usize,
    },
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// A parameter in the query (or a header field).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Param {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) doc: &'static str,
}

impl Param {
    pub(crate) const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { name, kind, doc }
    }

    /// Whether a parameter of this name is this one: `label.*` stands for every name that begins with `label.`.
    pub(crate) fn fits(&self, name: &str) -> bool {
        self.name
            .strip_suffix('*')
            .map_or(self.name == name, |prefix| name.len() > prefix.len() && name.starts_with(prefix))
    }
}

/// What the body of a request may be.
#[derive(Clone, Copy)]
pub(crate) enum Takes {
    /// None is read.
    Nothing,
    /// A JSON document of this type; an empty body stands for `{}` where that is enough.
    Json { schema: SchemaOf, max_bytes: usize, optional: bool },
    /// Any JSON document; an empty body stands for `null`.
    Any,
    /// A workflow's source.
    Workflow { schema: SchemaOf },
}

/// What an answer holds.
#[derive(Clone, Copy)]
pub(crate) enum Gives {
    /// Nothing.
    Nothing,
    /// A JSON document of this type.
    Json(SchemaOf),
    /// A JSON document of any form.
    AnyJson,
    /// Another content type.
    Other(&'static str),
}

/// A route.
#[derive(Clone, Copy)]
pub(crate) struct Route {
    pub(crate) verb: Verb,
    pub(crate) path: &'static str,
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) namespaced: bool,
    pub(crate) query: &'static [Param],
    pub(crate) headers: &'static [Param],
    pub(crate) takes: Takes,
    pub(crate) answers: &'static [(u16, &'static str, Gives)],
    pub(crate) handle: fn(Call) -> BoxFuture<'static, Answer>,
}

impl Route {
    /// The parameters that stand in the path.
    pub(crate) fn path_params(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }
}

/// The schema of a type, by reference.
pub(crate) fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}
