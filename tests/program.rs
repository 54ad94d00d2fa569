//! The program from outside: the real binary, its arguments, files, exit codes and lines.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[path = "program/harness.rs"]
mod harness;
#[path = "program/seen.rs"]
mod seen;

use harness::{Running, hexcast, repository, run, run_ok, run_with_input, serve, write};

const PINGS: &str = "device,at,lat,lon\n1,2026-05-15T11:59:00Z,31.2304,121.4737\n";
const PUBLISH: &str = r#"{"action":"publish","at":"2026-05-15T12:00:00Z","alert":{"id":"a","expires":"2026-05-16T12:00:00Z","area":{"circle":{"lat":31.2304,"lon":121.4737}}}}"#;
const MATCH: &str = r#"{"alert":"a","version":1,"part":0,"stage":0,"radius_km":100.0,"cause":"publish","namespace":"default","device":"1","at":"2026-05-15T12:00:00.000Z"}"#;

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A directory with `pings.csv` and `actions.ndjson`.
fn small_world() -> tempfile::TempDir {
    let dir = temporary();
    write(dir.path(), "pings.csv", PINGS);
    write(dir.path(), "actions.ndjson", PUBLISH);
    dir
}

fn replay_args() -> Vec<&'static str> {
    vec!["replay", "--pings", "pings.csv", "--actions", "actions.ndjson"]
}

#[test]
fn replay_gives_every_example_byte_for_byte_on_any_number_of_partitions() {
    let examples = std::fs::read_dir(repository("tests/data/examples")).unwrap();
    let mut seen = 0;
    for example in examples.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        let expected = std::fs::read_to_string(example.join("matches.ndjson")).unwrap();
        for partitions in ["1", "7"] {
            let mut args = replay_args();
            args.extend(["--partitions", partitions]);
            assert_eq!(run_ok(&example, args).out, expected, "{example:?} on {partitions}");
        }
        seen += 1;
    }
    assert_eq!(seen, 14);
}

#[test]
fn replay_reads_and_writes_files_streams_and_archives() {
    let dir = small_world();
    let dir = dir.path();
    let line = format!("{MATCH}\n");
    let said = run_ok(dir, replay_args());
    assert_eq!(said.out, line);
    assert!(said.err.contains("1 match in"), "{}", said.err);
    assert_eq!(said.err.lines().count(), 1, "{}", said.err);

    for (dash, file) in [("--pings", PINGS), ("--actions", PUBLISH)] {
        let args = replay_args();
        let args =
            args.iter().enumerate().map(|(i, arg)| if i > 0 && args[i - 1] == dash { "-" } else { *arg });
        let said = run_with_input(hexcast(dir, args), file.as_bytes());
        assert_eq!((said.code, said.out), (0, line.clone()), "{}", said.err);
    }

    let mut args = replay_args();
    args.extend(["--out", "matches.ndjson.gz"]);
    assert_eq!(run_ok(dir, args).out, "");
    assert!(std::fs::read(dir.join("matches.ndjson.gz")).unwrap().starts_with(&[0x1f, 0x8b]));
    let unpacked = Command::new("gzip").args(["-dc", "matches.ndjson.gz"]).current_dir(dir).output().unwrap();
    assert_eq!(String::from_utf8(unpacked.stdout).unwrap(), line);
    assert!(
        Command::new("gzip")
            .args(["pings.csv", "actions.ndjson"])
            .current_dir(dir)
            .status()
            .unwrap()
            .success()
    );
    let packed = ["replay", "--pings", "pings.csv.gz", "--actions", "actions.ndjson.gz"];
    assert_eq!(run_ok(dir, packed).out, line);
}

