//! The figures as Prometheus text (version 0.0.4). `docs/operations.md` says what each means.

use std::fmt;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::process::resident_bytes;
use crate::domain::{Cause, PingReject};
use crate::telemetry::{Bound, LatencySums, Log, SessionKind, Telemetry};

/// Of what [`text`] returns.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All figures as they stand.
pub(super) fn text(telemetry: &Arc<Telemetry>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Printed(Arc::clone(telemetry))));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Printed(Arc<Telemetry>);

/// No labels, for the encoder's types.
type None0 = [(&'static str, &'static str); 0];

/// One metric under way.
struct Family<'a>(MetricEncoder<'a>);

impl Family<'_> {
    fn count<L: EncodeLabelSet>(&mut self, labels: L, value: u64) -> fmt::Result {
        self.0.encode_family(&labels)?.encode_counter::<None0, _, u64>(&value, None)
    }

    fn level<L: EncodeLabelSet>(&mut self, labels: L, value: u64) -> fmt::Result {
        self.0.encode_family(&labels)?.encode_gauge(&value)
    }

    fn histogram<L: EncodeLabelSet>(&mut self, labels: L, sums: &LatencySums) -> fmt::Result {
        let mut of = self.0.encode_family(&labels)?;
        of.encode_histogram::<None0>(sums.seconds(), sums.count(), &sums.buckets(), None)
    }
}

/// Starts metrics.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn counter(
        &mut self,
        name: &str,
        help: &str,
        all: impl FnOnce(&mut Family<'_>) -> fmt::Result,
    ) -> fmt::Result {
        // The encoder writes the ending itself; here names stand as they are read.
        let name = name.trim_end_matches("_total");
        all(&mut Family(self.0.encode_descriptor(name, help, None, MetricType::Counter)?))
    }

    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        all: impl FnOnce(&mut Family<'_>) -> fmt::Result,
    ) -> fmt::Result {
        all(&mut Family(self.0.encode_descriptor(name, help, None, MetricType::Gauge)?))
    }

    fn seconds(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn histogram(&mut self, name: &str, help: &str, sums: &LatencySums) -> fmt::Result {
        let none: None0 = [];
        self.histograms(name, help, |family| family.histogram(none, sums))
    }

    fn histograms(
        &mut self,
        name: &str,
        help: &str,
        all: impl FnOnce(&mut Family<'_>) -> fmt::Result,
    ) -> fmt::Result {
        all(&mut Family(self.0.encode_descriptor(name, help, None, MetricType::Histogram)?))
    }
}

impl Collector for Printed {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (mut page, telemetry) = (Page(encoder), &*self.0);
        process(&mut page, telemetry)?;
        namespaces(&mut page, telemetry)?;
        latencies(&mut page, telemetry)?;
        sessions(&mut page, telemetry)?;
        doors(&mut page, telemetry)?;
        bounds(&mut page, telemetry)?;
        storage(&mut page, telemetry)
    }
}

fn process(page: &mut Page<'_>, telemetry: &Telemetry) -> fmt::Result {
    page.gauge("hexcast_build_info", "1; the version is in the label.", |family| {
        family.level([("version", env!("CARGO_PKG_VERSION"))], 1)
    })?;
    let (up, since) = telemetry.uptime();
    page.seconds("hexcast_uptime_seconds", "Seconds since this process started.", up.as_secs_f64())?;
    let since = since.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    page.seconds("process_start_time_seconds", "When this process started, Unix seconds.", since)?;
    if let Some(bytes) = resident_bytes() {
        let none: None0 = [];
        page.gauge("process_resident_memory_bytes", "Resident memory.", |family| family.level(none, bytes))?;
    }
    page.gauge("hexcast_ready", "1 while pings and actions are taken.", |family| {
        let none: None0 = [];
        family.level(none, u64::from(telemetry.health.ready().is_ok()))
    })
}

