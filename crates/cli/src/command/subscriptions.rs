//! `consort subscriptions`: durable subscriptions, their deliveries and their dead letters.
//!
//! For: operating them, and being a consumer in a shell. Not for: following events without keeping a place (see
//! `events`).
//! Invariant: what was fetched and is not acknowledged is delivered again.

use consort_api::{
    EmptyRequest, PageParams,
    subscriptions::{
        AckDeliveries, AckRequest, AsTasks, BackOff, DeadLettersParams, DeadLettersRequest, DeleteSubscription,
        DropDeadLetters, FetchEvents, FetchRequest, ListDeadLetters, ListSubscriptions, NackDeliveries, NackRequest,
        OrderKey, PauseRequest, PauseSubscription, Push, RedriveDeadLetters, ResumeSubscription, SeekRequest,
        SeekSubscription, SetSubscription, SettledDeliveries, ShowSubscription, Subscription, SubscriptionParams,
        SubscriptionRequest,
    },
};
use consort_types::{
    Code, Error, Result, Span,
    event::{DeliveryId, Position},
    limits,
};
use serde_json::json;

use super::events::{Place, place};
use crate::{
    app::{App, Need},
    args::{CreateArgs, DeadArgs, DeadCommand, SubscriptionsCommand},
    client::Client,
    exit::Exit,
    show::{style::Paint, table::Table, when},
    signals::Signals,
};

pub(crate) async fn execute(app: &App, command: SubscriptionsCommand) -> Result<Exit> {
    let need = if matches!(command, SubscriptionsCommand::Create(_)) { Need::Change } else { Need::Look };
    let mut signals = Signals::install()?;
    app.with_session(need, async |session| {
        tokio::select! {
            result = act(app, &session.client, command) => result,
            exit = signals.next() => Ok(exit),
        }
    })
    .await
}

async fn act(app: &App, client: &Client, command: SubscriptionsCommand) -> Result<Exit> {
    match command {
        SubscriptionsCommand::Create(args) => create(app, client, *args).await?,
        SubscriptionsCommand::List => list(app, client).await?,
        SubscriptionsCommand::Show { name } => show(app, client, name).await?,
        SubscriptionsCommand::Fetch { name, max, wait, consumer } => {
            let wait = wait.map(|text| text.parse::<Span>()).transpose()?;
            fetch(app, client, name, FetchRequest { max: Some(max), wait, consumer }).await?;
        }
        SubscriptionsCommand::Ack { name, deliveries } => {
            let request = AckRequest { deliveries: named(&deliveries)? };
            let settled = client.call::<AckDeliveries>(&SubscriptionParams { name }, &request).await?;
            return Ok(told(app, &settled, "acknowledged"));
        }
        SubscriptionsCommand::Nack { name, deliveries, delay, reason } => {
            let delay = delay.map(|text| text.parse::<Span>()).transpose()?;
            let request = NackRequest { deliveries: named(&deliveries)?, delay, reason };
            let settled = client.call::<NackDeliveries>(&SubscriptionParams { name }, &request).await?;
            return Ok(told(app, &settled, "given back"));
        }
        SubscriptionsCommand::Seek { name, to } => seek(app, client, name, &to).await?,
        SubscriptionsCommand::Pause { name, reason } => {
            let params = SubscriptionParams { name: name.clone() };
            client.call::<PauseSubscription>(&params, &PauseRequest { reason }).await?;
            app.done(&json!({ "name": name, "paused": true }), &format!("subscription `{name}` is paused"));
        }
        SubscriptionsCommand::Resume { name } => {
            let params = SubscriptionParams { name: name.clone() };
            client.call::<ResumeSubscription>(&params, &EmptyRequest {}).await?;
            app.done(&json!({ "name": name, "paused": false }), &format!("subscription `{name}` is resumed"));
        }
        SubscriptionsCommand::Delete { name } => {
            client.call::<DeleteSubscription>(&SubscriptionParams { name: name.clone() }, &()).await?;
            app.done(&json!({ "name": name, "deleted": true }), &format!("subscription `{name}` is deleted"));
        }
        SubscriptionsCommand::Dead(DeadCommand::List { name }) => list_dead(app, client, name).await?,
        SubscriptionsCommand::Dead(DeadCommand::Redrive(args)) => settle_dead(app, client, &args, true).await?,
        SubscriptionsCommand::Dead(DeadCommand::Drop(args)) => settle_dead(app, client, &args, false).await?,
    }
    Ok(Exit::Ok)
}

