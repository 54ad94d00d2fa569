//! `hexcast replay`: a recorded stream through the engine on event time.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;

use super::args::{default_partitions, namespace, partitions, time};
use super::output::{count, grouped, note};
use super::pings::{self, shown};
use super::progress::Progress;
use crate::access::pki;
use crate::desk::{Policies, ReplayActions};
use crate::domain::{EventTime, MaxAge, Namespace};
use crate::files::{self, Pseudonyms};
use crate::limits::{DEVICE_NAMES_MAX, MAX_AGE_MS};
use crate::runtime::{self, NamespaceConfig, Replay, ReplayError};

/// Runs recorded pings and actions through the engine and writes every match.
///
/// The same input gives the same bytes on any machine and with any number of partitions. Pings
/// are CSV with a header (device,at,lat,lon[,accuracy_m] or device,at,tower[,accuracy_m]), in any
/// order; actions are one JSON object a line (publish, update, sighting, cancel). The replay ends
/// at the time of the last ping or action. Rows that cannot be read and actions that are rejected
/// are reported by line on standard error.
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The pings, CSV or CSV.gz; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pings: String,
    /// The actions, NDJSON or NDJSON.gz; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    actions: String,
    /// The towers that pings name, in the format of OpenCelliD.
    #[arg(long, value_name = "FILE")]
    towers: Option<String>,
    /// The namespace that match lines carry.
    #[arg(long, value_name = "NS", default_value = pki::DEFAULT_NAMESPACE, value_parser = namespace)]
    namespace: Namespace,
    /// Where the matches go; `-` is standard output, `.gz` is packed.
    #[arg(long, value_name = "FILE", default_value = "-")]
    out: String,
    /// Partitions to run on; changes nothing but the speed [default: one a core].
    #[arg(long, value_name = "N", value_parser = partitions)]
    partitions: Option<u32>,
    /// Ends at this time, inclusive, whatever the files hold.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<EventTime>,
    /// Makes pseudonyms of device names with the namespace's key in this directory, as `ingest`
    /// does; without it with a key of zeros.
    #[arg(long, value_name = "DIR")]
    pki: Option<PathBuf>,
}

impl ReplayArgs {
    /// What clap cannot see: two files that would read the same standard input.
    pub(super) fn usage_error(&self) -> Option<&'static str> {
        let towers = self.towers.as_deref().unwrap_or_default();
        let from_stdin = [&*self.pings, &*self.actions, towers].iter().filter(|path| **path == "-").count();
        (from_stdin > 1).then_some("only one of --pings, --actions and --towers can be standard input")
    }
}

pub(super) fn run(args: &ReplayArgs) -> anyhow::Result<()> {
    let begun = Instant::now();
    let key = match &args.pki {
        Some(dir) => pki::namespace_key(dir, &args.namespace)?,
        None => [0; 32],
    };
    let actions = files::open(&args.actions)
        .and_then(files::read_actions)
        .with_context(|| format!("the actions in {}", shown(&args.actions)))?;
    for warning in &actions.warnings {
        note(&format!("hexcast: {}: {warning}", shown(&args.actions)));
    }
    let towers = pings::read_towers(args.towers.as_deref())?;
    let mut names = Pseudonyms::new(key, DEVICE_NAMES_MAX);
    let file = pings::read(&args.pings, &mut names, towers.as_ref())?;
    drop(towers);

    let last_action = actions.actions.last().map_or(EventTime::BEFORE_ALL, |action| action.at);
    let end = args.until.unwrap_or(file.last_at.max(last_action));
    let given = actions.actions.partition_point(|action| action.at <= end) as u64;
    let after_end = actions.actions.len() as u64 - given;
    // A replay knows no configuration, so no policies with names of their own.
    let source = Arc::new(ReplayActions::new(Policies::new(), actions.actions));

    let mut out = files::create(&args.out)?;
    let what = Replay {
        namespace: NamespaceConfig { name: args.namespace.clone(), max_age: MaxAge::Ms(MAX_AGE_MS) },
        partitions: args.partitions.unwrap_or_else(default_partitions),
        sliced: true,
        pings: &file.pings,
        actions: Arc::clone(&source) as _,
        end,
    };
    // Matches on a terminal show by themselves that it lives.
    let progress = (args.out != "-" || !io::stdout().is_terminal()).then(|| Progress::busy("replaying"));
    let replayed = runtime::replay(&what, &mut |info, found| {
        files::write_match_line(&mut out, found, &info.id, &args.namespace, names.name(found.device), None)
    });
    drop(progress);
    let written = match replayed {
        Ok(summary) => out.finish().map(|()| summary).map_err(ReplayError::Write),
        Err(error) => Err(error),
    };
    let summary = match written {
        Err(ReplayError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        other => other.with_context(|| match args.out.as_str() {
            "-" => "standard output".to_owned(),
            path => path.to_owned(),
        })?,
    };

    let rejected = source.rejected();
    for line in &rejected {
        note(&format!("hexcast: {}: {line}", shown(&args.actions)));
    }
    let not_given = match (summary.pings_after_end, after_end) {
        (0, 0) => String::new(),
        (pings, actions) => format!(
            "; {} and {} lie after the end",
            count(pings, "ping", "pings"),
            count(actions, "action", "actions")
        ),
    };
    note(&format!(
        "replayed {} ({} accepted, {} stale, {} rejected; {}) and {} ({} rejected) up to {end}: {} in {:.2} s{not_given}",
        count(file.tally.good + file.tally.rejected, "ping", "pings"),
        grouped(summary.pings.accepted),
        grouped(summary.pings.stale),
        grouped(summary.pings.rejected_total() + file.tally.rejected),
        count(file.tally.bad, "bad row", "bad rows"),
        count(given, "action", "actions"),
        grouped(rejected.len() as u64),
        count(summary.matches, "match", "matches"),
        begun.elapsed().as_secs_f64(),
    ));
    Ok(())
}
