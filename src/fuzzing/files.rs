//! The laws of files.

use serde_json::{Value, json};

use super::{Format, is_one_line};
use crate::domain::{Action, AlertDraft, Ping};
use crate::files::{
    ActionFile, ParsedAlert, PingLine, PingReader, Pseudonyms, RowTally, Tower, TowerKey, Towers,
    alert_to_json, parse_alert_json, read_actions, read_towers,
};
use crate::limits::{ACCURACY_M_MAX, WARNINGS_MAX};

const TOWER: &[u8] = b"GSM,302,720,8100,47553,0,-122.8506,49.2311,8702\n";

/// Ping files.
pub(super) struct PingCsv;

impl PingCsv {
    fn each(bytes: &[u8], mut take: impl FnMut(PingLine)) -> Result<(), String> {
        let (towers, _) = read_towers(TOWER).map_err(|why| why.to_string())?;
        let mut names = Pseudonyms::new([0; 32], 4);
        let reader = PingReader::new(bytes, &mut names, Some(&towers)).map_err(|why| why.to_string())?;
        for line in reader {
            take(line.map_err(|why| why.to_string())?);
        }
        Ok(())
    }
}

impl Format for PingCsv {
    type Value = Vec<PingLine>;
    const EXACT: bool = false;

    fn read(bytes: &[u8]) -> Result<Vec<PingLine>, String> {
        let mut lines = Vec::new();
        Self::each(bytes, |line| lines.push(line)).map(|()| lines)
    }

    fn write(value: &Vec<PingLine>) -> Option<Vec<u8>> {
        let mut text = "device,at,lat,lon,accuracy_m\n".to_owned();
        for Ping { device, at, position, accuracy_m } in pings(value) {
            let (lat, lon) = (position.lat_deg(), position.lon_deg());
            // Quoted, though nothing needs it: then both ways of writing a field are read.
            text += &format!("\"{device}\",\"{at}\",\"{lat}\",\"{lon}\",\"{accuracy_m}\"\n");
        }
        Some(text.into_bytes())
    }

    fn same(a: &Vec<PingLine>, b: &Vec<PingLine>) -> bool {
        pings(a).eq(pings(b)) && b.len() == pings(a).count()
    }

    fn hold(value: &Vec<PingLine>) {
        let (mut tally, mut last) = (RowTally::default(), 0);
        for PingLine { line, result } in value {
            assert!(*line > last, "lines go up");
            last = *line;
            tally.count(result);
            match result {
                Ok(ping) => assert!(ping.accuracy_m <= ACCURACY_M_MAX),
                Err(problem) => is_one_line(&problem.to_string()),
            }
        }
        assert_eq!(tally.rows(), value.len() as u64);
        if let Err(why) = tally.verdict() {
            is_one_line(&why.to_string());
        }
    }

    fn decode(bytes: &[u8]) -> bool {
        Self::each(bytes, drop).is_ok()
    }
}

fn pings(lines: &[PingLine]) -> impl Iterator<Item = Ping> {
    lines.iter().filter_map(|line| line.result.clone().ok())
}

/// Tower files.
pub(super) struct TowerCsv;

fn sorted(towers: &Towers) -> Vec<(TowerKey, Tower)> {
    let mut all: Vec<_> = towers.iter().collect();
    all.sort_by_key(|(key, _)| *key);
    all
}

impl Format for TowerCsv {
    type Value = Towers;
    const EXACT: bool = false;

    fn read(bytes: &[u8]) -> Result<Towers, String> {
        let (towers, report) = read_towers(bytes).map_err(|why| why.to_string())?;
        assert!(towers.len() as u64 <= report.good, "rows of one key are one tower");
        assert_eq!(report.first_bad.len() as u64, report.bad.min(WARNINGS_MAX as u64));
        report.first_bad.iter().for_each(|(_, problem)| is_one_line(&problem.to_string()));
        Ok(towers)
    }

