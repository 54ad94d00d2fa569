//! `hexcast alert`: the alert desk from a shell.

use std::io::{IsTerminal as _, Read as _};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value};

use super::args::{ClientArgs, When, time, when};
use super::ingest::local_now;
use super::output::{note, say};
use super::pings::shown;
use crate::client::{Client, Clock, Control};
use crate::domain::{CancelReason, EventTime};
use crate::files;
use crate::limits::ALERT_JSON_BYTES_MAX;
use crate::wire::Receipt;

/// How long an alert lasts where nothing says so, ms; in this command only.
const LASTS_MS: i64 = 24 * 3_600_000;

/// Publishes, updates and cancels alerts, and shows them.
///
/// An alert is a JSON file; `examples/alert.json` is one. What is done is printed as one JSON
/// object on standard output.
#[derive(Debug, Args)]
pub(super) struct AlertArgs {
    #[command(subcommand)]
    command: AlertCommand,
}

#[derive(Debug, Args)]
struct CommonArgs {
    /// The identity to act as.
    #[arg(long = "as", value_name = "NAME", default_value = "authority")]
    name: String,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
struct AtArgs {
    /// On a server with the event clock: the time of this action, which waits until the clock
    /// has passed it [default: `sent` for publish, else the server's clock].
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<EventTime>,
}

#[derive(Debug, Args)]
struct DraftArgs {
    /// The alert, JSON; `-` is standard input.
    #[arg(value_name = "FILE")]
    file: String,
    /// When the child went missing: a time, or how long ago, such as 2h (counted back, since a loss
    /// lies in the past). Wins over the file's `lost_at`.
    #[arg(long, value_name = "TIME|DURATION", value_parser = when)]
    lost: Option<When>,
    /// When the alert ends: a time, or in how long, such as 6h (counted forward). Wins over the
    /// file's `expires`. A publication or preview without either ends after 24h.
    #[arg(long, value_name = "TIME|DURATION", value_parser = when)]
    expires: Option<When>,
}

#[derive(Debug, Subcommand)]
enum AlertCommand {
    /// Publish an alert.
    Publish {
        #[command(flatten)]
        draft: DraftArgs,
        #[command(flatten)]
        at: AtArgs,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Change an alert: what the file does not give stays.
    Update {
        #[command(flatten)]
        draft: DraftArgs,
        #[command(flatten)]
        at: AtArgs,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Add a confirmed sighting: the alert gets a further circle there, which grows on its own.
    Sighting {
        /// The alert's id.
        id: String,
        /// Latitude, degrees.
        #[arg(long, allow_negative_numbers = true)]
        lat: f64,
        /// Longitude, degrees.
        #[arg(long, allow_negative_numbers = true)]
        lon: f64,
        /// When the child was seen: a time, or how long ago [default: now].
        #[arg(long, value_name = "TIME|DURATION", value_parser = when)]
        seen_at: Option<When>,
        /// Only report it: it changes nothing until its authority confirms it.
        #[arg(long, conflicts_with = "at")]
        unconfirmed: bool,
        #[command(flatten)]
        at: AtArgs,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// End an alert; all who were notified are told.
    Cancel {
        /// The alert's id.
        id: String,
        /// Why.
        #[arg(long)]
        reason: Reason,
        #[command(flatten)]
        at: AtArgs,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Confirm a reported sighting.
    Confirm {
        /// The alert's id.
        id: String,
        /// The report's number, as `alert show` has it.
        report: u64,
        #[command(flatten)]
        at: AtArgs,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Reject a reported sighting.
    Reject {
        /// The alert's id.
        id: String,
        /// The report's number, as `alert show` has it.
        report: u64,
        /// Why, for the log.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// List the newest alerts, one a line.
    List {
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Show everything about an alert.
    Show {
        /// The alert's id.
        id: String,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Count how many devices each stage of an alert would reach now. Nothing is published.
    Preview {
        #[command(flatten)]
        draft: DraftArgs,
        #[command(flatten)]
        common: CommonArgs,
    },
}

/// Why an alert ends.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Reason {
    /// The child was found.
    Found,
    /// The alert was false.
    Refuted,
}

pub(super) fn run(args: AlertArgs) -> anyhow::Result<()> {
    // Before anything is connected: a mistake in the file needs no server.
    let draft = match &args.command {
        AlertCommand::Publish { draft, .. }
        | AlertCommand::Update { draft, .. }
        | AlertCommand::Preview { draft, .. } => read_draft(&draft.file)?,
        _ => Map::new(),
    };
    tokio::runtime::Runtime::new().context("the threads for the network")?.block_on(act(args.command, draft))
}

async fn act(command: AlertCommand, draft: Map<String, Value>) -> anyhow::Result<()> {
    let common = command.common();
    let client = Client::connect(common.client.address().await?, &common.client.pki, &common.name).await?;
    let done = match client.control().await {
        Ok(control) => ask(control, command, draft).await,
        Err(error) => Err(error.into()),
    };
    client.close().await;
    done
}

async fn ask(
    mut control: Control,
    command: AlertCommand,
    mut draft: Map<String, Value>,
) -> anyhow::Result<()> {
    match command {
        AlertCommand::Publish { draft: args, at: AtArgs { at }, .. } => {
            set_times(&mut draft, &args, at, &control, true)?;
            let receipt = control.publish(&checked(draft)?, at).await?;
            say_receipt("publication", &receipt)?;
        }
        AlertCommand::Update { draft: args, at: AtArgs { at }, .. } => {
            set_times(&mut draft, &args, at, &control, false)?;
            let receipt = control.update(&checked(draft)?, at).await?;
            say_receipt("update", &receipt)?;
        }
        AlertCommand::Sighting { id, lat, lon, seen_at, unconfirmed, at: AtArgs { at }, .. } => {
            let seen_at = seen_at.map(|seen| resolve(seen, now(&control, at, None), -1)).transpose()?;
            if unconfirmed {
                say(&control.report(&id, lat, lon, seen_at).await?)?;
            } else {
                let receipt = control.sighting(&id, lat, lon, seen_at, at).await?;
                say_receipt("sighting", &receipt)?;
            }
        }
        AlertCommand::Cancel { id, reason, at: AtArgs { at }, .. } => {
            let reason = match reason {
                Reason::Found => CancelReason::Found,
                Reason::Refuted => CancelReason::Refuted,
            };
            let receipt = control.cancel(&id, reason, at).await?;
            say_receipt("cancellation", &receipt)?;
        }
        AlertCommand::Confirm { id, report, at: AtArgs { at }, .. } => {
            check_report(&mut control, &id, report).await?;
            let receipt = control.confirm(report, at).await?;
            say_receipt("sighting", &receipt)?;
        }
        AlertCommand::Reject { id, report, reason, .. } => {
            check_report(&mut control, &id, report).await?;
            control.reject(report, &reason).await?;
            say(&serde_json::json!({"id": id, "report": report, "rejected": true}))?;
        }
        AlertCommand::List { .. } => list(&control.list().await?)?,
        AlertCommand::Show { id, .. } => say_json(&control.show(&id).await?)?,
        AlertCommand::Preview { draft: args, .. } => {
            set_times(&mut draft, &args, None, &control, true)?;
            say_json(&control.preview(&checked(draft)?).await?)?;
        }
    }
    Ok(())
}

impl AlertCommand {
    fn common(&self) -> &CommonArgs {
        match self {
            Self::Publish { common, .. }
            | Self::Update { common, .. }
            | Self::Sighting { common, .. }
            | Self::Cancel { common, .. }
            | Self::Confirm { common, .. }
            | Self::Reject { common, .. }
            | Self::List { common }
            | Self::Show { common, .. }
            | Self::Preview { common, .. } => common,
        }
    }
}

/// The time from which durations count: the action's own; on the event clock that of a
/// publication is when it was `sent`; else the server's.
fn now(control: &Control, at: Option<EventTime>, sent: Option<EventTime>) -> EventTime {
    let hello = control.hello();
    let server = match hello.clock {
        Clock::Wall => hello.now(),
        Clock::Event => sent.unwrap_or(hello.now()),
    };
    // An event clock that has been given no time yet has none.
    at.unwrap_or(if server == EventTime::BEFORE_ALL { local_now() } else { server })
}

/// `direction` is 1 where a duration counts forward, -1 where it counts back.
fn resolve(when: When, now: EventTime, direction: i64) -> anyhow::Result<EventTime> {
    let at = match when {
        When::At(at) => at,
        When::FromNow(ms) => now.plus_ms(direction * ms),
    };
    Ok(EventTime::from_unix_ms(at.0)?)
}

fn read_draft(path: &str) -> anyhow::Result<Map<String, Value>> {
    let name = || format!("the alert in {}", shown(path));
    let mut text = Vec::new();
    let bound = ALERT_JSON_BYTES_MAX as u64;
    let input = files::open(path).with_context(name)?;
    input.take(bound + 1).read_to_end(&mut text).with_context(name)?;
    ensure!(text.len() as u64 <= bound, "{}: more than {bound} bytes", name());
    let text = String::from_utf8(text).map_err(|_| anyhow::anyhow!("{}: not UTF-8", name()))?;
    let parsed = files::parse_alert_json(&text).with_context(name)?;
    for warning in &parsed.warnings {
        note(&format!("hexcast: {}: {warning}", shown(path)));
    }
    match serde_json::from_str(&text).with_context(name)? {
        Value::Object(members) => Ok(members),
        _ => bail!("{}: not a JSON object", name()),
    }
}

/// Sets what the flags say, and for a publication what must be there.
fn set_times(
    draft: &mut Map<String, Value>,
    args: &DraftArgs,
    at: Option<EventTime>,
    control: &Control,
    publication: bool,
) -> anyhow::Result<()> {
    let given = |draft: &Map<String, Value>, member: &str| draft.get(member).is_some_and(|v| !v.is_null());
    let set = |draft: &mut Map<String, Value>, member: &str, at: EventTime| {
        draft.insert(member.into(), at.to_string().into());
    };
    if let (true, Some(at), false) = (publication, at, given(draft, "sent")) {
        set(draft, "sent", at);
    }
    let sent = files::parse_alert_json(&Value::Object(draft.clone()).to_string())?.draft.sent;
    let now = now(control, at, sent.filter(|_| publication));
    if let Some(lost) = args.lost {
        set(draft, "lost_at", resolve(lost, now, -1)?);
    }
    match args.expires {
        Some(expires) => set(draft, "expires", resolve(expires, now, 1)?),
        None if publication && !given(draft, "expires") => set(draft, "expires", now.plus_ms(LASTS_MS)),
        None => {}
    }
    Ok(())
}

fn checked(draft: Map<String, Value>) -> anyhow::Result<String> {
    let text = Value::Object(draft).to_string();
    ensure!(text.len() <= ALERT_JSON_BYTES_MAX, "the alert has more than {ALERT_JSON_BYTES_MAX} bytes");
    Ok(text)
}

/// Reports have numbers of their own; naming the alert too guards against a slip.
async fn check_report(control: &mut Control, id: &str, report: u64) -> anyhow::Result<()> {
    let alert: Value = serde_json::from_str(&control.show(id).await?)?;
    let reports = alert.get("reports").and_then(Value::as_array);
    let waits = reports.is_some_and(|reports| reports.iter().any(|held| held["report"] == report));
    ensure!(waits, "no report {report} waits on the alert {id}: see `hexcast alert show {id}`");
    Ok(())
}

fn say_receipt(what: &str, receipt: &Receipt) -> anyhow::Result<()> {
    let at = EventTime(receipt.at_ms).to_string();
    if receipt.queued {
        note(&format!("hexcast: the {what} is queued: it is judged when the event clock has passed {at}"));
        say(&serde_json::json!({"id": receipt.id, "at": at, "queued": true}))?;
    } else {
        say(&serde_json::json!({"id": receipt.id, "version": receipt.version, "at": at, "queued": false}))?;
    }
    Ok(())
}

/// One line to programs, indented to people.
fn say_json(text: &str) -> anyhow::Result<()> {
    if std::io::stdout().is_terminal() {
        let value: Value = serde_json::from_str(text)?;
        say(&serde_json::to_string_pretty(&value)?)?;
    } else {
        say(&text)?;
    }
    Ok(())
}

fn list(text: &str) -> anyhow::Result<()> {
    let list: Value = serde_json::from_str(text)?;
    let of = |member: &str| list.get(member).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let alerts = of("alerts");
    for alert in alerts {
        say(alert)?;
    }
    if let Some(total) = list.get("total").and_then(Value::as_u64).filter(|n| *n > alerts.len() as u64) {
        note(&format!("hexcast: the newest {} of {total} alerts", alerts.len()));
    }
    if let Some(waiting) = list.get("waiting").and_then(Value::as_u64).filter(|n| *n > 0) {
        note(&format!("hexcast: {waiting} actions wait for the event clock"));
    }
    for late in of("rejections") {
        note(&format!("hexcast: rejected at its time: {late}"));
    }
    Ok(())
}
