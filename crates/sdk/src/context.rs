//! What the code of a task can use: its identity, durable effects, calls, sleeps, signals, progress.
//!
//! For: handlers. Not for: the worker's own bookkeeping (see `attempt`).
//! Invariant: an entry gets its position when the method is called, not when its future is first polled, so the
//! order of calls in the text of the program is the order in the journal.

use std::{
    cell::Cell,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use consort_types::{
    Code, Error, Payload, Span, StepInstanceId, Time, Token, bounds::check_optional_text, limits, text,
    worker::JournalRequest,
};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    TaskError,
    attempt::Attempt,
    call::{CallOptions, all},
    journal::{Asked, PATCH},
};

thread_local! {
    /// The attempt whose local effect is being polled on this thread, by its address.
    static INSIDE: Cell<usize> = const { Cell::new(0) };
}

/// The interface of a task's code to the engine. Cheap to clone.
///
/// # How journaled code behaves [`run`](Self::run), [`call`](Self::call), [`sleep`](Self::sleep),
/// [`wait_signal`](Self::wait_signal) and [`wait_approval`](Self::wait_approval) each make an entry in the task's
/// journal. The code may be dropped at any `await` and started again, by a retry, a crash or because it only waits (it
/// *parks*); then what is recorded is answered from the journal, and the code continues after the last entry. So it
/// must make the same requests in the same order each time: whatever may differ (clock, chance, outside reads) belongs
/// into `run`. Work outside `run` that is in flight while the code waits for an entry may be dropped, and is then done
/// again. Of select macros use those with a fixed order (`biased`).
#[derive(Clone)]
pub struct TaskContext {
    attempt: Arc<Attempt>,
    /// What requests that are made by it are called.
    title: Option<Arc<str>>,
}

impl TaskContext {
    pub(crate) fn new(attempt: Arc<Attempt>) -> Self {
        Self { attempt, title: None }
    }

    /// The same context, whose requests have a title for people: `ctx.titled("hotel").call("book", &trip)` is shown as
    /// `book (hotel)`. At most [`limits::NAME_BYTES_MAX`] bytes. A replay does not compare titles.
    #[must_use]
    pub fn titled(&self, title: &str) -> Self {
        Self { attempt: Arc::clone(&self.attempt), title: Some(title.into()) }
    }

    /// The task.
    pub fn task(&self) -> StepInstanceId {
        self.attempt.offer.task
    }