fn namespaces(page: &mut Page<'_>, telemetry: &Telemetry) -> fmt::Result {
    let names: Vec<&str> = telemetry.namespaces().iter().map(|name| name.as_str()).collect();
    let sums: Vec<_> = (0..names.len()).map(|at| telemetry.namespace_sums(at)).collect();
    let each = || names.iter().zip(&sums);
    page.counter("hexcast_batches_total", "Batches of pings taken from sources.", |family| {
        names.iter().enumerate().try_for_each(|(at, name)| family.count(of(name), telemetry.batches(at)))
    })?;
    page.counter("hexcast_pings_accepted_total", "Pings taken as their device's newest.", |family| {
        each().try_for_each(|(name, sums)| family.count(of(name), sums.pings.accepted))
    })?;
    page.counter("hexcast_pings_stale_total", "Pings older than their device's newest.", |family| {
        each().try_for_each(|(name, sums)| family.count(of(name), sums.pings.stale))
    })?;
    page.counter("hexcast_pings_rejected_total", "Pings rejected, by reason.", |family| {
        each().try_for_each(|(name, sums)| {
            PingReject::ALL.iter().zip(sums.pings.rejected).try_for_each(|(reason, count)| {
                family.count([("namespace", *name), ("reason", reason_label(*reason))], count)
            })
        })
    })?;
    page.counter("hexcast_matches_total", "Matches, by cause.", |family| {
        each().try_for_each(|(name, sums)| {
            Cause::ALL.iter().zip(sums.matches).try_for_each(|(cause, count)| {
                family.count([("namespace", *name), ("cause", cause.as_str())], count)
            })
        })
    })?;
    page.gauge("hexcast_devices", "Devices in the tables, known and not yet forgotten.", |family| {
        each().try_for_each(|(name, sums)| family.level(of(name), sums.devices))
    })?;
    let logs: Vec<_> = (0..names.len()).map(|at| telemetry.log_view(at)).collect();
    let each = || names.iter().zip(&logs);
    page.gauge("hexcast_match_log_end", "The offset that the next match will get.", |family| {
        each().try_for_each(|(name, log)| family.level(of(name), log.end))
    })?;
    page.gauge("hexcast_match_log_earliest", "The oldest offset that can be read.", |family| {
        each().try_for_each(|(name, log)| family.level(of(name), log.earliest))
    })?;
    page.gauge("hexcast_match_log_memory_bytes", "Bytes of the match log in memory.", |family| {
        each().try_for_each(|(name, log)| family.level(of(name), log.bytes))
    })
}

fn of(namespace: &str) -> [(&'static str, &str); 1] {
    [("namespace", namespace)]
}

/// Words for labels; the texts of the rejections are sentences.
fn reason_label(reason: PingReject) -> &'static str {
    match reason {
        PingReject::Position => "position",
        PingReject::Accuracy => "accuracy",
        PingReject::Future => "future",
        PingReject::Tower => "tower",
        PingReject::Time => "time",
        PingReject::Partition => "partition",
    }
}

fn latencies(page: &mut Page<'_>, telemetry: &Telemetry) -> fmt::Result {
    page.histogram(
        "hexcast_batch_applied_seconds",
        "A batch of pings, from its receipt to where all its partitions applied it.",
        &telemetry.batch_applied_sums(),
    )?;
    page.histogram(
        "hexcast_action_told_seconds",
        "An action, from its request to where all partitions were told.",
        &telemetry.action_told.sums(),
    )?;
    page.histogram(
        "hexcast_first_match_seconds",
        "A publication, from where partitions are told to its first match.",
        &telemetry.first_match.sums(),
    )?;
    page.histogram(
        "hexcast_match_sent_seconds",
        "A match, from its append to the log to where a partner's stream took it.",
        &telemetry.match_sent.sums(),
    )
}

fn sessions(page: &mut Page<'_>, telemetry: &Telemetry) -> fmt::Result {
    let all = telemetry.sessions.all();
    page.gauge("hexcast_sessions", "Open sessions, by kind.", |family| {
        SessionKind::ALL.iter().try_for_each(|kind| {
            let open = all.iter().filter(|view| view.kind == *kind).count();
            family.level([("kind", kind.as_str())], open as u64)
        })
    })?;
    let namespaces = telemetry.namespaces();
    let partners: Vec<_> = all
        .iter()
        .filter(|view| view.kind == SessionKind::Subscribe)
        .filter_map(|view| Some((view, namespaces.get(view.namespace)?.as_str())))
        .map(|(view, namespace)| {
            let labels = [
                ("namespace", namespace.to_owned()),
                ("partner", view.identity.clone()),
                ("session", view.number.to_string()),
            ];
            (labels, view, telemetry.log_view(view.namespace).end)
        })
        .collect();
    page.gauge("hexcast_partner_cursor", "The offset up to which a partner says it has all.", |family| {
        partners.iter().try_for_each(|(labels, view, _)| family.level(labels.as_slice(), view.cursor))
    })?;
    page.gauge("hexcast_partner_lag", "Offsets between a partner's cursor and the log's end.", |family| {
        let lag = |cursor, end: &u64| end.saturating_sub(cursor);
        partners
            .iter()
            .try_for_each(|(labels, view, end)| family.level(labels.as_slice(), lag(view.cursor, end)))
    })?;
    page.gauge("hexcast_partner_unsent", "Offsets that a partner's stream has not taken yet.", |family| {
        let lag = |sent, end: &u64| end.saturating_sub(sent);
        partners
            .iter()
            .try_for_each(|(labels, view, end)| family.level(labels.as_slice(), lag(view.sent, end)))
    })
}