#[test]
fn replay_ends_at_the_last_ping_or_action_or_where_it_is_told() {
    let dir = small_world();
    let dir = dir.path();
    // Accepted or not: a ping at the pole of nowhere still says that its time has come.
    let far = "device,at,lat,lon\n1,2026-05-15T11:59:00Z,32.5,121.4737\n2,2026-05-15T13:00:00Z,95,0\n";
    write(dir, "pings.csv", far);
    let matches = |more: &[&str]| {
        let mut args = replay_args();
        args.extend(more);
        run_ok(dir, args).out.lines().count()
    };
    assert_eq!(matches(&[]), 1, "the stage at 13:00 is still applied");
    assert_eq!(matches(&["--until", "2026-05-15T12:59:59.999Z"]), 0);
    assert_eq!(matches(&["--until", "2026-05-15T13:00:00Z"]), 1);
    write(dir, "pings.csv", far.lines().take(2).collect::<Vec<_>>().join("\n"));
    assert_eq!(matches(&[]), 0);
    assert_eq!(matches(&["--until", "1778850000000"]), 1);
    let second = PUBLISH.replace("12:00:00Z", "13:30:00Z").replace("\"a\"", "\"b\"");
    write(dir, "actions.ndjson", format!("{second}\n{PUBLISH}\n"));
    assert_eq!(matches(&[]), 1, "the second alert is of 13:30 and still at 100 km");
}

#[test]
fn replay_names_bad_rows_and_rejected_actions_by_line_and_goes_on() {
    let dir = small_world();
    let dir = dir.path();
    let mut rows = PINGS.to_owned();
    for i in 2..2_600 {
        rows.push_str(&format!("{i},2026-05-15T11:59:00Z,40,121.4737\n"));
        if i % 104 == 0 {
            rows.push_str("x\n");
        }
    }
    write(dir, "pings.csv", rows);
    write(dir, "actions.ndjson", format!("{PUBLISH}\n\n{PUBLISH}\n"));
    let said = run_ok(dir, replay_args());
    assert_eq!(said.out, format!("{MATCH}\n"));
    let lines: Vec<&str> = said.err.lines().collect();
    assert_eq!(lines.len(), 20 + 1 + 1 + 1, "{}", said.err);
    assert_eq!(lines[0], "hexcast: pings.csv: line 106: bad row: 1 fields where the header names 4");
    assert_eq!(lines[20], "hexcast: pings.csv: 4 further bad rows");
    assert!(lines[21].starts_with("hexcast: actions.ndjson: line 3: alert \"a\": "), "{}", lines[21]);
    assert!(lines[22].contains("24 bad rows") && lines[22].contains("(1 rejected)"), "{}", lines[22]);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let dir = temporary();
    let mut rows = "device,at,lat,lon\n".to_owned();
    for i in 0..20_000 {
        rows.push_str(&format!("{i},2026-05-15T11:59:00Z,31.2304,121.4737\n"));
    }
    write(dir.path(), "pings.csv", rows);
    write(dir.path(), "actions.ndjson", PUBLISH);
    let (first, said) = Running::first_line_then_close(hexcast(dir.path(), replay_args()));
    assert!(first.starts_with("{\"alert\":\"a\""), "{first}");
    assert_eq!((said.code, said.err.as_str()), (0, ""));
}

#[test]
fn names_become_pseudonyms_by_the_key_and_are_printed_back() {
    let dir = small_world();
    let dir = dir.path();
    write(dir, "pings.csv", PINGS.replace("\n1,", "\nbus 12,"));
    run_ok(dir, ["pki", "init", "keys"]);
    for more in [&[][..], &["--pki", "keys"]] {
        let mut args = replay_args();
        args.extend(more);
        assert_eq!(run_ok(dir, args).out, format!("{}\n", MATCH.replace("\"1\"", "\"bus 12\"")));
    }
}

