//! What an operation is.
//!
//! For: the one description from which doors, documents and clients are made. Not for: any one operation.
//! Invariant: a specification is data: nothing in it calls an engine or reads a request.

use consort_types::Code;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

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
        /// Whether an empty body means `{}`.
        optional: bool,
    },
    /// Any JSON document, of at most [`consort_types::limits::HTTP_BODY_BYTES_MAX`] bytes; an empty body means `null`.
    Document,
    /// The source of a workflow: YAML as it is, or a JSON document of the operation's body type.
    Workflow,
    /// Events: a JSON document of the operation's body type, or in the forms of CloudEvents (one event in structured or
    /// binary mode, or a batch); of at most [`consort_types::limits::HTTP_BODY_BYTES_MAX`] bytes.
    CloudEvents,
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
    /// The commands of the command line that call it, without `consort`.
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

/// An operation: its parameters, body and reply, and its [`Spec`].
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
