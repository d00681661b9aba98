//! The keywords of JSON Schema 2020-12.
//!
//! For: warnings about misspelt ones. Not for: their meaning (the library's).
//! Invariant: a keyword is in one of the two lists, or is handled by name as a map of schemas.

/// Keywords whose value is a schema or a list of schemas.
pub(super) const SCHEMAS: [&str; 13] = [
    "items",
    "prefixItems",
    "contains",
    "additionalProperties",
    "propertyNames",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "unevaluatedProperties",
];

/// Keywords whose value is plain.
pub(super) const VALUES: [&str; 36] = [
    "type",
    "enum",
    "const",
    "multipleOf",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "maxContains",
    "minContains",
    "maxProperties",
    "minProperties",
    "required",
    "dependentRequired",
    "title",
    "description",
    "default",
    "deprecated",
    "readOnly",
    "writeOnly",
    "examples",
    "format",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "$ref",
    "$comment",
    "unevaluatedItems",
    "properties",
    "$defs",
];
