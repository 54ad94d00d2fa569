//! The versions of alerts that matches in the logs speak of, bounded in bytes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

use crate::domain::AlertNo;
use crate::limits::ALERT_VERSIONS_BYTES_MAX;
use crate::runtime::AlertInfo;

pub(super) struct Alerts {
    held: RwLock<Held>,
    bytes_max: usize,
}

#[derive(Default)]
struct Held {
    versions: BTreeMap<(AlertNo, u32), Arc<AlertInfo>>,
    /// Versions that a later one has replaced, the first replaced first: the first to go.
    superseded: VecDeque<(AlertNo, u32)>,
    bytes: usize,
}

impl Default for Alerts {
    fn default() -> Self {
        Self { held: RwLock::default(), bytes_max: ALERT_VERSIONS_BYTES_MAX }
    }
}

impl Alerts {
    pub(super) fn add(&self, info: &Arc<AlertInfo>) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let key = (info.no, info.version);
        let before = held.versions.range((info.no, 0)..key).next_back().map(|(key, _)| *key);
        if held.versions.insert(key, Arc::clone(info)).is_some() {
            return;
        }
        held.bytes += cost(info);
        held.superseded.extend(before);
        while held.bytes > self.bytes_max
            && let Some(key) = held.superseded.pop_front()
        {
            let gone = held.versions.remove(&key).map_or(0, |info| cost(&info));
            held.bytes -= gone;
        }
    }

    /// What all versions held take.
    pub(super) fn bytes(&self) -> usize {
        self.held.read().unwrap_or_else(PoisonError::into_inner).bytes
    }

    pub(super) fn get(&self, no: AlertNo, version: u32) -> Option<Arc<AlertInfo>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.versions.range((no, version)..=(no, u32::MAX)).next().map(|(_, info)| Arc::clone(info))
    }
}

/// What a version takes: its text, and itself in the table, which is at least half full.
fn cost(info: &AlertInfo) -> usize {
    info.json.len() + size_of::<AlertInfo>() + 2 * size_of::<((AlertNo, u32), Arc<AlertInfo>)>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Status;

    fn info(no: u32, version: u32) -> Arc<AlertInfo> {
        let (id, status) = ("a".into(), Status::Actual);
        Arc::new(AlertInfo { no: AlertNo(no), id, version, status, json: "0123456789".into() })
    }

    #[test]
    fn the_first_replaced_versions_go_first_and_the_newest_stay() {
        let alerts = Alerts { held: RwLock::default(), bytes_max: 3 * cost(&info(0, 1)) };
        for (no, version) in [(0, 1), (1, 1), (1, 2), (0, 2), (0, 2), (2, 1)] {
            alerts.add(&info(no, version));
        }
        // Five versions, of which three fit: (1, 1) was replaced first, then (0, 1).
        let version = |no, version| alerts.get(AlertNo(no), version).map(|info| info.version);
        assert_eq!([version(0, 1), version(0, 2)], [Some(2), Some(2)]);
        assert_eq!([version(1, 1), version(1, 2), version(1, 3)], [Some(2), Some(2), None]);
        assert_eq!([version(2, 1), version(3, 1)], [Some(1), None]);
        // Newest versions alone may exceed the bound: the desk bounds those.
        alerts.add(&info(3, 1));
        assert_eq!(version(0, 1), Some(2));
        assert_eq!(version(3, 1), Some(1));
    }
}
