//! A question into sub-questions and queries.
//!
//! For: splitting comparisons, conjunctions and several questions in one, and naming the kind of answer that each part
//! requires. Not for: adding questions that the caller did not ask.
//! Invariant: every sub-question is made of words of the question; there is at least one, and each has a query.

mod intent;
mod subject;

use consort_types::{Code, Error, Result};

use super::model::{Intent, Plan, PlanInput, Query, SubQuestion};
use super::text::markup::squeeze;

use intent::intent;
use subject::exact_parts;
pub(crate) use subject::{focus, key, names, object, plain, subject};

/// Bytes of a question.
const QUESTION_BYTES_MAX: usize = 2_000;
/// Letters of a question.
const QUESTION_LETTERS_MIN: usize = 3;
/// Sub-questions of one question.
const SUB_QUESTIONS_MAX: usize = 8;

/// Words of a part of a question that may still lack its subject: "and what is the default".
const BARE_WORDS_MAX: usize = 4;

const ASKING: &[&str] = &[
    "what", "how", "why", "when", "where", "who", "which", "whose", "is", "are", "does", "do", "can", "should", "must",
    "did", "was", "were", "will", "has", "have", "may",
];

/// Makes the plan for a question.
pub fn plan(input: &PlanInput) -> Result<Plan> {
    let question = squeeze(&input.question);
    let letters = question.chars().filter(|c| c.is_alphanumeric()).count();
    if letters < QUESTION_LETTERS_MIN {
        return Err(Error::new(
            Code::BadInput,
            format!("the question has `{letters}` letters, the least is {QUESTION_LETTERS_MIN}"),
        )
        .hint("ask in a few words, such as `question=\"what is a lease\"`"));
    }
    if question.len() > QUESTION_BYTES_MAX {
        return Err(Error::new(
            Code::LimitReached,
            format!("the question has `{}` bytes, the limit is {QUESTION_BYTES_MAX}", question.len()),
        )
        .hint("ask the main point; put the rest into further runs"));
    }
    let mut parts = Vec::new();
    for sentence in sentences(&question) {
        parts.extend(split(&sentence));
    }
    parts.dedup();
    parts.truncate(SUB_QUESTIONS_MAX);
    let sub_questions: Vec<SubQuestion> = parts
        .into_iter()
        .enumerate()
        .map(|(i, text)| SubQuestion { id: format!("s{}", i + 1), intent: intent(&text), focus: focus(&text), text })
        .collect();
    let queries = sub_questions.iter().flat_map(queries).collect();
    Ok(Plan { question, sub_questions, queries })
}

/// The questions in the text; a sentence without a question mark is context of the next, or a question if it is all there is.
fn sentences(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut from = 0;
    for (i, c) in text.char_indices() {
        let end = i + c.len_utf8();
        let boundary = text[end..].starts_with(' ') || end == text.len();
        // A mark on its own, as in "the ? operator", is a word.
        let ends = text[from..i].ends_with(|c: char| !c.is_whitespace()) && text[from..i].contains(' ');
        if matches!(c, '?' | ';') && boundary && ends {
            out.push(text[from..i].trim().to_owned());
            from = end;
        }
    }
    out.push(text[from..].trim().trim_end_matches(['.', '!', '?', ' ']).to_owned());
    out.retain(|s| s.chars().any(char::is_alphanumeric));
    out
}

/// Splits a comparison or a conjunction of questions.
fn split(text: &str) -> Vec<String> {
    if let Some((a, b)) = compared(text) {
        return vec![text.to_owned(), format!("What is {a}"), format!("What is {b}")];
    }
    let mut out: Vec<String> = Vec::new();
    for part in conjuncts(text) {
        let part = match out.first() {
            // "What is X and when should it be used": the second part is about X, too.
            Some(first) => resolve(&part, &focus(first)),
            None => part,
        };
        out.push(part);
    }
    out
}

