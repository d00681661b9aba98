//! What an operation is.
//!
//! For: the one description from which doors, documents and clients are made. Not for: any one operation.
//! Invariant: a specification is data: nothing in it calls an engine or reads a request.

use std::sync::OnceLock;

use consort_types::{Code, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde::{Serialize, de::DeserializeOwned};

use crate::params::{self, Param, Place};

/// The HTTP methods that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// Reads.
    Get,
    /// Acts.
    Post,
    /// Sets in place of what was there.
    Put,
    /// Removes.
    Delete,
}

impl Method {
    /// As HTTP writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// What an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One namespace, which the parameter `namespace` names; without it, [`crate::NAMESPACE_DEFAULT`].
    Namespace,
    /// The server.
    Server,
}

/// What the body of a request may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepts {
    /// None is read.
    Nothing,
    /// A JSON document of the operation's body type.
    Json {
        /// Bytes at most.
        max_bytes: usize,
        /// Whether an empty body stands for `{}`.
        optional: bool,
    },
    /// Any JSON document, of at most [`consort_types::limits::HTTP_BODY_BYTES_MAX`] bytes; an empty body stands for
    /// `null`.
    Document,
    /// The source of a workflow: YAML as it is, or a JSON document of the operation's body type.
    Workflow,
}

/// What the body of an answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    /// Nothing: status 204.
    Nothing,
    /// A JSON document of the operation's reply type.
    Json,
    /// Any JSON document, byte for byte.
    Document,
    /// A text of this content type.
    Text(&'static str),
    /// Server-sent events: each has the name of a variant of the reply type, and its content as data.
    Events,
}

/// Bytes of a body that only holds names and numbers.
pub(crate) const SMALL_BYTES_MAX: usize = 256 * 1024;

impl Accepts {
    /// A small JSON document that must be there.
    pub(crate) const SMALL: Self = Self::Json { max_bytes: SMALL_BYTES_MAX, optional: false };
    /// A small JSON document that may be left out.
    pub(crate) const SMALL_OPTIONAL: Self = Self::Json { max_bytes: SMALL_BYTES_MAX, optional: true };
}

/// An operation as data.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Its name, unique; generated clients call their method by it.
    pub id: &'static str,
    /// The concern that it belongs to, for documents that group operations.
    pub group: &'static str,
    /// The HTTP method.
    pub method: Method,
    /// The path; a part in braces is a parameter.
    pub path: &'static str,
    /// What it does, in a sentence.
    pub doc: &'static str,
    /// The commands of the command line that ask for it, without `consort`.
    pub words: &'static [&'static str],
    /// What it is about.
    pub scope: Scope,
    /// Whether it changes the state. A change that was answered is durable.
    pub changes: bool,
    /// Parameters that travel as header fields, by the name that they have in the parameters' type.
    pub headers: &'static [&'static str],
    /// What the body of a request may be.
    pub accepts: Accepts,
    /// What the body of an answer holds.
    pub returns: Returns,
    /// The statuses of good answers, with what each means.
    pub answers: &'static [(u16, &'static str)],
    /// The codes that refuse it, beside [`Spec::ALWAYS`].
    pub errors: &'static [Code],
}

impl Spec {
    /// The codes that may refuse any operation.
    pub const ALWAYS: &'static [Code] =
        &[Code::BadRequest, Code::BadName, Code::Denied, Code::Overloaded, Code::Stopping, Code::Internal];

    /// A reading operation of a namespace that answers JSON: what most operations differ from in a few fields.
    pub(crate) const READ: Self = Self {
        id: "",
        group: "",
        method: Method::Get,
        path: "",
        doc: "",
        words: &[],
        scope: Scope::Namespace,
        changes: false,
        headers: &[],
        accepts: Accepts::Nothing,
        returns: Returns::Json,
        answers: &[(200, "As it is now.")],
        errors: &[],
    };

    /// A changing operation of a namespace that answers nothing.
    pub(crate) const CHANGE: Self = Self {
        method: Method::Post,
        changes: true,
        accepts: Accepts::SMALL_OPTIONAL,
        returns: Returns::Nothing,
        answers: &[(204, "It is done, and durable.")],
        ..Self::READ
    };

    /// The names of the parameters in the path, in order.
    pub fn path_params(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }
}

/// An operation: what it takes, what it gives, and its [`Spec`].
pub trait Operation: Send + Sync + 'static {
    /// Everything in the path, the query and the header fields; [`crate::NoParams`] where there is nothing.
    type Params: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static;
    /// The body of a request; `()` where there is none.
    type Body: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static;
    /// The body of an answer; `()` where there is none. Of events: an enum with a variant for each.
    type Reply: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static;
    /// The rest of the description.
    const SPEC: Spec;
}

/// Makes the schema of a type.
type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// An operation without its types.
pub struct Entry {
    /// Its description.
    pub spec: Spec,
    pub(crate) body: SchemaOf,
    pub(crate) reply: SchemaOf,
    params: fn() -> Schema,
    whole_body: fn() -> Schema,
    derived: OnceLock<Vec<Param>>,
    reread: fn(&[u8]) -> serde_json::Result<Vec<u8>>,
}

impl Entry {
    /// The entry of an operation.
    pub fn of<O: Operation>() -> Self {
        Self {
            spec: O::SPEC,
            body: SchemaGenerator::subschema_for::<O::Body>,
            reply: SchemaGenerator::subschema_for::<O::Reply>,
            params: inlined::<O::Params>,
            whole_body: inlined::<O::Body>,
            derived: OnceLock::new(),
            reread: |bytes| serde_json::to_vec(&serde_json::from_slice::<O::Body>(bytes)?),
        }
    }

    /// The parameters, in order of their names: those in the path, the query and the header fields, without `namespace`.
    pub fn params(&self) -> &[Param] {
        self.derived.get_or_init(|| params::derive(&self.spec, &(self.params)()))
    }

    /// Refuses parameters of a query that are not declared, or come twice.
    pub fn check_query(&self, query: &[(String, String)]) -> Result<()> {
        params::check_names(&self.spec, self.params(), query)
    }

    /// Reads the parameters' type from texts, each with the place where it stood; others than declared are left out.
    pub fn read_params<T: DeserializeOwned>(&self, given: &[(Place, String, String)]) -> Result<T> {
        params::decode(self.params(), given)
    }

    /// Writes parameters as texts, each with the place where it is to stand.
    pub fn write_params<T: Serialize>(&self, value: &T) -> Result<Vec<(Place, String, String)>> {
        params::encode(self.params(), value)
    }

    /// The names of the fields of the body.
    pub fn body_fields(&self) -> Vec<String> {
        let schema = (self.whole_body)();
        schema.as_value()["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
    }

    /// Reads a body as the operation's type and writes it again.
    ///
    /// # Errors
    /// Where the bytes are not such a document.
    pub fn reread_body(&self, bytes: &[u8]) -> serde_json::Result<Vec<u8>> {
        (self.reread)(bytes)
    }
}

/// The schema of a type without references.
fn inlined<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>()
}