async fn create(app: &App, client: &Client, args: CreateArgs) -> Result<()> {
    let back_off = args.back_off.as_deref().map(back_off).transpose()?;
    let tasks = tasks(&args)?;
    if args.timeout.is_some() && tasks.is_none() && args.push.is_none() {
        return Err(Error::new(Code::BadRequest, "`--timeout` is given, and consumers fetch the events")
            .hint("`--ack-wait` is how long a consumer may hold one; or give `--push` or `--to-capability`"));
    }
    let mut request = SubscriptionRequest {
        topic: args.topic,
        ordered: args.ordered.as_deref().map(|key| match key {
            "subject" => OrderKey::Subject,
            _ => OrderKey::Partitionkey,
        }),
        ack_wait: args.ack_wait.map(|text| text.parse()).transpose()?,
        max_deliveries: args.max_deliveries,
        back_off,
        max_in_flight: args.max_in_flight,
        push: push(args.push, args.secret, args.timeout.as_deref())?,
        filter: args.filter,
        tasks,
        ..SubscriptionRequest::default()
    };
    match place(&args.start)? {
        Place::Word(word) => request.start = Some(word),
        Place::After(position) => request.after = Some(position.to_string()),
        Place::Since(time) => request.since = Some(time),
    }
    let name = args.name;
    client.call::<SetSubscription>(&SubscriptionParams { name: name.clone() }, &request).await?;
    let topic = request.topic;
    let to = target(request.push.as_ref(), request.tasks.as_ref()).map(|to| format!(" to {to}")).unwrap_or_default();
    app.done(&json!({ "name": name, "topic": topic }), &format!("subscription `{name}` delivers `{topic}`{to}"));
    Ok(())
}

/// The webhook of a subscription; address and secret are there together.
fn push(url: Option<String>, secret: Option<String>, timeout: Option<&str>) -> Result<Option<Push>> {
    let timeout = timeout.map(str::parse).transpose()?;
    Ok(url.zip(secret).map(|(url, secret)| Push { url, secret, timeout }))
}

/// The agents that get the events as tasks.
fn tasks(args: &CreateArgs) -> Result<Option<AsTasks>> {
    let Some(capability) = args.to_capability.clone() else { return Ok(None) };
    let span = |text: &Option<String>| text.as_deref().map(str::parse).transpose();
    Ok(Some(AsTasks {
        capability,
        agent: args.to_agent.clone(),
        timeout: span(&args.timeout)?,
        keep: span(&args.keep)?,
    }))
}

/// What the events are sent or handed to.
fn target(push: Option<&Push>, tasks: Option<&AsTasks>) -> Option<String> {
    match (push, tasks) {
        (Some(push), _) => Some(push.url.clone()),
        (None, Some(AsTasks { capability, agent: Some(agent), .. })) => Some(format!("{capability} of {agent}")),
        (None, Some(AsTasks { capability, agent: None, .. })) => Some(capability.clone()),
        (None, None) => None,
    }
}

/// The first and the longest wait, with a comma between.
fn back_off(text: &str) -> Result<BackOff> {
    match text.split_once(',') {
        Some((first, longest)) => Ok(BackOff { first: first.trim().parse()?, longest: longest.trim().parse()? }),
        None => Err(Error::new(Code::BadRequest, format!("`{text}` is no back-off"))
            .hint("write the first and the longest wait, such as `1s,1m`")),
    }
}

