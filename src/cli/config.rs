//! The server's settings: a TOML file, then the flags, which win; sane without either.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;
use serde::Deserialize;

use super::args::{DEFAULT_DATA, DEFAULT_SERVER, default_partitions};
use crate::access::pki::DEFAULT_NAMESPACE;
use crate::delivery::LagLimits;
use crate::desk::Policies;
use crate::domain::{MaxAge, Namespace, StageSpec, Stages, parse_duration_ms};
use crate::limits::{
    CLOCK_SKEW_MS, MATCH_CHUNK, MAX_AGE_MS, NAMESPACES_MAX, PARTITIONS_MAX, SNAPSHOT_EVERY_MS,
    SNAPSHOT_EVERY_MS_MIN,
};
use crate::runtime::{ClockMode, NamespaceConfig, RuntimeConfig};

/// Largest configuration file, bytes; no real one comes near.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// The words for the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Clock {
    /// The server's time.
    Wall,
    /// The pings' and actions' own times: for recorded streams and tests.
    Event,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object a line, for machines.
    Json,
}

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigFile {
    data_dir: Option<PathBuf>,
    pki: Option<PathBuf>,
    quic: Option<SocketAddr>,
    http: Option<SocketAddr>,
    log_format: Option<LogFormat>,
    durable_pings: Option<bool>,
    snapshot_every: Option<String>,
    partitions: Option<u32>,
    clock: Option<Clock>,
    clock_skew: Option<String>,
    lag_max: Option<LagMax>,
    #[serde(default)]
    namespaces: Vec<NamespaceEntry>,
    #[serde(default)]
    policies: BTreeMap<String, Vec<StageEntry>>,
}

/// How far a partner may lag.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "write a number of matches, or a duration such as \"24h\"")]
enum LagMax {
    Matches(u64),
    Age(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamespaceEntry {
    name: String,
    max_age: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StageEntry {
    after: String,
    radius_km: f64,
}

/// What the command line sets.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    pub(super) data_dir: Option<PathBuf>,
    pub(super) quic: Option<SocketAddr>,
    pub(super) http: Option<SocketAddr>,
    pub(super) log_format: Option<LogFormat>,
    pub(super) durable_pings: bool,
    pub(super) partitions: Option<u32>,
    pub(super) clock: Option<Clock>,
}

/// The settings, checked.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) data_dir: PathBuf,
    /// Where the certificates are; `None`: a development PKI in the data directory.
    pub(super) pki: Option<PathBuf>,
    pub(super) quic: SocketAddr,
    /// Where it answers over HTTP; `None`: at the default address, where that is free.
    pub(super) http: Option<SocketAddr>,
    pub(super) log_format: LogFormat,
    /// Whether all pings are kept in logs.
    pub(super) durable_pings: bool,
    /// How often a snapshot is taken.
    pub(super) snapshot_every: Duration,
    pub(super) runtime: RuntimeConfig,
    pub(super) policies: Policies,
    pub(super) lag: LagLimits,
}

impl ConfigFile {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let name = || format!("the configuration {}", path.display());
        let size = std::fs::metadata(path).with_context(name)?.len();
        ensure!(size <= CONFIG_BYTES_MAX, "{}: {size} bytes, more than {CONFIG_BYTES_MAX}", name());
        let text = std::fs::read_to_string(path).with_context(name)?;
        Self::parse(&text).with_context(name)
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map(|before| format!("line {}: ", before.matches('\n').count() + 1));
            anyhow::anyhow!("{}{}", line.unwrap_or_default(), error.message())
        })
    }

    /// Checks the settings, with those of the command line before those of the file.
    pub(super) fn resolve(self, flags: Overrides) -> anyhow::Result<Config> {
        let partitions = flags.partitions.or(self.partitions).unwrap_or_else(default_partitions);
        ensure!(
            (1..=PARTITIONS_MAX).contains(&partitions),
            "partitions = {partitions}: use 1 to {PARTITIONS_MAX}"
        );
        let clock_skew_ms = match &self.clock_skew {
            Some(text) => parse_duration_ms(text).context("clock_skew")?,
            None => CLOCK_SKEW_MS,
        };
        let clock = match flags.clock.or(self.clock).unwrap_or(Clock::Wall) {
            Clock::Wall => ClockMode::Wall,
            Clock::Event => ClockMode::Event,
        };
        let quic = match flags.quic.or(self.quic) {
            Some(quic) => quic,
            None => DEFAULT_SERVER.parse()?,
        };
        Ok(Config {
            data_dir: flags.data_dir.or(self.data_dir).unwrap_or_else(|| DEFAULT_DATA.into()),
            pki: self.pki,
            quic,
            http: flags.http.or(self.http),
            log_format: flags.log_format.or(self.log_format).unwrap_or_default(),
            durable_pings: flags.durable_pings || self.durable_pings.unwrap_or_default(),
            snapshot_every: snapshot_every(self.snapshot_every.as_deref())?,
            runtime: RuntimeConfig {
                partitions,
                namespaces: namespaces(&self.namespaces)?,
                clock,
                clock_skew_ms,
                sliced: true,
            },
            policies: policies(self.policies)?,
            lag: lag(self.lag_max)?,
        })
    }
}