    /// Which try this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt.offer.attempt
    }

    /// The fencing token of this attempt: hand it to stores that can refuse an older one.
    pub fn token(&self) -> Token {
        self.attempt.offer.token
    }

    /// A key that is the same for all attempts of the task: hand it to services that know such keys.
    pub fn idempotency_key(&self) -> &str {
        &self.attempt.offer.idempotency_key
    }

    /// When the attempt is given up.
    pub fn deadline(&self) -> Option<Time> {
        self.attempt.offer.deadline
    }

    /// The capability that was called.
    pub fn capability(&self) -> &str {
        &self.attempt.offer.capability
    }

    /// The workflow of the run, for logs.
    pub fn workflow(&self) -> &str {
        &self.attempt.offer.workflow
    }

    /// The step's path in the run, such as `gather[3]`, for logs.
    pub fn step(&self) -> &str {
        &self.attempt.offer.step
    }

    /// The trace that the attempt belongs to, as a W3C `traceparent`: hand it on with requests to other services.
    /// Empty where the run is not traced.
    pub fn traceparent(&self) -> &str {
        &self.attempt.offer.traceparent
    }

    /// Shows watchers what is being done. Messages are not kept; where they come too fast the latest is shown.
    pub fn progress(&self, message: impl Into<String>) {
        let mut message = message.into();
        text::truncate(&mut message, limits::ERROR_MESSAGE_BYTES_MAX);
        self.attempt.show(|live| live.progress(message));
    }

    /// Shows watchers more of a text that is being made, such as the words of a model.
    ///
    /// It never waits: where the connection is slow, pieces are joined, and of more than
    /// [`limits::STREAM_WAITING_BYTES_MAX`] bytes the oldest are dropped. Nothing of it is kept: what must last
    /// belongs into the result. A replay shows again what the code streams again.
    pub fn stream_text(&self, text: &str) {
        if !text.is_empty() {
            self.attempt.show(|live| live.text(text));
        }
    }

    /// Shows watchers a document of its own, such as a row that was found; otherwise like
    /// [`TaskContext::stream_text`].
    ///
    /// # Errors
    /// Where it cannot be written as JSON, or has more than [`limits::STREAM_DELTA_BYTES_MAX`] bytes.
    pub fn stream_json(&self, document: &impl Serialize) -> Result<(), TaskError> {
        let what = "streamed document";
        let value = serde_json::to_value(document).map_err(|error| unwritable(what, &error))?;
        let (bytes, max) = (value.to_string().len(), limits::STREAM_DELTA_BYTES_MAX);
        if bytes > max {
            let error = Error::new(Code::PayloadTooLarge, format!("the {what} has {bytes} bytes, the limit is {max}"))
                .hint("stream it in parts, or put it into the result");
            return Err(TaskError::from_parts(error, false));
        }
        self.attempt.show(|live| live.json(value, bytes));
        Ok(())
    }

    /// Whether the attempt is cancelled, timed out or fenced: a result would change nothing.
    pub fn is_cancelled(&self) -> bool {
        self.attempt.cancelled().is_cancelled()
    }

    /// Ends when the attempt is cancelled, timed out or fenced. The code then has a short grace before it is dropped.
    pub fn cancelled(&self) -> impl Future<Output = ()> + Send + use<> {
        self.attempt.cancelled().clone().cancelled_owned()
    }

    /// Does something once: its result is durable before it is returned, and a replay returns that instead.
    ///
    /// It runs at least once: a crash between the effect and its record makes it run again, so an outside service
    /// should be given [`TaskContext::idempotency_key`] with the name. A permanent failure is recorded and replayed
    /// like a result. A retryable one is not: it ends what this attempt can record, and the next attempt tries again.
    /// What the code asks while an effect runs is sent when it has ended. The effect itself must not use the journal.
    pub fn run<T, F, Fut>(
        &self,
        name: &str,
        effect: F,
    ) -> impl Future<Output = Result<T, TaskError>> + Send + use<T, F, Fut>
    where
        T: Serialize + DeserializeOwned + Send,
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<T, TaskError>> + Send,
    {
        let asked = checked(name).and_then(|()| self.ask(JournalRequest::Run { name: name.into() }));
        let attempt = Arc::clone(&self.attempt);
        // Made here, so that an effect that is never polled counts as dropped too.
        let running = asked
            .as_ref()
            .ok()
            .filter(|asked| !asked.recorded)
            .map(|asked| Running { attempt: Arc::clone(&attempt), index: asked.index });
        async move {
            let index = asked?.index;
            if let Some(running) = running {
                running.run(effect).await?;
            }
            Answer::<T>::new(attempt, Ok(index), read_result).await
        }
    }

    /// Asks another capability: a child task that the engine schedules, retries and records like any other.
    ///
    /// Calls that are made before the first is awaited run side by side. Its failure is permanent: it is recorded.
    pub fn call<Out: DeserializeOwned>(&self, capability: &str, input: &impl Serialize) -> Answer<Out> {
        self.call_with(capability, input, CallOptions::new())
    }

    /// Calls another capability with options: how often it is tried, how long an attempt may take, which agents may do
    /// it. Otherwise like [`TaskContext::call`].
    ///
    /// The options may change between two attempts of the task: a replay does not compare them.
    pub fn call_with<Out: DeserializeOwned>(
        &self,
        capability: &str,
        input: &impl Serialize,
        options: impl Into<CallOptions>,
    ) -> Answer<Out> {
        // By way of a value: maps are sorted, so that the same input gives the same bytes in each attempt.
        let input = serde_json::to_value(input).map_err(|e| unwritable("input of the call", &e));
        let index = input.and_then(|value| write_payload("input of the call", &value)).and_then(|input| {
            let options = options.into().into_request();
            Ok(self.ask(JournalRequest::Call { capability: capability.into(), input, options })?.index)
        });
        Answer::new(Arc::clone(&self.attempt), index, read_result)
    }

    /// Asks a capability once for each input, side by side; the results come in the order of the inputs.
    ///
    /// It fails with the first failure in that order. For the results of the others too, use [`TaskContext::call`].
    pub fn call_all<Out, I>(
        &self,
        capability: &str,
        inputs: I,
    ) -> impl Future<Output = Result<Vec<Out>, TaskError>> + Send + use<Out, I>
    where
        Out: DeserializeOwned + Send,
        I: IntoIterator,
        I::Item: Serialize,
    {
        let answers: Vec<Answer<Out>> = inputs.into_iter().map(|input| self.call(capability, &input)).collect();
        all(answers)
    }

    /// Pauses; a long pause leaves the instance and survives restarts.
    pub fn sleep(&self, span: Span) -> Answer<()> {
        let index = self.ask(JournalRequest::Sleep { span }).map(|asked| asked.index);
        Answer::new(Arc::clone(&self.attempt), index, |_| Ok(()))
    }

    /// Waits for the next signal of that name to the run; its payload is the answer.
    pub fn wait_signal<T: DeserializeOwned>(&self, name: &str) -> Answer<T> {
        self.ask_signal(name, None)
    }

    /// The same with the schema of the type: while the code waits, a payload that does not fit is refused where it is
    /// sent. One that came before is not checked there: the answer is then a failure.
    pub fn wait_signal_typed<T: DeserializeOwned + JsonSchema>(&self, name: &str) -> Answer<T> {
        let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value();
        self.ask_signal(name, Some(Payload::from_value(&schema)))
    }

    fn ask_signal<T: DeserializeOwned>(&self, name: &str, schema: Option<Payload>) -> Answer<T> {
        let index = self.ask(JournalRequest::Signal { name: name.into(), schema }).map(|asked| asked.index);
        Answer::new(Arc::clone(&self.attempt), index, read_result)
    }

    /// Requests a person's approval: it is in the inbox until a person decides. A no is an answer too, not a failure.
    pub fn wait_approval(&self, prompt: &str, detail: &impl Serialize) -> Answer<Approval> {
        let what = "detail of the approval";
        let detail = serde_json::to_value(detail).map_err(|error| unwritable(what, &error));
        let index = detail.and_then(|value| write_payload(what, &value)).and_then(|detail| {
            let request = JournalRequest::Approval { prompt: prompt.into(), detail };
            Ok(self.ask(request)?.index)
        });
        Answer::new(Arc::clone(&self.attempt), index, read_result)
    }

    /// The answer to an entry of this context.
    pub(crate) fn answer<T>(
        &self,
        index: Result<u32, TaskError>,
        read: fn(&Payload) -> Result<T, TaskError>,
    ) -> Answer<T> {
        Answer::new(Arc::clone(&self.attempt), index, read)
    }

    /// Has a transaction of shared state done and recorded.
    pub(crate) fn ask_state<T>(
        &self,
        transaction: Result<serde_json::Value, TaskError>,
        read: fn(&Payload) -> Result<T, TaskError>,
    ) -> Answer<T> {
        let index = transaction.and_then(|transaction| {
            let transaction = write_payload("transaction", &transaction)?;
            Ok(self.ask(JournalRequest::State { transaction })?.index)
        });
        Answer::new(Arc::clone(&self.attempt), index, read)
    }

    /// Whether the code takes the path of the change `name`: `if ctx.patched("name").await? { new } else { old }`.
    ///
    /// It is true for tasks that get here for the first time, which is recorded and durable before it is returned, and
    /// for those whose journal says so. It is false where the journal has something else here: code of before the
    /// change began the task, and it continues on the old path. Asked again in the same attempt, the answer is the
    /// same. Ask before the code branches, where the position in the journal is the same whatever comes first.
    pub fn patched(&self, name: &str) -> impl Future<Output = Result<bool, TaskError>> + Send + use<> {
        self.marker(name, true)
    }

    /// In place of [`TaskContext::patched`], once no task is left on the old path, whose code can go: passes over the
    /// marker where the journal has it, and records nothing. Once no journal has the marker, this call can go too.
    pub fn deprecate_patch(&self, name: &str) -> impl Future<Output = Result<(), TaskError>> + Send + use<> {
        let marker = self.marker(name, false);
        async move { marker.await.map(|_| ()) }
    }

    /// Requests the marker of a patch; ends when its entry may be seen, and is false where there is none.
    fn marker(&self, name: &str, record: bool) -> impl Future<Output = Result<bool, TaskError>> + Send + use<> {
        let index = self.check_outside().and_then(|()| self.attempt.patch(name, record));
        let attempt = Arc::clone(&self.attempt);
        async move {
            let Some(index) = index? else { return Ok(false) };
            Answer::new(attempt, Ok(index), |_| Ok(true)).await
        }
    }

    pub(crate) fn ask(&self, request: JournalRequest) -> Result<Asked, TaskError> {
        self.check_outside()?;
        let title = self.title.as_deref();
        check_optional_text("title of the entry", title, limits::NAME_BYTES_MAX)
            .map_err(|error| TaskError::from_parts(error, false))?;
        self.attempt.ask(request, title.map(str::to_owned))
    }

    /// Refuses the use of the journal inside `run`.
    fn check_outside(&self) -> Result<(), TaskError> {
        if INSIDE.get() == self.address() {
            let error = Error::new(Code::BadRequest, "the journal was used inside `run`")
                .hint("let the effect return what it found, and use the journal after it");
            return Err(TaskError::from_parts(error, false));
        }
        Ok(())
    }

    fn address(&self) -> usize {
        Arc::as_ptr(&self.attempt).addr()
    }
}

