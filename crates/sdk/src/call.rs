//! How a call is to be done, and waiting for several answers.
//!
//! For: what goes beyond one call and one answer. Not for: making entries (see `context`).
//! Invariant: nothing here is compared on replay, and nothing here decides by the clock: the journal determines which
//! answer comes first.

use consort_types::{
    Code, Error, Span,
    worker::{self, CallRetry, Route},
};

use crate::{Answer, TaskError};

/// How a call is to be done. The defaults: any agent, one attempt, no separate time limit.
///
/// ```
/// use consort_types::Span;
/// use consort_sdk::CallOptions;
///
/// let options = CallOptions::new().retry(5).timeout(Span::from_secs(20)).version("^1.2").sticky("customer-17");
/// # let _ = options;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallOptions {
    options: worker::CallOptions,
}

/// The pauses between attempts, where none are given: one second, doubled each time, half a minute at most.
const BACK_OFF: CallRetry =
    CallRetry { attempts: 1, initial: Span::from_secs(1), factor_milli: 2_000, max: Span::from_secs(30) };

impl CallOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tries that often at most, the first attempt included; from 1 to [`consort_types::limits::ATTEMPTS_MAX`]. The
    /// pauses are one second, doubled each time, half a minute at most, unless [`CallOptions::back_off`] is set.
    #[must_use]
    pub fn retry(mut self, attempts: u32) -> Self {
        self.options.retry.get_or_insert(BACK_OFF).attempts = attempts;
        self
    }

    /// The pause after the first failure, what each further pause grows by in thousandths (2000 doubles it; at least
    /// 1000), and the longest pause.
    #[must_use]
    pub fn back_off(mut self, initial: Span, factor_milli: u32, max: Span) -> Self {
        let attempts = self.options.retry.unwrap_or(BACK_OFF).attempts;
        self.options.retry = Some(CallRetry { attempts, initial, factor_milli, max });
        self
    }

    /// How long one attempt may take.
    #[must_use]
    pub fn timeout(mut self, span: Span) -> Self {
        self.options.timeout = Some(span);
        self
    }

    /// The agent that is to do it.
    #[must_use]
    pub fn agent(mut self, name: impl Into<String>) -> Self {
        self.options.agent = Some(name.into());
        self
    }

    /// Which versions of the agent may do it: a range of semantic versions such as `^1.2`, or one version as its
    /// author wrote it.
    #[must_use]
    pub fn version(mut self, range: impl Into<String>) -> Self {
        self.route_mut().version = Some(range.into());
        self
    }

    /// A label that the instance or its agent must have.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.route_mut().labels.insert(key.into(), value.into());
        self
    }

    /// Calls with the same key go to the same instance for as long as it is there and healthy.
    #[must_use]
    pub fn sticky(mut self, key: impl Into<String>) -> Self {
        self.route_mut().sticky = Some(key.into());
        self
    }

    /// Which instances may do it, all at once.
    #[must_use]
    pub fn route(mut self, route: Route) -> Self {
        self.options.route = Some(route);
        self
    }

    /// Added to the priority of the run; higher goes first.
    #[must_use]
    pub fn priority(mut self, added: i32) -> Self {
        self.options.priority = Some(added);
        self
    }

    fn route_mut(&mut self) -> &mut Route {
        self.options.route.get_or_insert_default()
    }

    /// As a message of the protocol; `None` where all is default.
    pub(crate) fn into_request(self) -> Option<Box<worker::CallOptions>> {
        (self.options != worker::CallOptions::default()).then(|| Box::new(self.options))
    }
}

impl From<worker::CallOptions> for CallOptions {
    fn from(options: worker::CallOptions) -> Self {
        Self { options }
    }
}

/// Waits for every answer; the results come in the order of the answers.
///
/// It fails with the first failure in that order. The others continue and are recorded all the same.
pub async fn all<T>(answers: impl IntoIterator<Item = Answer<T>>) -> Result<Vec<T>, TaskError> {
    // One after the other: a task with many calls then parks for the first open one, not for each.
    let mut results = Vec::new();
    for answer in answers {
        results.push(answer.await?);
    }
    Ok(results)
}

/// Waits for the answer that comes first; returns its position and its value.
///
/// "First" is the order in which the journal gave the answers to the code, not the clock: once the code has made
/// another request after the race, every replay has the same winner. A failure can come first too; then the race fails
/// with it. Calls that lost are not stopped: they continue and are recorded, but the race does not wait for them. Waits
/// that lost (for a signal, a person or a time) are closed.
///
/// For answers of different types use `tokio::select!` with `biased`, or `futures::future::select`.
pub async fn race<T>(answers: impl IntoIterator<Item = Answer<T>>) -> Result<(usize, T), TaskError> {
    let mut answers: Vec<Answer<T>> = answers.into_iter().collect();
    if answers.is_empty() {
        let error = Error::new(Code::BadRequest, "a race needs at least one answer to wait for");
        return Err(TaskError::from_parts(error, false));
    }
    let winner = std::future::poll_fn(|cx| Answer::poll_first(&mut answers, cx)).await;
    let value = answers.swap_remove(winner).await?;
    Ok((winner, value))
}
