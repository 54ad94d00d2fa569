//! The server as its operator's machines see it: metrics, health, logs, signals.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use serde_json::Value;

use crate::harness::{Running, repository, run_ok, serve};
use crate::temporary;

/// Where a server answers over HTTP.
fn http_address(server: &mut Running) -> String {
    let line = server.wait_out("the HTTP address", |line| line.ends_with(" (HTTP)"));
    line.split(' ').nth(2).unwrap().to_owned()
}

/// Status and body of an answer.
fn get(address: &str, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn value(page: &str, metric: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' ')?.parse().ok())
}

/// Scrapes until all metrics have these values. A figure may come a moment after what it counts was
/// acknowledged, and is then there; nothing is measured.
fn wait_metrics(address: &str, expected: &[(&str, f64)]) -> String {
    let deadline = std::time::Instant::now() + crate::harness::DEADLINE;
    loop {
        let (status, page) = get(address, "GET", "/metrics");
        assert_eq!(status, 200);
        let wrong: Vec<_> =
            expected.iter().filter(|(metric, due)| value(&page, metric) != Some(*due)).collect();
        if wrong.is_empty() {
            return page;
        }
        assert!(std::time::Instant::now() < deadline, "{wrong:?} did not come in\n{page}");
    }
}

fn client(dir: &Path, to: &[String], args: &[&str]) {
    run_ok(dir, args.iter().map(|arg| (*arg).to_owned()).chain(to.iter().cloned()));
}

