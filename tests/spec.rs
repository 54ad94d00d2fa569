//! Holds the program against the specification: the examples, and thousands of random worlds
//! judged by an independent oracle.
//!
//! `HEXCAST_WORLDS` sets the number of worlds (2,000 unless given), `HEXCAST_SEED` the first one.

#[cfg(test)]
mod oracle;

#[cfg(test)]
mod spec {
    use std::path::{Path, PathBuf};

    use crate::oracle::compare::{Engine, compare, report};
    use crate::oracle::world::World;
    use crate::oracle::{Reason, generate::generate, judge, matches};

    /// Replays a world on so many partitions; `None` would judge the oracle alone.
    const ENGINE: Option<Engine> = Some(crate::oracle::engine::engine);

    fn number(variable: &str, default: u64) -> u64 {
        std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
    }

    fn examples() -> Vec<(PathBuf, World, String)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/examples");
        let mut folders: Vec<PathBuf> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir())
            .collect();
        folders.sort();
        let read = |path: PathBuf| {
            let expected = std::fs::read_to_string(path.join("matches.ndjson")).unwrap();
            (path.clone(), World::read(&path), expected)
        };
        folders.into_iter().map(read).collect()
    }

    #[test]
    fn the_oracle_gives_the_examples_answers() {
        let examples = examples();
        assert_eq!(examples.len(), 14);
        for (folder, world, expected) in examples {
            assert_eq!(matches(&world), expected, "{}", folder.display());
        }
    }

    #[test]
    fn rejected_actions_are_named_by_line() {
        let (_, world, _) = examples().into_iter().find(|e| e.0.ends_with("11-update-of-area")).unwrap();
        let expected = [
            (3, Reason::ExpiresNotAfterAt),
            (4, Reason::Exists),
            (5, Reason::Unknown),
            (7, Reason::Cancelled),
        ];
        assert_eq!(judge(&world).rejected, expected);
    }

    #[test]
    fn the_engine_gives_the_examples_answers() {
        let Some(engine) = ENGINE else {
            println!("SKIPPED: no engine is plugged in");
            return;
        };
        for (folder, world, expected) in examples() {
            for partitions in [1, 2, 7] {
                let got = engine(&world, partitions);
                assert_eq!(got.as_deref(), Ok(&*expected), "{}, {partitions} partitions", folder.display());
            }
        }
    }

    #[test]
    fn the_engine_agrees_with_the_oracle_on_random_worlds() {
        if ENGINE.is_none() {
            println!("SKIPPED: no engine is plugged in; the oracle alone is run");
        }
        let (first, worlds) = (number("HEXCAST_SEED", 0), number("HEXCAST_WORLDS", 2_000));
        let seen = compare(first..first + worlds, ENGINE);
        for (what, times) in &seen {
            println!("{times:>9}  {what}");
        }
        if worlds >= 2_000 {
            let reasons = Reason::ALL.map(|reason| format!("rejected: {reason:?}"));
            let missing: Vec<&str> = TO_BE_SEEN
                .iter()
                .copied()
                .chain(reasons.iter().map(String::as_str))
                .filter(|what| !seen.contains_key(*what))
                .collect();
            assert!(missing.is_empty(), "no world had: {missing:?}");
        }
    }

    /// What the default run must have exercised, besides every reason to reject an action.
    const TO_BE_SEEN: &[&str] = &[
        "cancel: of an expired alert",
        "cause: cancel",
        "cause: cancel to a device not known",
        "cause: enter",
        "cause: enter by a sighting's part",
        "cause: escalation",
        "cause: escalation by a sighting's part",
        "cause: publish",
        "cause: publish by a sighting's part",
        "cause: sighting by a sighting's part",
        "cause: update",
        "cause: update to a device not known",
        "edge: exactly on a polygon's",
        "edge: within a metre, inside",
        "edge: within a metre, outside",
        "edge: within three centimetres, inside",
        "edge: within three centimetres, outside",
        "event: matches of several alerts",
        "event: two parts grow together",
        "known: at exactly the greatest age",
        "known: not any more at a scan",
        "mode: Centre decides",
        "mode: Intersects decides",
        "mode: Within decides",
        "ping: a forgotten and notified device comes back",
        "ping: a forgotten device comes back",
        "ping: at the instant of expiry",
        "ping: impossible accuracy",
        "ping: impossible position",
        "ping: two of one time",
        "place: circle across the antimeridian",
        "place: circle on a pole",
        "place: device on a pole",
        "place: device on the antimeridian",
        "place: polygon across the antimeridian",
        "place: polygon near a pole",
        "published: actual",
        "published: at a later stage",
        "published: exercise",
        "published: policy default",
        "published: policy fixed",
        "published: policy growth",
        "published: policy stages",
        "published: policy tuanyuan",
        "published: test",
        "shape: circle, inside",
        "shape: circle, outside",
        "shape: matched by one of several",
        "shape: polygon with hole, inside",
        "shape: polygon with hole, outside",
        "shape: polygon, inside",
        "shape: polygon, outside",
        "sighting: at a later stage",
        "update: activates a sighting's stage",
        "update: replaces part 0",
        "update: returns from expiry",
        "update: returns from expiry and catches up",
    ];

    /// A wrong engine is found out, and the world that shows it is made small.
    #[test]
    fn a_difference_is_found_and_shrunk() {
        fn forgets_escalations(world: &World, _: usize) -> Result<String, String> {
            let right = matches(world);
            Ok(right.split_inclusive('\n').filter(|line| !line.contains("\"escalation\"")).collect())
        }
        let differs = |seed: &u64| {
            let world = generate(*seed);
            forgets_escalations(&world, 1).unwrap() != matches(&world)
        };
        let seed = (0..200).find(differs).expect("a world with an escalation");
        let report = report(seed, &generate(seed), 1, forgets_escalations);
        let pings = report.split("--- ").find_map(|file| file.strip_prefix("pings.csv\n")).unwrap();
        let actions = report.split("--- ").find_map(|file| file.strip_prefix("actions.ndjson\n")).unwrap();
        // The header and the device; the publication, and at most what lets it grow.
        assert!(pings.lines().count() <= 3 && actions.lines().count() <= 3, "{report}");
        assert!(report.contains(&format!("seed {seed},")), "{report}");
    }

    #[test]
    fn a_seed_is_a_world() {
        assert_eq!(generate(7), generate(7));
        assert_ne!(generate(7).pings, generate(8).pings);
    }
}
