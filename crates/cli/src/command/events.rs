//! `consort events`: publish, list, show and follow events, and how long they are kept.
//!
//! For: events by themselves. Not for: subscriptions (see `subscriptions`).
//! Invariant: following leaves out no event and prints none twice, also over lost connections.

use consort_api::{
    NoParams,
    events::{
        CloudEvent, EventParams, EventRetention, ListEvents, ListEventsParams, PublishEvents, PublishRequest,
        SetEventRetention, ShowEvent, ShowEventRetention, WatchEvents, WatchEventsParams, WatchedEvent,
    },
    subscriptions::StartWord,
};
use consort_types::{
    Code, Error, Payload, Result, Span, Time,
    event::{ExtensionValue, Position},
    limits,
};

use crate::{
    app::{App, Need},
    args::{EventsCommand, PublishArgs},
    client::Client,
    exit::Exit,
    input,
    reach::Retries,
    show::{
        style::{Paint, cut},
        table::Table,
        when,
    },
    signals::Signals,
};

/// Columns of the data of an event in a listing.
const DATA_COLUMNS: usize = 60;

pub(crate) async fn execute(app: &App, command: EventsCommand) -> Result<Exit> {
    let need = if matches!(command, EventsCommand::Publish(_)) { Need::Change } else { Need::Look };
    let mut signals = Signals::install()?;
    app.with_session(need, async |session| {
        let client = &session.client;
        let done = async {
            match command {
                EventsCommand::Publish(args) => publish(app, client, *args).await,
                EventsCommand::List { topic, from, limit } => list(app, client, topic, from.as_deref(), limit).await,
                EventsCommand::Show { position } => show(app, client, &position).await,
                EventsCommand::Watch { topic, from, count } => watch(app, client, topic, from.as_deref(), count).await,
                #[cfg(feature = "bridge")]
                EventsCommand::Bridge(_) => unreachable!("a bridge is a command of its own: `execute` has it"),
                EventsCommand::Retention { age, bytes, count } => retention(app, client, [age, bytes, count]).await,
            }
        };
        tokio::select! {
            result = done => result.map(|()| Exit::Ok),
            exit = signals.next() => Ok(exit),
        }
    })
    .await
}

/// A place in the events, as it was typed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    Word(StartWord),
    After(Position),
    Since(Time),
}

/// Reads a place.
pub(super) fn place(text: &str) -> Result<Place> {
    match text {
        "new" => return Ok(Place::Word(StartWord::New)),
        "all" => return Ok(Place::Word(StartWord::All)),
        _ => {}
    }
    if let Ok(position) = text.parse() {
        return Ok(Place::After(position));
    }
    Time::parse_rfc3339(text).map(Place::Since).map_err(|_| {
        Error::new(Code::BadRequest, format!("`{text}` is no place in the events"))
            .hint("give a position such as `1042-0`, an instant such as `2026-11-22T10:00:00Z`, `new` or `all`")
    })
}

async fn publish(app: &App, client: &Client, args: PublishArgs) -> Result<()> {
    let request = match &args.file {
        Some(file) => file_events(file)?,
        None => PublishRequest { events: vec![typed_event(args)?] },
    };
    let published = client.call::<PublishEvents>(&NoParams {}, &request).await?.events;
    if app.json {
        app.print_lines(&published);
        return Ok(());
    }
    for event in published {
        app.print(&format!("{}\n", event.position));
        if event.deduplicated {
            app.eprint(&format!("`{}` was published before", event.position));
        }
    }
    Ok(())
}

fn file_events(file: &str) -> Result<PublishRequest> {
    let Some(name) = file.strip_prefix('@') else {
        return Err(Error::new(Code::BadRequest, format!("`{file}` is no file with events"))
            .hint("write `@FILE`, or give the event as `--type`, `--data` and so on"));
    };
    let text = input::read_text(name, &std::env::current_dir().unwrap_or_default())?;
    serde_json::from_str(&text).map_err(|error| {
        Error::new(Code::BadEvent, format!("`{name}` has no events: {error}"))
            .hint("a file has one event of CloudEvents in JSON, or a list of them")
    })
}

