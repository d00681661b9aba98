//! The normal form of a checked workflow: what is logged, stored and run.
//!
//! For: writing a [`Definition`] as bytes and reading it back, without its source text. Not for: checking (that is
//! done before a definition is made).
//! Invariant: the reader never gets stricter. What one version of Consort has written, every later one reads, and
//! reads as the same definition: a language version is added, never changed, and the corpus of `workflow-check`
//! holds the bytes of each. A definition of a language version that is not known is refused by name.
//!
//! Why an encoded model and not the source text: a parser gets stricter with every release, and a text that was
//! accepted once must mean the same for as long as the log is kept.

pub(crate) mod json;

use std::sync::Arc;

use consort_types::{BlobHash, Code, Error, Result};
use minicbor::{
    Decode, Decoder, Encode, Encoder,
    decode::Error as ReadError,
    encode::{Error as WriteError, Write},
};

use crate::{Action, Block, Definition};

/// The version of the language that this version of Consort writes; it reads this one and all before it.
pub const LANGUAGE_VERSION: u32 = 1;

/// Lists and maps within each other that the reader follows: far more than a checked workflow has.
const DEPTH_MAX: usize = 1_024;

/// A checked workflow as it is logged and stored.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CompiledWorkflow {
    /// The version of the language that the normal form is written in.
    #[n(0)]
    pub language: u32,
    /// The normal form: CBOR of a [`Definition`] with numbered fields.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub normal_form: Vec<u8>,
    /// The author's text, to be shown; it is never read again.
    #[n(2)]
    pub source: String,
    /// The version of Consort that checked the text, to be named where a later version's form cannot be read.
    #[n(3)]
    pub writer: String,
}

impl CompiledWorkflow {
    /// The normal form of a definition, with the text that it was made from. `writer` is a version of Consort.
    pub fn new(definition: &Definition, source: &str, writer: &str) -> Self {
        let mut normal_form = Vec::with_capacity(source.len());
        // Writing to a vector cannot fail, and the encoders have no error of their own.
        let written = minicbor::encode(definition, &mut normal_form);
        assert!(written.is_ok(), "a definition encodes");
        Self { language: LANGUAGE_VERSION, normal_form, source: source.to_owned(), writer: writer.to_owned() }
    }

    /// The content hash, which runs are pinned to: of the language version, the normal form and the author's text. So
    /// the same hash always means the same behaviour and the same text, and an edit of a comment is a new revision.
    pub fn hash(&self) -> BlobHash {
        let mut bytes = Vec::with_capacity(12 + self.normal_form.len() + self.source.len());
        bytes.extend(self.language.to_be_bytes());
        bytes.extend((self.normal_form.len() as u64).to_be_bytes());
        bytes.extend(&self.normal_form);
        bytes.extend(self.source.as_bytes());
        BlobHash::of(&bytes)
    }

    /// The definition.
    ///
    /// # Errors
    /// [`Code::BadFormat`] where the language version is not known, or the bytes are no definition.
    pub fn definition(&self) -> Result<Definition> {
        if self.language == 0 || self.language > LANGUAGE_VERSION {
            let message = format!(
                "a workflow is written in language version `{}` by Consort `{}`, this version reads 1 to \
                 {LANGUAGE_VERSION}",
                self.language, self.writer
            );
            return Err(Error::new(Code::BadFormat, message).hint("start that version of Consort, or a later one"));
        }
        let unreadable = || {
            let message =
                format!("the normal form of a workflow, written by Consort `{}`, cannot be read", self.writer);
            Error::new(Code::BadFormat, message).hint("restore the data folder from a backup")
        };
        check_depth(&self.normal_form).ok_or_else(unreadable)?;
        let mut decoder = Decoder::new(&self.normal_form);
        let definition: Definition = decoder.decode().map_err(|_| unreadable())?;
        let whole = decoder.position() == self.normal_form.len() && blocks_fit(&definition.blocks);
        if whole { Ok(definition) } else { Err(unreadable()) }
    }
}

/// Refuses bytes whose parts nest deeper than the reader may recurse.
fn check_depth(bytes: &[u8]) -> Option<()> {
    let mut decoder = Decoder::new(bytes);
    let mut open: Vec<u64> = Vec::new();
    while decoder.position() < bytes.len() {
        let parts = match decoder.datatype().ok()? {
            minicbor::data::Type::Array => decoder.array().ok()??,
            minicbor::data::Type::Map => decoder.map().ok()??.checked_mul(2)?,
            _ => {
                decoder.skip().ok()?;
                0
            }
        };
        if parts > 0 {
            open.push(parts);
        } else {
            while let Some(left) = open.last_mut() {
                *left -= 1;
                if *left > 0 {
                    break;
                }
                open.pop();
            }
        }
        if open.len() > DEPTH_MAX {
            return None;
        }
    }
    Some(())
}

