//! The door from outside: bytes over a socket, and what comes back.

use std::collections::BTreeSet;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::domain::{Cause, Namespace, PingCounts, PingReject};
use crate::telemetry::{Log, SessionKind};

fn telemetry() -> Arc<Telemetry> {
    Telemetry::new(["a", "b"].map(|name| Namespace::new(name).unwrap()), 2)
}

async fn open(telemetry: &Arc<Telemetry>) -> Server {
    Server::bind(([127, 0, 0, 1], 0).into(), Arc::clone(telemetry)).await.unwrap()
}

/// Sends bytes, and returns all that comes back until the server closes.
async fn exchange(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A refused request's rest is reset.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

async fn get(server: &Server, path: &str) -> (u16, String, String) {
    let answer =
        exchange(server, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_lowercase(), body.to_owned())
}

/// The value of a metric's line.
fn value(page: &str, line: &str) -> f64 {
    let found = page.lines().find_map(|each| each.strip_prefix(line)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no line {line} in\n{page}")).parse().unwrap()
}

#[tokio::test]
async fn what_was_counted_is_printed() {
    let telemetry = telemetry();
    let server = open(&telemetry).await;
    let mut counts = PingCounts { accepted: 5, stale: 4, ..PingCounts::default() };
    counts.reject(PingReject::Future);
    for partition in 0..2 {
        let share = telemetry.share(partition, 1).unwrap();
        share.pings(&counts);
        share.matches(Cause::Enter, 3);
        share.devices(11);
    }
    telemetry.batch_taken(1);
    telemetry.batch_applied(Some(1), Duration::from_millis(3));
    telemetry.batch_applied(None, Duration::from_millis(30));
    telemetry.watch_logs(|at| crate::telemetry::LogView { earliest: 1, end: 100 + at as u64, bytes: 9 });
    let seat = telemetry.sessions.open("pa\"rt");
    seat.is(SessionKind::Subscribe, 1);
    seat.cursor(41);
    seat.sent(90);
    let source = telemetry.sessions.open("north");
    source.is(SessionKind::Ingest, 0);
    source.taken(70);
    telemetry.actions.count("publish", "accepted");
    telemetry.storage.synced(Log::Actions, Duration::from_millis(2), 4_096);
    telemetry.storage.snapshot_taken(1_000, Duration::from_secs(3), 77);

    let (status, head, page) = get(&server, "/metrics").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    for (line, expected) in [
        (r#"hexcast_pings_accepted_total{namespace="a"}"#, 0.0),
        (r#"hexcast_pings_accepted_total{namespace="b"}"#, 10.0),
        (r#"hexcast_pings_stale_total{namespace="b"}"#, 8.0),
        (r#"hexcast_pings_rejected_total{namespace="b",reason="future"}"#, 2.0),
        (r#"hexcast_pings_rejected_total{namespace="b",reason="tower"}"#, 0.0),
        (r#"hexcast_matches_total{namespace="b",cause="enter"}"#, 6.0),
        (r#"hexcast_devices{namespace="b"}"#, 22.0),
        (r#"hexcast_batches_total{namespace="b"}"#, 1.0),
        (r#"hexcast_match_log_end{namespace="b"}"#, 101.0),
        (r#"hexcast_batch_applied_seconds_bucket{le="0.0025"}"#, 0.0),
        (r#"hexcast_batch_applied_seconds_bucket{le="0.005"}"#, 1.0),
        (r#"hexcast_batch_applied_seconds_bucket{le="+Inf"}"#, 2.0),
        ("hexcast_batch_applied_seconds_count", 2.0),
        (r#"hexcast_partner_cursor{namespace="b",partner="pa\"rt",session="0"}"#, 41.0),
        (r#"hexcast_partner_lag{namespace="b",partner="pa\"rt",session="0"}"#, 60.0),
        (r#"hexcast_partner_unsent{namespace="b",partner="pa\"rt",session="0"}"#, 11.0),
        (r#"hexcast_sessions{kind="subscribe"}"#, 1.0),
        (r#"hexcast_bound_used{bound="sessions"}"#, 2.0),
        (r#"hexcast_bound_used{bound="unapplied_pings"}"#, 70.0),
        (r#"hexcast_bound_used{bound="match_log_bytes"}"#, 18.0),
        (r#"hexcast_bound_max{bound="pings_queued"}"#, 2_097_152.0),
        (r#"hexcast_actions_total{action="publish",result="accepted"}"#, 1.0),
        (r#"hexcast_sync_seconds_count{log="actions"}"#, 1.0),
        (r#"hexcast_synced_bytes_total{log="actions"}"#, 4_096.0),
        ("hexcast_snapshot_bytes", 77.0),
        ("hexcast_snapshot_seconds", 3.0),
        ("hexcast_ready", 0.0),
    ] {
        assert_eq!(value(&page, line), expected, "{line}");
    }
    assert!(value(&page, "process_resident_memory_bytes") > 1e6);
    assert!(value(&page, "hexcast_snapshot_age_seconds") > 1e9);
    for bound in Bound::ALL {
        let label = format!("{{bound=\"{}\"}}", bound.as_str());
        assert!(
            value(&page, &format!("hexcast_bound_used{label}"))
                <= value(&page, &format!("hexcast_bound_max{label}"))
        );
    }
    for line in page.lines() {
        assert!(
            line.starts_with("# HELP ") || line.starts_with("# TYPE ") || line.split(' ').count() == 2,
            "{line}"
        );
    }
    let types = page.lines().filter(|line| line.starts_with("# TYPE "));
    let names: BTreeSet<&str> = types.map(|line| line.split(' ').nth(2).unwrap()).collect();
    let words = include_str!("../../docs/operations.md").split('`').skip(1).step_by(2);
    let words: BTreeSet<&str> = words.collect();
    for name in names.iter().copied().chain(Bound::ALL.iter().map(|bound| bound.as_str())) {
        assert!(words.contains(name), "docs/operations.md does not say what {name} means");
    }
    let of_ours = |word: &&&str| word.starts_with("hexcast_") || word.starts_with("process_");
    for word in words.iter().filter(of_ours) {
        assert!(names.contains(word), "docs/operations.md tells of {word}, which is not printed");
    }
}

#[tokio::test]
async fn health_and_readiness_follow_the_engines_life() {
    let telemetry = telemetry();
    let server = open(&telemetry).await;
    let status = |path: &'static str| {
        let server = &server;
        async move {
            let (status, head, body) = get(server, path).await;
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            let json = if status == 200 { "application/json" } else { "application/problem+json" };
            assert!(head.contains(&format!("content-type: {json}")), "{head}");
            assert!(head.contains("cache-control: no-store"), "{head}");
            (status, body)
        }
    };
    assert_eq!(status("/healthz").await.0, 200);
    telemetry.health.doing("reading the snapshot");
    let (code, body) = status("/readyz").await;
    assert_eq!((code, body["phase"].as_str().unwrap()), (503, "starting"));
    assert_eq!(body["detail"], "the engine is starting: reading the snapshot");
    telemetry.health.serving();
    assert_eq!(status("/readyz").await, (200, serde_json::json!({"status": "ready"})));
    telemetry.health.stopping();
    let (code, body) = status("/readyz").await;
    assert_eq!(
        (code, body["phase"].as_str().unwrap(), body["status"].as_u64().unwrap()),
        (503, "stopping", 503)
    );
    assert_eq!(status("/healthz").await.0, 200);
    telemetry.health.fatal("a sync failed");
    let (code, body) = status("/healthz").await;
    assert_eq!((code, body["detail"].as_str().unwrap()), (503, "a sync failed"));
    assert_eq!(status("/readyz").await.1["detail"], "a sync failed");
}

#[tokio::test]
async fn what_is_not_there_or_too_large_is_a_problem_document() {
    let telemetry = telemetry();
    let server = open(&telemetry).await;
    let (status, head, body) = get(&server, "/v1/devices/42").await;
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, body["status"].as_u64().unwrap(), body["type"].as_str().unwrap()),
        (404, 404, "about:blank")
    );
    assert!(head.contains("application/problem+json"), "{head}");

    let tail = "Host: x\r\nConnection: close\r\n";
    let posted =
        exchange(&server, &format!("POST /metrics HTTP/1.1\r\n{tail}Content-Length: 0\r\n\r\n")).await;
    assert!(posted.starts_with("HTTP/1.1 405 ") && posted.contains("\"status\":405"), "{posted}");
    assert!(posted.to_lowercase().contains("allow: get"), "{posted}");

    let large = format!("GET /metrics HTTP/1.1\r\n{tail}Content-Length: {}\r\n\r\n", HTTP_BODY_BYTES_MAX + 1);
    let large = exchange(&server, &large).await;
    assert!(large.starts_with("HTTP/1.1 413 ") && large.contains("\"status\":413"), "{large}");

    let header = format!("GET /healthz HTTP/1.1\r\n{tail}X: {}\r\n\r\n", "x".repeat(HTTP_HEADER_BYTES_MAX));
    assert!(exchange(&server, &header).await.starts_with("HTTP/1.1 431 "));
    let headers = format!("GET /healthz HTTP/1.1\r\n{tail}{}\r\n", "X: x\r\n".repeat(HTTP_HEADERS_MAX));
    assert!(exchange(&server, &headers).await.starts_with("HTTP/1.1 431 "));
    assert!(exchange(&server, "\x16\x03\x01 no HTTP at all\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn connections_are_bounded_and_a_place_is_free_again() {
    let telemetry = telemetry();
    let server = open(&telemetry).await;
    let mut held = Vec::new();
    for _ in 0..HTTP_CONNECTIONS_MAX {
        let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        // Answered: it has its place, and keeps it.
        stream.read_u8().await.unwrap();
        held.push(stream);
    }
    let mut further = TcpStream::connect(server.local_addr()).await.unwrap();
    further.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    // It is not accepted while all places are taken, so nothing can be there to read, however long
    // one waits; with one place given back it is served.
    assert_eq!(telemetry.bounds.used(Bound::HttpConnections), HTTP_CONNECTIONS_MAX as u64);
    assert!(further.try_read(&mut [0]).is_err());
    held.pop();
    assert_eq!(further.read_u8().await.unwrap(), b'H');
}

#[tokio::test]
async fn a_shutdown_ends_idle_connections_and_closes_the_door() {
    let telemetry = telemetry();
    let server = open(&telemetry).await;
    let addr = server.local_addr();
    let mut idle = TcpStream::connect(addr).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    idle.read_u8().await.unwrap();
    server.shutdown().await;
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert!(String::from_utf8(rest).unwrap().contains("alive"));
    assert!(TcpStream::connect(addr).await.is_err());
}
