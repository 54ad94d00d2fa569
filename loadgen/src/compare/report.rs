//! The table of a comparison: what each server came to, and how many times better hexcast is.

use std::fmt::Write as _;

use serde::Serialize;

use super::check::Wrong;
use super::measured::{Measured, RADII_KM};
use crate::report::grouped;

/// Devices on the wrong side that are named in the table; the JSON report has them all.
const NAMED: usize = 1;
/// A cell's columns.
const WIDTH: usize = 24;
/// The first column's.
const LABEL_WIDTH: usize = 34;

/// All of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) devices: u32,
    pub(super) seconds: u32,
    pub(super) city: String,
    pub(super) machine: String,
    /// Where they ran.
    pub(super) cores: String,
    /// How long the disk took to sync 4 KiB, median: hexcast waits for it, its peers keep nothing.
    pub(super) sync_ms: f64,
    pub(super) hexcast: Measured,
    pub(super) peers: Vec<Measured>,
    pub(super) not_measured: Vec<NotMeasured>,
}

/// A peer that is not installed.
#[derive(Debug, Serialize)]
pub(super) struct NotMeasured {
    pub(super) peer: String,
    /// How to get it.
    pub(super) install: String,
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Better {
    More,
    Less,
    /// It is not for comparing.
    Neither,
}

/// How many times better hexcast is; none where a figure is missing or nothing.
fn times_better(hexcast: Option<f64>, peer: Option<f64>, better: Better) -> Option<f64> {
    let (hexcast, peer) = (hexcast?, peer?);
    let ratio = match better {
        Better::More => hexcast / peer,
        Better::Less => peer / hexcast,
        Better::Neither => return None,
    };
    (ratio.is_finite() && ratio > 0.0).then_some(ratio)
}

impl Report {
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        // Writing into a string does not fail, here and below.
        let mut line = |what: &str| writeln!(text, "{}", what.trim_end()).unwrap_or_default();
        line(&self.machine);
        line(&format!(
            "{} devices, {} s of updates, alerts around {}; {}",
            grouped(self.devices.into()),
            self.seconds,
            self.city,
            self.cores
        ));
        line(&format!(
            "a sync of the disk takes {:.2} ms: hexcast waits for some, its peers keep nothing",
            self.sync_ms
        ));
        line("(in brackets: how many times better hexcast is)");
        line("");
        let all = || std::iter::once(&self.hexcast).chain(&self.peers);
        line(
            &all().fold(format!("{:LABEL_WIDTH$}", ""), |row, one| row + &format!("{:>WIDTH$}", one.server)),
        );
        let mut row = |label: &str, better, digits, of: &dyn Fn(&Measured) -> Option<f64>| {
            let mut row = format!("{label:LABEL_WIDTH$}{:>WIDTH$}", figure(of(&self.hexcast), digits));
            for peer in &self.peers {
                let ratio = times_better(of(&self.hexcast), of(peer), better);
                let ratio = ratio.map_or(String::new(), |ratio| format!(" ({})", times(ratio)));
                let _ = write!(row, "{:>WIDTH$}", figure(of(peer), digits) + &ratio);
            }
            line(&row);
        };
        row("updates a second", Better::More, 0, &|one| Some(one.updates_per_second));
        row("  its core busy, %", Better::Neither, 0, &|one| Some(one.server_busy? * 100.0));
        row("  the client's core busy, %", Better::Neither, 0, &|one| Some(one.client_busy? * 100.0));
        row("updates a second, 4 alerts stand", Better::More, 0, &|one| one.standing_updates_per_second);
        for (i, radius_km) in RADII_KM.into_iter().enumerate() {
            let label = format!("alert of {radius_km} km, ms");
            row(&label, Better::Less, 3, &|one| Some(one.alerts.get(i)?.ms));
            row("  devices found", Better::Neither, 0, &|one| Some(one.alerts.get(i)?.matched as f64));
            row("  ns a device", Better::Less, 1, &|one| one.alerts.get(i)?.ns_per_match);
        }
        row("bytes a device", Better::Less, 1, &|one| one.bytes_per_device);
        line("");
        for one in all() {
            line(&format!("{}: {}", one.server, one.settings));
        }
        for peer in &self.peers {
            for alert in &peer.alerts {
                let found = &alert.differences;
                if found.too_many.is_empty() && found.too_few.is_empty() {
                    continue;
                }
                line(&format!(
                    "{} at {} km: {} found though outside, {} not found though within, of {} within by the \
                     geodesic; all by its own measure of distance",
                    peer.server,
                    alert.radius_km,
                    grouped(found.too_many.len() as u64),
                    grouped(found.too_few.len() as u64),
                    grouped(found.within)
                ));
                for wrong in found.too_many.iter().take(NAMED).chain(found.too_few.iter().take(NAMED)) {
                    let Wrong { device, metres, server_metres } = wrong;
                    line(&format!(
                        "    {device}: {metres:.1} m by the geodesic, {server_metres:.1} m by its measure"
                    ));
                }
            }
        }
        for NotMeasured { peer, install } in &self.not_measured {
            line(&format!("{peer}: NOT MEASURED, it is not installed: {install}"));
        }
        text
    }
}