impl fmt::Debug for TaskContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskContext").field("task", &self.task()).field("token", &self.token()).finish_non_exhaustive()
    }
}

/// Refuses the names of effects that are those of markers.
fn checked(name: &str) -> Result<(), TaskError> {
    if name.starts_with(PATCH) {
        let message = format!("the name `{name}` begins with `{PATCH}`, which is reserved for the markers of patches");
        let error = Error::new(Code::BadRequest, message).hint("choose another name, or ask `ctx.patched`");
        return Err(TaskError::from_parts(error, false));
    }
    Ok(())
}

/// What a person decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Whether it was a yes.
    pub approved: bool,
    /// The name of the person who decided.
    pub by: String,
    /// The person's comment.
    #[serde(default)]
    pub comment: Option<String>,
    /// What was approved: the detail of the question, or what the person made of it. `null` after a no.
    #[serde(default)]
    pub value: serde_json::Value,
}

/// The answer to a journal entry, as a future. The entry exists as soon as the answer does, awaited or not.
///
/// A wait (a pause, a signal, an approval) is open until its answer is read or dropped: one that lost a race, or whose
/// branch was dropped, is closed durably once the code rests. Its question leaves the inbox, and a signal goes to the
/// next wait of its name. A call whose answer is dropped continues.
#[must_use = "the entry is recorded, but the code does not wait for its answer"]
pub struct Answer<T> {
    attempt: Arc<Attempt>,
    /// The entry's position, or why there is none.
    pub(crate) index: Result<u32, TaskError>,
    read: fn(&Payload) -> Result<T, TaskError>,
    /// Whether the journal knows of this waiting.
    waits: bool,
    /// Whether the code has seen the result.
    read_before: bool,
}

