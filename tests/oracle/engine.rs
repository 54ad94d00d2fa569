//! The engine as the oracle's worlds meet it: files in, match lines out, by the same replay that
//! the command runs.

use std::sync::Arc;

use hexcast::desk::{Policies, ReplayActions};
use hexcast::domain::{EventTime, MaxAge, Namespace, Ping};
use hexcast::files::{PingProblem, PingReader, Pseudonyms, read_actions, write_match_line};
use hexcast::runtime::{NamespaceConfig, Replay, replay};

use super::world::World;

/// Replays a world. Odd numbers of partitions cut scans into slices, even ones do not.
pub(crate) fn engine(world: &World, partitions: usize) -> Result<String, String> {
    let mut names = Pseudonyms::new([0; 32], 1_000);
    let mut pings: Vec<Ping> = Vec::new();
    let mut last = None::<EventTime>;
    let csv = world.pings_csv();
    let reader = PingReader::new(csv.as_bytes(), &mut names, None).map_err(|e| e.to_string())?;
    for line in reader {
        match line.map_err(|e| e.to_string())?.result {
            Ok(ping) => {
                last = last.max(Some(ping.at));
                pings.push(ping);
            }
            Err(PingProblem::Rejected { at, .. }) => last = last.max(Some(at)),
            Err(PingProblem::Bad(bad)) => return Err(bad.to_string()),
        }
    }
    pings.sort_by_key(|ping| ping.at);
    let actions = read_actions(world.actions_ndjson().as_bytes()).map_err(|e| e.to_string())?.actions;
    let last = last.max(actions.iter().map(|action| action.at).max());
    let end = world.until.map(EventTime).or(last).ok_or("an empty world")?;
    let namespace = Namespace::new(&world.namespace).map_err(|e| e.to_string())?;
    let what = Replay {
        namespace: NamespaceConfig {
            name: namespace.clone(),
            max_age: world.max_age_ms.map_or(MaxAge::Never, MaxAge::Ms),
        },
        partitions: partitions as u32,
        sliced: partitions % 2 == 1,
        pings: &pings,
        actions: Arc::new(ReplayActions::new(Policies::default(), actions)),
        end,
    };
    let mut lines = Vec::new();
    let mut write = |info: &hexcast::runtime::AlertInfo, found: &hexcast::domain::Match| {
        write_match_line(&mut lines, found, &info.id, &namespace, names.name(found.device), None)
    };
    replay(&what, &mut write).map_err(|e| e.to_string())?;
    String::from_utf8(lines).map_err(|e| e.to_string())
}
