//! Ranking by meaning: how near a text is to the question, whatever words it uses.
//!
//! For: a sentence-embedding model from a folder, read once, and joining its order with that of the words.
//! Not for: downloading a model (nothing here uses a network), or for deciding alone what is an answer.
//! Invariant: without a model everything is ranked by words alone; with one, the same texts on the same machine get the
//! same whole numbers, in whatever order and company they are requested.

#[cfg(feature = "semantic")]
mod bert;

use std::path::PathBuf;
use std::sync::OnceLock;

use consort_types::Result;

#[cfg(feature = "semantic")]
pub(crate) use bert::Model;

/// A model in a program that was built without the means to run one: there is none.
#[cfg(not(feature = "semantic"))]
pub(crate) enum Model {}

#[cfg(not(feature = "semantic"))]
impl Model {
    fn load(folder: &std::path::Path) -> Result<Self> {
        use consort_types::{Code, Error};
        let message =
            format!("the model in `{}` cannot be used: this program has no semantic ranking", folder.display());
        Err(Error::new(Code::BadSetting, message)
            .hint("build it with `--features semantic`, or unset `research-model` to rank by words alone"))
    }

    pub(crate) fn similarities(&self, _: &str, _: &[String]) -> Result<Vec<i64>> {
        match *self {}
    }
}

/// The model of a library, read when it is needed first.
#[derive(Default)]
pub(crate) struct Meanings {
    folder: Option<PathBuf>,
    loaded: OnceLock<Result<Model>>,
}

impl Meanings {
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, loaded: OnceLock::new() }
    }

    /// The model, where a folder is set; an error where that folder cannot be used.
    pub(crate) fn model(&self) -> Result<Option<&Model>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        self.loaded.get_or_init(|| Model::load(folder)).as_ref().map(Some).map_err(Clone::clone)
    }
}

/// What is added to a place in an order before it is inverted: the larger, the less the first places stand out.
const RANK_OFFSET: i64 = 60;
/// What the first place in one order is worth.
const RANK_UNIT: i64 = 1_000_000;

/// Joins two orders of the same things by reciprocal rank: for each thing a number that is large where it is early in both.
/// Equal values share a place.
pub(crate) fn fuse(a: &[i64], b: &[i64]) -> Vec<i64> {
    let (a, b) = (places(a), places(b));
    let worth = |place: i64| RANK_UNIT / RANK_OFFSET.saturating_add(place);
    a.into_iter().zip(b).map(|(a, b)| worth(a) + worth(b)).collect()
}

/// For each value its place when the largest comes first, from 1.
fn places(values: &[i64]) -> Vec<i64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    sorted.dedup();
    let place = |value: &i64| {
        i64::try_from(sorted.partition_point(|other| other > value)).map_or(i64::MAX, |before| before + 1)
    };
    values.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_early_in_both_orders_comes_first() {
        let fused = fuse(&[900, 800, 700], &[100, 990, 200]);
        assert!(fused[1] > fused[0] && fused[0] > fused[2], "{fused:?}");
        assert_eq!(fuse(&[5, 5], &[7, 7])[0], fuse(&[5, 5], &[7, 7])[1], "equal values share a place");
        assert_eq!(fuse(&[], &[]), Vec::<i64>::new());
    }

    #[cfg(not(feature = "semantic"))]
    #[test]
    fn a_model_that_cannot_be_run_is_refused_with_what_to_do() {
        let meanings = Meanings::new(Some("model".into()));
        let error = meanings.model().err().expect("refused");
        assert!(error.hint.is_some_and(|hint| hint.contains("--features semantic")));
        assert!(Meanings::default().model().expect("none is set").is_none());
    }
}
