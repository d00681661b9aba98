//! A sentence-embedding model of the BERT family, run on the processor.
//!
//! For: reading its folder and turning texts into unit vectors. Not for: other kinds of models, or training one.
//! Invariant: each text is computed alone, so that its vector does not depend on the texts beside it.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use consort_types::{Code, Error, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokenizers::{Tokenizer, TruncationParams};

/// Tokens of a text that are read; what is behind them does not count.
const TOKENS_MAX: usize = 64;
/// Vectors that are kept, so that a text of several queries is computed once.
const VECTORS_MAX: usize = 16_384;
/// Bytes of the file of weights.
const WEIGHTS_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// What a model's folder must hold.
const HINT: &str = "name a folder with `config.json`, `tokenizer.json` and `model.safetensors` of a BERT sentence-embedding \
                    model, such as all-MiniLM-L6-v2, or unset `research-model` to rank by words alone";

/// A model and the vectors that it made last.
pub(crate) struct Model {
    folder: PathBuf,
    bert: BertModel,
    tokenizer: Tokenizer,
    first_token: bool,
    vectors: Mutex<HashMap<[u8; 32], Arc<[f32]>>>,
}

/// How the vectors of the tokens become one of the text, in `1_Pooling/config.json`.
#[derive(Default, Deserialize)]
struct Pooling {
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
}

impl Model {
    /// Reads a model.
    pub(super) fn load(folder: &Path) -> Result<Self> {
        let config: Config = json(folder, "config.json")?;
        if config.model_type.as_deref().is_some_and(|kind| kind != "bert") {
            let kind = config.model_type.unwrap_or_default();
            return Err(refused(folder, &format!("it is of type `{kind}`, not `bert`")));
        }
        let path = "1_Pooling/config.json";
        let pooling = if folder.join(path).exists() { json(folder, path)? } else { Pooling::default() };
        let first_token = pooling.pooling_mode_cls_token;
        if folder.join(path).exists() && !first_token && !pooling.pooling_mode_mean_tokens {
            return Err(refused(folder, &format!("`{path}` takes neither the mean nor the first token")));
        }
        let text = read(folder, "tokenizer.json")?;
        let mut tokenizer =
            Tokenizer::from_bytes(text).map_err(|e| refused(folder, &format!("`tokenizer.json`: {e}")))?;
        let tokens = TOKENS_MAX.min(config.max_position_embeddings);
        tokenizer
            .with_padding(None)
            .with_truncation(Some(TruncationParams { max_length: tokens, ..TruncationParams::default() }))
            .map_err(|e| refused(folder, &format!("`tokenizer.json`: {e}")))?;
        if tokenizer.get_vocab_size(true) > config.vocab_size {
            let (has, most) = (tokenizer.get_vocab_size(true), config.vocab_size);
            return Err(refused(folder, &format!("`tokenizer.json` has `{has}` words, the model {most}")));
        }
        let weights = |e: candle_core::Error| refused(folder, &format!("`model.safetensors`: {e}"));
        let bytes = read(folder, "model.safetensors")?;
        let tensors = VarBuilder::from_buffered_safetensors(bytes, DType::F32, &Device::Cpu).map_err(weights)?;
        let bert = BertModel::load(tensors, &config).map_err(weights)?;
        Ok(Self { folder: folder.to_owned(), bert, tokenizer, first_token, vectors: Mutex::default() })
    }

    /// How near each text is to a question, in thousandths: 1000 means the same, 0 and less nothing in common.
    pub(crate) fn similarities(&self, question: &str, texts: &[String]) -> Result<Vec<i64>> {
        let question = self.vector(question)?;
        let near = |text: &String| {
            let dot: f32 = self.vector(text)?.iter().zip(question.iter()).map(|(a, b)| a * b).sum();
            // The product of two unit vectors is at most 1.
            Ok((dot * 1_000.0).round() as i64)
        };
        texts.iter().map(near).collect()
    }

    fn vector(&self, text: &str) -> Result<Arc<[f32]>> {
        let key = *blake3::hash(text.as_bytes()).as_bytes();
        let known = || self.vectors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(vector) = known().get(&key) {
            return Ok(vector.clone());
        }
        let vector: Arc<[f32]> = self.compute(text)?.into();
        let mut vectors = known();
        if vectors.len() >= VECTORS_MAX {
            vectors.clear();
        }
        vectors.insert(key, vector.clone());
        Ok(vector)
    }

    fn compute(&self, text: &str) -> Result<Vec<f32>> {
        let failed = |e: &dyn fmt::Display| refused(&self.folder, &format!("it cannot read a text: {e}"));
        let encoding = self.tokenizer.encode(text, true).map_err(|e| failed(&e))?;
        let ids = encoding.get_ids();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let run = || -> candle_core::Result<Vec<f32>> {
            let ids = Tensor::new(ids, &Device::Cpu)?.unsqueeze(0)?;
            let states = self.bert.forward(&ids, &ids.zeros_like()?, None)?.squeeze(0)?;
            let pooled = if self.first_token { states.get(0)? } else { states.mean(0)? };
            pooled.to_vec1()
        };
        let vector = run().map_err(|e| failed(&e))?;
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        if !length.is_finite() {
            return Err(failed(&"its weights give no numbers"));
        }
        Ok(vector.into_iter().map(|x| x / length.max(f32::MIN_POSITIVE)).collect())
    }
}

fn refused(folder: &Path, why: &str) -> Error {
    // Errors of the libraries may have several lines, and a stack trace behind them.
    let why = why.lines().next().unwrap_or_default();
    Error::new(Code::BadSetting, format!("the model in `{}` cannot be used: {why}", folder.display())).hint(HINT)
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>> {
    let path = folder.join(name);
    let failed = |e: std::io::Error| refused(folder, &format!("`{name}`: {e}"));
    let bytes = std::fs::metadata(&path).map_err(failed)?.len();
    if bytes > WEIGHTS_BYTES_MAX {
        return Err(refused(folder, &format!("`{name}` has `{bytes}` bytes, the limit is {WEIGHTS_BYTES_MAX}")));
    }
    std::fs::read(path).map_err(failed)
}

fn json<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<T> {
    serde_json::from_slice(&read(folder, name)?).map_err(|e| refused(folder, &format!("`{name}`: {e}")))
}