    fn write(value: &Towers) -> Option<Vec<u8>> {
        let mut text = String::new();
        for (key, tower) in sorted(value) {
            let TowerKey { mcc, net, area, cell } = key;
            let (lat, lon) = (tower.position.lat_deg(), tower.position.lon_deg());
            text += &format!("LTE,{mcc},{net},{area},{cell},0,{lon},{lat},{}\n", tower.range_m);
        }
        Some(text.into_bytes())
    }

    fn same(a: &Towers, b: &Towers) -> bool {
        sorted(a) == sorted(b)
    }

    fn hold(value: &Towers) {
        for (key, tower) in value.iter() {
            assert!((1..=ACCURACY_M_MAX).contains(&tower.range_m));
            assert_eq!(value.get(key), Some(tower));
            assert_eq!(key.to_string().parse(), Ok(key));
        }
    }

    fn decode(bytes: &[u8]) -> bool {
        read_towers(bytes).is_ok()
    }
}

/// `None` where its area has an impossible position, which is not written.
fn written(draft: &AlertDraft) -> Option<Value> {
    if let Some(Err(why)) = &draft.area {
        is_one_line(&why.to_string());
        return None;
    }
    Some(alert_to_json(draft))
}

/// Alerts.
pub(super) struct AlertJson;

impl Format for AlertJson {
    type Value = ParsedAlert;
    const EXACT: bool = false;

    fn read(bytes: &[u8]) -> Result<ParsedAlert, String> {
        let text = std::str::from_utf8(bytes).map_err(|why| why.to_string())?;
        parse_alert_json(text).map_err(|why| why.to_string())
    }

    fn write(value: &ParsedAlert) -> Option<Vec<u8>> {
        Some(written(&value.draft)?.to_string().into_bytes())
    }

    fn same(a: &ParsedAlert, b: &ParsedAlert) -> bool {
        // What was not known is not written.
        a.draft == b.draft && b.warnings.is_empty()
    }

    fn hold(value: &ParsedAlert) {
        assert!(value.warnings.len() <= WARNINGS_MAX);
        value.warnings.iter().for_each(|warning| is_one_line(warning));
    }
}

/// Action files.
pub(super) struct Actions;

impl Format for Actions {
    type Value = ActionFile;
    const EXACT: bool = false;

    fn read(bytes: &[u8]) -> Result<ActionFile, String> {
        read_actions(bytes).map_err(|why| why.to_string())
    }

    fn write(value: &ActionFile) -> Option<Vec<u8>> {
        let mut text = String::new();
        for timed in &value.actions {
            let mut line = match &timed.action {
                Action::Publish(draft) => json!({"action": "publish", "alert": written(draft)?}),
                Action::Update(draft) => json!({"action": "update", "alert": written(draft)?}),
                Action::Sighting { id, lat, lon, seen_at } => json!({
                    "action": "sighting", "id": id.as_str(), "lat": lat, "lon": lon,
                    "seen_at": seen_at.map(|at| at.to_string()),
                }),
                Action::Cancel { id, reason } => {
                    json!({"action": "cancel", "id": id.as_str(), "reason": reason.as_str()})
                }
            };
            line["at"] = timed.at.to_string().into();
            text += &format!("{line}\n");
        }
        Some(text.into_bytes())
    }

    fn same(a: &ActionFile, b: &ActionFile) -> bool {
        let actions = |file: &ActionFile| -> Vec<_> {
            file.actions.iter().map(|timed| (timed.at, timed.action.clone())).collect()
        };
        actions(a) == actions(b) && b.warnings.is_empty()
    }

    fn hold(value: &ActionFile) {
        assert!(value.actions.is_sorted_by_key(|timed| timed.at));
        assert!(value.warnings.len() <= WARNINGS_MAX);
        value.warnings.iter().for_each(|warning| is_one_line(warning));
    }
}
