//! The server against a client that shares no code with it: Python and aioquic, written from
//! `docs/protocol.md` alone (`tests/aioquic/client.py`).
//!
//! The package is installed into a virtual environment under `target/` at the first run. Where
//! Python 3.11 or the package cannot be had, the test says so loudly and is skipped; with
//! `HEXCAST_REQUIRE_AIOQUIC=1` that is a failure.

use std::path::{Path, PathBuf};
use std::process::Command;

use hexcast::runtime::ClockMode;
use serde_json::{Value, json};

use crate::world::{World, root};

/// The version that the test was written with.
const AIOQUIC: &str = "aioquic==1.7.2";

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|why| format!("{command:?}: {why}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// A Python that has aioquic, installed where it is not yet.
fn python() -> Result<PathBuf, String> {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("aioquic");
    let python = venv.join("bin/python");
    let has_it = |python: &Path| run(Command::new(python).args(["-c", "import aioquic"])).is_ok();
    if has_it(&python) {
        return Ok(python);
    }
    let new_enough = "import sys; sys.exit(sys.version_info < (3, 11))";
    let system = ["python3", "python3.13", "python3.12", "python3.11"]
        .into_iter()
        .find(|name| run(Command::new(name).args(["-c", new_enough])).is_ok())
        .ok_or("no Python of version 3.11 or later")?;
    run(Command::new(system).args(["-m", "venv", "--clear"]).arg(&venv))?;
    run(Command::new(&python).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        AIOQUIC,
    ]))?;
    if has_it(&python) { Ok(python) } else { Err("aioquic was installed and cannot be imported".into()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_publishes_sends_and_receives() {
    let python = match tokio::task::spawn_blocking(python).await.unwrap() {
        Ok(python) => python,
        Err(why) => {
            let required = std::env::var_os("HEXCAST_REQUIRE_AIOQUIC").is_some_and(|value| value != "0");
            assert!(!required, "aioquic is required here: {why}");
            eprintln!("\n*** SKIPPED: the server was NOT tried with aioquic: {why} ***\n");
            return;
        }
    };
    let world = World::new(ClockMode::Wall);
    let mut client = Command::new(python);
    client
        .arg(root().join("tests/aioquic/client.py"))
        .args(["127.0.0.1", &world.addr().port().to_string()])
        .arg(world.pki.path());
    let said = tokio::task::spawn_blocking(move || run(&mut client)).await.unwrap().unwrap();
    let saw: Value = serde_json::from_str(&said).unwrap();

    assert_eq!(saw["receipt"]["id"], "from-python");
    assert_eq!((&saw["receipt"]["version"], &saw["receipt"]["queued"]), (&json!(1), &json!(0)));
    let ack = json!({"applied": 2, "safe": 0, "accepted": 2, "stale": 1, "rejected": [1, 0, 0, 0, 0, 0]});
    assert_eq!(saw["ingest"], json!({"clock": 0, "hash": 0, "basis": 0, "last_safe": 0, "ack": ack}));
    let content = json!({
        "no": 0, "version": 1, "id": "from-python", "status": "actual", "headline": "寻找走失儿童",
        "before_match": 0,
    });
    assert_eq!(saw["subscribe"]["contents"], json!([content]));
    let found = &saw["subscribe"]["matches"][0];
    let at = found["at_ms"].as_i64().unwrap();
    // A ping that is older than the alert is one of the moment of publication.
    assert!(at == saw["now"].as_i64().unwrap() || at == saw["receipt"]["at_ms"].as_i64().unwrap());
    let expected = json!({
        "offset": 0, "device": u64::MAX, "at_ms": at, "radius_km": 100.0, "alert": 0, "version": 1,
        "cause": 3, "part": 0, "stage": 0,
    });
    assert_eq!(saw["subscribe"]["matches"], json!([expected]));
    assert_eq!(saw["refused"]["code"], 12);
    assert!(saw["refused"]["message"].as_str().unwrap().contains("not granted"));
}
