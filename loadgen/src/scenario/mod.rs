//! What the crowd does, who listens, and which alerts are raised: built in by name, or a TOML file.
//!
//! `docs/loadgen.md` has every key with its unit and range. A scenario that was found holds what its
//! ranges say ([`check`]); what is wrong is told with file, line and key.

pub(crate) mod check;
mod place;

use std::io::Write as _;

use anyhow::Context as _;
use country::{Gaps, Population, Shares};
use hexcast::domain::parse_duration_ms;
use serde::{Deserialize, Deserializer, de::Error as _};

/// The built-in scenarios: name and text.
const BUILT_IN: [(&str, &str); 10] = [
    ("country", include_str!("../../scenarios/country.toml")),
    ("rush-hour", include_str!("../../scenarios/rush-hour.toml")),
    ("travel-rush", include_str!("../../scenarios/travel-rush.toml")),
    ("megacity-alert", include_str!("../../scenarios/megacity-alert.toml")),
    ("hundred-alerts", include_str!("../../scenarios/hundred-alerts.toml")),
    ("many-alerts", include_str!("../../scenarios/many-alerts.toml")),
    ("lagging-partner", include_str!("../../scenarios/lagging-partner.toml")),
    ("flood", include_str!("../../scenarios/flood.toml")),
    ("still", include_str!("../../scenarios/still.toml")),
    ("teleport", include_str!("../../scenarios/teleport.toml")),
];
/// Names that scenarios had before.
const FORMER: [(&str, &str); 1] = [("rush", "rush-hour")];

/// A scenario.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// Its name.
    pub(crate) name: String,
    /// A line on it.
    pub(crate) about: String,
    /// What a run takes unless the command line says otherwise.
    #[serde(default)]
    pub(crate) run: RunDefaults,
    /// Where devices live.
    #[serde(default)]
    pub(crate) population: People,
    /// How they move.
    pub(crate) mobility: Mobility,
    /// How often they ping, and how accurately.
    #[serde(default)]
    pub(crate) pings: Pings,
    /// Who subscribes to the matches.
    #[serde(default)]
    pub(crate) partners: Partners,
    /// Alerts that stand all the time.
    #[serde(default)]
    pub(crate) standing: Standing,
    /// Alerts that are raised during the run.
    #[serde(default)]
    pub(crate) alerts: Vec<Raised>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RunDefaults {
    pub(crate) devices: u32,
    pub(crate) seconds: u32,
    /// Pings a second.
    pub(crate) rate: u64,
    /// As fast as acknowledgements allow, in place of the rate.
    pub(crate) max: bool,
    /// Seconds at the same pace before anything is counted.
    pub(crate) warm_up_s: u32,
}

