//! Which functions there are, each declared once: name, arguments, usage.
//!
//! For: calls by name. Not for: macros, which see their arguments unevaluated (see `eval`), or what a function does (see
//! `functions` and `strings`).
//! Invariant: every name is in the language reference.

use std::ops::Range;

use super::problem::Problem;
use crate::suggest::{did_you_mean, listed};

macro_rules! functions {
    ($($variant:ident $name:literal $arguments:expr, $usage:literal;)+) => {
        /// A function that expressions may call; `f(x, y)` and `x.f(y)` are the same call.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Function { $($variant,)+ }

        impl Function {
            /// Every name, in the order of the reference.
            pub(crate) const NAMES: &[&'static str] = &[$($name,)+];

            pub(crate) fn of(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }

            /// How it is written.
            pub(crate) fn usage(self) -> &'static str {
                match self { $(Self::$variant => concat!("usage: ", $usage),)+ }
            }

            fn arguments(self) -> std::ops::RangeInclusive<usize> {
                match self { $(Self::$variant => $arguments,)+ }
            }
        }
    };
}

functions! {
    Success "success" 0..=0, "`success()`";
    Failure "failure" 0..=0, "`failure()`";
    Always "always" 0..=0, "`always()`";
    Cancelled "cancelled" 0..=0, "`cancelled()`";
    Size "size" 1..=1, "`size(value)` or `value.size()`";
    Contains "contains" 2..=2, "`text.contains(part)`";
    StartsWith "startsWith" 2..=2, "`text.startsWith(part)`";
    EndsWith "endsWith" 2..=2, "`text.endsWith(part)`";
    Matches "matches" 2..=2, "`text.matches(pattern)`";
    LowerAscii "lowerAscii" 1..=1, "`text.lowerAscii()`";
    UpperAscii "upperAscii" 1..=1, "`text.upperAscii()`";
    Trim "trim" 1..=1, "`text.trim()`";
    Split "split" 2..=2, "`text.split(separator)`";
    Join "join" 1..=2, "`list.join()` or `list.join(separator)`";
    Replace "replace" 3..=3, "`text.replace(from, to)`";
    Substring "substring" 2..=3, "`text.substring(start)` or `text.substring(start, end)`";
    Int "int" 1..=1, "`int(value)`";
    Double "double" 1..=1, "`double(value)`";
    String "string" 1..=1, "`string(value)`";
    Bool "bool" 1..=1, "`bool(value)`";
    Type "type" 1..=1, "`type(value)`";
    Min "min" 1..=16, "`min(list)` or `min(a, b)`";
    Max "max" 1..=16, "`max(list)` or `max(a, b)`";
    Sum "sum" 1..=1, "`sum(list)` or `list.sum()`";
    Range "range" 1..=2, "`range(end)` or `range(start, end)`";
    Keys "keys" 1..=1, "`keys(map)`";
    Flatten "flatten" 1..=1, "`list.flatten()`";
    Distinct "distinct" 1..=1, "`list.distinct()`";
    Sort "sort" 1..=1, "`list.sort()`";
    Reverse "reverse" 1..=1, "`list.reverse()`";
    Slice "slice" 3..=3, "`list.slice(start, end)`";
    Json "json" 1..=1, "`json(value)`";
    FromJson "fromJson" 1..=1, "`fromJson(text)`";
}

impl Function {
    pub(super) fn is_status(self) -> bool {
        matches!(self, Self::Success | Self::Failure | Self::Always | Self::Cancelled)
    }

    pub(super) fn check_arguments(self, name: &str, count: usize) -> Result<(), String> {
        let wanted = self.arguments();
        if wanted.contains(&count) {
            return Ok(());
        }
        let wanted = if wanted.start() == wanted.end() {
            wanted.start().to_string()
        } else {
            format!("{} to {}", wanted.start(), wanted.end())
        };
        Err(format!("`{name}` takes {wanted} arguments (the receiver counted), found {count}"))
    }
}

/// The message about a name that is no function.
pub(super) fn unknown(name: &str, receiver: bool, span: Range<usize>) -> Problem {
    const MACROS: [&str; 6] = ["has", "all", "exists", "exists_one", "map", "filter"];
    let hint = did_you_mean(name, Function::NAMES.iter().copied().chain(MACROS)).unwrap_or_else(|| match name {
        "all" | "exists" | "exists_one" | "map" | "filter" if !receiver => {
            format!("write `list.{name}(x, expression)`")
        }
        "len" | "length" | "count" => "write `size(value)`".to_owned(),
        "toJson" | "toJSON" => "write `json(value)`".to_owned(),
        "fromJSON" => "write `fromJson(text)`".to_owned(),
        _ => format!(
            "there are {} and others: see the language reference",
            listed(Function::NAMES[4..14].iter().copied())
        ),
    });
    Problem::new("unknown-function", format!("there is no function `{name}`"), span).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::Function;

    #[test]
    fn the_reference_page_has_every_function() {
        let page = include_str!("../../../../docs/workflow-language.md");
        for name in Function::NAMES {
            assert!(page.contains(&format!("`{name}(")), "{name}");
        }
    }
}
