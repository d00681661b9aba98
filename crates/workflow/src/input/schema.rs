//! A JSON Schema, compiled.
//!
//! For: the normal form of a declared input: parts, each a list of rules. Not for: the text of a schema (the checker
//! compiles it), nor evaluating (see `evaluate`).
//! Invariant: parts come after the parts that they name, so that no value makes an evaluation go round in a circle;
//! the numbers of the rules never change their meaning.

use minicbor::{Decode, Decoder, Encode, decode::Error};
use regex::Regex;

use crate::form::json::Json;

/// The position of a part in its schema.
pub type PartId = u32;

/// Parts within each other that the evaluator follows: far more than a checked schema has.
const HEIGHT_MAX: u32 = 512;

/// A compiled schema; the last part is the whole.
#[derive(Clone, Debug, Encode)]
#[cbor(transparent)]
pub struct Schema(#[n(0)] Vec<Part>);

/// One schema within a schema.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub struct Part {
    /// All of them must hold.
    #[n(0)]
    pub rules: Vec<Rule>,
    /// The default of a missing field.
    #[n(1)]
    pub default: Option<Json>,
}

/// A text pattern, searched anywhere in a text.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(transparent)]
pub struct Pattern(
    #[n(0)]
    #[cbor(with = "crate::form::pattern")]
    pub Regex,
);

/// A type of JSON Schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Type {
    /// `null`.
    #[n(0)]
    Null,
    /// `boolean`.
    #[n(1)]
    Boolean,
    /// `integer`: a number without a fraction, however it is written.
    #[n(2)]
    Integer,
    /// `number`.
    #[n(3)]
    Number,
    /// `string`.
    #[n(4)]
    String,
    /// `array`.
    #[n(5)]
    Array,
    /// `object`.
    #[n(6)]
    Object,
}

impl Type {
    /// Every type.
    pub const ALL: [Self; 7] =
        [Self::Null, Self::Boolean, Self::Integer, Self::Number, Self::String, Self::Array, Self::Object];

    /// The word of JSON Schema for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }
}