/// Each ends with exit 1 and one line on standard error that says this.
#[test]
fn what_fails_says_why_in_one_line() {
    let dir = small_world();
    let dir = dir.path();
    run_ok(dir, ["pki", "init", "keys"]);
    for (name, content) in [
        ("empty.csv", ""),
        ("header.csv", "device,at,lat\n"),
        ("rows-none.csv", "device,at,lat,lon\n"),
        ("tower.csv", "device,at,tower\n1,0,302-720-8100-1\n"),
        ("json.ndjson", "{\"action\":\"publish\"\n"),
        ("missing.ndjson", "\n{\"action\":\"cancel\",\"at\":0,\"reason\":\"found\"}\n"),
        ("type.ndjson", "{\"action\":\"cancel\",\"at\":0,\"id\":5,\"reason\":\"found\"}\n"),
        ("time.ndjson", "{\"action\":\"cancel\",\"at\":\"noon\",\"id\":\"a\",\"reason\":\"found\"}\n"),
        ("unknown.ndjson", "{\"action\":\"pause\",\"at\":0,\"id\":\"a\"}\n"),
        ("field.toml", "port = 5\n"),
        ("value.toml", "[[namespaces]]\nname = \"Mine\"\n"),
        ("pki.toml", "pki = \"nowhere\"\n"),
        ("alert.json", "{\"id\":\"a\",\"area\":"),
        ("alert-without-id.json", "{\"area\":{\"circle\":{\"lat\":1,\"lon\":2}}}"),
        ("alert-in-list.json", "[]"),
    ] {
        write(dir, name, content);
    }
    std::fs::create_dir_all(dir.join("half/pki")).unwrap();
    write(dir, "half/pki/ca.pem", "");
    let replay = |pings, actions| vec!["replay", "--pings", pings, "--actions", actions];
    let with = |mut args: Vec<&'static str>, more: &[&'static str]| {
        args.extend(more);
        args
    };
    let cases: Vec<(Vec<&str>, &str)> = vec![
        (replay("none.csv", "actions.ndjson"), "the pings in none.csv: cannot open none.csv: No such file"),
        (
            replay("pings.csv", "none.ndjson"),
            "the actions in none.ndjson: cannot open none.ndjson: No such file",
        ),
        (replay("empty.csv", "actions.ndjson"), "the pings in empty.csv: the file is empty"),
        (replay("header.csv", "actions.ndjson"), "line 1: the header lacks lon"),
        (replay("rows-none.csv", "actions.ndjson"), "no good row: none of 0 rows can be read"),
        (replay("tower.csv", "actions.ndjson"), "give the towers too, with --towers FILE"),
        (replay("pings.csv", "json.ndjson"), "the actions in json.ndjson: line 1: "),
        (replay("pings.csv", "missing.ndjson"), "the actions in missing.ndjson: line 2: "),
        (replay("pings.csv", "type.ndjson"), "the actions in type.ndjson: line 1: "),
        (replay("pings.csv", "time.ndjson"), "\"noon\" is no time"),
        (replay("pings.csv", "unknown.ndjson"), "publish, update, sighting or cancel"),
        (with(replay_args(), &["--towers", "empty.csv"]), "the towers in empty.csv: no tower can be read"),
        (with(replay_args(), &["--towers", "none.csv"]), "the towers in none.csv: cannot open none.csv"),
        (with(replay_args(), &["--pki", "nowhere"]), "nowhere"),
        (with(replay_args(), &["--pki", "keys", "--namespace", "other"]), "other"),
        (with(replay_args(), &["--out", "no/such/place"]), "cannot open no/such/place"),
        (vec!["serve", "--config", "none.toml"], "the configuration none.toml: No such file"),
        (
            vec!["serve", "--config", "field.toml"],
            "the configuration field.toml: line 1: unknown field `port`",
        ),
        (vec!["serve", "--config", "value.toml"], "\"Mine\" is no namespace name"),
        (vec!["serve", "--config", "pki.toml", "--quic", "127.0.0.1:0"], "nowhere"),
        (vec!["serve", "--data", "half"], "half/pki"),
        (vec!["ingest", "pings.csv"], "hexcast-data/pki"),
        (vec!["ingest", "--pki", "keys", "none.csv"], "cannot open none.csv"),
        (vec!["subscribe", "--pki", "keys", "--as", "nobody"], "no identity \"nobody\""),
        (vec!["subscribe"], "hexcast-data/pki"),
        (vec!["alert", "list", "--pki", "keys", "--as", "nobody"], "no identity \"nobody\""),
        (vec!["alert", "publish", "none.json"], "the alert in none.json: cannot open none.json"),
        (vec!["alert", "publish", "alert.json"], "the alert in alert.json: "),
        (vec!["alert", "update", "alert-without-id.json"], "the alert in alert-without-id.json: "),
        (vec!["alert", "preview", "alert-in-list.json"], "the alert in alert-in-list.json: "),
        (vec!["pki", "init", "half/pki"], "half/pki"),
        (vec!["pki", "issue", "--dir", "nowhere", "--role", "partner", "--name", "x"], "nowhere"),
        (vec!["pki", "issue", "--dir", "keys", "--role", "partner", "--name", "partner"], "exists"),
    ];
    for (args, says) in cases {
        let said = run(dir, &args);
        let shown = format!("{args:?}: {} {}", said.code, said.err);
        let errors: Vec<&str> = said.err.lines().filter(|line| !line.starts_with("WARNING")).collect();
        assert_eq!(said.code, 1, "{shown}");
        assert_eq!(errors.len(), 1, "{shown}");
        assert!(errors[0].starts_with("hexcast: ") && errors[0].contains(says), "{says}: {shown}");
        assert_eq!(said.out, "", "{shown}");
    }
}