/// A figure with so many decimals, large ones with commas.
fn figure(figure: Option<f64>, digits: usize) -> String {
    match figure {
        None => "-".into(),
        Some(figure) if digits == 0 => grouped(figure.round().max(0.0) as u64),
        Some(figure) => format!("{figure:.digits$}"),
    }
}

fn times(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.2}x") } else { format!("{ratio:.1}x") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::check::Differences;
    use super::super::measured::AlertMeasured;
    use super::*;

    fn measured(server: &str, by: u32, differences: Differences) -> Measured {
        let ms = Duration::from_millis((2 * by).into());
        let alert = |radius_km| AlertMeasured::new(radius_km, 1_000, vec![ms], differences.clone());
        Measured {
            server: server.into(),
            settings: "its best".into(),
            updates_per_second: 12_000_000.0 / f64::from(by),
            standing_updates_per_second: (by == 1).then_some(9e6),
            server_busy: Some(0.99),
            client_busy: None,
            bytes_per_device: Some(40.0 * f64::from(by)),
            alerts: RADII_KM.map(alert).into(),
        }
    }

    fn report() -> Report {
        let wrong = Wrong { device: 77, metres: 500_000.4, server_metres: 499_999.96 };
        let differences = Differences { within: 999, too_many: vec![wrong], too_few: vec![] };
        Report {
            devices: 1_000_000,
            seconds: 10,
            city: "Shanghai".into(),
            machine: "a machine".into(),
            cores: "a core each".into(),
            sync_ms: 0.25,
            hexcast: measured("hexcast 0.1.0", 1, Differences::default()),
            peers: vec![measured("Redis 7.0.15", 30, differences)],
            not_measured: vec![NotMeasured { peer: "Tile38".into(), install: "get it there".into() }],
        }
    }

    #[test]
    fn ratios_say_how_many_times_better_hexcast_is() {
        assert_eq!(times_better(Some(30.0), Some(2.0), Better::More), Some(15.0));
        assert_eq!(times_better(Some(30.0), Some(120.0), Better::Less), Some(4.0));
        assert_eq!(times_better(Some(30.0), Some(15.0), Better::Less), Some(0.5));
        assert_eq!(times_better(Some(30.0), Some(15.0), Better::Neither), None);
        assert_eq!(times_better(None, Some(15.0), Better::Less), None);
        assert_eq!(times_better(Some(30.0), Some(0.0), Better::More), None);
        assert_eq!(times_better(Some(0.0), Some(0.0), Better::Less), None);
    }

    #[test]
    fn the_table_has_every_figure_its_ratio_who_is_wrong_and_who_is_missing() {
        let table = report().table();
        let row = |label: &str| -> Vec<String> {
            let row = table.lines().find(|line| line.trim_start().starts_with(label));
            let row = row.unwrap_or_else(|| panic!("no {label} in\n{table}"));
            row.trim_start()[label.len()..].split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(row("updates a second"), ["12,000,000", "400,000", "(30.0x)"]);
        assert_eq!(row("updates a second, 4 alerts stand"), ["9,000,000", "-"]);
        assert_eq!(row("its core busy, %"), ["99", "99"]);
        assert_eq!(row("the client's core busy, %"), ["-", "-"]);
        assert_eq!(row("alert of 500 km, ms"), ["2.000", "60.000", "(30.0x)"]);
        assert_eq!(row("ns a device"), ["2000.0", "60000.0", "(30.0x)"]);
        assert_eq!(row("bytes a device"), ["40.0", "1200.0", "(30.0x)"]);
        assert!(table.contains("Redis 7.0.15 at 500 km: 1 found though outside, 0 not found though within"));
        assert!(table.contains("77: 500000.4 m by the geodesic, 500000.0 m by its measure"), "{table}");
        assert!(table.contains("Tile38: NOT MEASURED, it is not installed: get it there"));
    }

    #[test]
    fn the_json_report_has_the_same_figures() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["peers"][0]["updates_per_second"], 400_000.0);
        assert_eq!(json["hexcast"]["alerts"][3]["radius_km"], 500.0);
        assert_eq!(json["peers"][0]["alerts"][0]["differences"]["too_many"][0]["device"], 77);
        assert_eq!(json["not_measured"][0]["peer"], "Tile38");
    }
}
