//! What kind of answer a question requires.
//!
//! For: the words and forms that tell a definition, a number, a list and the like apart. Not for: what it is about.
//! Invariant: the first form that fits decides, so that every question has exactly one.

use super::ASKING;
use crate::research::model::Intent;

/// Words of a question and the kind of answer that they require; the first that fits decides.
const FORMS: &[(Intent, &[&str])] = &[
    (
        Intent::Comparison,
        &[
            " difference between ",
            " differences between ",
            " vs ",
            " vs. ",
            " versus ",
            " differ from ",
            " compare",
            " distinguishes ",
        ],
    ),
    (
        Intent::Duration,
        &[" how long ", " how often ", " how soon ", " how quickly ", " what duration ", " how frequently "],
    ),
    (
        Intent::Quantity,
        &[
            " how many ",
            " how much ",
            " how large ",
            " how big ",
            " how fast ",
            " how heavy ",
            " how tall ",
            " how high ",
            " how deep ",
            " how far ",
            " how wide ",
            " how old ",
            " what number ",
            " how hot ",
            " how cold ",
            " how thick ",
            " how small ",
        ],
    ),
    (
        Intent::Time,
        &[
            " when ",
            " what year ",
            " which year ",
            " what date ",
            " which date ",
            " what time ",
            " what day ",
            " since when ",
            " by when ",
            " which version ",
            " what version ",
            " which release ",
        ],
    ),
    (Intent::Reason, &[" why ", " what causes ", " what is the reason ", " for what reason "]),
    (Intent::Person, &[" who ", " whom ", " whose ", " which company ", " which person "]),
    (
        Intent::List,
        &[
            " what kinds of ",
            " what types of ",
            " what sorts of ",
            " which kinds of ",
            " list all ",
            " what are the different ",
        ],
    ),
    (Intent::Location, &[" where ", " which folder ", " which directory ", " which file "]),
    (
        Intent::Procedure,
        &[
            " how to ",
            " how do ",
            " how can ",
            " how should ",
            " how would ",
            " how is ",
            " how are ",
            " how does ",
            " steps ",
        ],
    ),
];

/// What kind of answer a question requires.
pub(super) fn intent(text: &str) -> Intent {
    let lower = format!(" {} ", text.to_lowercase());
    let form = FORMS.iter().find(|(_, marks)| marks.iter().any(|m| lower.contains(m)));
    match form {
        Some((intent, _)) => *intent,
        None if asks_for_several(&lower) => Intent::List,
        None if lower.starts_with(" how ") => Intent::Procedure,
        None => plain_intent(&lower),
    }
}

/// Whether a question requests the members of something: "which formats does it support", "what are the advantages of
/// it".
fn asks_for_several(lower: &str) -> bool {
    let words: Vec<&str> = lower.split_whitespace().map(|w| w.trim_matches(|c: char| !c.is_alphanumeric())).collect();
    let plural =
        |w: &&str| w.len() > 3 && w.ends_with('s') && !w.ends_with("ss") && !w.ends_with("us") && !w.ends_with("is");
    let verb = |w: &str| matches!(w, "does" | "do" | "are" | "can" | "has" | "have" | "may" | "did");
    match words.as_slice() {
        ["which" | "what", rest @ ..] if !rest.first().is_some_and(|w| verb(w) || *w == "is") => {
            let at = rest.iter().position(|w| verb(w)).unwrap_or(0);
            at > 0 && at <= 4 && plural(&rest[at - 1])
        }
        ["what", "are", "the", rest @ ..] => {
            let end = rest.iter().position(|w| matches!(*w, "of" | "for" | "in" | "between")).unwrap_or(0);
            end > 0 && plural(&rest[end - 1])
        }
        _ => false,
    }
}

fn plain_intent(lower: &str) -> Intent {
    let first = lower.split_whitespace().next().unwrap_or_default();
    let definition = [" what is ", " what are ", " what's ", " define ", " what does ", " meaning of ", " what was "];
    if definition.iter().any(|m| lower.starts_with(m)) {
        // "What is the maximum size of a request" requests a value, "what is a request" a meaning.
        let words = lower.split_whitespace().count();
        let valued = [" default ", " maximum ", " minimum ", " largest ", " smallest ", " port ", " limit "];
        let value = lower.contains(" the ") && lower.contains(" of ")
            || words > 7
            || (lower.contains(" the ") && valued.iter().any(|v| lower.contains(v)));
        // "What does it do" asks what something is, "what does it need" does not.
        let does = lower.starts_with(" what does ") && !lower.contains(" mean ") && !lower.trim_end().ends_with(" do");
        return if value || does { Intent::General } else { Intent::Definition };
    }
    if ASKING[8..].contains(&first) {
        return Intent::YesNo;
    }
    let words = lower.split_whitespace().count();
    if words <= 3 { Intent::Definition } else { Intent::General }
}
