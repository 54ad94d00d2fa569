//! The load generator end to end, small: its own engine, both paces, every scenario, the reports.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

fn loadgen(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadgen")).args(args).output().unwrap()
}

fn printed(args: &[&str]) -> String {
    let done = loadgen(args);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn report(args: &[&str]) -> Value {
    let common = ["run", "--devices", "3000", "--seconds", "2", "--warm-up", "0", "--json", "-"];
    serde_json::from_str(&printed(&[&common, args].concat())).unwrap()
}

/// A folder of this test's own, empty.
fn folder(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("loadgen-test-{name}-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    dir
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
        "pings_due",
        "ack_ms",
        "ack_curve_ms",
        "alerts",
        "entered",
        "rss_bytes",
        "bytes_per_device",
        "cpu_seconds",
        "own_cpu_seconds",
        "sessions",
        "generator",
        "bottleneck",
        "says",
        "series",
        "warm_up_seconds",
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
    let dir = folder("teleport");
    let file = dir.join("mine.toml");
    let text = "name = 'mine'\nabout = 'x'\n[mobility]\nteleport = 1.0\n[standing]\ncount = 5\n";
    std::fs::write(&file, text).unwrap();
    let report = report(&["--max", "--scenario", file.to_str().unwrap()]);
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!((&report["scenario"], &report["rate"]), (&"mine".into(), &Value::Null));
    assert_eq!(report["pings_acked"], report["pings_sent"]);
    assert!(report["entered"].as_u64().unwrap() > 0);
    assert!(report["alerts"].as_array().unwrap().is_empty());
}

#[test]
fn an_alert_is_timed_to_the_last_of_the_matches_that_the_server_foretold() {
    let text = printed(&["alert", "--devices", "20000", "--matches", "2000", "--rounds", "2"]);
    assert_eq!(text.matches(" matches: first after ").count(), 2, "{text}");
    let matched: u32 =
        text.lines().nth(2).unwrap().split(' ').next().unwrap().replace(',', "").parse().unwrap();
    assert!((1_600..2_400).contains(&matched), "{text}");
    assert!(text.contains("last match: median "), "{text}");
}

#[test]
fn scenarios_are_listed_and_mistakes_are_one_line() {
    let listed = printed(&["scenarios"]);
    for name in [
        "country",
        "rush-hour",
        "travel-rush",
        "megacity-alert",
        "hundred-alerts",
        "lagging-partner",
        "flood",
        "teleport",
    ] {
        let line = listed.lines().find(|line| line.split(' ').next() == Some(name));
        assert!(line.is_some_and(|line| line.len() > name.len() + 10), "{name} in {listed}");
    }
    let failed = loadgen(&["run", "--scenario", "none"]);
    assert_eq!(failed.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&failed.stderr).lines().count(), 1);
    assert_eq!(loadgen(&["run", "--max", "--rate", "5"]).status.code(), Some(2));
}

#[test]
fn a_bad_scenario_file_is_told_with_file_line_and_key() {
    let dir = folder("bad");
    let file = dir.join("bad.toml");
    std::fs::write(&file, "name = 'x'\nabout = 'y'\n\n[mobility]\nstill = 1.0\nfly = 0.5\n").unwrap();
    let failed = loadgen(&["run", "--scenario", file.to_str().unwrap()]);
    std::fs::remove_dir_all(&dir).unwrap();
    let said = String::from_utf8(failed.stderr).unwrap();
    assert_eq!((failed.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("bad.toml, line 6, mobility.fly: unknown field `fly`"), "{said}");
}

#[test]
fn the_same_seed_makes_the_same_pings() {
    let digest = |seed: &str, scenario: &str| {
        let args = ["generate", "--devices", "3000", "--pings", "20000", "--threads", "2", "--digest"];
        let text = printed(&[&args[..], &["--seed", seed, "--scenario", scenario]].concat());
        assert!(text.contains(" pings a second and core: "), "{text}");
        text.lines().last().unwrap().to_owned()
    };
    let one = digest("7", "travel-rush");
    assert!(one.starts_with("digest "), "{one}");
    assert_eq!(one, digest("7", "travel-rush"));
    assert_ne!(one, digest("8", "travel-rush"));
    assert_ne!(one, digest("7", "country"));
}

/// Every shipped scenario, short: all is applied, and its alerts reach the partner.
#[test]
fn every_scenario_runs() {
    let listed = printed(&["scenarios"]);
    std::thread::scope(|scope| {
        for name in listed.lines().filter_map(|line| line.split(' ').next()) {
            scope.spawn(move || short(name));
        }
    });
}

fn short(name: &str) {
    let mut args = vec!["run", "--devices", "4000", "--seconds", "1", "--warm-up", "0", "--json", "-"];
    args.extend(["--scenario", name]);
    // The flood sets its own pace.
    if name != "flood" {
        args.extend(["--rate", "5000"]);
    }
    let report: Value = serde_json::from_str(&printed(&args)).unwrap();
    assert_eq!(report["scenario"], name);
    assert_eq!(report["pings_acked"], report["pings_sent"], "{name}");
    assert_eq!(report["pings_rejected"], 0, "{name}");
    let alerts = report["alerts"].as_array().unwrap();
    let first = |alert: &Value| alert["stages"][0]["matched"].as_u64().unwrap();
    assert!(alerts.iter().map(first).sum::<u64>() > 0, "{name}: {report}");
    assert_eq!(alerts.len() == 100, name == "hundred-alerts");
    assert_eq!(report["rate"].is_null(), name == "flood");
    let partners = report["partners"].as_array().unwrap();
    match name {
        "lagging-partner" => {
            assert_eq!(partners.len(), 2);
            assert_eq!((&partners[1]["reads"], &partners[1]["read"]), (&"stuck".into(), &0.into()));
            assert!(partners[1]["behind"].as_u64().unwrap() > 0);
        }
        "megacity-alert" => {
            assert!(alerts[0]["cancel"]["matched"].as_u64().unwrap() >= first(&alerts[0]), "{report}");
        }
        "travel-rush" => assert!(alerts[0]["update"]["matched"].as_u64().unwrap() > 0, "{report}"),
        _ => assert!(partners.is_empty(), "{name}"),
    }
}

#[test]
fn every_key_of_a_scenario_file_is_obeyed_and_the_page_stands_alone() {
    let dir = folder("page");
    let (file, page) = (dir.join("every-key.toml"), dir.join("report.html"));
    // A name that would break out of a page that did not escape it.
    let text = include_str!("data/every-key.toml")
        .replace("name = \"every-key\"", "name = '</title><script>alert(1)</script>&\"'")
        .replace("devices = 5", "devices = 5000")
        .replace("seconds = 4", "seconds = 3");
    std::fs::write(&file, text).unwrap();
    let args = ["run", "--scenario", file.to_str().unwrap(), "--html", page.to_str().unwrap(), "--json", "-"];
    let report: Value = serde_json::from_str(&printed(&args)).unwrap();
    let html = std::fs::read_to_string(&page).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!((&report["devices"], &report["rate"]), (&5_000.into(), &Value::Null));
    assert_eq!(report["warm_up_seconds"], 2);
    let alerts = report["alerts"].as_array().unwrap();
    assert_eq!(alerts.len(), 1 + 1 + 2, "four largest of two cities are two");
    assert_eq!(alerts[1]["around"], "30.58, 114.27");
    // Lost 59m59s before: the second stage of the policy came after a second.
    let radii: Vec<f64> = alerts[2]["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stage| stage["radius_km"].as_f64().unwrap())
        .collect();
    assert_eq!(radii, [100.0, 200.0, 300.0, 500.0]);
    assert!(alerts[2]["stages"][1]["last_match_ms"].as_f64().unwrap() >= 0.0, "{report}");
    assert_eq!(report["partners"].as_array().unwrap().len(), 3);
    assert!(["none", "server", "generator", "processors"].map(Value::from).contains(&report["bottleneck"]));
    assert!(report["says"].as_str().unwrap().len() > 20);
    assert!(report["series"].as_array().unwrap().len() >= 8, "{report}");

    for outside in ["http://", "https://", "<script", "<link", "<img", "@import", "url(", "src="] {
        assert!(!html.contains(outside), "the page has {outside}");
    }
    assert!(html.contains("&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;"));
    assert!(html.contains("Content-Security-Policy") && html.contains("prefers-color-scheme: dark"));
    // Pings, acknowledgements, matches, memory, percentiles, stages.
    assert_eq!(html.matches("<svg ").count(), 6);
    assert!(!html.contains("NaN") && !html.contains("inf "));
    well_formed(html.strip_prefix("<!DOCTYPE html>").unwrap());
}

/// Every element is closed in its turn, every attribute quoted, no bare `&` or `<`: the page is XML.
fn well_formed(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        entities(&rest[..start]);
        let end = start + rest[start..].find('>').unwrap();
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "</{name}>");
            continue;
        }
        let (tag, empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric()), "<{name}>");
        let quotes: Vec<&str> = attributes.split('"').collect();
        assert_eq!(quotes.len() % 2, 1, "quotes in <{tag}>");
        for pair in quotes.chunks_exact(2) {
            let Some(key) = pair[0].trim().strip_suffix('=') else { unreachable!("<{tag}>") };
            assert!(key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "<{tag}>");
            entities(pair[1]);
        }
        if !empty {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

fn entities(text: &str) {
    for after in text.split('&').skip(1) {
        let name = after.split(';').next().unwrap();
        assert!(["amp", "lt", "gt", "quot", "#39"].contains(&name), "&{name};");
    }
}
