//! Reads of matches that memory does not hold any more, on threads that may wait for the disk.
//!
//! A read that the disk keeps waiting must hold up nobody but who asked for it. So it never runs on a thread that
//! serves sessions, and there are few such reads at a time, in all and of each partner: neither many partners nor
//! many sessions of one take all threads. A session has one at a time, of one chunk; that is its order, and all the
//! memory that it takes. A read whose session has ended goes on until the disk answers, and keeps its place until
//! then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Semaphore;

use super::chunk::{self, Chunk};
use super::match_log::{OffsetGone, ReadError};
use crate::domain::Offset;
use crate::limits::{COLD_READS_MAX, COLD_READS_PER_PARTNER_MAX};
use crate::store::LogReader;

/// A read that is to be done. It blocks.
#[derive(Debug)]
pub struct ColdRead {
    pub(super) kept: LogReader,
    pub(super) from: Offset,
    /// Nobody is shown what lies from here on.
    pub(super) end: Offset,
}

impl ColdRead {
    /// Reads, by this thread.
    ///
    /// # Errors
    /// Where retention went by since the look, or the disk does not give what was written.
    pub fn read(self) -> Result<Chunk, ReadError> {
        let Self { kept, from, end } = self;
        match chunk::on_disk(&kept, from) {
            Ok(Some(chunk)) => Ok(if chunk.next > end { chunk.part(from, end) } else { chunk }),
            Ok(None) => Err(OffsetGone { wanted: from, earliest: Offset(kept.first()), end }.into()),
            Err(why) => Err(ReadError::Unreadable { from, why }),
        }
    }
}

/// The places of all reads. See the module head.
pub struct ColdReads {
    all: Arc<Semaphore>,
    /// By partner, as long as it has a session or a read.
    partners: Mutex<HashMap<String, Weak<Semaphore>>>,
}

impl Default for ColdReads {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(COLD_READS_MAX)), partners: Mutex::default() }
    }
}

/// The places of a partner's reads; its sessions share them.
pub struct PartnerReads {
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

impl ColdReads {
    /// Those of a partner.
    pub fn of(&self, partner: &str) -> PartnerReads {
        let mut partners = self.partners.lock().unwrap_or_else(PoisonError::into_inner);
        let held = partners.get(partner).and_then(Weak::upgrade);
        let own = held.unwrap_or_else(|| {
            partners.retain(|_, own| own.strong_count() > 0);
            let own = Arc::new(Semaphore::new(COLD_READS_PER_PARTNER_MAX));
            partners.insert(partner.to_owned(), Arc::downgrade(&own));
            own
        });
        PartnerReads { own, all: Arc::clone(&self.all) }
    }

    /// How many reads are under way.
    pub(super) fn under_way(&self) -> usize {
        COLD_READS_MAX - self.all.available_permits()
    }
}

impl PartnerReads {
    /// Reads when it is its turn. To be called inside a tokio runtime; where it is dropped, the read is lost.
    ///
    /// # Errors
    /// Those of [`ColdRead::read`].
    pub async fn read(&self, cold: ColdRead) -> Result<Chunk, ReadError> {
        // Nobody closes them.
        let own = Arc::clone(&self.own).acquire_owned().await;
        let all = Arc::clone(&self.all).acquire_owned().await;
        let from = cold.from;
        let read = tokio::task::spawn_blocking(move || {
            let _places = (own, all);
            cold.read()
        });
        let failed = |_| ReadError::Unreadable { from, why: "the thread that read them panicked".into() };
        read.await.unwrap_or_else(|why| Err(failed(why)))
    }
}