impl Default for RunDefaults {
    fn default() -> Self {
        Self { devices: 1_000_000, seconds: 10, rate: 200_000, max: false, warm_up_s: 1 }
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct People {
    /// Names of the cities; empty for all.
    pub(crate) cities: Vec<String>,
    /// The share of those who live in villages around them.
    pub(crate) villages: f64,
}

impl Default for People {
    fn default() -> Self {
        let Population { cities, villages } = Population::default();
        Self { cities, villages }
    }
}

/// Shares of the devices; 1 together.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Mobility {
    /// At home, where their GPS wanders by 10 m.
    pub(crate) still: f64,
    /// At 1.4 m/s.
    pub(crate) walk: f64,
    /// At 15 m/s.
    pub(crate) drive: f64,
    /// At 70 m/s, between home and somewhere else in the country.
    pub(crate) rail: f64,
    /// Somewhere else at every ping.
    pub(crate) teleport: f64,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Pings {
    /// Mean time between two pings of a device, in its own time, ms.
    #[serde(deserialize_with = "duration_ms")]
    pub(crate) every: u64,
    /// How that is spread.
    pub(crate) gaps: GapsName,
    /// Accuracy of those who know where they are, m.
    pub(crate) accuracy_m: u32,
    /// The share of devices that only a tower knows of.
    pub(crate) towers: f64,
    /// Least and most reach of a tower, m.
    pub(crate) tower_m: [u32; 2],
}

impl Default for Pings {
    fn default() -> Self {
        Self { every: 60_000, gaps: GapsName::Triangular, accuracy_m: 10, towers: 0.0, tower_m: [300, 5_000] }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GapsName {
    Fixed,
    Triangular,
    Uniform,
    Exponential,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Partners {
    /// Subscribers that read as fast as they can; the first one times the matches.
    pub(crate) prompt: u32,
    /// Subscribers that wait after every frame.
    pub(crate) lagging: u32,
    /// How long those wait, ms.
    pub(crate) lag_ms: u64,
    /// Subscribers that never read.
    pub(crate) stuck: u32,
}

impl Default for Partners {
    fn default() -> Self {
        Self { prompt: 1, lagging: 0, lag_ms: 200, stuck: 0 }
    }
}

/// Alerts in as many cities.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Standing {
    pub(crate) count: u32,
    pub(crate) radius_km: f64,
}

impl Default for Standing {
    fn default() -> Self {
        Self { count: 0, radius_km: 5.0 }
    }
}

/// An alert that is raised during a run.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raised {
    /// When, as a share of the run.
    pub(crate) at: f64,
    /// Around this city's centre; or
    pub(crate) city: Option<String>,
    /// around this point, degrees; or
    pub(crate) lat: Option<f64>,
    pub(crate) lon: Option<f64>,
    /// one alert around each of so many cities, the largest ones.
    pub(crate) largest: Option<u32>,
    /// The stages, spread over the rest of the run, at least a second apart; or
    pub(crate) radii_km: Option<Vec<f64>>,
    /// stages with times of their own; or
    pub(crate) stages: Option<Vec<StageAt>>,
    /// a policy by its name: `tuanyuan`.
    pub(crate) policy: Option<String>,
    /// How long before its publication the child was lost, ms: stages count from there.
    #[serde(default, deserialize_with = "duration_ms")]
    pub(crate) lost_ago: u64,
    /// When it is updated, and to what.
    pub(crate) update: Option<Updated>,
    /// When it is cancelled, as a share of the run.
    pub(crate) cancel_at: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StageAt {
    /// After the loss, ms.
    #[serde(deserialize_with = "duration_ms")]
    pub(crate) after: u64,
    pub(crate) radius_km: f64,
}

/// An update to one stage of a radius of its own.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Updated {
    /// When, as a share of the run.
    pub(crate) at: f64,
    pub(crate) radius_km: f64,
}

/// A duration such as `1m30s`, in ms.
fn duration_ms<'de, D: Deserializer<'de>>(value: D) -> Result<u64, D::Error> {
    let text = String::deserialize(value)?;
    parse_duration_ms(&text).map(i64::unsigned_abs).map_err(D::Error::custom)
}

impl Scenario {
    /// A built-in scenario by its name, or else a file.
    pub(crate) fn find(name: &str) -> anyhow::Result<Self> {
        let now = FORMER.iter().find(|(former, _)| *former == name).map_or(name, |(_, now)| now);
        if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == now) {
            return Self::parse(text, now);
        }
        let names: Vec<&str> = BUILT_IN.iter().map(|(known, _)| *known).collect();
        let known = || format!("\"{name}\" is no scenario ({}), and as a file", names.join(", "));
        let text = std::fs::read_to_string(name).with_context(known)?;
        Self::parse(&text, name)
    }

    /// Reads a scenario; `file` is for what is said of a bad one.
    fn parse(text: &str, file: &str) -> anyhow::Result<Self> {
        let scenario: Self = toml::from_str(text).map_err(|error| place::of_error(text, file, &error))?;
        check::check(&scenario).map_err(|wrong| place::of_key(text, file, &wrong.key, &wrong.says))?;
        Ok(scenario)
    }

    /// Where its devices live.
    pub(crate) fn population(&self) -> Population {
        Population { cities: self.population.cities.clone(), villages: self.population.villages }
    }

    /// How its devices move.
    pub(crate) fn shares(&self) -> Shares {
        let Mobility { still, walk, drive, rail, .. } = self.mobility;
        Shares { still, walk, drive, rail }
    }

    /// How long devices wait between pings.
    pub(crate) fn gaps(&self) -> Gaps {
        match self.pings.gaps {
            GapsName::Fixed => Gaps::Fixed,
            GapsName::Triangular => Gaps::Triangular,
            GapsName::Uniform => Gaps::Uniform,
            GapsName::Exponential => Gaps::Exponential,
        }
    }
}

/// Prints the built-in scenarios.
pub(crate) fn print_all() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for (name, text) in BUILT_IN {
        writeln!(out, "{name:<16} {}", Scenario::parse(text, name)?.about)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_scenarios_hold_what_files_must_and_are_named_as_they_say() {
        for (name, _) in BUILT_IN {
            let scenario = Scenario::find(name).unwrap();
            assert_eq!(scenario.name, name);
            assert!(!scenario.about.is_empty() && !scenario.about.contains('\n'), "{name}");
        }
        assert_eq!(Scenario::find("rush").unwrap().name, "rush-hour");
    }

    #[test]
    fn a_file_is_read_with_all_its_keys() {
        let text = include_str!("../../tests/data/every-key.toml");
        let scenario = Scenario::parse(text, "every-key.toml").unwrap();
        assert_eq!((scenario.pings.every, scenario.gaps()), (90_000, Gaps::Uniform));
        assert_eq!(scenario.run, RunDefaults { devices: 5, seconds: 4, rate: 3, max: true, warm_up_s: 2 });
        assert_eq!(scenario.alerts[1].stages.as_ref().unwrap()[1].after, 2_000);
        assert_eq!(scenario.alerts[2].lost_ago, 3_599_000);
        assert_eq!(scenario.population().cities, ["Wuhan", "Shanghai"]);
    }

    #[test]
    fn a_mistake_is_told_with_file_line_and_key() {
        let good = "name = 'x'\nabout = 'y'\n[mobility]\nstill = 1.0\n";
        assert!(Scenario::parse(good, "f").is_ok());
        for (text, says) in [
            (
                "name = 'x'\nabout = 'y'\n[mobility]\nstill = 0.5\nwalk = 0.25\n",
                "f, line 3, mobility: its shares make 0.75 together, they must make 1",
            ),
            (
                "name = 'x'\nabout = 'y'\n[mobility]\nstill = 2.0\nwalk = -1.0",
                "f, line 4, mobility.still: 2 is no share: use 0 to 1",
            ),
            (
                "name = 'x'\nabout = 'y'\n[mobility]\nstill = 1.0\nfly = 1.0",
                "f, line 5, mobility.fly: unknown field `fly`, expected one of",
            ),
            (
                "name = 'x'\nabout = 'y'\n[mobility]\nstill = 'all'",
                "f, line 4, mobility.still: invalid type: string \"all\", expected f64",
            ),
            ("about = 'y'\n[mobility]\nstill = 1.0", "f, line 1: missing field `name`"),
            ("name = 'x'\nabout = [\n", "f, line 2, about"),
            (
                "name = 'x'\nabout = 'y'\n[mobility]\nstill = 1.0\n[pings]\nevery = '60'",
                "f, line 6, pings.every: ",
            ),
        ] {
            let error = format!("{:#}", Scenario::parse(text, "f").unwrap_err());
            assert!(error.starts_with(says), "{error}\nis not\n{says}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
        for (more, says) in [
            ("[[alerts]]\ncity = 'Wuhan'", "f, line 5, alerts[0]: missing field `at`"),
            (
                "[[alerts]]\nat = 1.0\ncity = 'Wuhan'\nradii_km = [1]",
                "f, line 6, alerts[0].at: 1 is no share of the run: use 0 to below 1",
            ),
            (
                "[[alerts]]\nat = 0.1\nradii_km = [1]",
                "f, line 5, alerts[0]: say where: `city`, `lat` and `lon`, or `largest`",
            ),
            (
                "[[alerts]]\nat = 0.1\ncity = 'Atlantis'\nradii_km = [1]",
                "f, line 7, alerts[0].city: no city is named Atlantis: see examples/data/cities_cn.csv",
            ),
            (
                "[[alerts]]\nat = 0.1\ncity = 'Wuhan'",
                "f, line 5, alerts[0]: say how it grows: one of `radii_km`, `stages` and `policy`",
            ),
            (
                "[[alerts]]\nat = 0.1\ncity = 'Wuhan'\nradii_km = [2, 1]",
                "f, line 8, alerts[0].radii_km: stage 1 is not larger than the stage before it",
            ),
            (
                "[[alerts]]\nat = 0.5\ncity = 'Wuhan'\nradii_km = [2]\ncancel_at = 0.4",
                "f, line 9, alerts[0].cancel_at: 0.4 is before the alert itself",
            ),
            (
                "[[alerts]]\nat = 0.5\nlat = 91\nlon = 0\nradii_km = [2]",
                "f, line 7, alerts[0].lat: 91 is no latitude: use -90 to 90",
            ),
            (
                "[pings]\ntowers = 0.5\ntower_m = [500, 400]",
                "f, line 7, pings.tower_m: use two lengths of 1 to 100000 m, the least first",
            ),
            (
                "[population]\ncities = ['Wuhan', 'Atlantis']",
                "f, line 6, population.cities[1]: no city is named Atlantis",
            ),
            (
                "[partners]\nprompt = 0",
                "f, line 6, partners.prompt: 0 subscribers, use 1 to 15: the first one times the matches",
            ),
            ("[run]\ndevices = 0", "f, line 6, run.devices: 0, use 1 to 200000000"),
        ] {
            let error = format!("{:#}", Scenario::parse(&format!("{good}{more}"), "f").unwrap_err());
            assert!(error.starts_with(says), "{error}\nis not\n{says}");
        }
    }
}
