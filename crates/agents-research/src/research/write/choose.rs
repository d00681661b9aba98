//! Which sentences a report holds.
//!
//! For: the best sentence of each sub-question with the sentences it needs, then further ones that add something.
//! Not for: layout.
//! Invariant: no sentence is chosen twice, and none that an earlier review could not verify.

use std::collections::BTreeSet;

use super::{WriteInput, trim_claim};
use crate::research::model::{Hit, Intent, Segment, SegmentKind, SubQuestion, Support};
use crate::research::score::{ANSWERED, CONFIDENT, NEAR, Scored, Scorer, WEAK, code_behind, term_set};
use crate::research::semantic::fuse;
use crate::research::text::words::Terms;

/// Sentences of the answer to one sub-question.
const ANSWER_MAX: usize = 4;
/// The same where the answer is a list: its introduction and its members.
const LIST_MAX: usize = 10;
/// Further findings for one sub-question.
const FINDINGS_MAX: usize = 6;
/// Further findings once a review has requested more.
const FINDINGS_WIDE_MAX: usize = 10;
/// Lines of a piece of code that is shown.
const CODE_LINES_MAX: usize = 20;
/// Share of common terms, in hundredths, from which a sentence adds nothing.
const REDUNDANT_SHARE: usize = 70;

/// A chosen sentence or piece of code.
#[derive(Clone, Debug)]
pub(super) struct Chosen<'a> {
    pub(super) hit: &'a Hit,
    pub(super) segment: &'a Segment,
    pub(super) claim: String,
    /// What the source's headings say it is about, where the sentence itself does not.
    pub(super) label: Option<String>,
    /// Whether the label names an entry of a reference, without which the sentence has no subject.
    pub(super) entry: bool,
}

/// What the report says to one sub-question.
pub(super) struct Part<'a> {
    pub(super) sub: &'a SubQuestion,
    pub(super) answer: Vec<Chosen<'a>>,
    pub(super) findings: Vec<Chosen<'a>>,
    pub(super) support: Support,
    pub(super) strength: i64,
    pub(super) missing: Vec<String>,
    /// Candidates that were not used.
    pub(super) unused: usize,
}

struct Candidate<'a> {
    hit: &'a Hit,
    scored: Scored,
    /// Whether the next sentence has a word of the question that this one lacks.
    next_adds: bool,
    /// Its place in the orders by words and by meaning together; 0 for all where there is no model.
    rank: i64,
}

/// What one report has said so far.
struct Said<'a> {
    terms: Terms,
    sets: Vec<BTreeSet<String>>,
    refused: BTreeSet<&'a str>,
    /// Files that have changed since they were read: nothing is quoted from them.
    changed: BTreeSet<&'a str>,
}

/// Chooses for every sub-question.
pub(super) fn parts(input: &WriteInput) -> Vec<Part<'_>> {
    let problems = input.feedback.as_ref().map(|f| f.problems.as_slice()).unwrap_or_default();
    let refused = problems.iter().filter(|p| p.kind == "citation").filter_map(|p| p.claim.as_deref()).collect();
    let changed = problems.iter().filter_map(|p| p.file.as_deref()).collect();
    let mut said = Said { terms: Terms::default(), sets: Vec::new(), refused, changed };
    let mut out = Vec::new();
    for sub in &input.plan.sub_questions {
        let wide = problems.iter().any(|p| p.kind == "coverage" && p.sub_question.as_deref() == Some(sub.id.as_str()));
        out.push(part(input, sub, wide, &mut said));
    }
    out
}

fn part<'a>(input: &'a WriteInput, sub: &'a SubQuestion, wide: bool, said: &mut Said<'a>) -> Part<'a> {
    let weights = input.evidence.terms.iter().find(|t| t.id == sub.id).map(|t| t.terms.as_slice()).unwrap_or_default();
    let mut scorer = Scorer::new(sub, weights);
    let mut candidates = candidates(input, sub, &mut scorer);
    candidates.retain(|c| !said.changed.contains(c.hit.path.as_str()));
    candidates.retain(|c| !said.refused.contains(trim_claim(&c.hit.segments[c.scored.segment].text).as_str()));
    let strength = candidates.first().map_or(0, |c| c.scored.strength);
    let support = match strength {
        s if s >= CONFIDENT => Support::Answered,
        s if s >= NEAR => Support::Partial,
        _ => Support::None,
    };
    let weak = support == Support::Partial && strength >= WEAK;
    let mut part =
        Part { sub, answer: Vec::new(), findings: Vec::new(), support, strength, missing: Vec::new(), unused: 0 };
    if support == Support::Answered || weak {
        part.answer = answer(&candidates, sub, said, &scorer);
    }
    part.findings = findings(&candidates, wide, said, &scorer, support);
    let near = candidates.iter().filter(|c| c.scored.strength >= floor(support, wide)).count();
    part.unused = near.saturating_sub(part.answer.len() + part.findings.len());
    part.missing = missing(&scorer, &part, &mut said.terms);
    part
}

