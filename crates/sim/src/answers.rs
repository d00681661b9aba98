//! What agents do with a task: a pure function of capability and input.
//!
//! For: results that can be compared with those of an undisturbed run. Not for: misbehaving (see `agents`).
//! Invariant: the same task gives the same answer, on every instance and at every attempt.

use std::collections::BTreeMap;

use consort_types::{
    Code, EffectClass, Error, Payload, Span,
    worker::{AgentDeclaration, CallOptions, CallRetry, CapabilityDeclaration, JournalEntry, JournalRequest, Route},
};
use serde_json::{Value, json};

/// What an agent makes of a task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// It is done.
    Done(Value),
    /// It cannot be done.
    Fails(Error),
    /// It works by a journal, in batches of requests.
    Journal(Vec<Batch>),
}

/// Requests that are asked at once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Batch {
    /// The code waits for each of them.
    All(Vec<JournalRequest>),
    /// The code waits for the first, and goes past the others. What it gives depends on chance, so it is dropped.
    Race(Vec<JournalRequest>),
}

impl Batch {
    fn requests(&self) -> &[JournalRequest] {
        match self {
            Self::All(requests) | Self::Race(requests) => requests,
        }
    }

    /// How many entries it makes: what a race goes past is one more.
    fn entries(&self) -> usize {
        self.requests().len() + usize::from(matches!(self, Self::Race(_)))
    }
}

/// The update that code waits for.
pub(crate) const UPDATE: &str = "ask";

/// What a task that works by a journal does next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Next {
    /// Record this entry at this position.
    Record(u32, JournalEntry),
    /// Wait for the answers to these entries.
    Wait(Vec<u32>),
    /// The code has ended.
    Done(Value),
}

/// Capabilities of an agent, and their effect classes.
pub(crate) const AGENTS: [(&str, &[(&str, EffectClass)]); 3] = [
    (
        "worker",
        &[
            ("work", EffectClass::Idempotent),
            ("look", EffectClass::Read),
            ("undo", EffectClass::Idempotent),
            ("job", EffectClass::Idempotent),
            ("job.bid", EffectClass::Read),
            ("deal", EffectClass::Write),
            // What a bidder declares of its bids is not what they are.
            ("deal.bid", EffectClass::Write),
        ],
    ),
    (
        "cashier",
        &[
            ("pay", EffectClass::Write),
            ("charge", EffectClass::Idempotent),
            ("check", EffectClass::Read),
            ("deal", EffectClass::Write),
            ("deal.bid", EffectClass::Read),
            ("job", EffectClass::Idempotent),
            ("job.bid", EffectClass::Read),
        ],
    ),
    ("coder", &[("flow", EffectClass::Idempotent), ("look", EffectClass::Read), (DECLARED, EffectClass::Idempotent)]),
];

/// A capability for which one agent is not called, and declares what it would bid.
const DECLARED: &str = "job";

/// What agent `which` declares.
pub(crate) fn declaration(which: usize, version: u32) -> AgentDeclaration {
    let (name, capabilities) = AGENTS[which];
    let declare = |(name, effect): &(&str, EffectClass)| CapabilityDeclaration {
        name: (*name).to_owned(),
        description: String::new(),
        effect: *effect,
        input_schema: Value::Bool(true),
        output_schema: Value::Bool(true),
        cost_hint_microdollars: (which == 2 && *name == DECLARED).then_some(2_000_000),
        time_hint: None,
    };
    AgentDeclaration {
        name: name.to_owned(),
        version: version.to_string(),
        description: "simulated".to_owned(),
        capabilities: capabilities.iter().map(declare).collect(),
        labels: BTreeMap::new(),
        subscriptions: Vec::new(),
    }
}

/// Whether a task of the capability does something to the world that must not be done twice.
pub(crate) fn is_write(capability: &str) -> bool {
    matches!(capability, "pay" | "charge" | "deal")
}

