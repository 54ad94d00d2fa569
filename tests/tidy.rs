//! The rules of the house that a compiler does not check: who may use whom, who may touch the
//! outside world, that the map is true, and that every dependency has its reason.

#![expect(clippy::unwrap_used, reason = "a test stops where the tree is not as it must be")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms, lowest first; a room may use rooms of lower floors only. Rooms of one floor do not know
/// each other.
const FLOORS: &[&[&str]] = &[
    &["planted", "limits", "sync"],
    &["domain"],
    &["telemetry"],
    &["geo"],
    &["wire", "files"],
    &["engine"],
    &["store"],
    &["runtime"],
    &["access"],
    &["desk", "delivery"],
    &["quic", "http", "client", "keeper"],
    &["cli", "fuzzing"],
    &["simulation"],
];

/// Rooms that are pure: no clock, thread, socket, file or randomness.
const PURE: &[&str] = &["domain", "geo", "engine"];

/// What a pure room must not name.
const OUTSIDE_WORLD: &[&str] = &[
    "std::time::Instant",
    "SystemTime",
    "std::thread",
    "std::net",
    "std::fs",
    "std::io",
    "std::env",
    "tokio::",
    "crossbeam::",
    "rayon::",
    "RandomState",
    "Timestamp::now",
    "crate::telemetry",
];

/// Files that may be longer than this many lines: none but those named, each with its reason.
const LINES_MAX: usize = 700;
const LONG_FILES: &[(&str, &str)] = &[];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

/// The room of a file of `src/`: the folder or file directly below it.
fn room_of(path: &Path) -> String {
    let below = path.strip_prefix(root().join("src")).unwrap();
    below.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// A file's code: comments and the test module at its end cut off.
fn code_of(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// Rooms that a file names through `crate::`.
fn rooms_used(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let mut names = |text: &str| {
            let name: String = text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            used.insert(name);
        };
        match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap().split(',').for_each(names),
            None => names(rest),
        }
    }
    used
}

#[test]
fn rooms_use_only_rooms_below_them() {
    let mut wrong = Vec::new();
    for path in rust_files(&root().join("src")) {
        let room = room_of(&path);
        if matches!(room.as_str(), "main" | "lib") {
            continue;
        }
        let floor = floor_of(&room).unwrap_or_else(|| panic!("src/{room} has no floor in tests/tidy.rs"));
        for used in rooms_used(&code_of(&path)) {
            let Some(below) = floor_of(&used) else { continue };
            if used != room && below >= floor {
                wrong.push(format!("{}: {room} may not use {used}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_load_generator_is_a_stranger() {
    for path in rust_files(&root().join("loadgen/src")) {
        let code = code_of(&path);
        for inner in ["hexcast::engine", "hexcast::geo"] {
            assert!(!code.contains(inner), "{} looks inside: {inner}", path.display());
        }
    }
}

#[test]
fn pure_rooms_do_not_touch_the_outside_world() {
    for room in PURE {
        for path in rust_files(&root().join("src").join(room)) {
            let code = code_of(&path);
            for name in OUTSIDE_WORLD {
                assert!(!code.contains(name), "{} names {name}: {room}/ is pure", path.display());
            }
        }
    }
}

#[test]
fn every_room_and_module_has_a_head() {
    for path in rust_files(&root().join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{} needs a head that says why it exists", path.display());
    }
}

#[test]
fn files_do_one_job() {
    let long: BTreeMap<_, _> = LONG_FILES.iter().copied().collect();
    for dir in ["src", "loadgen/src", "tests", "benches"] {
        for path in rust_files(&root().join(dir)) {
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            assert!(
                lines <= LINES_MAX || long.contains_key(name.as_str()),
                "{name} has {lines} lines: which second job does it have?"
            );
        }
    }
}

#[test]
fn the_map_names_only_what_is_there() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut named = 0;
    for word in map.split('`').skip(1).step_by(2) {
        let is_path = ["src/", "tests/", "benches/", "loadgen/", "docs/", "examples/", ".ci/"]
            .iter()
            .any(|dir| word.starts_with(dir));
        if is_path && !word.contains([' ', '*', '<']) {
            named += 1;
            assert!(root().join(word).exists(), "ARCHITECTURE.md names {word}, which is not there");
        }
    }
    assert!(named >= 20, "ARCHITECTURE.md names only {named} paths");
    for room in fs::read_dir(root().join("src")).unwrap() {
        let room = room.unwrap().file_name().into_string().unwrap();
        assert!(map.contains(&format!("src/{room}")), "ARCHITECTURE.md does not name src/{room}");
    }
}

/// Files whose errors end the process or stop its start.
const FATAL: &[&str] = &["src/keeper/mod.rs", "src/store/error.rs", "src/desk/stored.rs"];

/// The texts of a file's errors.
fn error_texts(code: &str) -> Vec<String> {
    let attributes = code.split("#[error(").skip(1);
    let texts = attributes.filter_map(|rest| rest.trim_start().strip_prefix('"'));
    texts.map(|text| text.split("\"\n").next().unwrap().split("\")]").next().unwrap().to_owned()).collect()
}

#[test]
fn operations_say_what_to_do_at_every_fatal_message() {
    let says = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let mut seen = 0;
    for file in FATAL {
        for text in error_texts(&fs::read_to_string(root().join(file)).unwrap()) {
            // What of it is always the same: the longest piece between two values.
            let pieces = text.split('{').map(|piece| piece.rsplit('}').next().unwrap().trim());
            let longest =
                pieces.max_by_key(|piece| piece.len()).unwrap().trim_matches([',', ':', ';']).trim();
            let known = says.contains(longest.split(": restore").next().unwrap());
            assert!(known, "docs/operations.md does not say what to do at \"{text}\" ({file})");
            seen += 1;
        }
    }
    assert!(seen > 15, "{seen} texts of errors were found");
}

#[test]
fn every_dependency_has_its_reason() {
    let reasons = fs::read_to_string(root().join("docs/dependencies.md")).unwrap();
    for manifest in ["Cargo.toml", "loadgen/country/Cargo.toml", "loadgen/Cargo.toml"] {
        let text = fs::read_to_string(root().join(manifest)).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        let workspace = manifest.get("workspace").and_then(|w| w.get("dependencies"));
        let tables = [manifest.get("dependencies"), manifest.get("dev-dependencies"), workspace];
        for name in tables.into_iter().flatten().flat_map(|t| t.as_table().unwrap().keys()) {
            let known = name == "hexcast" || reasons.contains(&format!("| {name} |"));
            assert!(known, "docs/dependencies.md gives no reason for {name}");
        }
    }
}

#[test]
fn nothing_unfinished_is_left_in_the_code() {
    for dir in ["src", "loadgen/src", "benches"] {
        for path in rust_files(&root().join(dir)) {
            let text = fs::read_to_string(&path).unwrap();
            for mark in ["todo!(", "unimplemented!(", "FIXME", "TODO", "XXX"] {
                assert!(!text.contains(mark), "{} has {mark}", path.display());
            }
        }
    }
}