/// The two sides of "difference between A and B", "A vs B", "compare A with B".
fn compared(text: &str) -> Option<(String, String)> {
    let lower = text.to_lowercase();
    if lower.len() != text.len() {
        return None;
    }
    let after = |mark: &str| lower.find(mark).map(|i| &text[i + mark.len()..]);
    let pair = if let Some(rest) =
        after("difference between ").or_else(|| after("differences between ")).or_else(|| after("distinguishes "))
    {
        cut(rest, " and ").or_else(|| cut(rest, " from "))
    } else if let Some(rest) = lower.strip_prefix("compare ").map(|_| &text["compare ".len()..]) {
        cut(rest, " with ").or_else(|| cut(rest, " and ")).or_else(|| cut(rest, " to "))
    } else if let Some(rest) = after("how does ").or_else(|| after("how do ")) {
        cut(rest, " differ from ").or_else(|| cut(rest, " compare to ")).or_else(|| cut(rest, " compare with "))
    } else {
        [" vs. ", " vs ", " versus "].iter().find_map(|mark| cut(text, mark))
    };
    let (a, b) = pair?;
    let plain = |side: &str| {
        let side = side.trim().trim_end_matches(['?', '.', ',']).trim_start_matches("what is the ").to_owned();
        (!side.is_empty() && side.split_whitespace().count() <= 5).then_some(side)
    };
    Some((plain(a)?, plain(b)?))
}

/// The text before and after a mark.
fn cut<'a>(text: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    text.split_once(mark)
}

/// Splits at "and", "or" or a comma where a question word follows.
fn conjuncts(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split(' ').collect();
    let mut out = Vec::new();
    let mut from = 0;
    for at in 1..words.len() {
        let joint =
            matches!(words[at - 1].to_lowercase().as_str(), "and" | "or" | "but") || words[at - 1].ends_with(',');
        let next = words[at].to_lowercase();
        // "is" and its like begin a question only behind a full stop or question word, so "and" must come before.
        let asks = ASKING[..8].contains(&next.as_str())
            || (ASKING[8..].contains(&next.as_str()) && matches!(words[at - 1], "and" | "or") && words.len() - at >= 4);
        let enough = at - from >= 3 && words.len() - at >= 2;
        if joint && asks && enough {
            let end = if words[at - 1].ends_with(',') { at } else { at - 1 };
            out.push(words[from..end].join(" ").trim_end_matches(',').to_owned());
            from = at;
        }
    }
    out.push(words[from..].join(" "));
    out
}

/// Puts the focus in place of a pronoun; a short part without one gets the focus at its end.
fn resolve(part: &str, focus: &str) -> String {
    if focus.is_empty() {
        return part.to_owned();
    }
    let is_possessive = |w: &str| matches!(w.to_lowercase().as_str(), "its" | "their" | "whose");
    let is_pronoun = |w: &str| {
        matches!(
            w.trim_end_matches(['?', ',', '.']).to_lowercase().as_str(),
            "it" | "they" | "them" | "this" | "one" | "these"
        )
    };
    let mut done = false;
    let words: Vec<String> = part
        .split(' ')
        .map(|w| {
            if is_pronoun(w) && !done {
                done = true;
                focus.to_owned()
            } else if is_possessive(w) && !done {
                done = true;
                format!("{focus}'s")
            } else {
                w.to_owned()
            }
        })
        .collect();
    let bare = !done && words.len() <= BARE_WORDS_MAX && !words[1..].iter().any(|w| w.contains(char::is_uppercase));
    if bare { format!("{} of {focus}", words.join(" ")) } else { words.join(" ") }
}