/// All sentences, best first. What answers comes before what is merely relevant.
fn candidates<'a>(input: &'a WriteInput, sub: &SubQuestion, scorer: &mut Scorer) -> Vec<Candidate<'a>> {
    let mut out: Vec<Candidate<'a>> = Vec::new();
    for evidence in input.evidence.kept.iter().filter(|e| e.sub_questions.contains(&sub.id)) {
        let all = scorer.hit(&evidence.hit);
        let covered: Vec<BTreeSet<String>> = all.iter().map(|s| s.covered.clone()).collect();
        out.extend(all.into_iter().map(|scored| {
            let next_adds = covered.get(scored.segment + 1).is_some_and(|next| !next.is_subset(&scored.covered));
            Candidate { hit: &evidence.hit, scored, next_adds, rank: 0 }
        }));
    }
    let older = |c: &Candidate<'_>| {
        let text = &c.hit.segments[c.scored.segment].text;
        input.analysis.contradictions.iter().any(|x| {
            (x.newer.as_deref() == Some("b") && x.a.quote == *text)
                || (x.newer.as_deref() == Some("a") && x.b.quote == *text)
        })
    };
    for candidate in &mut out {
        if older(candidate) {
            candidate.scored.relevance = candidate.scored.relevance * 8 / 10;
        }
    }
    let (words, near): (Vec<i64>, Vec<i64>) =
        out.iter().map(|c| (c.scored.relevance, c.hit.similar.get(c.scored.segment).copied().unwrap_or(0))).unzip();
    if near.iter().any(|near| *near != 0) {
        for (candidate, rank) in out.iter_mut().zip(fuse(&words, &near)) {
            candidate.rank = rank;
        }
    }
    out.sort_by(|a, b| {
        let key = |c: &Candidate<'_>| (c.scored.strength >= ANSWERED, c.rank, c.scored.relevance);
        key(b).cmp(&key(a)).then_with(|| {
            (&a.hit.path, a.hit.place, a.scored.segment).cmp(&(&b.hit.path, b.hit.place, b.scored.segment))
        })
    });
    out
}

/// The best sentence with what belongs to it, and the next best if it answers as well.
fn answer<'a>(
    candidates: &[Candidate<'a>],
    sub: &SubQuestion,
    said: &mut Said<'a>,
    scorer: &Scorer,
) -> Vec<Chosen<'a>> {
    let mut out = Vec::new();
    let Some(best) = candidates.first() else { return out };
    if let Some(list) = list(best, sub.intent) {
        out.extend(list.into_iter().filter_map(|at| said.choose(best.hit, at, scorer)));
        return out;
    }
    let share = if matches!(sub.intent, Intent::Comparison | Intent::General) { 78 } else { 88 };
    for candidate in candidates {
        let as_good = candidate.scored.strength >= ANSWERED.min(best.scored.strength)
            && candidate.scored.relevance * 100 >= best.scored.relevance * share
            && candidate.scored.form * 100 >= best.scored.form * 85;
        if !as_good || out.len() >= ANSWER_MAX - 1 {
            break;
        }
        for at in span(candidate, sub.intent, &sub.text) {
            if out.len() < ANSWER_MAX {
                out.extend(said.choose(candidate.hit, at, scorer));
            }
        }
    }
    out
}