fn snapshot_every(text: Option<&str>) -> anyhow::Result<Duration> {
    let Some(text) = text else { return Ok(Duration::from_millis(SNAPSHOT_EVERY_MS)) };
    let ms = u64::try_from(parse_duration_ms(text).context("snapshot_every")?).unwrap_or(0);
    ensure!(ms >= SNAPSHOT_EVERY_MS_MIN, "snapshot_every = \"{text}\": use at least 1s");
    Ok(Duration::from_millis(ms))
}

/// The bound that is named takes the place of its default; the others stay.
fn lag(max: Option<LagMax>) -> anyhow::Result<LagLimits> {
    let limits = LagLimits::default();
    Ok(match max {
        None => limits,
        Some(LagMax::Matches(matches)) => {
            ensure!(
                matches >= MATCH_CHUNK as u64,
                "lag_max = {matches}: a frame alone may have {MATCH_CHUNK} matches, use at least as many"
            );
            LagLimits { matches, ..limits }
        }
        Some(LagMax::Age(text)) => {
            let age_ms = u64::try_from(parse_duration_ms(&text).context("lag_max")?).unwrap_or(0);
            ensure!(age_ms >= 1_000, "lag_max = \"{text}\": use at least 1s");
            LagLimits { age_ms, ..limits }
        }
    })
}

fn namespaces(entries: &[NamespaceEntry]) -> anyhow::Result<Vec<NamespaceConfig>> {
    ensure!(entries.len() <= NAMESPACES_MAX, "{} namespaces, more than {NAMESPACES_MAX}", entries.len());
    if entries.is_empty() {
        let name = Namespace::new(DEFAULT_NAMESPACE)?;
        return Ok(vec![NamespaceConfig { name, max_age: MaxAge::Ms(MAX_AGE_MS) }]);
    }
    let mut configs: Vec<NamespaceConfig> = Vec::with_capacity(entries.len());
    for entry in entries {
        let name = Namespace::new(&entry.name)?;
        let max_age = match entry.max_age.as_deref() {
            None => MaxAge::Ms(MAX_AGE_MS),
            Some("never") => MaxAge::Never,
            Some(text) => MaxAge::Ms(
                parse_duration_ms(text)
                    .with_context(|| format!("max_age of the namespace {name} (or \"never\")"))?,
            ),
        };
        if configs.iter().any(|config| config.name == name) {
            bail!("the namespace {name} is named twice");
        }
        configs.push(NamespaceConfig { name, max_age });
    }
    Ok(configs)
}