impl<T> Answer<T> {
    fn new(attempt: Arc<Attempt>, index: Result<u32, TaskError>, read: fn(&Payload) -> Result<T, TaskError>) -> Self {
        Self { attempt, index, read, waits: false, read_before: false }
    }

    /// The position of the answer that the code was given first, once it may see one of them; a request that failed at
    /// once comes before the others.
    pub(crate) fn poll_first(answers: &mut [Self], cx: &mut Context<'_>) -> Poll<usize> {
        let turn = |answer: &Self| match &answer.index {
            Ok(index) => answer.attempt.turn(*index).map(|turn| turn + 1),
            Err(_) => Some(0),
        };
        let first = answers.iter().enumerate().filter_map(|(position, answer)| Some((turn(answer)?, position))).min();
        if let Some((_, position)) = first {
            return Poll::Ready(position);
        }
        // Nothing can be seen yet: each of them wakes the code. What can be seen by now is a journal that was closed.
        let seen = answers.iter_mut().position(|answer| Pin::new(answer).poll(cx).is_ready());
        seen.map_or(Poll::Pending, Poll::Ready)
    }
}

impl<T> Future for Answer<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let index = match &self.index {
            Ok(index) => *index,
            Err(error) => return Poll::Ready(Err(error.clone())),
        };
        let found = self.attempt.poll_entry(index, cx.waker());
        self.waits = found.is_none();
        self.read_before |= found.is_some();
        match found {
            Some(result) => Poll::Ready(result.and_then(|payload| (self.read)(&payload))),
            None => Poll::Pending,
        }
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        let Ok(index) = self.index else { return };
        if self.waits {
            self.attempt.forget(index);
        }
        if !self.read_before {
            self.attempt.leave(index);
        }
    }
}