/// The searches for one sub-question: all its words, and its quoted or code-like parts alone.
fn queries(sub: &SubQuestion) -> Vec<Query> {
    let mut texts = vec![sub.text.clone()];
    let exact = exact_parts(&sub.text).join(" ");
    if !exact.is_empty() && exact != sub.text {
        texts.push(exact);
    }
    if sub.intent == Intent::Definition && !sub.focus.is_empty() && sub.focus.split_whitespace().count() >= 2 {
        texts.push(sub.focus.clone());
    }
    texts.dedup();
    let one = |(i, text)| Query { id: format!("{}.{}", sub.id, i + 1), sub_question: sub.clone(), text };
    texts.into_iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(question: &str) -> Vec<(String, Intent)> {
        let plan = plan(&PlanInput { question: question.into() }).expect("a plan");
        plan.sub_questions.into_iter().map(|s| (s.text, s.intent)).collect()
    }

    fn texts(question: &str) -> Vec<String> {
        parts(question).into_iter().map(|p| p.0).collect()
    }

    #[test]
    fn splits_only_what_the_question_splits() {
        assert_eq!(texts("What is ownership?"), ["What is ownership"]);
        assert_eq!(texts("What are read and write locks?"), ["What are read and write locks"]);
        assert_eq!(texts("What is `Arc` and when should it be used?"), ["What is `Arc`", "when should `Arc` be used"]);
        assert_eq!(
            texts("Who built the bridge, and how long is it?"),
            ["Who built the bridge", "how long is built the bridge"]
        );
        assert_eq!(
            texts("What is the difference between Rc and Arc?"),
            ["What is the difference between Rc and Arc", "What is Rc", "What is Arc"]
        );
        assert_eq!(
            texts("What is a journal and what are its disadvantages?"),
            ["What is a journal", "what are journal's disadvantages"]
        );
        assert_eq!(
            texts("What does `fsync` do and what is the default?"),
            ["What does `fsync` do", "what is the default of `fsync`"]
        );
        assert_eq!(texts("Why is it slow? How do I fix it?"), ["Why is it slow", "How do I fix it"]);
    }

    #[test]
    fn tells_what_kind_of_answer_is_asked_for() {
        for (question, intent) in [
            ("What is a lease?", Intent::Definition),
            ("What is the maximum size of a request body?", Intent::General),
            ("How many pumps are there?", Intent::Quantity),
            ("How long does a lease last?", Intent::Duration),
            ("When was the mill built?", Intent::Time),
            ("Why are leases short?", Intent::Reason),
            ("Who designed the mill?", Intent::Person),
            ("Where is the log stored?", Intent::Location),
            ("How do I open a file?", Intent::Procedure),
            ("Can a lease be renewed?", Intent::YesNo),
            ("Which formats does the exporter support?", Intent::List),
            ("What are the disadvantages of the journal?", Intent::List),
            ("In which version was the journal added?", Intent::Time),
            ("What does the shift command do?", Intent::Definition),
            ("What is the default page size?", Intent::General),
        ] {
            assert_eq!(parts(question)[0].1, intent, "{question}");
        }
    }

    #[test]
    fn finds_the_word_that_is_asked_for() {
        for (question, word) in [
            ("Who founded the club?", "founded"),
            ("How much does a monthly pass cost?", "cost"),
            ("What is the speed limit in the harbour?", "limit"),
            ("How many visitors does the museum have per year?", "visitors"),
            ("How often is a restore tested?", "tested"),
            ("Does Hopper support Kubernetes?", "Kubernetes"),
            ("How can I prevent a colony from swarming?", "prevent"),
            ("What caused the outage of the service?", "outage"),
        ] {
            assert_eq!(key(question).as_deref(), Some(word), "{question}");
        }
    }

    #[test]
    fn identifiers_get_a_query_of_their_own() {
        let plan = plan(&PlanInput { question: "What does std::fs::File do with O_DIRECT and --no-color?".into() })
            .expect("a plan");
        assert_eq!(plan.queries[1].text, "std::fs::File O_DIRECT --no-color");
    }

    #[test]
    fn what_is_no_question_is_refused() {
        for bad in ["", " ? ", "ab", &"x".repeat(3_000)] {
            assert!(plan(&PlanInput { question: bad.into() }).is_err());
        }
    }
}