/// What an agent bids for a task; some decline, and some talk nonsense.
pub(crate) fn bid(agent: usize, input: &Value) -> Answer {
    let number = number_of(&["bid", &agent.to_string(), &input.to_string()]);
    let part = |at: u32, of: u64| (number >> (8 * at)) % of;
    Answer::Done(match part(0, 12) {
        0 => json!({ "decline": true, "reason": "no time" }),
        1 => json!({ "cost": "much" }),
        2 => json!(["cheap"]),
        _ => json!({ "cost": part(1, 4), "seconds": part(2, 3), "confidence": 0.5 + 0.125 * part(3, 5) as f64 }),
    })
}

/// The document in an inline payload.
pub(crate) fn document(payload: &Payload) -> Value {
    payload.bytes().and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default()
}

fn number_of(parts: &[&str]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update(&[0]);
    }
    let bytes = *hasher.finalize().as_bytes();
    u64::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]])
}

/// What a task gives.
pub(crate) fn answer(capability: &str, input: &Value) -> Answer {
    if input.get("fail") == Some(&Value::Bool(true)) {
        return Answer::Fails(Error::new(Code::AgentFailed, "it was asked to fail"));
    }
    let number = number_of(&[capability, &input.to_string()]);
    if capability == "flow" {
        return Answer::Journal(program(number, input));
    }
    let mut output = json!({ "v": number % 1_000 });
    if input.get("big") == Some(&Value::Bool(true)) {
        output["pad"] = Value::String("x".repeat(40_000 + (number % 1_000) as usize));
    }
    Answer::Done(output)
}

/// The code of a `flow` task.
fn program(number: u64, input: &Value) -> Vec<Batch> {
    let ns = input.get("ns").cloned().unwrap_or_default();
    let mut bits = number;
    let mut draw = |end: u64| {
        let drawn = bits % end;
        bits = (bits / end) ^ bits.rotate_left(29);
        drawn
    };
    let batches = 1 + draw(3);
    let asked = (0..batches)
        .map(|batch| {
            if draw(4) == 0 {
                return Batch::Race(race(batch, draw(3)));
            }
            let width = 1 + draw(3);
            let requests = (0..width)
                .map(|at| match draw(11) {
                    0..=2 => JournalRequest::Run { name: format!("local{batch}.{at}") },
                    3 => JournalRequest::Sleep { span: Span([20_000, 3_000_000, 400_000_000][draw(3) as usize]) },
                    4 => JournalRequest::Signal { name: "go".to_owned(), schema: None },
                    5 => JournalRequest::Approval {
                        prompt: format!("go on with {batch}.{at}?"),
                        detail: Payload::from_value(&json!({ "batch": batch })),
                    },
                    n => JournalRequest::Call {
                        capability: ["work", "look", "pay"][(n % 3) as usize].to_owned(),
                        input: Payload::from_value(&json!({ "ns": ns, "batch": batch, "at": at, "of": number % 977 })),
                        options: Some(Box::new(options(n))),
                    },
                })
                .collect();
            Batch::All(requests)
        })
        .collect();
    told(asked, number)
}

/// The same code, which says how far it is behind each batch, and at the end sometimes answers an update.
fn told(batches: Vec<Batch>, number: u64) -> Vec<Batch> {
    let (mut at, mut all) = (0, Vec::new());
    for (n, batch) in batches.into_iter().enumerate() {
        at += batch.entries() + 1;
        let name = if n % 2 == 0 { "batch" } else { "other" }.to_owned();
        all.push(batch);
        all.push(Batch::All(vec![JournalRequest::Expose {
            name,
            value: Payload::from_value(&json!([n, number % 9])),
        }]));
    }
    if number.is_multiple_of(3) {
        let value = Some(Payload::from_value(&json!(number % 7)));
        all.push(Batch::All(vec![JournalRequest::Update { name: UPDATE.to_owned(), schema: None }]));
        all.push(Batch::All(vec![JournalRequest::Answer { update: at as u32, value, rejection: None }]));
    }
    all
}