fn policies(entries: BTreeMap<String, Vec<StageEntry>>) -> anyhow::Result<Policies> {
    let stages = |name: &str, entries: &[StageEntry]| -> anyhow::Result<Stages> {
        ensure!(!matches!(name, "tuanyuan" | "fixed"), "this name is built in, use another");
        let specs = entries
            .iter()
            .map(|entry| {
                Ok(StageSpec { after_ms: parse_duration_ms(&entry.after)?, radius_km: entry.radius_km })
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Stages::new(&specs)?)
    };
    entries
        .into_iter()
        .map(|(name, entries)| {
            let stages = stages(&name, &entries).with_context(|| format!("the policy {name}"))?;
            Ok((name, stages))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::output::one_line;
    use super::*;

    fn resolve(text: &str) -> Result<Config, String> {
        ConfigFile::parse(text)
            .and_then(|file| file.resolve(Overrides::default()))
            .map_err(|error| one_line(&error))
    }

    #[test]
    fn without_a_file_it_listens_on_this_machine_only() {
        let config = resolve("").unwrap();
        assert!(config.quic.ip().is_loopback());
        assert_eq!(config.runtime.clock, ClockMode::Wall);
        assert_eq!(config.runtime.namespaces.len(), 1);
        assert_eq!(config.runtime.namespaces[0].name.as_str(), "default");
        assert_eq!(config.data_dir, Path::new("hexcast-data"));
        assert!(config.pki.is_none());
        assert_eq!((config.http, config.log_format), (None, LogFormat::Text));
    }

    #[test]
    fn every_setting_is_read_and_flags_win() {
        let text = "
            data_dir = '/srv/hexcast'
            pki = '/etc/hexcast/pki'
            quic = '0.0.0.0:9000'
            http = '127.0.0.1:9001'
            log_format = 'json'
            durable_pings = true
            snapshot_every = '5m'
            partitions = 3
            clock = 'event'
            clock_skew = '5s'
            lag_max = 100000
            namespaces = [{ name = 'mobile', max_age = '6h' }, { name = 'homes', max_age = 'never' }]
            [policies]
            slow = [{ after = '0s', radius_km = 5 }, { after = '1h', radius_km = 10.5 }]
        ";
        let config = resolve(text).unwrap();
        assert_eq!(config.quic.port(), 9_000);
        assert_eq!(config.http.map(|http| http.port()), Some(9_001));
        assert_eq!(config.log_format, LogFormat::Json);
        assert!(config.durable_pings);
        assert_eq!(config.snapshot_every, Duration::from_secs(300));
        assert_eq!((config.runtime.partitions, config.runtime.clock_skew_ms), (3, 5_000));
        assert_eq!(config.lag, LagLimits { matches: 100_000, ..LagLimits::default() });
        let config_by_age = resolve("lag_max = '90m'").unwrap();
        assert_eq!(config_by_age.lag, LagLimits { age_ms: 5_400_000, ..LagLimits::default() });
        assert_eq!(config.runtime.namespaces[0].max_age, MaxAge::Ms(21_600_000));
        assert_eq!(config.runtime.namespaces[1].max_age, MaxAge::Never);
        assert_eq!(config.policies["slow"].as_slice()[1].radius_km, 10.5);
        let flags = Overrides {
            data_dir: Some("here".into()),
            quic: Some(([127, 0, 0, 1], 0).into()),
            http: Some(([127, 0, 0, 1], 0).into()),
            log_format: Some(LogFormat::Text),
            durable_pings: false,
            partitions: Some(1),
            clock: Some(Clock::Wall),
        };
        let config = ConfigFile::parse(text).unwrap().resolve(flags).unwrap();
        assert_eq!(config.data_dir, Path::new("here"));
        assert_eq!((config.quic.port(), config.runtime.partitions), (0, 1));
        assert_eq!(config.http.map(|http| http.port()), Some(0));
        assert_eq!(config.log_format, LogFormat::Text);
        assert_eq!(config.runtime.clock, ClockMode::Wall);
    }

    #[test]
    fn a_mistake_is_one_line_that_names_it() {
        for (text, says) in [
            ("partitions = 0", "partitions = 0: use 1 to 256"),
            ("partitions = 257", "partitions = 257: use 1 to 256"),
            ("\npartition = 2", "line 2: unknown field `partition`"),
            ("quic = 'localhost'", "line 1: "),
            ("http = 'localhost'", "line 1: "),
            ("log_format = 'xml'", "unknown variant `xml`"),
            ("clock = 'sun'", "unknown variant `sun`"),
            ("clock_skew = '1'", "clock_skew: \"1\" is no duration"),
            ("lag_max = 5", "lag_max = 5: a frame alone may have 32768 matches"),
            ("snapshot_every = '0s'", "use at least 1s"),
            ("lag_max = 'soon'", "lag_max: \"soon\" is no duration"),
            ("lag_max = '0s'", "use at least 1s"),
            ("lag_max = [1]", "a number of matches, or a duration"),
            ("namespaces = [{ name = 'A' }]", "\"A\" is no namespace name"),
            ("namespaces = [{ name = 'a' }, { name = 'a' }]", "the namespace a is named twice"),
            ("namespaces = [{ name = 'a', max_age = 'long' }]", "max_age of the namespace a"),
            ("namespaces = [{ name = 'a', key = '' }]", "unknown field `key`"),
            ("policies.p = []", "the policy p: "),
            ("policies.fixed = [{ after = '0s', radius_km = 1 }]", "this name is built in"),
            ("policies.p = [{ after = '1h', radius_km = 1 }]", "the policy p: the first stage starts after"),
            ("policies.p = [{ after = '0s', radius_km = 6000 }]", "the policy p: a radius of 6000 km"),
            ("namespaces = 5", "line 1: "),
            ("=", "line 1: "),
        ] {
            let error = resolve(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
            assert!(!error.contains('\n'), "{text}: {error}");
        }
    }
}