/// The introduction of a list and its members, where the best sentence introduces it, or is a member and the question
/// requires a list.
fn list(candidate: &Candidate<'_>, intent: Intent) -> Option<Vec<usize>> {
    let segments = &candidate.hit.segments;
    let at = candidate.scored.segment;
    let item = |i: usize| segments.get(i).is_some_and(|s| s.kind == SegmentKind::Item);
    let lead = if item(at) { (0..at).rev().find(|i| !item(*i))? } else { at };
    let introduces = segments[lead].text.trim_end().ends_with(':') && item(lead + 1);
    if !introduces || (intent != Intent::List && (lead != at || intent == Intent::Procedure)) {
        return None;
    }
    // The first sentence of each member.
    let members = (lead + 1..segments.len())
        .take_while(|i| item(*i))
        .filter(|i| segments[*i].block != segments[*i - 1].block || *i == lead + 1);
    Some(std::iter::once(lead).chain(members).take(LIST_MAX).collect())
}

/// The sentences that a good sentence needs to be understood, in order.
fn span(candidate: &Candidate<'_>, intent: Intent, focus: &str) -> Vec<usize> {
    let segments = &candidate.hit.segments;
    let at = candidate.scored.segment;
    let mut out = vec![at];
    let together = |i: usize, j: usize| segments[i].block == segments[j].block && segments[i].kind == segments[j].kind;
    if at > 0
        && leans(&segments[at].text)
        && together(at - 1, at)
        && segments[at].kind != SegmentKind::Row
        && !segments[at - 1].text.ends_with(['?', ':'])
    {
        out.insert(0, at - 1);
    }
    let first_of_two = at > 0 && out.len() == 1 && together(at - 1, at) && quotable(&segments[at - 1].text);
    // The lead of a section belongs to a definition; a condition may stand before what it allows.
    if first_of_two && (intent == Intent::YesNo || (intent == Intent::Definition && at == first_prose(segments) + 1)) {
        out.insert(0, at - 1);
    }
    let follows = at + 1 < segments.len() && together(at, at + 1) && segments[at].kind == SegmentKind::Sentence;
    let explains =
        matches!(intent, Intent::Definition | Intent::Reason | Intent::Comparison | Intent::Procedure | Intent::YesNo);
    if follows
        && explains
        && (continues(&segments[at + 1].text) || intent == Intent::Definition)
        && quotable(&segments[at + 1].text)
    {
        out.push(at + 1);
    }
    // A definition of a term, the answer below a question, and two sides of a comparison take several sentences.
    let answers = candidate.hit.headings.last().is_some_and(|h| h.trim_end().ends_with('?'));
    let unit =
        matches!(intent, Intent::Definition | Intent::Procedure | Intent::General | Intent::List | Intent::YesNo);
    let goes_on = (unit && candidate.hit.term) || (intent == Intent::Reason && (answers || candidate.scored.named));
    if goes_on && segments[at].kind != SegmentKind::Code {
        let more =
            (at + 1..segments.len().min(at + 3)).take_while(|i| together(at, *i) && quotable(&segments[*i].text));
        out.extend(more);
        out.dedup();
    }
    if intent == Intent::Comparison {
        out.extend(other_side(segments, at, focus));
        out.dedup();
    }
    if brings_value(candidate, intent) && together(at, at + 1) && out.last() == Some(&at) {
        out.push(at + 1);
    }
    // A synopsis below the heading of a command.
    let synopsis = |s: &Segment| s.text.starts_with('`') && s.text.ends_with('`') && s.text.matches('`').count() == 2;
    if candidate.scored.named && segments.get(at + 1).is_some_and(synopsis) {
        out.push(at + 1);
    }
    if let Some(code) = code_behind(segments, at).filter(|_| intent == Intent::Procedure) {
        out.extend(at + 1..=code);
        out.dedup();
    }
    let lead = intent == Intent::Procedure && segments[at].text.ends_with(':');
    if lead {
        out.extend((at + 1..segments.len()).take_while(|i| segments[*i].kind == SegmentKind::Item).take(3));
        out.sort_unstable();
        out.dedup();
    }
    out
}

/// The next sentences that begin with one of the two things that are compared.
fn other_side(segments: &[Segment], at: usize, question: &str) -> Vec<usize> {
    let asked: Vec<String> =
        question.to_lowercase().split_whitespace().map(|w| w.trim_end_matches('s').to_owned()).collect();
    let begins = |text: &str| {
        let first =
            text.split_whitespace().take(2).map(|w| w.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase());
        first.filter(|w| w.len() > 2).any(|w| asked.iter().any(|a| a.len() > 2 && w.trim_end_matches('s') == a))
    };
    let near =
        |i: &usize| segments[*i].block.abs_diff(segments[at].block) <= 1 && segments[*i].kind == SegmentKind::Sentence;
    (at + 1..segments.len().min(at + 6)).filter(near).filter(|i| begins(&segments[*i].text)).take(2).collect()
}

