//! The load generator end to end, small: its own engine, both paces, the report's keys.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::process::Command;

use serde_json::Value;

fn report(args: &[&str]) -> Value {
    let common = ["run", "--devices", "3000", "--seconds", "2", "--json", "-"];
    let done = Command::new(env!("CARGO_BIN_EXE_loadgen")).args(common).args(args).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

#[test]
fn a_small_run_reports_what_was_promised() {
    let report = report(&["--rate", "20000", "--seed", "7"]);
    for key in [
        "scenario",
        "seed",
        "devices",
        "seconds",
        "pings_sent",
        "pings_acked",
        "pings_rejected",
        "pings_per_second",
        "ack_ms",
        "alerts",
        "entered",
        "rss_bytes",
        "bytes_per_device",
        "cpu_seconds",
        "own_cpu_seconds",
        "sessions",
        "machine",
    ] {
        assert!(report.get(key).is_some_and(|value| !value.is_null()), "{key}");
    }
    for key in ["p50", "p90", "p99", "p999", "max"] {
        assert!(report["ack_ms"][key].as_f64().unwrap() > 0.0, "{key}");
    }
    assert_eq!((&report["scenario"], &report["seed"]), (&"country".into(), &7.into()));
    let sent = report["pings_sent"].as_u64().unwrap();
    assert_eq!(report["pings_acked"], sent);
    assert_eq!((&report["pings_rejected"], &report["pings_stale"]), (&0.into(), &0.into()));
    // Open loop: all that was due was sent, give or take a batch.
    assert!((40_000..=40_200).contains(&sent), "{sent}");
    let alerts = report["alerts"].as_array().unwrap();
    assert_eq!(alerts.len(), 2);
    let first = &alerts[0]["stages"][0];
    assert!(first["matched"].as_u64().unwrap() > 0 && first["first_match_ms"].as_f64().unwrap() > 0.0);
    assert!(first["last_match_ms"].as_f64() >= first["first_match_ms"].as_f64());
    assert_eq!(alerts[0]["stages"].as_array().unwrap().len(), 4);
}

#[test]
fn as_fast_as_acknowledged_teleports_under_standing_alerts() {
    let dir = std::env::temp_dir().join(format!("loadgen-test-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let file = dir.join("mine.toml");
    std::fs::write(&file, "name = 'mine'\nteleport = 1.0\nstanding = 5\n").unwrap();
    let report = report(&["--max", "--scenario", file.to_str().unwrap()]);
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!((&report["scenario"], &report["rate"]), (&"mine".into(), &Value::Null));
    assert_eq!(report["pings_acked"], report["pings_sent"]);
    assert!(report["entered"].as_u64().unwrap() > 0);
    assert!(report["alerts"].as_array().unwrap().is_empty());
}

#[test]
fn an_alert_is_timed_to_the_last_of_the_matches_that_the_server_foretold() {
    let args = ["alert", "--devices", "20000", "--matches", "2000", "--rounds", "2"];
    let done = Command::new(env!("CARGO_BIN_EXE_loadgen")).args(args).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = String::from_utf8(done.stdout).unwrap();
    assert_eq!(text.matches(" matches: first after ").count(), 2, "{text}");
    let matched: u32 =
        text.lines().nth(2).unwrap().split(' ').next().unwrap().replace(',', "").parse().unwrap();
    assert!((1_600..2_400).contains(&matched), "{text}");
    assert!(text.contains("last match: median "), "{text}");
}

#[test]
fn scenarios_are_listed_and_mistakes_are_one_line() {
    let run = |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_loadgen")).args(args).output().unwrap();
    let listed = String::from_utf8(run(&["scenarios"]).stdout).unwrap();
    assert!(["country", "still", "teleport", "rush"].iter().all(|name| listed.contains(name)), "{listed}");
    let failed = run(&["run", "--scenario", "none"]);
    assert_eq!(failed.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&failed.stderr).lines().count(), 1);
    assert_eq!(run(&["run", "--max", "--rate", "5"]).status.code(), Some(2));
}