fn typed_event(args: PublishArgs) -> Result<CloudEvent> {
    let data = args.data.map(|text| input::payload(&text, &std::env::current_dir().unwrap_or_default())).transpose()?;
    let mut event = CloudEvent {
        // Unique among the commands of one machine, which is what the default of the source names.
        id: args.id.unwrap_or_else(|| format!("{}-{}", when::now().0, std::process::id())),
        source: args.source,
        kind: args.kind.unwrap_or_default(),
        topic: args.topic,
        subject: args.subject,
        time: Some(when::now().to_string()),
        data: data.map(|data| Payload::from_value(&data).into()),
        ..CloudEvent::default()
    };
    for text in args.extension {
        let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(Error::new(Code::BadRequest, format!("`{text}` is no extension attribute"))
                .hint("write `--extension NAME=VALUE`"));
        };
        event.extensions.insert(name.to_owned(), ExtensionValue::Text(value.to_owned()));
    }
    Ok(event)
}

async fn list(app: &App, client: &Client, topic: Option<String>, from: Option<&str>, limit: usize) -> Result<()> {
    let mut params = ListEventsParams { topic, ..ListEventsParams::default() };
    match from.map(place).transpose()? {
        Some(Place::After(position)) => params.after = Some(position.to_string()),
        Some(Place::Since(time)) => params.since = Some(time.to_string()),
        Some(Place::Word(StartWord::New)) => params.after = Some(Position::MAX.to_string()),
        Some(Place::Word(StartWord::All)) | None => {}
    }
    let mut events: Vec<CloudEvent> = Vec::new();
    while events.len() < limit {
        params.limit = Some((limit - events.len()).min(limits::PAGE_ITEMS_MAX));
        let page = client.call::<ListEvents>(&params, &()).await?;
        events.extend(page.items);
        let Some(next) = page.next else { break };
        (params.after, params.since) = (Some(next), None);
    }
    if app.json {
        app.print_lines(&events);
        return Ok(());
    }
    let mut table = Table::new(&["POSITION", "PUBLISHED", "TOPIC", "SOURCE", "ID", "SUBJECT", "DATA"]).spare(&[
        "SOURCE",
        "ID",
        "PUBLISHED",
        "SUBJECT",
    ]);
    for event in &events {
        table.row(vec![
            (event.position.map(|position| position.to_string()).unwrap_or_default(), Some(Paint::Cyan)),
            (event.published.map(when::clock).unwrap_or_default(), Some(Paint::Dim)),
            (event.topic.clone().unwrap_or_default(), Some(Paint::Bold)),
            (event.source.clone(), None),
            (event.id.clone(), None),
            (event.subject.clone().unwrap_or_default(), None),
            (data_of(event), Some(Paint::Dim)),
        ]);
    }
    app.print(&table.render(app.out));
    if events.is_empty() && app.err.terminal {
        app.eprint("no event is there");
    }
    Ok(())
}

/// The data of an event on one line.
fn data_of(event: &CloudEvent) -> String {
    let text = event.data.as_ref().and_then(|data| serde_json::to_string(data).ok());
    cut(&text.unwrap_or_default(), DATA_COLUMNS)
}

async fn show(app: &App, client: &Client, position: &str) -> Result<()> {
    let event = client.call::<ShowEvent>(&EventParams { position: position.parse()? }, &()).await?;
    app.print_json(&event);
    Ok(())
}

async fn watch(
    app: &App,
    client: &Client,
    topic: Option<String>,
    from: Option<&str>,
    count: Option<usize>,
) -> Result<()> {
    let mut params = WatchEventsParams { topic, ..WatchEventsParams::default() };
    match from.map(place).transpose()? {
        Some(Place::After(position)) => params.after = Some(position.to_string()),
        Some(Place::Since(time)) => params.since = Some(time.to_string()),
        Some(Place::Word(StartWord::All)) => params.since = Some(Time(0).to_string()),
        Some(Place::Word(StartWord::New)) | None => {}
    }
    let (mut printed, mut retries) = (0, Retries::default());
    while count.is_none_or(|count| printed < count) {
        let before = params.last_event_id.clone();
        match follow(app, client, &mut params, count, &mut printed).await {
            Ok(()) => return Ok(()),
            // Before the first event is seen, nothing says where a new connection would begin.
            Err(error) if params.last_event_id.is_none() => return Err(error),
            Err(error) => {
                if params.last_event_id != before {
                    retries.reached();
                }
                retries.after(error).await?;
            }
        }
    }
    Ok(())
}