/// Whether the next sentence has the requested value: "The address of the server. The default is `::1`."
fn brings_value(candidate: &Candidate<'_>, intent: Intent) -> bool {
    let valued =
        !matches!(intent, Intent::Definition | Intent::Reason | Intent::Comparison | Intent::Procedure | Intent::YesNo);
    let counts = matches!(intent, Intent::Quantity | Intent::Duration | Intent::Time);
    let value = |text: &str| text.contains(|c: char| c.is_ascii_digit() || (c == '`' && !counts));
    let own = &candidate.hit.segments[candidate.scored.segment].text;
    candidate.hit.segments.get(candidate.scored.segment + 1).is_some_and(|next| {
        valued && quotable(&next.text) && (candidate.next_adds || (value(&next.text) && !value(own)))
    })
}

/// The first sentence of a passage.
fn first_prose(segments: &[Segment]) -> usize {
    segments.iter().position(|s| s.kind == SegmentKind::Sentence).unwrap_or_default()
}

/// Whether a sentence can stand beside the one that was chosen.
fn quotable(text: &str) -> bool {
    !text.ends_with(['?', ':']) && text.split_whitespace().count() >= 4
}

/// Whether a sentence cannot be understood without the one before.
fn leans(text: &str) -> bool {
    let concludes = text.split_whitespace().take(3).any(|w| w.trim_end_matches(',').eq_ignore_ascii_case("therefore"));
    let first = text.split_whitespace().next().unwrap_or_default().trim_matches(|c: char| !c.is_alphanumeric());
    concludes
        || matches!(
            first,
            "This"
                | "These"
                | "It"
                | "They"
                | "That"
                | "Such"
                | "He"
                | "She"
                | "Its"
                | "Their"
                | "Those"
                | "Therefore"
                | "Thus"
                | "Otherwise"
                | "Instead"
                | "Then"
        )
}

/// Whether a sentence carries on what the one before says.
fn continues(text: &str) -> bool {
    let first = text.split_whitespace().next().unwrap_or_default().trim_matches(|c: char| !c.is_alphanumeric());
    leans(text)
        || matches!(first, "If" | "Unlike" | "Because" | "When" | "However" | "Once" | "Each" | "Both" | "Without")
}

/// Further sentences that add something.
fn findings<'a>(
    candidates: &[Candidate<'a>],
    wide: bool,
    said: &mut Said<'a>,
    scorer: &Scorer,
    support: Support,
) -> Vec<Chosen<'a>> {
    let mut out: Vec<Chosen<'a>> = Vec::new();
    let best = candidates.first().map_or(0, |c| c.scored.relevance);
    let share = if wide { 20 } else { 38 };
    let most = match (wide, support) {
        (true, _) => FINDINGS_WIDE_MAX,
        (_, Support::Answered) => FINDINGS_MAX,
        _ => 3,
    };
    for candidate in candidates {
        let worth =
            candidate.scored.relevance * 100 >= best * share && candidate.scored.strength >= floor(support, wide);
        let segment = &candidate.hit.segments[candidate.scored.segment];
        let lead = segment.text.ends_with([':', '?']);
        if out.len() >= most {
            break;
        }
        if worth && !lead && !candidate.scored.covered.is_empty() && segment.kind != SegmentKind::Code {
            out.extend(said.choose(candidate.hit, candidate.scored.segment, scorer));
        }
    }
    out
}

/// The least strength of a finding.
fn floor(support: Support, wide: bool) -> i64 {
    match (support, wide) {
        (Support::Answered, false) => i64::midpoint(ANSWERED, NEAR),
        (_, true) => NEAR * 8 / 10,
        _ => NEAR,
    }
}

