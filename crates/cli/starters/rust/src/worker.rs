//! An agent with one capability, and its tests, which need no server: `cargo test`.

use consort_sdk::{Agent, Capability, TaskContext, TaskError, types::EffectClass};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Deserialize, JsonSchema)]
struct Article {
    text: String,
    #[serde(default = "one")]
    sentences: usize,
}

fn one() -> usize {
    1
}

/// The first sentences of a text.
fn first_sentences(text: &str, sentences: usize) -> String {
    let all = text.split('.').map(str::trim).filter(|sentence| !sentence.is_empty());
    format!("{}.", all.take(sentences).collect::<Vec<_>>().join(". "))
}

async fn summarise(ctx: TaskContext, input: Article) -> Result<String, TaskError> {
    ctx.progress("reading");
    Ok(first_sentences(&input.text, input.sentences))
}

/// The agent.
pub(crate) fn writer() -> Agent {
    // `Read`: repeating it changes nothing outside. The default is `Idempotent`; `Write` is never repeated blindly.
    let summarise = Capability::from_fn("summarise", summarise)
        .description("The first sentences of a text.")
        .effect(EffectClass::Read);
    Agent::new("writer").version("1.0.0").description("Makes texts short.").capability(summarise)
}

#[cfg(test)]
mod tests {
    use consort_sdk::testing::replay_task;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_sentences_are_kept() {
        assert_eq!(first_sentences("It rained. We stayed in. We read.", 2), "It rained. We stayed in.");
    }

    #[tokio::test]
    async fn input_that_does_not_fit_is_refused_by_its_place() {
        let good = replay_task(&writer(), "summarise", &json!({ "text": "It rained." }), "[]").await.unwrap();
        assert!(good.fits() && good.failure.is_none());
        let bad = replay_task(&writer(), "summarise", &json!({ "text": 7 }), "[]").await.unwrap();
        assert!(bad.failure.unwrap().message.contains("$.text"));
    }
}