/// Follows over one connection; notes the last event in the parameters of the next.
async fn follow(
    app: &App,
    client: &Client,
    params: &mut WatchEventsParams,
    count: Option<usize>,
    printed: &mut usize,
) -> Result<()> {
    let mut events = client.events::<WatchEvents>(params).await?;
    while let Some(event) = events.next().await? {
        match event.what {
            WatchedEvent::Event(found) => {
                print_event(app, &found);
                *printed += 1;
            }
            WatchedEvent::Seen(_) => {}
            WatchedEvent::Error(problem) => return Err(problem.into()),
        }
        params.last_event_id = Some(event.id);
        if count.is_some_and(|count| *printed >= count) {
            return Ok(());
        }
    }
    Err(Error::new(Code::Unreachable, "the server has ended the stream of events")
        .hint("is it still running? `consort events watch --from` continues behind the last position"))
}

fn print_event(app: &App, event: &CloudEvent) {
    if app.json {
        app.print_line(event);
        return;
    }
    let position = event.position.map(|position| position.to_string()).unwrap_or_default();
    let subject = event.subject.as_deref().map(|subject| format!("  {subject}")).unwrap_or_default();
    let line = format!("{position}  {}{subject}  {}", event.topic.as_deref().unwrap_or_default(), data_of(event));
    app.print(&format!("{}\n", crate::show::style::clean(&line)));
}

async fn retention(app: &App, client: &Client, given: [Option<String>; 3]) -> Result<()> {
    let stream = client.call::<ShowEventRetention>(&NoParams {}, &()).await?;
    let [age, bytes, count] = &given;
    if age.is_none() && bytes.is_none() && count.is_none() {
        if app.json {
            app.print_json(&stream);
            return Ok(());
        }
        let number = |bound: Option<u64>| bound.map_or_else(|| "keep".to_owned(), |bound| bound.to_string());
        let age = stream.keep.age.map_or_else(|| "keep".to_owned(), |age| age.to_string());
        app.print(&format!(
            "age    {age}\nbytes  {} of {}\ncount  {} of {}\n",
            stream.bytes,
            number(stream.keep.bytes),
            stream.events,
            number(stream.keep.count)
        ));
        return Ok(());
    }
    let keep = EventRetention {
        age: bound(age.as_deref(), stream.keep.age, str::parse::<Span>)?,
        bytes: bound(bytes.as_deref(), stream.keep.bytes, whole)?,
        count: bound(count.as_deref(), stream.keep.count, whole)?,
    };
    client.call::<SetEventRetention>(&NoParams {}, &keep).await?;
    app.done(&keep, "the retention of events is set");
    Ok(())
}

/// A bound that was typed, or else the one that is set.
fn bound<T>(typed: Option<&str>, known: Option<T>, read: impl Fn(&str) -> Result<T>) -> Result<Option<T>> {
    match typed {
        None => Ok(known),
        Some("keep") => Ok(None),
        Some(text) => read(text).map(Some),
    }
}

fn whole(text: &str) -> Result<u64> {
    text.parse().map_err(|_| {
        Error::new(Code::BadRequest, format!("`{text}` is not a number")).hint("write a whole number, or `keep`")
    })
}

#[cfg(test)]
mod tests {
    use consort_types::Seq;

    use super::*;

    #[test]
    fn a_place_is_a_position_an_instant_or_a_word() {
        let position = Position { seq: Seq(12), n: 3 };
        assert_eq!(place("12-3").unwrap(), Place::After(position));
        assert_eq!(place("1970-01-01T00:00:01Z").unwrap(), Place::Since(Time(1_000_000)));
        assert_eq!(place("all").unwrap(), Place::Word(StartWord::All));
        for bad in ["", "soon", "12", "2026-01-01"] {
            assert_eq!(place(bad).unwrap_err().code, Code::BadRequest, "{bad}");
        }
    }
}