impl<'a> Said<'a> {
    /// The segment as a claim, unless it was said before or could not be verified.
    fn choose(&mut self, hit: &'a Hit, at: usize, scorer: &Scorer) -> Option<Chosen<'a>> {
        let segment = &hit.segments[at];
        let code = segment.kind == SegmentKind::Code;
        if code && segment.text.lines().count() > CODE_LINES_MAX {
            return None;
        }
        let claim = if code { segment.text.clone() } else { trim_claim(&segment.text) };
        let set = term_set(&mut self.terms, &claim);
        let fresh =
            set.iter().filter(|t| t.starts_with(|c: char| c.is_ascii_digit())).cloned().collect::<BTreeSet<_>>();
        let redundant = self.sets.iter().any(|known| {
            let common = set.intersection(known).count();
            fresh.is_subset(known) && common * 100 >= set.len() * REDUNDANT_SHARE
        });
        if redundant || self.refused.contains(claim.as_str()) {
            return None;
        }
        let entry =
            if code { None } else { entry(hit, &claim).or_else(|| term(hit, &claim)).or_else(|| command(hit, &claim)) };
        let is_entry = entry.is_some();
        let label = if code { None } else { entry.or_else(|| label(hit, segment, &set, scorer, &mut self.terms)) };
        self.sets.push(set);
        Some(Chosen { hit, segment, claim, label, entry: is_entry })
    }
}

/// The name of the reference entry that a sentence such as "Returns the length" speaks of.
fn entry(hit: &Hit, claim: &str) -> Option<String> {
    const KINDS: &[&str] = &[
        "Function ",
        "Struct ",
        "Trait ",
        "Macro ",
        "Enum ",
        "Module ",
        "Method ",
        "fn ",
        "pub ",
        "Keyword ",
        "Primitive ",
    ];
    let heading = hit
        .headings
        .iter()
        .rev()
        .find(|h| KINDS.iter().any(|k| h.starts_with(k)) || (h.contains('(') && h.contains(')')))?;
    let first = claim.split_whitespace().next().unwrap_or_default();
    let subjectless =
        first.len() > 3 && first.ends_with('s') && first.starts_with(char::is_uppercase) && first != "This";
    let phrase = matches!(first, "A" | "An") && !claim.contains(" is ");
    ((subjectless || phrase) && heading.len() <= 120).then(|| heading.clone())
}

/// The command that a sentence such as "Cancel runs" speaks of: its heading is in lower case and has the verb.
fn command(hit: &Hit, claim: &str) -> Option<String> {
    let heading =
        hit.headings.last().filter(|h| !h.contains(char::is_uppercase) && h.contains(' ') && h.len() <= 60)?;
    let first = claim.split_whitespace().next().unwrap_or_default().to_lowercase();
    let verb = first.len() > 2 && heading.split(' ').any(|w| w.len() > 2 && first.starts_with(w));
    verb.then(|| heading.clone())
}

/// The term that a sentence defines or describes, where it does not name it itself.
fn term(hit: &Hit, claim: &str) -> Option<String> {
    let heading = hit.headings.iter().rev().find(|h| !h.contains(" | ")).filter(|_| hit.term)?;
    let word = heading.split([' ', ',', '=']).next().unwrap_or_default();
    (heading.len() <= 120 && !claim.contains(word)).then(|| heading.clone())
}

/// The innermost heading that says what a sentence is about, where the sentence itself does not.
fn label(hit: &Hit, segment: &Segment, own: &BTreeSet<String>, scorer: &Scorer, terms: &mut Terms) -> Option<String> {
    let shares = |text: &str, terms: &mut Terms| {
        let set = term_set(terms, text);
        scorer.question_terms().any(|t| set.contains(t) && !own.contains(t))
    };
    let mut found = hit.headings.iter().rev().find(|h| shares(h, terms));
    if found.is_none() && (segment.kind == SegmentKind::Row || leans(&segment.text)) {
        found = hit.headings.last();
    }
    found.filter(|h| h.len() <= 120).cloned()
}

/// Question terms that no chosen sentence (or its headings) has.
fn missing(scorer: &Scorer, part: &Part<'_>, terms: &mut Terms) -> Vec<String> {
    let mut seen = BTreeSet::new();
    for chosen in part.answer.iter().chain(&part.findings) {
        seen.extend(term_set(
            terms,
            &format!("{} {} {}", chosen.claim, chosen.hit.title, chosen.hit.headings.join(" ")),
        ));
    }
    let mut words: Vec<String> = Vec::new();
    for term in terms.list(&part.sub.text) {
        let word = part.sub.text[term.start..term.end].to_owned();
        let asked = scorer.question_terms().any(|t| t == crate::research::score::normalise(&term.text));
        let lacking = asked && !seen.contains(crate::research::score::normalise(&term.text));
        if lacking && !words.iter().any(|w| w.contains(&word)) {
            words.push(word);
        }
    }
    words
}