async fn list(app: &App, client: &Client) -> Result<()> {
    let page = |cursor| PageParams { cursor, limit: Some(limits::PAGE_ITEMS_MAX) };
    let all = client.all::<ListSubscriptions, _>(page).await?;
    if app.json {
        app.print_lines(&all);
        return Ok(());
    }
    let names = ["NAME", "TOPIC", "POSITION", "LAG", "IN FLIGHT", "OPEN", "DEAD", "MISSED", "PUSHES TO", "STATE"];
    let mut table = Table::new(&names).spare(&["POSITION", "MISSED", "OPEN", "PUSHES TO"]);
    for found in &all {
        let count = |count: u64, paint| (count.to_string(), Some(if count == 0 { Paint::Dim } else { paint }));
        table.row(vec![
            (found.name.clone(), Some(Paint::Bold)),
            (found.topic.clone(), Some(Paint::Cyan)),
            (found.position.to_string(), None),
            count(found.lag, Paint::Yellow),
            count(u64::from(found.in_flight), Paint::Green),
            count(u64::from(found.open), Paint::Bold),
            count(u64::from(found.dead_letters), Paint::Red),
            count(found.missed, Paint::Red),
            (target(found.push.as_ref(), found.tasks.as_ref()).unwrap_or_default(), Some(Paint::Cyan)),
            state(found),
        ]);
    }
    app.print(&table.render(app.out));
    if all.is_empty() && app.err.terminal {
        app.eprint("there is no subscription; `consort subscriptions create` makes one");
    }
    Ok(())
}

/// Whether it is paused, or its webhook or agents fail.
fn state(found: &Subscription) -> (String, Option<Paint>) {
    match (&found.paused, found.failing_since) {
        (Some(_), _) => ("paused".to_owned(), Some(Paint::Yellow)),
        (None, Some(since)) => (format!("failing {}", when::ago(since, when::now())), Some(Paint::Red)),
        (None, None) => ("ok".to_owned(), Some(Paint::Dim)),
    }
}

async fn show(app: &App, client: &Client, name: String) -> Result<()> {
    let found = client.call::<ShowSubscription>(&SubscriptionParams { name }, &()).await?;
    if app.json {
        app.print_json(&found);
    } else {
        app.print(&lines(&found));
    }
    Ok(())
}

fn lines(found: &Subscription) -> String {
    let order = match found.ordered {
        Some(OrderKey::Subject) => "one at a time for each `subject`",
        Some(OrderKey::Partitionkey) => "one at a time for each `partitionkey`",
        None => "none",
    };
    let waits = found.tasks.is_none().then(|| ("ack wait", found.ack_wait.to_string()));
    let mut rows = vec![
        ("name", found.name.clone()),
        ("topic", found.topic.clone()),
        ("order", order.to_owned()),
        ("deliveries", format!("at most {}, then a dead letter", found.max_deliveries)),
        ("back-off", format!("{} to {}", found.back_off.first, found.back_off.longest)),
        ("created", found.created_at.to_string()),
        ("position", found.position.to_string()),
        ("lag", found.lag.to_string()),
        ("in flight", format!("{} of {}", found.in_flight, found.max_in_flight)),
        ("open", found.open.to_string()),
        ("acknowledged", format!("{} of {} deliveries", found.acknowledged, found.delivered)),
        ("dead letters", format!("{}, and {} dropped", found.dead_letters, found.dropped)),
        ("missed", found.missed.to_string()),
    ];
    if let Some(wait) = waits {
        rows.insert(3, wait);
    }
    if let Some(push) = &found.push {
        rows.push(("pushes to", push.url.clone()));
        rows.push(("secret", format!("`{}` of the server's folder `webhook-secrets`", push.secret)));
        rows.extend(push.timeout.map(|timeout| ("timeout", timeout.to_string())));
    }
    if let Some(filter) = &found.filter {
        rows.push(("filter", filter.clone()));
        rows.push(("filtered", found.filtered.to_string()));
    }
    if let Some(tasks) = &found.tasks {
        rows.push(("tasks of", target(None, Some(tasks)).unwrap_or_default()));
        rows.extend(tasks.timeout.map(|timeout| ("timeout", timeout.to_string())));
        rows.extend(tasks.keep.map(|keep| ("runs kept", keep.to_string())));
        rows.push(("runs", format!("consort runs list --label subscription={}", found.name)));
    }
    if let Some(owner) = &found.declared_by {
        rows.push(("declared by", format!("version `{}` of agent `{}`", owner.version, owner.agent)));
    }
    if let Some(paused) = &found.paused {
        let why = paused.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        rows.push(("paused", format!("since {}{why}", paused.since)));
    }
    rows.extend(found.failing_since.map(|since| ("failing", format!("since {since}"))));
    rows.extend(found.last_failure.as_ref().map(|last| ("last failure", format!("{}: {}", last.at, last.reason))));
    rows.iter().fold(String::new(), |text, (name, value)| text + &format!("{name:<13} {value}\n"))
}

