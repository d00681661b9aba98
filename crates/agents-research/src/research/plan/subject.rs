//! What a question is about, and what it asks of that.
//!
//! For: the subject, the focus of a definition, and the key word of a question. Not for: weighing them.
//! Invariant: every word that is found is a word of the question.

use crate::research::text::words::is_stop;

/// Words behind a name that only say what kind of thing it is.
const KINDS: &[&str] =
    &["parameter", "builtin", "command", "function", "method", "module", "variable", "statement", "keyword", "clause"];

/// What the question is about: its words without the question's frame.
pub(crate) fn focus(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let frame = |w: &str| {
        let w = w.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        !w.is_empty()
            && (is_stop(&w)
                || matches!(
                    w.as_str(),
                    "define"
                        | "explain"
                        | "describe"
                        | "meaning"
                        | "mean"
                        | "means"
                        | "use"
                        | "used"
                        | "option"
                        | "setting"
                ))
            && w != "no"
    };
    // "The fsync parameter" is about fsync, "a hash function" is about a function.
    let article = text.to_lowercase().contains(" the ");
    let frame = |w: &str| frame(w) || (article && KINDS.contains(&w.to_lowercase().as_str()));
    let code = |w: &str| w.starts_with('`') || w.starts_with('-') || w.starts_with('"');
    let from = words.iter().position(|w| code(w) || !frame(w)).unwrap_or(words.len());
    let to = words.iter().rposition(|w| code(w) || !frame(w)).map_or(from, |i| i + 1);
    // The focus ends where a verb's helper or a clause begins: "Arc work", "ownership and why".
    let end = words[from..to]
        .iter()
        .position(|w| {
            matches!(
                w.to_lowercase().as_str(),
                "and" | "when" | "if" | "because" | "while" | "that" | "which" | "for" | "in" | "to"
            )
        })
        .filter(|n| *n > 0)
        .map_or(to, |n| from + n);
    words[from..end].join(" ").trim_matches(|c: char| matches!(c, '?' | '.' | ',' | '!' | '"')).to_owned()
}

/// The words that name what an answer must speak of: identifiers, options and words in capitals, and the words
/// after "of" in "what is the default of it"; empty where no word is more the subject than the others.
pub(crate) fn subject(text: &str) -> String {
    let mut out = exact_parts(text);
    let bare = |w: &str| w.trim_matches(|c: char| !c.is_alphanumeric() && c != '-' && c != '_').to_owned();
    let words: Vec<String> = text.split_whitespace().map(bare).collect();
    for word in &words {
        let letters = word.chars().filter(|c| c.is_alphabetic()).count();
        let capitals = letters >= 2 && !word.chars().any(char::is_lowercase);
        let option = word.starts_with('-') && word.len() > 1;
        if capitals || option {
            out.push(word.clone());
        }
    }
    let asks = words.first().is_some_and(|w| matches!(w.to_lowercase().as_str(), "what" | "which" | "define"));
    if let Some(at) = words.iter().rposition(|w| matches!(w.as_str(), "of" | "for")).filter(|_| asks) {
        let behind = words[at + 1..]
            .iter()
            .take_while(|w| !matches!(w.as_str(), "in" | "when" | "if" | "with" | "by" | "mean" | "do"));
        out.extend(behind.filter(|w| !is_stop(&w.to_lowercase())).cloned());
    }
    out.join(" ")
}

/// What a question such as "What is a here document" or "What does git stage do" asks about, word for word as [`plain`].
pub(crate) fn object(text: &str) -> Option<String> {
    let lower = text.to_lowercase();
    let asked =
        ["what is ", "what are ", "what does ", "what do ", "define "].iter().find_map(|m| lower.strip_prefix(m))?;
    let asked = [" do", " mean"].iter().find_map(|m| asked.strip_suffix(m)).unwrap_or(asked);
    let object = plain(asked);
    (!object.is_empty()).then_some(object)
}

