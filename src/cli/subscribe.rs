//! `hexcast subscribe`: matches as they come.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::SocketAddr;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::args::{ClientArgs, namespace};
use super::output::note;
use crate::access::pki;
use crate::client::{AlertContent, Follow, FollowEvent, MatchColumns, StartAt, SubscribeEvent};
use crate::domain::{AlertId, AlertNo, Namespace};
use crate::files;

/// Prints the matches of a namespace as they come, one JSON object a line, until interrupted.
///
/// Before the first match of an alert's version comes a line {"alert_content":{...}} with all
/// that there is to show. After a lost connection it connects again and goes on where it was.
/// Each match has an `offset`; remember it to go on from there later. What is printed is acknowledged
/// to the server, which remembers it too: `--from cursor` goes on there.
#[derive(Debug, Args)]
pub(super) struct SubscribeArgs {
    /// The namespace to read.
    #[arg(long, value_name = "NS", default_value = pki::DEFAULT_NAMESPACE, value_parser = namespace)]
    namespace: Namespace,
    /// Where to start: earliest, latest, the offset of a match, or cursor: behind what this identity has
    /// acknowledged (earliest where it has not).
    #[arg(long, value_name = "earliest|latest|cursor|OFFSET", default_value = "earliest", value_parser = start)]
    from: StartAt,
    /// Exercises and tests too.
    #[arg(long)]
    exercise: bool,
    /// The identity to act as.
    #[arg(long = "as", value_name = "NAME", default_value = "partner")]
    name: String,
    #[command(flatten)]
    client: ClientArgs,
}

fn start(text: &str) -> Result<StartAt, String> {
    match text {
        "earliest" => Ok(StartAt::Earliest),
        "latest" => Ok(StartAt::Latest),
        "cursor" => Ok(StartAt::Cursor),
        _ => text
            .parse()
            .map(StartAt::Offset)
            .map_err(|_| "write earliest, latest, cursor or an offset".into()),
    }
}

pub(super) fn run(args: &SubscribeArgs) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new().context("the threads for the network")?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let server = args.client.address().await?;
        let namespace = args.namespace.as_str();
        let mut follow =
            Follow::new(server, &args.client.pki, &args.name, namespace, args.from, args.exercise);
        let ended = tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
            ended = print(&mut follow, &args.namespace, server) => ended,
        };
        follow.close().await;
        ended
    })
}

async fn print(follow: &mut Follow, namespace: &Namespace, server: SocketAddr) -> anyhow::Result<()> {
    let mut lines = Lines { namespace, alerts: BTreeMap::new(), buffer: Vec::new() };
    loop {
        match follow.next().await? {
            FollowEvent::Connected(next) => {
                note(&format!("hexcast: subscribed to {namespace} at {server} from offset {next}"));
            }
            FollowEvent::Lost(why, wait) => {
                let seconds = wait.as_secs_f64();
                note(&format!("hexcast: {why}; connecting again in {seconds:.1} s"));
            }
            FollowEvent::Event(SubscribeEvent::Alert(content)) => lines.alert(content)?,
            FollowEvent::Event(SubscribeEvent::Matches(matches)) => lines.matches(&matches)?,
        }
    }
}

/// Writes lines to standard output, each batch at once.
struct Lines<'a> {
    namespace: &'a Namespace,
    /// The alerts that matches name, with the version shown last.
    alerts: BTreeMap<AlertNo, (AlertId, u32)>,
    buffer: Vec<u8>,
}

impl Lines<'_> {
    fn alert(&mut self, content: AlertContent) -> io::Result<()> {
        let shown = self.alerts.insert(content.no, (content.id, content.version));
        // A reconnection brings it again.
        if shown.is_some_and(|(_, version)| version == content.version) {
            return Ok(());
        }
        writeln!(self.buffer, "{{\"alert_content\":{}}}", content.json)?;
        self.flush()
    }

    fn matches(&mut self, matches: &MatchColumns) -> io::Result<()> {
        for (offset, found) in matches.iter() {
            let Some((id, _)) = self.alerts.get(&found.alert) else { continue };
            files::write_match_line(&mut self.buffer, &found, id, self.namespace, None, Some(offset))?;
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(&self.buffer)?;
        self.buffer.clear();
        out.flush()
    }
}
