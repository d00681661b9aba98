//! Passages worth reading, and why the others are not.
//!
//! For: relevance, near-duplicates and age. Not for: choosing sentences.
//! Invariant: every passage that was found is either kept or dropped with a reason.

use std::collections::{BTreeMap, BTreeSet};

use consort_types::{Code, Error, Result};

use super::model::{Dropped, Evidence, Hit, SearchOutput, SubTerms, TermWeight, ValidateInput, Validated};
use super::score::{NEAR, Scorer};

/// Passages kept for one sub-question.
const KEPT_PER_PART_MAX: usize = 20;
/// Words of a shingle.
const SHINGLE_WORDS: usize = 4;
/// Share of common shingles, in hundredths, from which two passages say the same.
const SAME_SHARE: usize = 80;
/// Relevance below this share of the best, in hundredths, is noise.
const RELEVANCE_SHARE: i64 = 12;

/// Keeps what is relevant, once.
pub fn validate(input: &ValidateInput) -> Result<Validated> {
    let mut out = Validated { kept: Vec::new(), dropped: Vec::new(), terms: Vec::new(), corpus: corpus(input)? };
    for sub in &input.plan.sub_questions {
        let results: Vec<&SearchOutput> = input.results.iter().filter(|r| r.query.sub_question.id == sub.id).collect();
        let terms = own_terms(&results);
        let mut scorer = Scorer::new(sub, &terms);
        let relevant = relevant(&mut scorer, &results, &mut out.dropped);
        for hit in distinct(relevant, &mut out.dropped) {
            keep(&mut out.kept, hit, &sub.id);
        }
        out.terms.push(SubTerms { id: sub.id.clone(), terms });
    }
    out.dropped.sort_by(|a, b| (&a.path, a.place, &a.reason).cmp(&(&b.path, b.place, &b.reason)));
    out.dropped.dedup_by(|a, b| a.path == b.path && a.place == b.place);
    let kept: BTreeSet<(String, super::model::Place)> =
        out.kept.iter().map(|e| (e.hit.path.clone(), e.hit.place)).collect();
    out.dropped.retain(|d| !kept.contains(&(d.path.clone(), d.place)));
    Ok(out)
}

fn corpus(input: &ValidateInput) -> Result<super::model::CorpusInfo> {
    input.results.first().map(|r| r.corpus.clone()).ok_or_else(|| {
        Error::new(Code::BadInput, "`results` is empty, so nothing was searched")
            .hint("pass the outputs of `research.search`")
    })
}

/// The terms of a sub-question: those that its searches report and that stand in its own text.
fn own_terms(results: &[&SearchOutput]) -> Vec<TermWeight> {
    let Some(first) = results.first() else { return Vec::new() };
    let own = super::text::words::Terms::default().set(&first.query.sub_question.text);
    first.terms.iter().filter(|t| own.contains(&t.term)).cloned().collect()
}

/// Hits in order of relevance; what is far from the question is dropped.
fn relevant(scorer: &mut Scorer, results: &[&SearchOutput], dropped: &mut Vec<Dropped>) -> Vec<Hit> {
    let mut by_place: BTreeMap<(String, super::model::Place), Hit> = BTreeMap::new();
    for hit in results.iter().flat_map(|r| &r.hits) {
        let known = by_place.entry((hit.path.clone(), hit.place)).or_insert_with(|| hit.clone());
        known.score = known.score.max(hit.score);
    }
    let mut hits: Vec<Hit> = by_place.into_values().collect();
    hits.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.path.cmp(&b.path)).then_with(|| a.place.cmp(&b.place)));
    let best = hits.first().map_or(0, |h| h.score);
    let mut kept = Vec::new();
    for hit in hits {
        let strength = scorer.hit(&hit).into_iter().map(|s| s.strength).max().unwrap_or_default();
        let reason = if strength < NEAR * 6 / 10 {
            "it covers too little of the question"
        } else if hit.score * 100 < best * RELEVANCE_SHARE {
            "other passages fit much better"
        } else if kept.len() >= 2 * KEPT_PER_PART_MAX {
            "enough better passages were found"
        } else {
            kept.push(hit);
            continue;
        };
        dropped.push(drop_for(&hit, reason.to_owned()));
    }
    kept
}

fn drop_for(hit: &Hit, reason: String) -> Dropped {
    Dropped { path: hit.path.clone(), place: hit.place, reason }
}

/// Drops passages that say the same as another; of two versions the newer by the documents' own dates stays.
fn distinct(hits: Vec<Hit>, dropped: &mut Vec<Dropped>) -> Vec<Hit> {
    let mut kept: Vec<(Hit, BTreeSet<u64>)> = Vec::new();
    for hit in hits {
        let shingles = shingles(&hit.quote);
        let twin = kept.iter().position(|(_, other)| same(other, &shingles));
        match twin {
            None if kept.len() < KEPT_PER_PART_MAX => kept.push((hit, shingles)),
            None => dropped.push(drop_for(&hit, "enough better passages were found".to_owned())),
            Some(at) => {
                let other = &kept[at].0;
                let newer = (hit.outdated, &other.date) < (other.outdated, &hit.date) && hit.outdated <= other.outdated;
                let (stays, goes) = if newer { (hit, kept[at].0.clone()) } else { (other.clone(), hit) };
                let why = match (&goes.date, &stays.date) {
                    (Some(old), Some(new)) if old < new => {
                        format!("a newer version of it, of {new}, is in `{}`", stays.path)
                    }
                    _ => format!("it says the same as `{}`, {}", stays.path, stays.place),
                };
                dropped.push(drop_for(&goes, why));
                if newer {
                    kept[at] = (stays, shingles);
                }
            }
        }
    }
    kept.into_iter().map(|(hit, _)| hit).collect()
}

/// Hashes of runs of words, without case and punctuation.
fn shingles(text: &str) -> BTreeSet<u64> {
    let words: Vec<String> =
        text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_lowercase).collect();
    let width = SHINGLE_WORDS.min(words.len().max(1));
    let hash = |w: &[String]| {
        u64::from_le_bytes(blake3::hash(w.join(" ").as_bytes()).as_bytes()[..8].try_into().unwrap_or_default())
    };
    words.windows(width).map(hash).collect()
}

fn same(a: &BTreeSet<u64>, b: &BTreeSet<u64>) -> bool {
    let common = a.intersection(b).count();
    let all = a.len() + b.len() - common;
    all > 0 && common * 100 >= all * SAME_SHARE
}

/// Adds a passage, or the sub-question to one that is kept already.
fn keep(kept: &mut Vec<Evidence>, hit: Hit, id: &str) {
    match kept.iter_mut().find(|e| e.hit.path == hit.path && e.hit.place == hit.place) {
        Some(evidence) => {
            evidence.sub_questions.push(id.to_owned());
            evidence.hit.score = evidence.hit.score.max(hit.score);
        }
        None => kept.push(Evidence { sub_questions: vec![id.to_owned()], hit }),
    }
}