/// Whether every position in the blocks is one, and a nested block comes after its parent.
fn blocks_fit(blocks: &[Block]) -> bool {
    let step_fits = |at: usize, block: &Block, action: &Action, places: &[usize]| {
        let inner = action.block().map(|inner| inner.0 as usize);
        inner.is_none_or(|inner| inner > at && inner < blocks.len())
            && places.iter().all(|place| *place < block.steps.len())
    };
    !blocks.is_empty()
        && blocks.iter().enumerate().all(|(at, block)| {
            let mut steps = block.steps.iter();
            let parent = block
                .parent
                .is_none_or(|(above, step)| (above.0 as usize) < at && step < blocks[above.0 as usize].steps.len());
            parent
                && steps.all(|step| {
                    step_fits(at, block, &step.action, &step.needs)
                        && step_fits(at, block, &step.action, &step.dependents)
                })
        })
}

/// Texts that are shared in memory.
pub(crate) mod shared_text {
    use super::{Arc, Decoder, Encoder, ReadError, Write, WriteError};

    pub(crate) fn encode<C, W: Write>(
        text: &Arc<str>,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), WriteError<W::Error>> {
        e.str(text)?.ok()
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Arc<str>, ReadError> {
        d.str().map(Arc::from)
    }
}

/// Parts that are shared in memory.
pub(crate) mod shared {
    use super::{Arc, Decode, Decoder, Encode, Encoder, ReadError, Write, WriteError};

    pub(crate) fn encode<C, T: Encode<C>, W: Write>(
        part: &Arc<T>,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), WriteError<W::Error>> {
        part.as_ref().encode(e, ctx)
    }

    pub(crate) fn decode<'b, C, T: Decode<'b, C>>(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Arc<T>, ReadError> {
        T::decode(d, ctx).map(Arc::new)
    }
}

/// Patterns, written as their text.
pub(crate) mod pattern {
    use regex::{Regex, RegexBuilder};

    use super::{Decoder, Encoder, ReadError, Write, WriteError};

    /// Many times what the check allows: another version of the library may need more for the same pattern, and
    /// what was accepted once must stay so.
    const COMPILED_BYTES_MAX: usize = 64 * 1024 * 1024;

    pub(crate) fn encode<C, W: Write>(
        pattern: &Regex,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), WriteError<W::Error>> {
        e.str(pattern.as_str())?.ok()
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Regex, ReadError> {
        let built = RegexBuilder::new(d.str()?).size_limit(COMPILED_BYTES_MAX).build();
        built.map_err(|_| ReadError::message("a pattern cannot be read"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_language_is_refused_with_the_version_that_wrote_it() {
        let compiled = CompiledWorkflow {
            language: LANGUAGE_VERSION + 1,
            normal_form: vec![0x80],
            source: String::new(),
            writer: "9.8.7".to_owned(),
        };
        let error = compiled.definition().unwrap_err();
        assert_eq!(error.code, Code::BadFormat);
        assert!(error.message.contains("`9.8.7`") && error.message.contains("`2`"), "{error}");
    }

    #[test]
    fn bytes_that_are_no_definition_are_refused_without_a_panic() {
        let form = |normal_form| CompiledWorkflow {
            language: LANGUAGE_VERSION,
            normal_form,
            source: String::new(),
            writer: "1".to_owned(),
        };
        for bytes in [vec![], vec![0x80], vec![0x81; 100_000], vec![0xff; 9], vec![0xa1; 40]] {
            assert_eq!(form(bytes).definition().unwrap_err().code, Code::BadFormat);
        }
    }

    #[test]
    fn the_hash_is_of_form_and_text_and_not_of_the_writer() {
        let one = CompiledWorkflow { language: 1, normal_form: vec![1], source: "a".into(), writer: "1".into() };
        assert_eq!(one.hash(), CompiledWorkflow { writer: "2".into(), ..one.clone() }.hash());
        assert_ne!(one.hash(), CompiledWorkflow { source: "b".into(), ..one.clone() }.hash());
        assert_ne!(one.hash(), CompiledWorkflow { normal_form: vec![2], ..one.clone() }.hash());
    }
}
