//! Every limit of Consort in one place, with its reason.
//!
//! For: bounds that keep an overload answerable. Not for: settings (those are the server's configuration).
//! Invariant: a limit's name ends in its unit and `MAX`; [`ALL`] lists each one for the reference pages.

/// One limit as the reference shows it.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Its name, as in this module.
    pub name: &'static str,
    /// Its value.
    pub value: u64,
    /// Why it is there.
    pub doc: &'static str,
}

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $value:expr;)+) => {
        $($(#[doc = $doc])+ pub const $name: $type = $value;)+

        /// Every limit, for `docs/reference/limits.md`.
        pub const ALL: &[Limit] = &[
            $(Limit { name: stringify!($name), value: $name as u64, doc: concat!($($doc),+) },)+
        ];
    };
}

limits! {
    /// Bytes of a name: names are part of keys, paths and screens.
    NAME_BYTES_MAX: usize = 128;
    /// Bytes of the key of a row: above the longest that names, keys and idempotency keys make, far below what a store
    /// can take.
    KEY_ENCODED_BYTES_MAX: usize = 1_024;
    /// Bytes of a payload, wherever it is kept.
    PAYLOAD_BYTES_MAX: usize = 64 * 1024 * 1024;
    /// Bytes of a payload that is inline in a record; a larger one goes to the blob store.
    INLINE_BYTES_MAX: usize = 32 * 1024;
    /// Bytes of a record in the log; what is larger travels as a blob.
    RECORD_BYTES_MAX: usize = 4 * 1024 * 1024;
    /// Records in one group of the log.
    GROUP_RECORDS_MAX: usize = 1024;
    /// Bytes of one group of the log, after which the next group begins.
    GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;
    /// Bytes of a workflow's source text.
    WORKFLOW_BYTES_MAX: usize = 1024 * 1024;
    /// Steps in one workflow, nested ones counted.
    WORKFLOW_STEPS_MAX: usize = 2_000;
    /// Depth of nested steps in a workflow.
    WORKFLOW_DEPTH_MAX: usize = 16;
    /// Depth of nested YAML or JSON in a definition or an input.
    NESTING_DEPTH_MAX: usize = 64;
    /// Depth of nested lists and maps in a value that an expression or a template gives; readers stop at 127.
    VALUE_DEPTH_MAX: usize = 100;
    /// YAML nodes of a workflow, aliases counted as often as they are used.
    YAML_NODES_MAX: usize = 100_000;
    /// Findings that are reported for one source text.
    DIAGNOSTICS_MAX: usize = 100;
    /// Nodes of a declared JSON Schema, references counted as often as they are used.
    SCHEMA_NODES_MAX: usize = 10_000;
    /// Work units that checking one input may cost (a part or rule of the schema held against one value costs one).
    VALIDATION_COST_MAX: u64 = 5_000_000;
    /// Bytes of the normal form of a workflow, which is logged with its source text.
    NORMAL_FORM_BYTES_MAX: usize = 2 * 1024 * 1024;
    /// Revisions of one workflow: they are removed together, by one record.
    WORKFLOW_REVISIONS_MAX: u32 = 4_096;
    /// Workflows that one start may carry: the one that it runs, and those that this one calls by name.
    START_DEFINITIONS_MAX: usize = 64;
    /// Bytes of the workflows that one start carries, source texts and normal forms together: they are in one record.
    START_DEFINITIONS_BYTES_MAX: usize = 7 * 512 * 1024;
    /// Bytes of one expression.
    EXPRESSION_BYTES_MAX: usize = 8 * 1024;
    /// Depth of parentheses, brackets and calls in an expression.
    EXPRESSION_DEPTH_MAX: usize = 32;
    /// Operations chained in an expression, such as `a + b + c`; bounds the evaluator's recursion.
    EXPRESSION_HEIGHT_MAX: u32 = 128;
    /// Bytes of all expressions of a workflow together.
    EXPRESSIONS_BYTES_MAX: usize = 256 * 1024;
    /// Work units that one evaluation of a template or a condition may cost (a node, an element or 16 bytes each cost
    /// one), and that all evaluations of one record cost before the rest is left to the next record.
    EXPRESSION_COST_MAX: u64 = 2_000_000;
    /// Items of one `for_each`.
    FAN_OUT_ITEMS_MAX: usize = 100_000;
    /// Items of one `for_each` that run at once where `max_parallel` is not given.
    FAN_OUT_PARALLEL_DEFAULT_MAX: u32 = 256;
    /// Iterations of one `repeat`.
    REPEAT_ITERATIONS_MAX: u32 = 10_000;
    /// Attempts of one task.
    ATTEMPTS_MAX: u32 = 1_000;
    /// Seconds that an agent may ask to wait before the next attempt; more is cut to this.
    RETRY_AFTER_SECONDS_MAX: u64 = 24 * 60 * 60;
    /// Seconds that the wall clock may be ahead of log time to be followed at once; a lead beyond it is announced.
    CLOCK_STEP_SECONDS_MAX: u64 = 10;
    /// Seconds that a larger leap of the wall clock has to last before log time follows it.
    CLOCK_UNCONFIRMED_SECONDS_MAX: u64 = 5 * 60;
    /// Seconds that the wall clock may be ahead of the last record for a start to follow it at once.
    CLOCK_AHEAD_AT_START_SECONDS_MAX: u64 = 366 * 24 * 60 * 60;
    /// Seconds without a record, while log time leads the wall clock and timers are armed, after which a record notes
    /// log time: so much of a wait may be measured again after a restart.
    CLOCK_NOTE_SECONDS_MAX: u64 = 60;
    /// Bytes of one piece of partial output; longer text is cut into pieces.
    STREAM_DELTA_BYTES_MAX: usize = 16 * 1024;
    /// Bytes of partial output of one attempt that wait in its worker to be sent; the oldest are dropped.
    STREAM_WAITING_BYTES_MAX: usize = 256 * 1024;
    /// Attempts of one task that may be lost with their instance before the task fails, whatever the reason.
    LOSSES_MAX: u32 = 100;
    /// How often the worker of a task may die while it runs, without an entry of its journal in between, before the task
    /// fails, where the author's `retry` has no `losses`.
    LOSSES_DEFAULT: u32 = 3;
    /// Seconds for which the report of a `write` attempt is awaited that is running when its run or step is to end; then its
    /// outcome is unknown.
    WRITE_GRACE_SECONDS: u64 = 30;
    /// Step instances of one run: bounds endless loops and hostile fan-outs within fan-outs.
    RUN_STEPS_MAX: u32 = 1_000_000;
    /// Depth of child runs below a run.
    RUN_DEPTH_MAX: u32 = 16;
    /// Runs below a top-level run, at any depth, ended ones counted: a workflow that starts itself more than once
    /// doubles at each depth, so the depth alone does not bound it.
    RUN_DESCENDANTS_MAX: u32 = 10_000;
    /// Units of work (a step instance begun or ended, a row removed) that one record does before the rest is left to
    /// the next: other runs wait for a record as long as it takes.
    WORK_PER_RECORD_MAX: usize = 4_096;
    /// Runs of a namespace that have not ended.
    RUNS_ACTIVE_MAX: u64 = 1_000_000;
    /// Signals of a run that wait to be read.
    SIGNALS_WAITING_MAX: u32 = 1_000;
    /// Keys of shared state that one step reads before its `if` is decided: they are read in one record.
    STEP_READS_MAX: usize = 16;
    /// Seconds after which the lock of a step, or its place in the queue, is renewed: it is kept for as long as the step is
    /// active, and each renewal is a timer.
    STEP_LOCK_RENEWAL_SECONDS: u64 = 60 * 60;
    /// Entries in one task's journal.
    TASK_JOURNAL_ENTRIES_MAX: u32 = 10_000;
    /// Bytes of an idempotency key.
    IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;
    /// Labels on a run, an agent or an instance.
    LABELS_MAX: usize = 32;
    /// Versions of one agent that are known side by side.
    AGENT_VERSIONS_MAX: usize = 1_000;
    /// Weight of a version of an agent beside its other versions.
    AGENT_WEIGHT_MAX: u32 = 1_000;
    /// Limits on tasks of one namespace.
    TASK_LIMITS_MAX: usize = 1_000;
    /// Bytes of the concurrency key that a limit is about, of the sticky key of a route, and of what a task calls an
    /// effect that it records.
    KEY_BYTES_MAX: usize = 256;
    /// Bytes of the JSON Schema that a wait has for its signal's payload.
    SIGNAL_SCHEMA_BYTES_MAX: usize = 16 * 1024;
    /// Bytes of a value that code exposes.
    EXPOSED_VALUE_BYTES_MAX: usize = 64 * 1024;
    /// Values that the code of a run exposes, by name.
    EXPOSED_VALUES_MAX: u32 = 100;
    /// Bytes of the input of an update, and of its answer.
    UPDATE_DOCUMENT_BYTES_MAX: usize = 256 * 1024;
    /// Updates of one run.
    UPDATES_MAX: u32 = 10_000;
    /// Bytes of what a task asks a person.
    PROMPT_BYTES_MAX: usize = 4 * 1024;
    /// Bytes of an error message that an agent reports (more is cut), of a reason and of a comment (more is refused).
    ERROR_MESSAGE_BYTES_MAX: usize = 4 * 1024;
    /// Commands that wait for the partition loop; more are answered `unavailable`.
    COMMANDS_WAITING_MAX: usize = 16 * 1024;
    /// Timers that one tick of the log fires; the rest follow in the next tick.
    TIMERS_PER_TICK_MAX: usize = 512;
    /// Rows that one record of a deletion removes; the rest follow in the next.
    DELETE_ROWS_PER_TICK_MAX: usize = 1_000;
    /// Tasks that one instance holds at once.
    INSTANCE_CREDIT_MAX: u32 = 10_000;
    /// Instances that are connected at once.
    INSTANCES_MAX: usize = 20_000;
    /// Watchers that follow at once.
    WATCHERS_MAX: usize = 1_000;
    /// Items on one page of a listing.
    PAGE_ITEMS_MAX: usize = 1_000;
    /// Bytes of an input or output that a search for a text looks through; longer ones are passed over.
    SEARCH_DOCUMENT_BYTES_MAX: usize = 256 * 1024;
    /// Bytes of a text that is searched for.
    SEARCH_TEXT_BYTES_MAX: usize = 256;
    /// Items on one page of a listing, where the request names no number; runs of one bulk request, likewise.
    PAGE_ITEMS_DEFAULT: usize = 100;
    /// Steps or journal entries of one run that a replay or a comparison holds in memory.
    WHOLE_RUN_ITEMS_MAX: usize = 200_000;
    /// Reports of an instance that wait for the partition loop, and batches of messages that wait for an instance.
    MESSAGES_WAITING_MAX: usize = 4 * 1024;
    /// Bytes of messages that wait for an instance, after which it is handed nothing more until it has read some.
    INSTANCE_UNREAD_BYTES_MAX: usize = 4 * 1024 * 1024;
    /// Bytes of messages that wait for an instance, after which what it caused itself (answers to its reports) ends its
    /// session.
    INSTANCE_BACKLOG_BYTES_MAX: usize = 32 * 1024 * 1024;
    /// Reads that wait for a record that is not applied yet.
    READS_WAITING_MAX: usize = 1_024;
    /// Bytes of an HTTP request body.
    HTTP_BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
    /// Bytes of all HTTP request bodies that are in memory at once; more are answered `unavailable`.
    HTTP_BODIES_BYTES_MAX: usize = 256 * 1024 * 1024;
    /// HTTP connections at once.
    HTTP_CONNECTIONS_MAX: usize = 1_024;
    /// Bytes of the head of an HTTP request: method, path and header fields.
    HTTP_HEAD_BYTES_MAX: usize = 64 * 1024;
    /// Bytes of one batch of gRPC messages, in either direction: two whole documents and their envelope.
    GRPC_BATCH_BYTES_MAX: usize = 136 * 1024 * 1024;
    /// Bytes of all gRPC messages that are arriving at once; more are answered `unavailable`.
    GRPC_BATCHES_BYTES_MAX: usize = 512 * 1024 * 1024;
    /// Bytes of a batch after which the next begins, where more waits: one batch should not hold up the others long.
    GRPC_BATCH_BYTES_FULL_MAX: usize = 1024 * 1024;
    /// Messages in one batch of a worker or for a worker.
    GRPC_BATCH_MESSAGES_MAX: usize = 10_000;
    /// Instances of one worker, which share one stream.
    GRPC_INSTANCES_MAX: usize = 1_000;
    /// Bytes of a worker's first batch: declarations, and what it holds from before a reconnect.
    GRPC_HELLO_BYTES_MAX: usize = 8 * 1024 * 1024;
    /// Bytes of messages that wait for all instances of one worker together; each has an equal share.
    GRPC_STREAM_UNREAD_BYTES_MAX: usize = 16 * 1024 * 1024;
    /// gRPC connections at once.
    GRPC_CONNECTIONS_MAX: usize = 12_000;
    /// Calls on one gRPC connection at once.
    GRPC_STREAMS_MAX: u32 = 100;
    /// Bytes of the header fields of a gRPC call.
    GRPC_HEAD_BYTES_MAX: u32 = 16 * 1024;
    /// Sticky keys whose instance is remembered; those that were not used for longest are forgotten first.
    STICKY_KEYS_MAX: usize = 100_000;
    /// Bytes of an attempt's partial output that are kept for watchers that subscribe late.
    STREAM_TAIL_BYTES_MAX: usize = 64 * 1024;
    /// Bytes of the kept partial output of all attempts together.
    STREAM_TAILS_BYTES_MAX: usize = 64 * 1024 * 1024;
    /// Runs that one bulk request acts on.
    BULK_RUNS_MAX: usize = 1_000;
    /// Bytes of a key of the state store.
    STATE_KEY_BYTES_MAX: usize = 512;
    /// Spaces of one namespace.
    STATE_SPACES_MAX: usize = 10_000;
    /// Keys of one space, where its settings name no fewer.
    STATE_KEYS_MAX: u64 = 10_000_000;
    /// Bytes of the keys and values of one space, where its settings name no fewer.
    STATE_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;
    /// Conditions and operations of one transaction: what is inline in all of them fits into a record.
    STATE_OPERATIONS_MAX: usize = 64;
    /// Merge policies of one space, each for the keys of a prefix.
    STATE_POLICIES_MAX: usize = 64;
    /// Changes of a space that are kept, for its watchers and for the history of its keys.
    STATE_CHANGES_MAX: u32 = 1_000_000;
    /// Changes of a space that are kept, where its settings name no number.
    STATE_CHANGES_DEFAULT: u32 = 10_000;
    /// Changes that are kept at the least: a watcher that reconnects needs some.
    STATE_CHANGES_MIN: u32 = 100;
    /// Conflicts of a space that are kept; the oldest that are decided are forgotten first.
    STATE_CONFLICTS_MAX: u32 = 1_000;
    /// Values of one key that are kept beside each other until it is decided.
    STATE_SIBLINGS_MAX: usize = 16;
    /// Bytes of a value that is merged with another: both are read for it.
    STATE_MERGE_BYTES_MAX: u64 = 1024 * 1024;
    /// Bytes, as they are counted, of what is kept about where the elements of a text or a list come from; with more, the
    /// older half is forgotten, and a write that saw less is refused. It is part of the key's row.
    STATE_SEQUENCE_BYTES_MAX: usize = 32 * 1024;
    /// Edits of one write of a text or a list that are kept apart; with more, all between the first and the last is
    /// replaced. What a record means depends on it, so it never changes.
    STATE_EDITS_MAX: usize = 512;
    /// Comparisons that finding the edits of one write may take; what is not found then is replaced. What a record means
    /// depends on it, so it never changes.
    STATE_DIFFERENCE_STEPS_MAX: u64 = 4_000_000;
    /// Seconds that a value may live before it expires.
    STATE_TTL_SECONDS_MAX: u64 = 3_660 * 24 * 60 * 60;
    /// Seconds that the stamp of a write may be ahead of log time: a writer whose clock is ahead would win for so long.
    STATE_STAMP_AHEAD_SECONDS_MAX: u64 = 60;
    /// Bytes of a value that a mirror carries: etcd takes no request of more than 1.5 MiB where nothing else is set.
    MIRROR_VALUE_BYTES_MAX: usize = 1024 * 1024;
    /// Bytes of the prefix that the keys of a mirror have on the other side.
    MIRROR_PREFIX_BYTES_MAX: usize = 512;
    /// Seconds between two comparisons of a mirror with a side whose notifications may be lost, where nothing is given.
    MIRROR_COMPARE_DEFAULT_SECONDS: u64 = 30;
    /// Seconds after which another process may take a mirror or bridge over whose process has died, where nothing is given.
    MIRROR_LEASE_DEFAULT_SECONDS: u64 = 10;
    /// Seconds that a copy on the other side of a mirror outlives the time of its original: the original decides when it
    /// ends.
    MIRROR_TTL_MARGIN_SECONDS: u64 = 2;
    /// Refusals that a mirror or bridge still remembers, so that it reports each once.
    MIRROR_REFUSED_KEPT_MAX: usize = 10_000;
    /// Bytes of the id of a holder of a lock, or of a member of a barrier: it is part of keys.
    LOCK_HOLDER_BYTES_MAX: usize = 256;
    /// Bytes of the text that the holder of a lock shows to observers; what is longer belongs into a document.
    LOCK_VALUE_BYTES_MAX: usize = 1_024;
    /// Permits of one lock: breaking it ends all of them, and serves as many waiters, in one record.
    LOCK_PERMITS_MAX: u32 = 1_000;
    /// Seconds that a lease lasts at least: a shorter one would end while its renewal is on its way.
    LOCK_TTL_SECONDS_MIN: u64 = 1;
    /// Seconds that a lease lasts at most without a renewal: so long a holder that has died blocks the others.
    LOCK_TTL_SECONDS_MAX: u64 = 24 * 60 * 60;
    /// Seconds that a lease lasts where the request names no time.
    LOCK_TTL_DEFAULT_SECONDS: u64 = 30;
    /// Seconds that a holder waits in the queue of a lock at most; asking again continues the wait.
    LOCK_WAIT_SECONDS_MAX: u64 = 24 * 60 * 60;
    /// Holders that wait for one lock.
    LOCK_WAITERS_MAX: u32 = 10_000;
    /// Waiters that are shown with a lock, those that are served next first.
    LOCK_WAITERS_SHOWN_MAX: usize = 100;
    /// Locks of one namespace, and barriers likewise; those that are not used are forgotten after a while.
    LOCK_NAMES_MAX: u64 = 100_000;
    /// Seconds after which a lock or barrier that is not used is forgotten.
    LOCK_IDLE_SECONDS: u64 = 60 * 60;
    /// Changes of one lock that are kept for its watchers; the oldest go first.
    LOCK_CHANGES_KEPT_MAX: u32 = 64;
    /// Members that one generation of a barrier waits for: one record releases all of them.
    LOCK_BARRIER_PARTIES_MAX: u32 = 1_000;
    /// Generations of a barrier whose outcome is kept for members that ask again.
    LOCK_BARRIER_GENERATIONS_KEPT_MAX: usize = 16;
    /// Bidders of one auction: their bids are compared in one record.
    AUCTION_BIDDERS_MAX: u32 = 64;
    /// How long the bids of an auction are awaited by default, in seconds.
    AUCTION_WAIT_DEFAULT_SECONDS: u64 = 10;
    /// How long the winner of an auction may leave its task in the queue by default, in seconds.
    AUCTION_ACCEPT_DEFAULT_SECONDS: u64 = 60;
    /// The largest cost and the largest number of seconds of a bid.
    AUCTION_BID_MAX: u64 = 1_000_000_000_000;
    /// Voters of one ballot: their votes are counted in one record.
    BALLOT_VOTERS_MAX: usize = 256;
    /// Options of one ballot, and of one ranking: counting rankings costs the cube of their number.
    BALLOT_OPTIONS_MAX: usize = 32;
    /// Weight of one voter, and the largest number of a fraction.
    BALLOT_WEIGHT_MAX: u32 = 1_000;
    /// Rounds of one ballot.
    BALLOT_ROUNDS_MAX: u32 = 10;
    /// Bytes of the question of a ballot.
    BALLOT_QUESTION_BYTES_MAX: usize = 4 * 1024;
    /// Bytes of a free answer in its canonical form.
    BALLOT_ANSWER_BYTES_MAX: usize = 4 * 1024;
    /// Ballots of a namespace, ended ones that are still kept included.
    BALLOTS_MAX: u64 = 10_000;
    /// Bytes of the `id` of an event.
    EVENT_ID_BYTES_MAX: usize = 256;
    /// Bytes of any other attribute of an event, extension attributes included.
    EVENT_ATTRIBUTE_BYTES_MAX: usize = 1_024;
    /// Extension attributes of one event.
    EVENT_EXTENSIONS_MAX: usize = 16;
    /// Bytes of the name of an extension attribute: what CloudEvents recommends.
    EVENT_EXTENSION_NAME_BYTES_MAX: usize = 20;
    /// Bytes of a topic, and of a pattern of topics.
    EVENT_TOPIC_BYTES_MAX: usize = 256;
    /// Segments of a topic: what is between its dots.
    EVENT_TOPIC_SEGMENTS_MAX: usize = 16;
    /// Events that one request publishes, deliveries that one request fetches or settles, and dead letters that one
    /// request redrives or drops: what one record does stays short.
    EVENT_BATCH_MAX: usize = 256;
    /// Events that one listing or one fetch looks at: those that do not match its pattern cost time too.
    EVENT_SCAN_MAX: usize = 4_096;
    /// Subscriptions of one namespace.
    EVENT_SUBSCRIPTIONS_MAX: usize = 1_000;
    /// Deliveries of one subscription that consumers hold at once.
    EVENT_IN_FLIGHT_MAX: u32 = 1_000;
    /// Events of one subscription that are tasks of agents at once.
    EVENT_TASKS_MAX: u32 = 256;
    /// Events of one subscription that are tasks of agents at once, where the subscription names no number.
    EVENT_TASKS_DEFAULT: u32 = 64;
    /// Subscriptions of one namespace that hand their events to agents: each looks at every record that publishes.
    EVENT_TASK_SUBSCRIPTIONS_MAX: usize = 256;
    /// Subscriptions that one agent declares.
    AGENT_SUBSCRIPTIONS_MAX: usize = 32;
    /// Deliveries of one subscription that are held, wait to be delivered again or wait for an earlier event of their
    /// key: each has a row, and no new event is looked at beyond it.
    EVENT_OPEN_DELIVERIES_MAX: u32 = 2_000;
    /// Dead letters of one subscription; with one more, the oldest is dropped and counted.
    EVENT_DEAD_LETTERS_MAX: u32 = 1_000;
    /// Deliveries of one event before it becomes a dead letter, at most.
    EVENT_DELIVERIES_MAX: u32 = 1_000;
    /// Deliveries of one event before it becomes a dead letter, where the subscription names no number.
    EVENT_DELIVERIES_DEFAULT: u32 = 10;
    /// Deliveries that consumers hold at once, where the subscription names no number.
    EVENT_IN_FLIGHT_DEFAULT: u32 = 100;
    /// Seconds that a consumer may hold a delivery, and that a delivery may wait for its next attempt, at most.
    EVENT_ACK_WAIT_SECONDS_MAX: u64 = 24 * 60 * 60;
    /// Seconds that a consumer may hold a delivery, where the subscription names no time.
    EVENT_ACK_WAIT_SECONDS_DEFAULT: u64 = 30;
    /// Seconds that a fetch waits for an event, at most.
    EVENT_FETCH_WAIT_SECONDS_MAX: u64 = 60;
    /// Bytes of the address of a webhook.
    WEBHOOK_URL_BYTES_MAX: usize = 2_048;
    /// Seconds until a webhook must have answered, where its subscription names no time.
    WEBHOOK_TIMEOUT_SECONDS_DEFAULT: u64 = 15;
    /// Events that are on their way to one webhook at once.
    WEBHOOK_IN_FLIGHT_MAX: usize = 16;
    /// Events that are on their way to all webhooks of a server at once.
    WEBHOOKS_IN_FLIGHT_MAX: usize = 256;
    /// Redirects that are followed for one event.
    WEBHOOK_REDIRECTS_MAX: usize = 3;
    /// Seconds that a webhook can ask to be left alone (`Retry-After`), at most.
    WEBHOOK_RETRY_AFTER_SECONDS_MAX: u64 = 3_600;
    /// Bytes of a file with the secrets of a webhook.
    WEBHOOK_SECRET_FILE_BYTES_MAX: u64 = 4_096;
    /// Triggers of one namespace: a publication looks at each of them.
    EVENT_TRIGGERS_MAX: usize = 64;
    /// Failures that a trigger shows, the latest of them.
    EVENT_TRIGGER_FAILURES_MAX: usize = 16;
    /// Seconds that events are kept, where their namespace sets no age.
    EVENT_RETENTION_SECONDS_DEFAULT: u64 = 7 * 24 * 60 * 60;
    /// Bytes of events that are kept, where their namespace sets no bytes.
    EVENT_RETENTION_BYTES_DEFAULT: u64 = 1024 * 1024 * 1024;
    /// Events that are kept, where their namespace sets no count.
    EVENT_RETENTION_COUNT_DEFAULT: u64 = 1_000_000;
    /// Schedules of one namespace.
    SCHEDULES_MAX: usize = 1_000;
    /// Instants of one schedule that are planned ahead: they are part of its row, and were planned with the time zones
    /// of the day.
    SCHEDULE_PLANNED_MAX: usize = 16;
    /// Instants that one plan passes over because they come too late to be acted on; with more, the next plan continues.
    SCHEDULE_PASSED_OVER_MAX: u64 = 1_024;
    /// Instants of one schedule that wait for the end of a run; beyond it they are skipped.
    SCHEDULE_WAITING_MAX: usize = 256;
    /// Past instants of one schedule that are requested and not acted on yet.
    SCHEDULE_BACKFILL_MAX: usize = 1_000;
    /// Runs of one schedule that are active at once, where it lets them overlap.
    SCHEDULE_RUNNING_MAX: usize = 256;
    /// Instants on which it acted that a schedule shows, the latest of them.
    SCHEDULE_ACTED_SHOWN_MAX: usize = 10;
    /// Failures that a schedule shows, the latest of them.
    SCHEDULE_FAILURES_MAX: usize = 16;
    /// Bytes of the input of a run that a schedule starts, or of the data of its event: they are part of its row.
    SCHEDULE_INPUT_BYTES_MAX: usize = 16 * 1024;
    /// Seconds between two instants of a schedule, and of its catch-up window, at most.
    SCHEDULE_SPAN_SECONDS_MAX: u64 = 366 * 24 * 60 * 60;
    /// Seconds that an instant may be late and still be acted on, where the schedule names no time.
    SCHEDULE_CATCH_UP_SECONDS_DEFAULT: u64 = 24 * 60 * 60;
    /// Seconds of the jitter of a schedule: the instants behind one wait for it.
    SCHEDULE_JITTER_SECONDS_MAX: u64 = 24 * 60 * 60;
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_limit_has_a_reason_and_a_value() {
        for limit in super::ALL {
            assert!(limit.value > 0 && !limit.doc.trim().is_empty(), "{}", limit.name);
        }
    }
}