/// A signal, and sometimes a person, against a time.
fn race(batch: u64, drawn: u64) -> Vec<JournalRequest> {
    let mut requests = vec![
        JournalRequest::Signal { name: "go".to_owned(), schema: None },
        JournalRequest::Sleep { span: Span([1_000_000, 30_000_000, 400_000_000][drawn as usize]) },
    ];
    if drawn > 0 {
        let prompt = format!("or wait in {batch}?");
        requests.push(JournalRequest::Approval { prompt, detail: Payload::null() });
    }
    requests
}

/// How a call is to be done, where the code says more than the capability. Failures are few enough for it.
fn options(n: u64) -> CallOptions {
    let retry = CallRetry { attempts: 5, initial: Span(1_000), factor_milli: 1_500, max: Span(2_000_000) };
    let route = Route { version: Some("1".to_owned()), ..Route::default() };
    CallOptions { retry: Some(retry), route: (n > 9).then_some(route), priority: Some(1), ..CallOptions::default() }
}

/// The next thing that the code does, given its journal.
pub(crate) fn next(program: &[Batch], journal: &[JournalEntry]) -> Next {
    let mut at = 0;
    let mut text = String::new();
    for batch in program {
        let requests = batch.requests();
        let end = at + requests.len();
        if journal.len() < end {
            return record(journal, requests[journal.len() - at].clone());
        }
        let entries = (at..end).zip(&journal[at..end]);
        let open: Vec<u32> = entries.filter(|(_, entry)| entry.result.is_none()).map(|(n, _)| n as u32).collect();
        match batch {
            Batch::All(_) if open.is_empty() => journal[at..end].iter().for_each(|entry| note(&mut text, entry)),
            Batch::Race(_) if journal.len() > end => {}
            Batch::Race(_) if open.len() < requests.len() => {
                let first = (at..end).find(|n| journal[*n].result.is_some());
                let entries = (at..end).filter(|n| Some(*n) != first).map(|n| n as u32).collect();
                return record(journal, JournalRequest::Forget { entries });
            }
            _ => return Next::Wait(open),
        }
        at += batch.entries();
    }
    Next::Done(json!({ "v": number_of(&["flow", &text]) % 1_000 }))
}

fn record(journal: &[JournalEntry], request: JournalRequest) -> Next {
    let result = local_result(&request);
    Next::Record(journal.len() as u32, JournalEntry { title: None, request, after: Vec::new(), result })
}

/// Adds what an entry gave to what the code knows.
fn note(text: &mut String, entry: &JournalEntry) {
    // Which update comes first depends on chance.
    if matches!(entry.request, JournalRequest::Update { .. }) {
        return;
    }
    match &entry.result {
        Some(Ok(payload)) => text.push_str(&document(payload).to_string()),
        Some(Err(error)) => text.push_str(&error.code.to_string()),
        None => {}
    }
    text.push('\n');
}

/// What a local effect gives; it is reported together with its request.
fn local_result(request: &JournalRequest) -> Option<Result<Payload, Error>> {
    match request {
        JournalRequest::Run { name } => Some(Ok(Payload::from_value(&json!(number_of(&[name]) % 50)))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_with_a_journal_goes_on_where_it_was_and_ends() {
        for n in 0..50 {
            let Answer::Journal(program) = answer("flow", &json!({ "n": n })) else { panic!("no journal") };
            let mut journal = Vec::new();
            loop {
                match next(&program, &journal) {
                    Next::Record(at, entry) => {
                        assert_eq!(at as usize, journal.len());
                        journal.push(entry);
                    }
                    Next::Wait(open) => {
                        for at in open {
                            journal[at as usize].result = Some(Ok(Payload::null()));
                        }
                    }
                    Next::Done(_) => break,
                }
            }
            assert_eq!(journal.len(), program.iter().map(Batch::entries).sum::<usize>());
            let answers = journal.iter().filter_map(|entry| match entry.request {
                JournalRequest::Answer { update, .. } => Some(update as usize),
                _ => None,
            });
            for update in answers {
                assert!(matches!(journal[update].request, JournalRequest::Update { .. }));
            }
        }
    }
}