/// A name as it is compared word for word: in lower case, without a number before it, an article, marks, or the ending of
/// the plural.
pub(crate) fn plain(name: &str) -> String {
    let name = name.to_lowercase();
    let name = name
        .split_once('(')
        .map_or(name.as_str(), |(before, _)| if before.is_empty() { name.as_str() } else { before });
    let words: Vec<&str> = name.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()).collect();
    let label = |w: &&&str| w.bytes().all(|b| b.is_ascii_digit()) || matches!(**w, "a" | "an" | "the");
    let from = words.iter().take_while(label).count();
    let words: Vec<&str> =
        words[from..].iter().map(|w| if w.len() > 3 { w.trim_end_matches('s') } else { w }).collect();
    words.join(" ")
}

/// Words with a capital letter that do not begin the question: names of products, people and places.
pub(crate) fn names(text: &str) -> String {
    let bare = |w: &str| w.trim_matches(|c: char| !c.is_alphanumeric()).to_owned();
    let words: Vec<String> =
        text.split_whitespace().skip(1).map(bare).filter(|w| w.starts_with(char::is_uppercase)).collect();
    words.join(" ")
}

/// The word that says what is asked of the focus: "founded" in "who founded the club", "cost" in "how much does a pass
/// cost", "limit" in "what is the limit for hotels". An answer without it is hardly one.
pub(crate) fn key(text: &str) -> Option<String> {
    const ENDS: &[&str] = &[
        "from", "in", "with", "for", "at", "per", "when", "on", "by", "to", "into", "during", "after", "before",
        "under", "between", "among", "if", "than", "of", "without", "as", "through", "using", "within",
    ];
    let clean = |w: &str| w.trim_matches(|c: char| !c.is_alphanumeric() && c != '-' && c != '_').to_owned();
    let words: Vec<String> = text.split_whitespace().map(clean).filter(|w| !w.is_empty()).collect();
    let lower: Vec<String> = words.iter().map(|w| w.to_lowercase()).collect();
    let content = |i: usize| {
        !is_stop(&lower[i])
            && !matches!(
                lower[i].as_str(),
                "later"
                    | "earlier"
                    | "now"
                    | "usually"
                    | "still"
                    | "use"
                    | "used"
                    | "uses"
                    | "many"
                    | "long"
                    | "often"
                    | "mean"
                    | "work"
                    | "works"
                    | "happens"
                    | "value"
                    | "range"
                    | "default"
                    | "mode"
            )
    };
    let ends = |i: usize| ENDS.contains(&lower[i].as_str());
    let first = lower.first()?;
    let chosen = match first.as_str() {
        "who" | "whom" | "whose" => (1..words.len()).find(|i| content(*i)),
        // "How many visitors", "which refrigerant": the word right behind names the kind of thing.
        "which" => (1..words.len()).find(|i| content(*i)),
        "how" if lower.get(1).is_some_and(|w| w == "many") => (2..words.len()).find(|i| content(*i)),
        // "What is the A of B", "what caused the A": the first phrase before a preposition, its last word.
        // "How do I open a file": what is to be done.
        "how"
            if lower.iter().any(|w| matches!(w.as_str(), "i" | "we" | "you" | "one"))
                || lower[1..].first().is_some_and(|w| w == "to") =>
        {
            (1..words.len()).find(|i| content(*i))
        }
        "what" | "why" | "when" | "where" | "how" | "can" | "does" | "do" | "is" | "are" | "may" | "should"
        | "must" => {
            let start = (1..words.len()).find(|i| content(*i))?;
            (start..words.len()).take_while(|i| !ends(*i)).filter(|i| content(*i)).last()
        }
        _ => None,
    };
    chosen.map(|i| words[i].clone())
}

/// Quoted phrases, code spans, identifiers and options in a text.
pub(crate) fn exact_parts(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    for quote in ['"', '`'] {
        for (i, part) in text.split(quote).enumerate() {
            if i % 2 == 1 && !part.trim().is_empty() {
                out.push(part.trim().to_owned());
            }
        }
    }
    for word in text.split_whitespace() {
        let word = word
            .trim_matches(|c: char| !c.is_alphanumeric() && !matches!(c, '-' | '_' | ':' | '.' | '/'))
            .trim_end_matches(['.', ':']);
        let inner =
            word.contains("::") || word.contains('_') || word.trim_matches('.').contains('.') || word.contains('/');
        let option = word.starts_with("--") && word.len() > 3;
        if (inner || option) && !out.iter().any(|o| o.contains(word)) {
            out.push(word.to_owned());
        }
    }
    out
}