#[test]
fn the_figures_move_with_pings_actions_and_matches() {
    let dir = temporary();
    let dir = dir.path();
    let (mut server, to) = serve(dir, &["--partitions", "3"]);
    let http = http_address(&mut server);
    assert_eq!(get(&http, "GET", "/healthz").0, 200);
    assert_eq!(get(&http, "GET", "/readyz").0, 200);
    let accepted = r#"hexcast_pings_accepted_total{namespace="default"}"#;
    wait_metrics(&http, &[(accepted, 0.0), ("hexcast_ready", 1.0)]);

    client(dir, &to, &["ingest", "--now", &repository("examples/pings.csv")]);
    let page = wait_metrics(
        &http,
        &[
            (accepted, 516.0),
            (r#"hexcast_pings_stale_total{namespace="default"}"#, 0.0),
            (r#"hexcast_bound_used{bound="pings_queued"}"#, 0.0),
            (r#"hexcast_sessions_ended_total{kind="ingest",code="done"}"#, 1.0),
        ],
    );
    let batches = value(&page, r#"hexcast_batches_total{namespace="default"}"#).unwrap();
    assert!(batches >= 1.0);
    wait_metrics(&http, &[("hexcast_batch_applied_seconds_count", batches)]);
    let devices = value(&page, r#"hexcast_devices{namespace="default"}"#).unwrap();
    assert!((22.0..=516.0).contains(&devices), "{devices}");

    client(dir, &to, &["alert", "publish", &repository("examples/alert.json")]);
    wait_metrics(
        &http,
        &[
            (r#"hexcast_matches_total{namespace="default",cause="publish"}"#, 22.0),
            (r#"hexcast_actions_total{action="publish",result="accepted"}"#, 1.0),
            ("hexcast_first_match_seconds_count", 1.0),
            ("hexcast_action_told_seconds_count", 1.0),
            ("hexcast_alerts_active", 1.0),
            (r#"hexcast_bound_used{bound="alerts"}"#, 1.0),
            (r#"hexcast_match_log_end{namespace="default"}"#, 22.0),
        ],
    );

    // A partner reads all that there is; then what comes is timed to it.
    let mut partner = Running::start(dir, ["subscribe".to_owned()].into_iter().chain(to.clone()));
    partner.wait_count("the matches", 22, |line| line.contains("\"cause\":"));
    let page = wait_metrics(
        &http,
        &[
            (r#"hexcast_sessions{kind="subscribe"}"#, 1.0),
            (r#"hexcast_bound_used{bound="connections"}"#, 1.0),
        ],
    );
    let unsent = r#"hexcast_partner_unsent{namespace="default",partner="partner",session=""#;
    let session = page.lines().find(|line| line.starts_with(unsent)).unwrap();
    let (unsent, _) = session.rsplit_once(' ').unwrap();
    client(dir, &to, &["alert", "cancel", "example-0001", "--reason", "found"]);
    partner.wait_count("the all-clear", 44, |line| line.contains("\"cause\":"));
    let page = wait_metrics(
        &http,
        &[
            (unsent, 0.0),
            (r#"hexcast_matches_total{namespace="default",cause="cancel"}"#, 22.0),
            ("hexcast_alerts_active", 0.0),
        ],
    );
    let sent = value(&page, "hexcast_match_sent_seconds_count").unwrap();
    assert!(sent >= 1.0, "it is recorded before what is sent is counted");
    drop(partner);

    let (status, body) = get(&http, "GET", "/v1/devices/42");
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, problem["status"].as_u64()), (404, Some(404)));
    let (status, body) = get(&http, "DELETE", "/metrics");
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, problem["title"].as_str()), (405, Some("Method Not Allowed")));
}

#[test]
fn lines_are_json_where_asked_and_name_no_device() {
    let dir = temporary();
    let dir = dir.path();
    std::fs::write(dir.join("hexcast.toml"), "log_format = 'json'\n").unwrap();
    let (mut server, to) = serve(dir, &["--config", "hexcast.toml"]);
    http_address(&mut server);
    // A device and a place that nothing else is called.
    std::fs::write(
        dir.join("pings.csv"),
        "device,at,lat,lon\n777000777,2026-05-15T11:59:00Z,31.23047,121.47379\n",
    )
    .unwrap();
    client(dir, &to, &["ingest", "--now", "pings.csv"]);
    let far = crate::run(
        dir,
        ["alert", "cancel", "none", "--reason", "found"].map(String::from).into_iter().chain(to),
    );
    assert_eq!(far.code, 1);
    server.signal("TERM");
    let said = server.wait_exit("the end");
    assert_eq!(said.code, 0, "{}", said.err);
    let lines: Vec<Value> = said.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        lines.iter().all(|line| line["level"].is_string() && line["timestamp"].is_string()),
        "{}",
        said.err
    );
    assert!(lines.iter().any(|line| line["message"] == "hexcast: shut down"), "{}", said.err);
    for secret in ["777000777", "31.23047", "121.47379", "3123047"] {
        assert!(!said.err.contains(secret), "{}", said.err);
    }
}

/// A partner that is stopped holds the shutdown up, for a bounded time that is long enough to look.
#[test]
fn a_shutdown_is_seen_before_it_ends_and_a_second_signal_ends_it() {
    let dir = temporary();
    let dir = dir.path();
    let (mut server, to) = serve(dir, &[]);
    let http = http_address(&mut server);
    let partner = Running::start(dir, ["subscribe".to_owned()].into_iter().chain(to));
    wait_metrics(&http, &[(r#"hexcast_sessions{kind="subscribe"}"#, 1.0)]);
    partner.signal("STOP");
    server.signal("TERM");
    server.wait_err("the shutdown", |line| line.contains("shutting down"));
    let (status, body) = get(&http, "GET", "/readyz");
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, problem["phase"].as_str()), (503, Some("stopping")));
    assert_eq!(get(&http, "GET", "/healthz").0, 200, "it is alive");
    server.signal("INT");
    let said = server.wait_exit("the end");
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("a second signal"), "{}", said.err);
}

#[test]
fn an_http_address_that_is_taken_ends_the_start_only_where_it_was_asked_for() {
    let dir = temporary();
    let dir = dir.path();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = crate::run(dir, ["serve", "--quic", "127.0.0.1:0", "--http", &address]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains(&format!("cannot listen on {address} (TCP)")), "{}", said.err);
    assert!(said.err.contains("--http"), "{}", said.err);
}
