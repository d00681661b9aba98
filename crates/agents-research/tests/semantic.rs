//! Ranking by meaning, with a model that the test makes itself.
//!
//! For: what a model changes, and how a folder that is none is refused. Not for: how good a real model is, which
//! `evaluate_documentation --model=DIR` measures.
//! Invariant: no network, and no model that is not made here.
#![cfg(feature = "semantic")]

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};
use consort_agents_research::research::model::{QueryInput, SearchInput, SearchOutput, Sources};
use consort_agents_research::research::{Library, ResearchConfig, Silent, search};
use consort_types::{Code, Result};
use tempfile::TempDir;

/// Numbers of a vector of the model.
const WIDTH: usize = 4;
/// The words that the model knows: two of them mean the same.
const WORDS: [(&str, [f32; WIDTH]); 4] = [
    ("[UNK]", [0.0, 0.0, 0.0, 0.0]),
    ("car", [1.0, -1.0, 0.0, 0.0]),
    ("automobile", [1.0, -1.0, 0.0, 0.0]),
    ("boat", [0.0, 0.0, 1.0, -1.0]),
];

/// A BERT of one layer, whose weights but those of the words are zero: a text is the mean of its words.
fn make_model(folder: &Path) {
    let config = serde_json::json!({
        "model_type": "bert", "vocab_size": WORDS.len(), "hidden_size": WIDTH, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": WIDTH, "hidden_act": "gelu", "hidden_dropout_prob": 0.0,
        "max_position_embeddings": 128, "type_vocab_size": 1, "initializer_range": 0.02, "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    });
    let words: HashMap<&str, usize> = WORDS.iter().enumerate().map(|(id, (word, _))| (*word, id)).collect();
    let tokenizer = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"},
    });
    fs::write(folder.join("config.json"), config.to_string()).expect("write");
    fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).expect("write");
    let filled = |value: f32, shape: &[usize]| Tensor::full(value, shape, &Device::Cpu).expect("tensor");
    let known: Vec<f32> = WORDS.iter().flat_map(|(_, vector)| *vector).collect();
    let known = Tensor::from_vec(known, (WORDS.len(), WIDTH), &Device::Cpu).expect("tensor");
    let mut weights = HashMap::from([
        ("embeddings.word_embeddings.weight".to_owned(), known),
        ("embeddings.position_embeddings.weight".to_owned(), filled(0.0, &[128, WIDTH])),
        ("embeddings.token_type_embeddings.weight".to_owned(), filled(0.0, &[1, WIDTH])),
    ]);
    let layer = "encoder.layer.0";
    for dense in [
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    ] {
        weights.insert(format!("{layer}.{dense}.weight"), filled(0.0, &[WIDTH, WIDTH]));
        weights.insert(format!("{layer}.{dense}.bias"), filled(0.0, &[WIDTH]));
    }
    for norm in ["embeddings", "encoder.layer.0.attention.output", "encoder.layer.0.output"] {
        weights.insert(format!("{norm}.LayerNorm.weight"), filled(1.0, &[WIDTH]));
        weights.insert(format!("{norm}.LayerNorm.bias"), filled(0.0, &[WIDTH]));
    }
    candle_core::safetensors::save(&weights, folder.join("model.safetensors")).expect("write");
}

/// Two documents that the words of the question cannot tell apart.
fn documents() -> TempDir {
    let dir = tempfile::tempdir().expect("temp dir");
    fs::write(dir.path().join("a.txt"), "The engine of the boat is loud and heavy.\n").expect("write");
    fs::write(dir.path().join("b.txt"), "The engine of the automobile is loud and heavy.\n").expect("write");
    dir
}

fn find(documents: &TempDir, model: Option<&Path>) -> Result<SearchOutput> {
    let library = Library::new(ResearchConfig { model: model.map(Into::into), ..ResearchConfig::default() });
    let input = SearchInput {
        query: QueryInput::Text("How heavy is the engine of the car?".into()),
        sources: Sources::One(documents.path().display().to_string()),
    };
    search(&library, &input, &Silent)
}

#[test]
fn a_model_puts_first_what_means_the_same_in_other_words() {
    let (documents, model) = (documents(), tempfile::tempdir().expect("temp dir"));
    make_model(model.path());
    let first = |found: &SearchOutput| found.hits[0].path.clone();
    let by_words = find(&documents, None).expect("found");
    assert!(first(&by_words).ends_with("a.txt"), "by words alone the two are equal, and the path decides");
    assert!(by_words.hits[0].similar.is_empty());
    let found = find(&documents, Some(model.path())).expect("found");
    assert!(first(&found).ends_with("b.txt"), "{:?}", found.hits);
    assert_eq!(found.hits[0].similar, [1_000], "a car is an automobile");
    assert_eq!(found.hits[1].similar, [0], "and no boat");
    let again = find(&documents, Some(model.path())).expect("found");
    assert_eq!(found.hits, again.hits);
}

#[test]
fn a_folder_that_is_no_model_is_refused_by_name() {
    type Spoil = fn(&Path);
    let spoils: [(&str, Spoil); 5] = [
        ("model.safetensors", |folder| fs::remove_file(folder.join("model.safetensors")).expect("remove")),
        ("model.safetensors", |folder| fs::write(folder.join("model.safetensors"), "no weights").expect("write")),
        ("tokenizer.json", |folder| fs::write(folder.join("tokenizer.json"), "{}").expect("write")),
        ("config.json", |folder| fs::write(folder.join("config.json"), "{}").expect("write")),
        ("`gpt2`", |folder| {
            let text = fs::read_to_string(folder.join("config.json")).expect("read");
            fs::write(folder.join("config.json"), text.replace("\"bert\"", "\"gpt2\"")).expect("write");
        }),
    ];
    let documents = documents();
    for (named, spoil) in spoils {
        let model = tempfile::tempdir().expect("temp dir");
        make_model(model.path());
        spoil(model.path());
        let error = find(&documents, Some(model.path())).expect_err("refused");
        assert_eq!(error.code, Code::BadSetting, "{error}");
        let folder = model.path().display().to_string();
        assert!(error.message.contains(named) && error.message.contains(&folder), "{error}");
        assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("model.safetensors")), "{error}");
    }
}
