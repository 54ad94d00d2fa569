//! What the crowd does and which alerts are raised: built in by name, or a TOML file.

use std::io::Write as _;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

/// A scenario.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// Its name.
    pub(crate) name: String,
    /// A line on it.
    #[serde(default)]
    pub(crate) about: String,
    /// How many of the devices stay at home, where their GPS wanders by 10 m.
    #[serde(default)]
    pub(crate) still: f64,
    /// How many walk at 1.4 m/s.
    #[serde(default)]
    pub(crate) walk: f64,
    /// How many drive at 15 m/s.
    #[serde(default)]
    pub(crate) drive: f64,
    /// How many are somewhere else at every ping.
    #[serde(default)]
    pub(crate) teleport: f64,
    /// Alerts that stand all the time, in as many cities.
    #[serde(default)]
    pub(crate) standing: u32,
    /// Their radius, km.
    #[serde(default = "standing_km")]
    pub(crate) standing_km: f64,
    /// Alerts that are raised during the run.
    #[serde(default)]
    pub(crate) alerts: Vec<Raised>,
}

/// An alert that is raised during a run and grows.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raised {
    /// When, as a share of the run.
    pub(crate) at: f64,
    /// Around this city's centre.
    pub(crate) city: String,
    /// The stages, spread over the rest of the run, at least a second apart.
    pub(crate) radii_km: Vec<f64>,
}

/// Radius of a standing alert unless a scenario says otherwise, km.
fn standing_km() -> f64 {
    5.0
}

const NAMES: [&str; 5] = ["country", "still", "teleport", "rush", "many-alerts"];

impl Scenario {
    /// A built-in scenario by its name, or else a file.
    pub(crate) fn find(name: &str) -> anyhow::Result<Self> {
        if let Some(scenario) = Self::built_in(name) {
            return Ok(scenario);
        }
        let known = || format!("\"{name}\" is no scenario ({}), and as a file", NAMES.join(", "));
        let text = std::fs::read_to_string(name).with_context(known)?;
        Self::parse(&text).with_context(|| format!("the scenario {name}"))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let scenario: Self = toml::from_str(text).map_err(|error| anyhow::anyhow!("{}", error.message()))?;
        let shares = [scenario.still, scenario.walk, scenario.drive, scenario.teleport];
        ensure!(
            shares.iter().all(|share| (0.0..=1.0).contains(share))
                && (shares.iter().sum::<f64>() - 1.0).abs() < 1e-9,
            "still, walk, drive and teleport must be shares that make 1 together"
        );
        for alert in &scenario.alerts {
            ensure!((0.0..1.0).contains(&alert.at), "an alert's `at` must be a share from 0, below 1");
            ensure!(!alert.radii_km.is_empty(), "an alert needs `radii_km`");
        }
        Ok(scenario)
    }

    fn built_in(name: &str) -> Option<Self> {
        let (about, [still, walk, drive, teleport]) = match name {
            "country" => ("a country by day: 7 of 10 at home, 2 walk, 1 drives", [0.7, 0.2, 0.1, 0.0]),
            "still" => ("everybody at home: pings that change nothing", [1.0, 0.0, 0.0, 0.0]),
            "teleport" => ("each ping in another city: the worst for the index", [0.0, 0.0, 0.0, 1.0]),
            "rush" => ("the rush hour: half drive, a third walk", [0.17, 0.33, 0.5, 0.0]),
            "many-alerts" => ("as country, under 200 standing alerts", [0.7, 0.2, 0.1, 0.0]),
            _ => return None,
        };
        let raised =
            |at, city: &str| Raised { at, city: city.into(), radii_km: vec![100.0, 200.0, 300.0, 500.0] };
        Some(Self {
            name: name.into(),
            about: about.into(),
            still,
            walk,
            drive,
            teleport,
            standing: if name == "many-alerts" { 200 } else { 10 },
            standing_km: if name == "many-alerts" { standing_km() } else { 100.0 },
            alerts: vec![raised(0.1, "Nanjing"), raised(0.3, "Chengdu")],
        })
    }
}

/// Prints the built-in scenarios.
pub(crate) fn print_all() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for scenario in NAMES.iter().filter_map(|name| Scenario::built_in(name)) {
        writeln!(out, "{:<12} {}", scenario.name, scenario.about)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_scenarios_hold_what_files_must() {
        for name in NAMES {
            let scenario = Scenario::built_in(name).unwrap();
            let sum = scenario.still + scenario.walk + scenario.drive + scenario.teleport;
            assert!((sum - 1.0).abs() < 1e-9, "{name}");
        }
    }

    #[test]
    fn a_file_is_read_and_its_mistakes_are_named() {
        let text =
            "name = 'x'\nstill = 0.5\nteleport = 0.5\n[[alerts]]\nat = 0.2\ncity = 'Wuhan'\nradii_km = [5]";
        let scenario = Scenario::parse(text).unwrap();
        assert_eq!((scenario.teleport, scenario.alerts[0].radii_km.as_slice()), (0.5, &[5.0][..]));
        for (text, says) in [
            ("name = 'x'", "make 1 together"),
            ("name = 'x'\nstill = 2.0\nwalk = -1.0", "make 1 together"),
            ("name = 'x'\nstill = 1.0\nfly = 1.0", "unknown field `fly`"),
            ("still = 1.0", "missing field `name`"),
            ("name = 'x'\nstill = 1.0\nalerts = [{ at = 1.0, city = 'x', radii_km = [1] }]", "below 1"),
        ] {
            let error = format!("{:#}", Scenario::parse(text).unwrap_err());
            assert!(error.contains(says), "{error}");
        }
    }
}
