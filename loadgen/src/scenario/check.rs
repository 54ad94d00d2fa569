//! The ranges of a scenario's keys. What passes can be run.

use std::collections::BTreeSet;

use country::{City, Country, Shares};
use hexcast::domain::{StageSpec, Stages};
use hexcast::limits::{ACCURACY_M_MAX, RADIUS_KM_MAX};

use super::place::Step;
use super::{Raised, Scenario};

/// Most devices: what pseudonyms and times were tried with.
pub(crate) const DEVICES_MAX: i64 = 200_000_000;
/// Highest rate, pings a second.
pub(crate) const RATE_MAX: u64 = 100_000_000;
/// Longest run, s: a day.
pub(crate) const SECONDS_MAX: i64 = 86_400;
/// Most subscribers of a kind: they share one connection, which takes 18 sessions.
const PARTNERS_MAX: u32 = 15;
/// Most standing alerts.
const STANDING_MAX: u32 = 10_000;
/// Longest time between two pings, ms: what rows can still tell apart in a day's run.
const EVERY_MS_MAX: u64 = 24 * 3_600_000;
/// Longest wait of a lagging subscriber, ms.
const LAG_MS_MAX: u64 = 60_000;

/// What is wrong, and with which key.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) key: Vec<Step>,
    pub(super) says: String,
}

type Checked = Result<(), Wrong>;

/// The key at a path such as `["alerts", "0", "at"]`; numbers are places in lists.
fn wrong(path: &[&str], says: impl Into<String>) -> Checked {
    let step = |name: &&str| name.parse().map_or_else(|_| Step::Key((*name).into()), Step::Item);
    Err(Wrong { key: path.iter().map(step).collect(), says: says.into() })
}

fn ensure(holds: bool, path: &[&str], says: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { wrong(path, says()) }
}

pub(super) fn check(scenario: &Scenario) -> Checked {
    run(scenario)?;
    shares(scenario)?;
    let known = Country::new(0, Shares::STILL);
    let known: BTreeSet<&str> = known.cities().iter().map(|city: &City| city.name.as_str()).collect();
    for (place, city) in scenario.population.cities.iter().enumerate() {
        let place = place.to_string();
        ensure(known.contains(city.as_str()), &["population", "cities", &place], || no_city(city))?;
    }
    pings(scenario)?;
    partners(scenario)?;
    let standing = &scenario.standing;
    ensure(standing.count <= STANDING_MAX, &["standing", "count"], || {
        format!("{} alerts, use at most {STANDING_MAX}", standing.count)
    })?;
    radius(standing.radius_km, &["standing", "radius_km"])?;
    for (place, alert) in scenario.alerts.iter().enumerate() {
        Alert { alert, place: place.to_string() }.check(&known)?;
    }
    Ok(())
}

fn run(scenario: &Scenario) -> Checked {
    let run = &scenario.run;
    let whole = |value: i64, least: i64, most: i64, key: &str| {
        ensure((least..=most).contains(&value), &["run", key], || format!("{value}, use {least} to {most}"))
    };
    whole(run.devices.into(), 1, DEVICES_MAX, "devices")?;
    whole(run.seconds.into(), 1, SECONDS_MAX, "seconds")?;
    whole(i64::try_from(run.rate).unwrap_or(i64::MAX), 1, RATE_MAX as i64, "rate")?;
    whole(run.warm_up_s.into(), 0, SECONDS_MAX, "warm_up_s")
}

fn shares(scenario: &Scenario) -> Checked {
    let mobility = &scenario.mobility;
    let all = [
        ("still", mobility.still),
        ("walk", mobility.walk),
        ("drive", mobility.drive),
        ("rail", mobility.rail),
        ("teleport", mobility.teleport),
    ];
    for (name, value) in all {
        share(value, &["mobility", name])?;
    }
    let sum: f64 = all.iter().map(|(_, share)| share).sum();
    ensure((sum - 1.0).abs() < 1e-9, &["mobility"], || {
        format!("its shares make {sum} together, they must make 1")
    })?;
    share(scenario.population.villages, &["population", "villages"])
}

fn pings(scenario: &Scenario) -> Checked {
    let pings = &scenario.pings;
    ensure((1..=EVERY_MS_MAX).contains(&pings.every), &["pings", "every"], || "use 1s to 1d".into())?;
    ensure(pings.accuracy_m <= ACCURACY_M_MAX, &["pings", "accuracy_m"], || {
        format!("{} m, use at most {ACCURACY_M_MAX}", pings.accuracy_m)
    })?;
    share(pings.towers, &["pings", "towers"])?;
    let [least, most] = pings.tower_m;
    ensure(least >= 1 && least <= most && most <= ACCURACY_M_MAX, &["pings", "tower_m"], || {
        format!("use two lengths of 1 to {ACCURACY_M_MAX} m, the least first")
    })
}