async fn fetch(app: &App, client: &Client, name: String, request: FetchRequest) -> Result<()> {
    let fetched = client.call::<FetchEvents>(&SubscriptionParams { name }, &request).await?;
    // What a consumer does with a delivery needs all of it, so it is a document in either case.
    app.print_lines(&fetched.deliveries);
    if fetched.deliveries.is_empty() && app.err.terminal {
        app.eprint("there is no event to deliver now");
    }
    Ok(())
}

fn named(deliveries: &[String]) -> Result<Vec<DeliveryId>> {
    deliveries.iter().map(|text| text.parse()).collect()
}

/// Says the outcome of deliveries; some that were over are a bad finding.
fn told(app: &App, settled: &SettledDeliveries, how: &str) -> Exit {
    if app.json {
        app.print_json(settled);
    } else {
        app.eprint(&format!("{} {how}", settled.settled));
        for refused in &settled.refused {
            app.eprint(&format!("{}: {}", refused.delivery, refused.problem.detail));
        }
    }
    if settled.refused.is_empty() { Exit::Ok } else { Exit::Failure }
}

async fn seek(app: &App, client: &Client, name: String, to: &str) -> Result<()> {
    let mut request = SeekRequest::default();
    match place(to)? {
        Place::Word(word) => request.to = Some(word),
        Place::After(position) => request.after = Some(position.to_string()),
        Place::Since(time) => request.since = Some(time),
    }
    let moved = client.call::<SeekSubscription>(&SubscriptionParams { name: name.clone() }, &request).await?;
    let text = format!("subscription `{name}` continues behind `{}`", moved.position);
    app.done(&json!({ "name": name, "position": moved.position }), &text);
    Ok(())
}

async fn list_dead(app: &App, client: &Client, name: String) -> Result<()> {
    let page = |cursor| DeadLettersParams { name: name.clone(), cursor, limit: Some(limits::PAGE_ITEMS_MAX) };
    let letters = client.all::<ListDeadLetters, _>(page).await?;
    if app.json {
        app.print_lines(&letters);
        return Ok(());
    }
    let mut table = Table::new(&["POSITION", "TOPIC", "SINCE", "DELIVERIES", "CONSUMER", "RUN", "REASON"])
        .spare(&["CONSUMER", "SINCE", "RUN"]);
    for letter in &letters {
        table.row(vec![
            (letter.event.position.map(|at| at.to_string()).unwrap_or_default(), Some(Paint::Cyan)),
            (letter.event.topic.clone().unwrap_or_default(), Some(Paint::Bold)),
            (when::ago(letter.since, when::now()), Some(Paint::Dim)),
            (letter.deliveries.to_string(), None),
            (letter.consumer.clone().unwrap_or_default(), None),
            (letter.run.map(|run| run.to_string()).unwrap_or_default(), Some(Paint::Dim)),
            (letter.reason.clone().unwrap_or_default(), Some(Paint::Yellow)),
        ]);
    }
    app.print(&table.render(app.out));
    if letters.is_empty() && app.err.terminal {
        app.eprint("there is no dead letter");
    }
    Ok(())
}

async fn settle_dead(app: &App, client: &Client, args: &DeadArgs, redrive: bool) -> Result<()> {
    let positions = args.positions.iter().map(|text| text.parse()).collect::<Result<Vec<Position>>>()?;
    let (params, request) = (SubscriptionParams { name: args.name.clone() }, DeadLettersRequest { positions });
    let mut settled = 0;
    loop {
        let some = if redrive {
            client.call::<RedriveDeadLetters>(&params, &request).await?.settled
        } else {
            client.call::<DropDeadLetters>(&params, &request).await?.settled
        };
        settled += some;
        // One request takes a bounded number of them.
        if !args.all || some == 0 {
            break;
        }
    }
    let how = if redrive { "delivered again" } else { "dropped" };
    app.done(&json!({ "settled": settled }), &format!("{settled} dead letters are {how}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_back_off_is_two_waits() {
        let found = back_off("250ms, 1m").unwrap();
        assert_eq!((found.first, found.longest), (Span::from_millis(250), Span::from_secs(60)));
        for bad in ["1s", "", "1s,soon"] {
            assert!(back_off(bad).is_err(), "{bad}");
        }
    }
}
