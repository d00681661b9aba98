//! A query and sources into ranked passages.
//!
//! For: finding what may answer a sub-question. Not for: deciding that it does.
//! Invariant: hits come best first, ties by path and place; each can be checked against its file.

use std::collections::BTreeSet;

use consort_types::{Code, Error, Result};

use super::config::Observer;
use super::index::{Corpus, Library, Passage};
use super::model::{Hit, Intent, Query, QueryInput, SearchInput, SearchOutput, SubQuestion, TermWeight};
use super::plan;
use super::score::Scorer;
use super::semantic::{Model, fuse};
use super::text::words::Terms;

/// Passages that the index proposes.
const CANDIDATES: usize = 480;
/// Passages that a search returns.
const HITS_MAX: usize = 24;
/// Passages of one file that a search returns, so that one long file does not hide the others.
const HITS_PER_FILE_MAX: usize = 6;
/// Passages that are compared with the question by meaning.
const COMPARED_MAX: usize = 48;
/// Passages whose segments are compared one by one.
const READ_BY_MEANING: usize = 12;
/// Characters of a text that are compared.
const COMPARED_CHARS_MAX: usize = 400;
/// Different terms of a query.
const TERMS_MAX: usize = 48;
/// Bytes of a query.
const QUERY_BYTES_MAX: usize = 4_000;

/// Stems of words that frame a question and say nothing of its subject.
const FRAME: &[&str] = &[
    "mani",
    "often",
    "explain",
    "describ",
    "defin",
    "mean",
    "meaning",
    "differ",
    "differenc",
    "compar",
    "use",
    "work",
    "happen",
    "need",
    "want",
    "know",
    "question",
    "answer",
    "possibl",
    "way",
    "thing",
    "exampl",
    "versus",
    "vs",
    "happen",
    "take",
    "call",
    "purpos",
    "exact",
    "exactli",
    "valu",
    "make",
    "made",
    "anoth",
    "simpl",
    "exist",
    "current",
    "whi",
];

/// Searches the sources for a query.
pub fn search(library: &Library, input: &SearchInput, observer: &dyn Observer) -> Result<SearchOutput> {
    let query = query(&input.query)?;
    let (corpus, info) = library.corpus(&input.sources, observer)?;
    if observer.cancelled() {
        return Err(Error::new(Code::Cancelled, "the search was cancelled"));
    }
    let wanted = weights(&corpus, &format!("{} {}", query.text, query.sub_question.text))?;
    let scored_by = weights(&corpus, &query.sub_question.text)?;
    let asked = format!("{} {}", query.text, other_words(&query.text));
    let candidates = corpus.candidates(&weights(&corpus, &asked)?, CANDIDATES)?;
    let top = candidates.first().map_or(1, |(score, _)| *score).max(1);
    let mut scorer = Scorer::new(&query.sub_question, &scored_by);
    let mut hits: Vec<Hit> = candidates
        .into_iter()
        .map(|(score, passage)| {
            let mut hit = hit(&corpus, &passage);
            let best = scorer.hit(&hit).into_iter().map(|s| s.relevance).max().unwrap_or_default();
            hit.score = best + 250 * score / top;
            hit
        })
        .collect();
    hits.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.path.cmp(&b.path)).then_with(|| a.place.cmp(&b.place)));
    let hits = match library.meanings().model()? {
        Some(model) => by_meaning(model, &query.sub_question.text, thin(hits, COMPARED_MAX))?,
        None => thin(hits, HITS_MAX),
    };
    Ok(SearchOutput { query, terms: wanted, hits, corpus: info })
}

/// Puts hits in the order that words and meaning give together, and tells of the first how near their segments are.
fn by_meaning(model: &Model, question: &str, mut hits: Vec<Hit>) -> Result<Vec<Hit>> {
    let cut = |text: &str| text.chars().take(COMPARED_CHARS_MAX).collect::<String>();
    let about = |hit: &Hit| hit.headings.last().unwrap_or(&hit.title).clone();
    let texts: Vec<String> = hits.iter().map(|hit| cut(&format!("{}: {}", about(hit), hit.quote))).collect();
    let near = model.similarities(question, &texts)?;
    let words: Vec<i64> = hits.iter().map(|hit| hit.score).collect();
    for (hit, score) in hits.iter_mut().zip(fuse(&words, &near)) {
        hit.score = score;
    }
    // The sort is stable: what fits equally stays in the order of the words.
    hits.sort_by_key(|hit| std::cmp::Reverse(hit.score));
    hits.truncate(HITS_MAX);
    for hit in hits.iter_mut().take(READ_BY_MEANING) {
        let texts: Vec<String> = hit.segments.iter().map(|s| cut(&format!("{}: {}", about(hit), s.text))).collect();
        hit.similar = model.similarities(question, &texts)?;
    }
    Ok(hits)
}

