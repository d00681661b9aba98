//! The schemas of the plain values that documents are made of.
//!
//! For: saying the form of ids, instants and durations once, where every document refers to it. Not for: documents.
//! Invariant: a format named here is one that [`crate::Param`] checks.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// A plain value with a name of its own in the OpenAPI document.
macro_rules! plain {
    ($name:ident, $shown:literal, $schema:tt) => {
        pub(crate) struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                $shown.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

plain!(Run, "RunId", {
    "type": "string", "format": "run-id",
    "description": "The id of a run: a ULID of 26 characters, such as `01J8Z3K4M5N6P7Q8R9S0T1V2W3`.",
});
plain!(Task, "StepInstanceId", {
    "type": "string", "format": "task-id",
    "description": "The id of a step instance: `RUN.SCOPE.INDEX`, such as `01J8Z3K4M5N6P7Q8R9S0T1V2W3.0.2`.",
});
plain!(Instant, "Time", {
    "type": "string", "format": "date-time",
    "description": "An instant: RFC 3339 in UTC with milliseconds, such as `2026-11-22T10:00:00.000Z`.",
});
plain!(Duration, "Duration", {
    "type": "string", "format": "duration",
    "description": "A length of time: whole numbers with the units `d`, `h`, `m`, `s`, `ms` and `us`, the largest \
                    first, such as `250ms`, `30s` or `1h30m`.",
});
plain!(QuotaScope, "QuotaScope", {
    "type": "string", "format": "quota-scope",
    "description": "What a quota is about: `namespace`, `capability:NAME`, `agent:NAME` or `key:NAME`.",
});
plain!(Position, "Position", {
    "type": "string", "format": "position",
    "description": "A record, and a place within it: `SEQ-N`, such as `4711-0`. Positions only grow.",
});
plain!(MergePolicyWord, "MergePolicy", {
    "type": "string",
    "enum": ["reject", "last_writer_wins", "max", "min", "counter", "set", "map", "text", "list", "agent", "expression"],
    "description": "The outcome of a write that has not seen the latest value of its key.",
});
plain!(WriteOutcome, "WriteOutcome", {
    "type": "string",
    "enum": ["read", "written", "deleted", "absent", "merged", "superseded", "undecided", "rejected"],
    "description": "The outcome of an operation: `merged`: the key has a value made of this write and others; \
                    `superseded`: another write stays; `undecided`: both values are kept until it is decided.",
});
plain!(Delivery, "DeliveryId", {
    "type": "string", "format": "delivery-id",
    "description": "A delivery of an event to a consumer, such as `1042-0.1050`.",
});
plain!(Any, "Document", {
    "description": "A JSON document of any form. In answers, one of more than 32 KiB is replaced by \
                    `{\"$blob\": HASH, \"bytes\": LENGTH}`; a separate operation returns it whole.",
});