fn partners(scenario: &Scenario) -> Checked {
    let partners = &scenario.partners;
    ensure((1..=PARTNERS_MAX).contains(&partners.prompt), &["partners", "prompt"], || {
        format!("{} subscribers, use 1 to {PARTNERS_MAX}: the first one times the matches", partners.prompt)
    })?;
    for (name, count) in [("lagging", partners.lagging), ("stuck", partners.stuck)] {
        ensure(count <= PARTNERS_MAX, &["partners", name], || {
            format!("{count} subscribers, use at most {PARTNERS_MAX}")
        })?;
    }
    ensure((1..=LAG_MS_MAX).contains(&partners.lag_ms), &["partners", "lag_ms"], || {
        format!("{} ms, use 1 to {LAG_MS_MAX}", partners.lag_ms)
    })
}

fn share(value: f64, path: &[&str]) -> Checked {
    ensure((0.0..=1.0).contains(&value), path, || format!("{value} is no share: use 0 to 1"))
}

fn radius(km: f64, path: &[&str]) -> Checked {
    ensure(km > 0.0 && km <= RADIUS_KM_MAX, path, || {
        format!("{km} km, use more than 0 and at most {RADIUS_KM_MAX}")
    })
}

fn no_city(name: &str) -> String {
    format!("no city is named {name}: see examples/data/cities_cn.csv")
}

/// One of the alerts.
struct Alert<'a> {
    alert: &'a Raised,
    place: String,
}

impl Alert<'_> {
    fn check(&self, known: &BTreeSet<&str>) -> Checked {
        let alert = self.alert;
        self.time(alert.at, &["at"])?;
        self.spot(known)?;
        self.growth()?;
        if let Some(update) = &alert.update {
            self.time(update.at, &["update", "at"])?;
            self.later(update.at, &["update", "at"])?;
            self.on(&["update", "radius_km"], |path| radius(update.radius_km, path))?;
        }
        if let Some(at) = alert.cancel_at {
            self.time(at, &["cancel_at"])?;
            self.later(at, &["cancel_at"])?;
        }
        Ok(())
    }

    fn on(&self, keys: &[&str], check: impl FnOnce(&[&str]) -> Checked) -> Checked {
        let path: Vec<&str> = ["alerts", &self.place].into_iter().chain(keys.iter().copied()).collect();
        check(&path)
    }

    fn time(&self, at: f64, keys: &[&str]) -> Checked {
        let says = || format!("{at} is no share of the run: use 0 to below 1");
        self.on(keys, |path| ensure((0.0..1.0).contains(&at), path, says))
    }

    fn later(&self, at: f64, keys: &[&str]) -> Checked {
        let says = || format!("{at} is before the alert itself");
        self.on(keys, |path| ensure(at >= self.alert.at, path, says))
    }

    fn spot(&self, known: &BTreeSet<&str>) -> Checked {
        let alert = self.alert;
        match (&alert.city, alert.lat, alert.lon, alert.largest) {
            (Some(city), None, None, None) => {
                self.on(&["city"], |path| ensure(known.contains(city.as_str()), path, || no_city(city)))
            }
            (None, Some(lat), Some(lon), None) => {
                self.on(&["lat"], |path| {
                    ensure((-90.0..=90.0).contains(&lat), path, || {
                        format!("{lat} is no latitude: use -90 to 90")
                    })
                })?;
                self.on(&["lon"], |path| {
                    ensure((-180.0..=180.0).contains(&lon), path, || {
                        format!("{lon} is no longitude: use -180 to 180")
                    })
                })
            }
            (None, None, None, Some(largest)) => {
                let most = known.len() as u32;
                self.on(&["largest"], |path| {
                    ensure((1..=most).contains(&largest), path, || {
                        format!("{largest} cities, use 1 to {most}")
                    })
                })
            }
            _ => self.on(&[], |path| wrong(path, "say where: `city`, `lat` and `lon`, or `largest`")),
        }
    }

    fn growth(&self) -> Checked {
        let alert = self.alert;
        let specs = |all: &mut dyn Iterator<Item = (u64, f64)>| -> Vec<StageSpec> {
            all.map(|(after, radius_km)| StageSpec { after_ms: after as i64, radius_km }).collect()
        };
        let (key, specs) = match (&alert.radii_km, &alert.stages, &alert.policy) {
            (Some(radii_km), None, None) => {
                ("radii_km", specs(&mut (0..).step_by(1_000).zip(radii_km.iter().copied())))
            }
            (None, Some(stages), None) => {
                ("stages", specs(&mut stages.iter().map(|stage| (stage.after, stage.radius_km))))
            }
            (None, None, Some(policy)) => {
                return self.on(&["policy"], |path| {
                    ensure(policy == "tuanyuan", path, || {
                        format!("no policy is named {policy}: use tuanyuan, or `stages`")
                    })
                });
            }
            _ => {
                let says = "say how it grows: one of `radii_km`, `stages` and `policy`";
                return self.on(&[], |path| wrong(path, says));
            }
        };
        self.on(&[key], |path| match Stages::new(&specs) {
            Ok(_) => Ok(()),
            Err(why) => wrong(path, why.to_string()),
        })
    }
}
