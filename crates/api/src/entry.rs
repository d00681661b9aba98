//! An operation without its types, so that all of them fit into one table.
//!
//! For: what doors, documents and clients do with any operation: its parameters, its schemas. Not for: what an operation
//! is (see `spec`).
//! Invariant: everything in an entry is derived from the operation's types and its specification.

use std::sync::OnceLock;

use consort_types::Result;
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    params::{self, Param, Place},
    spec::{Operation, Spec},
};

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

    /// Reads the parameters' type from texts, each with the place that it came from; those that are not declared are
    /// left out.
    pub fn read_params<T: DeserializeOwned>(&self, given: &[(Place, String, String)]) -> Result<T> {
        params::decode(self.params(), given)
    }

    /// Writes parameters as texts, each with the place that it goes to.
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
