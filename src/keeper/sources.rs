//! The sources' log: up to which batch each named source of pings is safe, where ping logs make it so.
//!
//! Each record says all, so the newest is all that counts and the rest goes. It is written after the fact and
//! at most so often, so a restart may know of less than sources were told, never of more: one that asks
//! where to go on then sends some batches twice, which are stale.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::KeepError;
use crate::limits::RECOVERY_READ_BYTES;
use crate::runtime::{NamespaceConfig, NamespaceIx, SourceName, Sources};
use crate::store::{Disk, LogOptions, OpenReport, SegmentedLog, SourceMark, StoreError};

const ALL_SOURCES: u8 = 1;
/// How often it is written at most.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// The log, and what it is of.
pub(crate) struct SourcesLog {
    log: SegmentedLog,
    every: Duration,
    sources: Arc<Sources>,
    namespaces: Vec<NamespaceConfig>,
    written: Option<Instant>,
}

impl SourcesLog {
    /// Opens it, to be written at most `every` so often; returns what it says.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        every: Duration,
        sources: &Arc<Sources>,
        namespaces: &[NamespaceConfig],
    ) -> Result<(Self, Vec<SourceMark>, OpenReport), KeepError> {
        let options = LogOptions { segment_bytes: 0, ..options };
        let (log, report) = SegmentedLog::open(disk, "pings/sources", options)?;
        let (reader, mut next, mut newest) = (log.reader(), log.first(), None);
        loop {
            let records = reader.read(next, RECOVERY_READ_BYTES)?;
            let Some(last) = records.last() else { break };
            next = last.next;
            newest = Some(last.clone());
        }
        let marks = match newest {
            None => Vec::new(),
            Some(newest) => serde_json::from_slice(&newest.payload)
                .map_err(|why| StoreError::damaged("the sources' log", newest.first, why.to_string()))?,
        };
        let (sources, namespaces) = (Arc::clone(sources), namespaces.to_vec());
        Ok((Self { log, every, sources, namespaces, written: None }, marks, report))
    }

    /// Writes it anew, where that is due and anything has changed.
    pub(super) fn write(&mut self) -> Result<(), StoreError> {
        if self.written.is_some_and(|at| at.elapsed() < self.every) {
            return Ok(());
        }
        let Some(all) = self.sources.moved() else { return Ok(()) };
        let marks: Vec<SourceMark> =
            all.into_iter().filter_map(|(name, batch)| mark(&self.namespaces, name, batch)).collect();
        let json = serde_json::to_vec(&marks).unwrap_or_default();
        let next = self.log.next();
        self.log.append(ALL_SOURCES, next, next + 1, &[&json])?;
        match self.log.seal() {
            Ok(_) => {
                self.log.prepare()?;
                self.log.trim(next)?;
            }
            // It is not needed: what it would have said is said by the next one.
            Err(why) if why.is_full() => self.log.discard(),
            Err(why) => return Err(why),
        }
        self.written = Some(Instant::now());
        Ok(())
    }
}

/// A source and its batch as they are kept.
pub(crate) fn mark(namespaces: &[NamespaceConfig], name: SourceName, batch: u64) -> Option<SourceMark> {
    let SourceName { namespace, identity, source } = name;
    let namespace = namespaces.get(usize::from(namespace.0))?.name.to_string();
    Some(SourceMark { namespace, identity, source, batch })
}

/// Tells the sources what a snapshot and the log, where there is one, say of them. Where both speak of one, the
/// lower number counts: it may have been numbered anew since either was written.
pub(crate) fn restore(
    sources: &Sources,
    namespaces: &[NamespaceConfig],
    snapshot: &[SourceMark],
    log: &[SourceMark],
) {
    for mark in snapshot.iter().chain(log) {
        let same = |other: &&SourceMark| {
            (&other.namespace, &other.identity, &other.source)
                == (&mark.namespace, &mark.identity, &mark.source)
        };
        let said = [snapshot, log].into_iter().filter_map(|marks| marks.iter().find(same));
        let batch = said.map(|mark| mark.batch).min().unwrap_or(0);
        let Some(ns) = namespaces.iter().position(|ns| ns.name.as_str() == mark.namespace) else { continue };
        let SourceMark { identity, source, .. } = mark.clone();
        sources.restore(SourceName { namespace: NamespaceIx(ns as u16), identity, source }, batch);
    }
}