/// One rule about a value; a rule about texts, numbers, lists or maps does not constrain other values.
#[derive(Clone, Debug, Encode, Decode)]
pub enum Rule {
    /// `false`: nothing fits.
    #[n(0)]
    Never,
    /// `type`: one of these.
    #[n(1)]
    Types(#[n(0)] Vec<Type>),
    /// `enum` and `const`: equal to one of these.
    #[n(2)]
    OneOf(#[n(0)] Vec<Json>),
    /// `minimum`.
    #[n(3)]
    AtLeast(#[n(0)] Json),
    /// `exclusiveMinimum`.
    #[n(4)]
    Above(#[n(0)] Json),
    /// `maximum`.
    #[n(5)]
    AtMost(#[n(0)] Json),
    /// `exclusiveMaximum`.
    #[n(6)]
    Below(#[n(0)] Json),
    /// `multipleOf`, exact in decimal digits.
    #[n(7)]
    MultipleOf(#[n(0)] Json),
    /// `minLength`, in characters.
    #[n(8)]
    MinLength(#[n(0)] u64),
    /// `maxLength`, in characters.
    #[n(9)]
    MaxLength(#[n(0)] u64),
    /// `pattern`.
    #[n(10)]
    Pattern(#[n(0)] Pattern),
    /// `minItems`.
    #[n(11)]
    MinItems(#[n(0)] u64),
    /// `maxItems`.
    #[n(12)]
    MaxItems(#[n(0)] u64),
    /// `uniqueItems`.
    #[n(13)]
    UniqueItems,
    /// `prefixItems` and `items`.
    #[n(14)]
    Items {
        /// The first items, one part each.
        #[n(0)]
        prefix: Vec<PartId>,
        /// All items behind them.
        #[n(1)]
        rest: Option<PartId>,
    },
    /// `contains`, with `minContains` and `maxContains`.
    #[n(15)]
    Contains {
        /// What is counted.
        #[n(0)]
        part: PartId,
        /// How many at least.
        #[n(1)]
        min: u64,
        /// How many at most.
        #[n(2)]
        max: Option<u64>,
    },
    /// `minProperties`.
    #[n(16)]
    MinProperties(#[n(0)] u64),
    /// `maxProperties`.
    #[n(17)]
    MaxProperties(#[n(0)] u64),
    /// `required`.
    #[n(18)]
    Required(#[n(0)] Vec<String>),
    /// `dependentRequired`: where the first is there, the others must be.
    #[n(19)]
    DependentRequired(#[n(0)] Vec<(String, Vec<String>)>),
    /// `dependentSchemas`: where the field is there, the map must fit.
    #[n(20)]
    DependentParts(#[n(0)] Vec<(String, PartId)>),
    /// `properties`, `patternProperties` and `additionalProperties`.
    #[n(21)]
    Fields {
        /// By name, in order of the names.
        #[n(0)]
        named: Vec<(String, PartId)>,
        /// By pattern.
        #[n(1)]
        matching: Vec<(Pattern, PartId)>,
        /// All that neither names.
        #[n(2)]
        rest: Option<PartId>,
    },
    /// `propertyNames`.
    #[n(22)]
    FieldNames(#[n(0)] PartId),
    /// `allOf` and `$ref`.
    #[n(23)]
    All(#[n(0)] Vec<PartId>),
    /// `anyOf`.
    #[n(24)]
    Any(#[n(0)] Vec<PartId>),
    /// `oneOf`.
    #[n(25)]
    ExactlyOne(#[n(0)] Vec<PartId>),
    /// `not`.
    #[n(26)]
    Not(#[n(0)] PartId),
    /// `if`, `then` and `else`.
    #[n(27)]
    If {
        /// What decides.
        #[n(0)]
        condition: PartId,
        /// What must hold where it fits.
        #[n(1)]
        then: Option<PartId>,
        /// What must hold where it does not.
        #[n(2)]
        otherwise: Option<PartId>,
    },
}

impl Rule {
    fn parts(&self) -> Vec<PartId> {
        match self {
            Self::Items { prefix, rest } => prefix.iter().chain(rest).copied().collect(),
            Self::Contains { part, .. } | Self::FieldNames(part) | Self::Not(part) => vec![*part],
            Self::DependentParts(parts) => parts.iter().map(|(_, part)| *part).collect(),
            Self::Fields { named, matching, rest } => {
                let named = named.iter().map(|(_, part)| part);
                named.chain(matching.iter().map(|(_, part)| part)).chain(rest).copied().collect()
            }
            Self::All(parts) | Self::Any(parts) | Self::ExactlyOne(parts) => parts.clone(),
            Self::If { condition, then, otherwise } => {
                [Some(*condition), *then, *otherwise].into_iter().flatten().collect()
            }
            _ => Vec::new(),
        }
    }
}

impl Schema {
    /// A schema of these parts, of which the last is the whole. `None` where a part names one that does not come
    /// before it, or there is none.
    pub fn new(parts: Vec<Part>) -> Option<Self> {
        let mut heights: Vec<u32> = Vec::with_capacity(parts.len());
        for part in &parts {
            let mut height = 0;
            for named in part.rules.iter().flat_map(Rule::parts) {
                height = height.max(*heights.get(named as usize)?);
            }
            heights.push(height + 1);
        }
        (heights.iter().all(|height| *height <= HEIGHT_MAX) && !parts.is_empty()).then_some(Self(parts))
    }

    pub(super) fn root(&self) -> PartId {
        self.0.len() as PartId - 1
    }

    pub(super) fn part(&self, id: PartId) -> &Part {
        &self.0[id as usize]
    }
}

impl<'b, C> Decode<'b, C> for Schema {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, Error> {
        Self::new(Decode::decode(d, ctx)?).ok_or_else(|| Error::message("the parts of a schema are out of order"))
    }
}