impl<T> fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("index", &self.index).finish_non_exhaustive()
    }
}

/// A local effect that is to run in this attempt.
struct Running {
    attempt: Arc<Attempt>,
    index: u32,
}

impl Running {
    /// Runs the effect and has its result recorded. A retryable failure closes the journal instead.
    async fn run<T, F, Fut>(self, effect: F) -> Result<(), TaskError>
    where
        T: Serialize,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, TaskError>>,
    {
        let address = Arc::as_ptr(&self.attempt).addr();
        let result = Inside { address, effect: Box::pin(async { effect().await }) }.await;
        match result.and_then(|value| write_payload("result of `run`", &value)) {
            Ok(payload) => self.attempt.finish_run(self.index, Ok(payload)),
            Err(error) if error.is_retryable() => {
                self.attempt.close(error.clone());
                return Err(error);
            }
            Err(error) => self.attempt.finish_run(self.index, Err(error.error().clone())),
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.attempt.drop_run(self.index);
    }
}

/// Polls an effect so that its use of the journal is noticed.
struct Inside<Fut> {
    address: usize,
    effect: Pin<Box<Fut>>,
}

impl<Fut: Future> Future for Inside<Fut> {
    type Output = Fut::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        /// Puts the mark back, also when the effect panics.
        struct Restore(usize);
        impl Drop for Restore {
            fn drop(&mut self) {
                INSIDE.set(self.0);
            }
        }
        let _restore = Restore(INSIDE.replace(self.address));
        self.effect.as_mut().poll(cx)
    }
}

/// Reads the input of a task; what does not fit is named by its JSON path and never tried again.
pub(crate) fn read_input<T: DeserializeOwned>(payload: &Payload) -> Result<T, TaskError> {
    read("input", Code::BadInput, payload)
}

pub(crate) fn read_result<T: DeserializeOwned>(payload: &Payload) -> Result<T, TaskError> {
    read("answer", Code::BadOutput, payload)
}

fn read<T: DeserializeOwned>(what: &str, code: Code, payload: &Payload) -> Result<T, TaskError> {
    let Some(bytes) = payload.bytes() else {
        let error = Error::new(Code::Internal, format!("the {what} arrived as a blob reference"));
        return Err(TaskError::from_parts(error, false));
    };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = match error.path().to_string() {
            root if root == "." => String::new(),
            path if path.starts_with('[') => path,
            path => format!(".{path}"),
        };
        let message = format!("the {what} does not fit at `${path}`: {}", plain(error.inner()));
        TaskError::from_parts(Error::new(code, message), false)
    })?;
    reader.end().map_err(|error| TaskError::from_parts(Error::new(Code::BadJson, error.to_string()), false))?;
    Ok(value)
}

/// The message without "at line 1 column 17": the document is not a file.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rfind(" at line ").map_or(text.clone(), |end| text[..end].to_owned())
}

/// Writes a value as a JSON document within the limit; `what` names it in the error.
pub(crate) fn write_payload(what: &str, value: &impl Serialize) -> Result<Payload, TaskError> {
    let bytes = serde_json::to_vec(value).map_err(|error| unwritable(what, &error))?;
    if bytes.len() > limits::PAYLOAD_BYTES_MAX {
        let message = format!("the {what} has {} bytes, the limit is {}", bytes.len(), limits::PAYLOAD_BYTES_MAX);
        let error =
            Error::new(Code::PayloadTooLarge, message).hint("store the document elsewhere and pass a reference");
        return Err(TaskError::from_parts(error, false));
    }
    Ok(Payload::inline(bytes))
}

pub(crate) fn unwritable(what: &str, error: &serde_json::Error) -> TaskError {
    let error = Error::new(Code::BadJson, format!("the {what} cannot be written as JSON: {error}"));
    TaskError::from_parts(error, false)
}