#[test]
fn a_taken_address_is_a_failure_in_one_line() {
    let dir = temporary();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = run(dir.path(), ["serve", "--quic", &address]);
    assert_eq!(said.code, 1);
    let last = said.err.lines().last().unwrap();
    assert!(last.starts_with(&format!("hexcast: cannot listen on {address}")), "{last}");
}

#[test]
fn too_many_bad_rows_end_with_exit_1_after_the_rows() {
    let dir = small_world();
    write(dir.path(), "pings.csv", format!("{PINGS}1,noon,0,0\n"));
    let said = run(dir.path(), replay_args());
    let lines: Vec<&str> = said.err.lines().collect();
    assert_eq!((said.code, lines.len(), said.out.as_str()), (1, 2, ""), "{}", said.err);
    assert!(lines[0].starts_with("hexcast: pings.csv: line 3: bad row: at: \"noon\""), "{}", lines[0]);
    assert_eq!(lines[1], "hexcast: the pings in pings.csv: 1 of 2 rows cannot be read, more than 1 %");
}

#[test]
fn wrong_usage_is_exit_2() {
    let dir = small_world();
    let mut cases: Vec<Vec<&str>> = [
        "",
        "fly",
        "--fly",
        "replay",
        "replay --pings pings.csv",
        "replay --pings - --actions -",
        "demo --devices 0",
        "demo --devices many",
        "demo --fast-forward 0",
        "demo --fast-forward nan",
        "serve --clock moon",
        "serve --quic here",
        "serve --partitions 0",
        "serve now",
        "ingest",
        "ingest --server nowhere pings.csv",
        "ingest --until soon pings.csv",
        "ingest --namespace A pings.csv",
        "subscribe --from yesterday",
        "subscribe --from -1",
        "subscribe --server :1",
        "alert",
        "alert raise",
        "alert publish",
        "alert publish --lost soon alert.json",
        "alert cancel a",
        "alert cancel a --reason bored",
        "alert sighting a --lat 1",
        "alert sighting a --lat north --lon 2",
        "alert confirm a b",
        "alert reject a 1",
        "alert show",
        "pki",
        "pki init",
        "pki issue --role king --name x",
        "pki issue --role admin --name ../x",
        "pki issue --role admin --name ca",
        "pki issue --role admin --name x --namespace A",
    ]
    .iter()
    .map(|line| line.split_whitespace().collect())
    .collect();
    for more in [["--partitions", "257"], ["--until", "soon"], ["--namespace", "A b"], ["--towers", "-"]] {
        cases.push([replay_args(), more.to_vec()].concat());
    }
    cases.last_mut().unwrap()[2] = "-";
    for args in cases {
        let said = run(dir.path(), &args);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{args:?}: {}", said.err);
        assert!(!said.err.is_empty(), "{args:?}");
    }
}