fn query(input: &QueryInput) -> Result<Query> {
    let query = match input {
        QueryInput::Full(query) => (**query).clone(),
        QueryInput::Text(text) => {
            let sub = SubQuestion {
                id: "s1".to_owned(),
                text: text.clone(),
                intent: Intent::General,
                focus: plan::focus(text),
            };
            Query { id: "s1.1".to_owned(), sub_question: sub, text: text.clone() }
        }
    };
    if query.text.len() > QUERY_BYTES_MAX || query.sub_question.text.len() > QUERY_BYTES_MAX {
        return Err(Error::new(
            Code::LimitReached,
            format!("the query has `{}` bytes, the limit is {QUERY_BYTES_MAX}", query.text.len()),
        ));
    }
    Ok(query)
}

/// The terms of a text with their weights; the frame of a question is left out unless there is nothing else.
fn weights(corpus: &Corpus, text: &str) -> Result<Vec<TermWeight>> {
    let mut seen = BTreeSet::new();
    let text = without_frame(text);
    let all: Vec<String> =
        Terms::default().list(&text).into_iter().map(|t| t.text).filter(|t| seen.insert(t.clone())).collect();
    let framed = |t: &String| FRAME.contains(&t.as_str());
    let kept: Vec<&String> =
        if all.iter().all(framed) { all.iter().collect() } else { all.iter().filter(|t| !framed(t)).collect() };
    kept.into_iter().take(TERMS_MAX).map(|term| corpus.weight(term)).collect()
}

/// Words under which the answer may stand where the question has others: a limit is a maximum.
fn other_words(text: &str) -> &'static str {
    let lower = format!(" {} ", text.to_lowercase());
    let has = |marks: &[&str]| marks.iter().any(|m| lower.contains(m));
    match () {
        () if has(&[
            " at most ",
            " maximum ",
            " largest ",
            " can a ",
            " may a ",
            " can an ",
            " may an ",
            " may the ",
        ]) =>
        {
            "maximum limit limits"
        }
        () => "",
    }
}

/// Cuts "how long", "how often" and the like: they say what form the answer has, not which words.
fn without_frame(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let asks = |i: usize| {
        i > 0
            && words[i - 1].eq_ignore_ascii_case("how")
            && matches!(words[i].to_lowercase().as_str(), "long" | "often" | "soon" | "much" | "many")
            // "How long can a name be" requests a length.
            && !(words[i].eq_ignore_ascii_case("long") && words.last().is_some_and(|w| w.eq_ignore_ascii_case("be")))
    };
    let kind = |i: usize| {
        matches!(words[i].to_lowercase().as_str(), "kind" | "kinds" | "sort" | "sorts" | "type" | "types")
            && words.get(i + 1).is_some_and(|w| w.eq_ignore_ascii_case("of"))
    };
    (0..words.len()).filter(|i| !asks(*i) && !kind(*i)).map(|i| words[i]).collect::<Vec<_>>().join(" ")
}

fn hit(corpus: &Corpus, passage: &Passage) -> Hit {
    let file = &corpus.manifest.files[passage.file as usize];
    let place = passage.segments.iter().map(|s| s.place).reduce(super::model::Place::with);
    let quote: Vec<&str> = passage.segments.iter().map(|s| s.text.as_str()).collect();
    Hit {
        path: file.path.clone(),
        hash: file.hash.clone(),
        title: file.title.clone(),
        headings: passage.headings.clone(),
        term: passage.term,
        lead: passage.lead,
        place: place.unwrap_or(super::model::Place::lines(1, 1)),
        quote: quote.join("\n"),
        segments: passage.segments.clone(),
        date: file.date.clone(),
        outdated: file.outdated,
        score: 0,
        similar: Vec::new(),
    }
}

/// The first hits, with a limit for each file.
fn thin(hits: Vec<Hit>, most: usize) -> Vec<Hit> {
    let mut counts: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    hits.into_iter()
        .filter(|hit| {
            let count = counts.entry(hit.path.clone()).or_default();
            *count += 1;
            *count <= HITS_PER_FILE_MAX
        })
        .take(most)
        .collect()
}