fn tally(
    page: &mut Page<'_>,
    name: &str,
    help: &str,
    labels: (&'static str, &'static str),
    all: &[((&'static str, &'static str), u64)],
) -> fmt::Result {
    page.counter(name, help, |family| {
        all.iter()
            .try_for_each(|((what, how), count)| family.count([(labels.0, *what), (labels.1, *how)], *count))
    })
}

fn doors(page: &mut Page<'_>, telemetry: &Telemetry) -> fmt::Result {
    let (actions, ended) = (telemetry.actions.all(), telemetry.sessions_ended.all());
    tally(page, "hexcast_actions_total", "Actions asked for.", ("action", "result"), &actions)?;
    tally(page, "hexcast_sessions_ended_total", "Ended sessions.", ("kind", "code"), &ended)?;
    let refused = telemetry.connections_refused.all();
    tally(page, "hexcast_connections_refused_total", "Refused connections.", ("door", "reason"), &refused)?;
    page.gauge("hexcast_alerts_active", "Alerts that are active now.", |family| {
        let none: None0 = [];
        family.level(none, telemetry.bounds.alerts_active())
    })
}

fn bounds(page: &mut Page<'_>, telemetry: &Telemetry) -> fmt::Result {
    let sessions = telemetry.sessions.all();
    let most =
        |value: fn(&crate::telemetry::SessionView) -> u64| sessions.iter().map(value).max().unwrap_or(0);
    page.gauge("hexcast_bound_used", "How full a bound is; of many, the fullest.", |family| {
        Bound::ALL.iter().try_for_each(|bound| {
            let used = match bound {
                Bound::Sessions => sessions.len() as u64,
                Bound::UnappliedPings => most(|view| view.unapplied_pings),
                Bound::UnappliedBatches => most(|view| view.unapplied_batches),
                Bound::VersionsShown => most(|view| view.versions_shown),
                Bound::FirstMatchesAwaited => telemetry.first_match.awaited() as u64,
                Bound::MatchLogBytes => {
                    (0..telemetry.namespaces().len()).map(|at| telemetry.log_view(at).bytes).sum()
                }
                _ => telemetry.bounds.used(*bound),
            };
            family.level([("bound", bound.as_str())], used)
        })
    })?;
    page.gauge("hexcast_bound_max", "The most that a bound allows.", |family| {
        Bound::ALL.iter().try_for_each(|bound| family.level([("bound", bound.as_str())], bound.max()))
    })
}

fn storage(page: &mut Page<'_>, telemetry: &Telemetry) -> fmt::Result {
    let storage = &telemetry.storage;
    let syncs = Log::ALL.map(|log| (log.as_str(), storage.sync_sums(log)));
    let none: None0 = [];
    page.histograms("hexcast_sync_seconds", "A sync of a log to the disk.", |family| {
        syncs.iter().try_for_each(|(log, sums)| family.histogram([("log", *log)], &sums.latency))
    })?;
    page.counter("hexcast_synced_bytes_total", "Bytes that syncs wrote.", |family| {
        syncs.iter().try_for_each(|(log, sums)| family.count([("log", *log)], sums.bytes))
    })?;
    page.counter("hexcast_syncs_failed_total", "Failed syncs; each ends the process.", |family| {
        syncs.iter().try_for_each(|(log, sums)| family.count([("log", *log)], sums.failed))
    })?;
    page.gauge("hexcast_log_bytes", "Bytes of logs on the disk.", |family| {
        Log::ALL.iter().try_for_each(|log| family.level([("log", log.as_str())], storage.bytes_of(*log)))
    })?;
    page.counter("hexcast_disk_full_refused_total", "Refused for want of room on the disk.", |family| {
        storage.refusals().into_iter().try_for_each(|(what, count)| family.count([("what", what)], count))
    })?;
    let snapshots = storage.snapshot_sums();
    page.counter("hexcast_snapshots_total", "Snapshots, by what became of them.", |family| {
        family.count([("result", "taken")], snapshots.taken)?;
        family.count([("result", "failed")], snapshots.failed)
    })?;
    if snapshots.newest_at_ms != 0 {
        let at = snapshots.newest_at_ms as f64 / 1e3;
        let now =
            std::time::SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64());
        page.seconds(
            "hexcast_snapshot_age_seconds",
            "Since the newest snapshot counted.",
            (now - at).max(0.0),
        )?;
        let none: None0 = [];
        page.gauge("hexcast_snapshot_bytes", "Bytes of the newest snapshot.", |family| {
            family.level(none, snapshots.bytes)
        })?;
        page.seconds("hexcast_snapshot_seconds", "How long the newest took.", snapshots.took.as_secs_f64())?;
    }
    page.seconds(
        "hexcast_recovery_seconds",
        "How long the start's recovery took.",
        snapshots.recovery.as_secs_f64(),
    )?;
    page.gauge("hexcast_torn_bytes", "Bytes of torn tails that the start cut off.", |family| {
        family.level(none, snapshots.torn_bytes)
    })
}