#[test]
fn every_command_has_a_help_for_newcomers() {
    let dir = temporary();
    for (args, says) in [
        ("--help", "Start here: `hexcast demo`"),
        ("demo --help", "all-clear"),
        ("serve --help", "hexcast-data"),
        ("replay --help", "device,at,lat,lon"),
        ("ingest --help", "--now"),
        ("subscribe --help", "alert_content"),
        ("alert --help", "sighting"),
        ("alert publish --help", "counted back"),
        ("alert update --help", "counted forward"),
        ("alert sighting --help", "--unconfirmed"),
        ("alert cancel --help", "refuted"),
        ("alert confirm --help", "report"),
        ("alert reject --help", "report"),
        ("alert list --help", "newest"),
        ("alert show --help", "everything"),
        ("alert preview --help", "Nothing is published"),
        ("pki --help", "Operators stream pings"),
        ("pki init --help", "one identity a role"),
        ("pki issue --help", "--namespace"),
    ] {
        let said = run_ok(dir.path(), args.split(' '));
        assert!(said.out.contains(says), "{args}: {}", said.out);
        assert!(said.out.contains("Usage: "), "{args}");
    }
    assert!(run_ok(dir.path(), ["--version"]).out.starts_with("hexcast "));
}

/// The lines of standard output as JSON objects.
fn objects(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The first promise of the README: four terminals in one directory and no other flag, but for
/// the port, which tests must not share.
#[test]
fn four_terminals_with_the_shipped_files_work_on_any_day() {
    let dir = temporary();
    let dir = dir.path();
    let (server, to) = serve(dir, &[]);
    let client = |args: &[&str]| run_ok(dir, args.iter().map(|arg| (*arg).to_owned()).chain(to.clone()));

    let old = client(&["ingest", &repository("examples/pings.csv")]);
    assert!(old.err.contains("warning: the newest ping is ") && old.err.contains("--now"), "{}", old.err);
    let ingested = client(&["ingest", "--now", &repository("examples/pings.csv")]);
    assert!(ingested.err.contains("516 accepted, 0 stale, 0 rejected, 0 bad rows"), "{}", ingested.err);
    assert!(!ingested.err.contains("warning"), "{}", ingested.err);

    let preview = objects(&client(&["alert", "preview", &repository("examples/alert.json")]).out);
    assert_eq!(preview[0]["namespaces"][0]["devices"], serde_json::json!([22, 28, 33, 36]));
    let published = objects(&client(&["alert", "publish", &repository("examples/alert.json")]).out);
    assert_eq!(published[0]["version"], 1);
    let args = ["subscribe".to_owned()].into_iter().chain(to.clone());
    let mut subscriber = Running::start(dir, args);
    let is_match = |line: &str| line.contains("\"cause\":");
    subscriber.wait_count("the matches of the publication", 22, is_match);

    // A partner reports, the authority confirms; another report it rejects.
    let report = |lat: &str| {
        let args = ["alert", "sighting", "example-0001", "--lat", lat, "--lon", "114.2667", "--unconfirmed"];
        let said = client(&[&args[..], &["--as", "partner", "--seen-at", "1m"]].concat());
        objects(&said.out)[0]["report"].to_string()
    };
    let (good, bad) = (report("30.5833"), report("-30.5833"));
    client(&["alert", "reject", "example-0001", &bad, "--reason", "another continent"]);
    client(&["alert", "confirm", "example-0001", &good]);
    subscriber.wait_count("the matches of the sighting", 25, is_match);
    let listed = objects(&client(&["alert", "list"]).out);
    assert_eq!((listed.len(), &listed[0]["state"], &listed[0]["parts"]), (1, &"active".into(), &2.into()));
    write(dir, "update.json", r#"{"id":"example-0001","headline":"Seen in Wuhan"}"#);
    assert_eq!(objects(&client(&["alert", "update", "update.json", "--expires", "6h"]).out)[0]["version"], 2);
    subscriber.wait_count("the matches of the update", 50, is_match);
    client(&["alert", "cancel", "example-0001", "--reason", "found"]);
    subscriber.wait_count("the all-clear", 75, is_match);
    let again = run(
        dir,
        ["alert", "cancel", "example-0001", "--reason", "found"]
            .map(String::from)
            .into_iter()
            .chain(to.clone()),
    );
    assert_eq!((again.code, again.err.lines().count()), (1, 1), "{}", again.err);
    let shown = objects(&client(&["alert", "show", "example-0001"]).out);
    assert_eq!((&shown[0]["state"], &shown[0]["reason"]), (&"cancelled".into(), &"found".into()));

    subscriber.signal("INT");
    let said = subscriber.wait_exit("the subscriber's end");
    assert_eq!(said.code, 0, "{}", said.err);
    let lines = objects(&said.out);
    let contents: Vec<usize> =
        (0..lines.len()).filter(|i| lines[*i].get("alert_content").is_some()).collect();
    assert_eq!(contents, [0, 26], "before the first match of each version");
    assert_eq!(lines[26]["alert_content"]["headline"], "Seen in Wuhan");
    let offsets: Vec<u64> = lines.iter().filter_map(|line| line["offset"].as_u64()).collect();
    assert_eq!(offsets, (0..75).collect::<Vec<u64>>());

    // Later it goes on where it was told to.
    let from = ["subscribe", "--from", "74"].map(String::from).into_iter().chain(to.clone());
    let mut later = Running::start(dir, from);
    let last = later.wait_out("the last match", is_match);
    assert!(last.contains("\"cause\":\"cancel\"") && last.ends_with("\"offset\":74}"), "{last}");

    server.signal("TERM");
    later.wait_err("word of the lost connection", |line| line.contains("connecting again"));
    let said = server.wait_exit("the server's end");
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.err.contains("DEVELOPMENT"), "{}", said.err);
}

#[test]
fn a_server_is_found_again_after_a_restart() {
    let dir = temporary();
    let dir = dir.path();
    let (server, to) = serve(dir, &[]);
    let args = ["subscribe".to_owned()].into_iter().chain(to.clone());
    let mut subscriber = Running::start(dir, args);
    let subscribed = |line: &str| line.contains("subscribed to default");
    subscriber.wait_err("the subscription", subscribed);
    server.signal("TERM");
    assert_eq!(server.wait_exit("the server's end").code, 0);
    subscriber.wait_err("word of the lost connection", |line| line.contains("connecting again"));
    let again = Running::start(dir, ["serve", "--quic", &to[1]]);
    subscriber.wait_err("the second subscription", |line| line.contains("from offset 0") && subscribed(line));
    drop(again);
}

/// Recorded buses, in four processes on the event clock, against the same in one replay.
#[test]
fn a_live_event_clock_gives_what_replay_gives() {
    let (pings, actions) =
        (repository("tests/data/liverpool_buses.csv"), repository("tests/data/liverpool/actions.ndjson"));
    let dir = temporary();
    let dir = dir.path();
    let (server, to) = serve(dir, &["--clock", "event", "--partitions", "3"]);
    let pki = "hexcast-data/pki";
    let replayed = run_ok(dir, ["replay", "--pings", &pings, "--actions", &actions, "--pki", pki]).out;

    // The same names as numbers, which is all that a subscriber sees.
    let namespace = hexcast::domain::Namespace::new("default").unwrap();
    let key = hexcast::access::pki::namespace_key(&dir.join(pki), &namespace).unwrap();
    let mut names = hexcast::files::Pseudonyms::new(key, 0);
    let mut expected: Vec<Value> = objects(&replayed);
    for line in &mut expected {
        line["device"] = names.device(line["device"].as_str().unwrap()).to_string().into();
    }
    let causes: std::collections::BTreeSet<&str> =
        expected.iter().map(|line| line["cause"].as_str().unwrap()).collect();
    assert_eq!(causes.len(), 6, "a recording that says little: {causes:?}");

    let client = |args: &[&str]| run_ok(dir, args.iter().map(|arg| (*arg).to_owned()).chain(to.clone()));
    let mut args = vec!["subscribe".to_owned(), "--exercise".into()];
    args.extend(to.clone());
    let mut subscriber = Running::start(dir, args);
    subscriber.wait_err("the subscription", |line| line.contains("subscribed to default"));
    for line in std::fs::read_to_string(&actions).unwrap().lines() {
        let action: Value = serde_json::from_str(line).unwrap();
        let said = hand_in(dir, &action, &client);
        assert_eq!(objects(&said)[0]["queued"], true, "{line}");
    }
    let said = client(&["ingest", &pings]);
    assert!(said.err.contains("1,533 accepted"), "{}", said.err);
    let is_match = |line: &str| line.contains("\"cause\":");
    subscriber.wait_count("all matches", expected.len(), is_match);
    assert!(client(&["alert", "list"]).err.contains("nobody"), "the late rejection is told");
    subscriber.signal("INT");
    let said = subscriber.wait_exit("the subscriber's end");
    assert_eq!(said.code, 0, "{}", said.err);

    let mut live: Vec<Value> = said
        .out
        .lines()
        .filter(|line| is_match(line))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    live.iter_mut().for_each(|line| drop(line.as_object_mut().unwrap().remove("offset")));
    let sorted = |lines: Vec<Value>| {
        let mut lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(sorted(live), sorted(expected));
    server.signal("TERM");
    assert_eq!(server.wait_exit("the server's end").code, 0);
}

/// Hands in one action of a file as a person would type it.
fn hand_in(dir: &Path, action: &Value, client: &impl Fn(&[&str]) -> harness::Said) -> String {
    let text = |member: &str| action[member].as_str().unwrap_or_default();
    let (kind, at, id) = (text("action"), text("at"), text("id"));
    let said = match kind {
        "publish" | "update" => {
            write(dir, "action.json", action["alert"].to_string());
            client(&["alert", kind, "action.json", "--at", at])
        }
        "sighting" => {
            let (lat, lon) = (action["lat"].to_string(), action["lon"].to_string());
            let place = ["--lat", &lat, "--lon", &lon, "--seen-at", text("seen_at")];
            client(&[&["alert", kind, id, "--at", at], &place[..]].concat())
        }
        "cancel" => client(&["alert", kind, id, "--reason", text("reason"), "--at", at]),
        other => panic!("{other}"),
    };
    said.out
}

#[test]
fn the_demo_ends_by_itself_and_its_recount_agrees() {
    let dir = temporary();
    let said = run_ok(dir.path(), ["demo", "--devices", "3000", "--fast-forward", "1000000000"]);
    let recount = said.out.lines().find(|line| line.contains("recount: ")).unwrap();
    let numbers: Vec<&str> =
        recount.split_whitespace().filter(|word| word.starts_with(|c: char| c.is_ascii_digit())).collect();
    assert_eq!(numbers[0], numbers[1], "{recount}");
    assert!(numbers[0].replace(',', "").parse::<u64>().unwrap() > 1_000, "{recount}");
    assert!(said.out.contains("123,000 pings"), "{}", said.out);
    for words in ["100 km around", "200 km", "300 km", "500 km", "sighting confirmed", "the all-clear"] {
        assert!(said.out.contains(words), "{words}: {}", said.out);
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "it leaves nothing behind");
}
