//! Memory that a growing table will soon use, given by threads that have nothing else to do.
//!
//! A page's first touch costs a quarter of a millisecond, and ten and more under a hypervisor that has to get the page
//! first; pings must not wait for it. So whoever owns a [`Region`](super::memory::Region) says how far it will soon reach,
//! and [`give`] has the system give that, a huge page at a time. Nothing is written: what lies there stays, whatever its
//! owner does there meanwhile. Where nobody gives, or the system refuses, owners touch their pages themselves.
//!
//! Invariant: memory is given only while its [`Wish`] is marked as being granted, and an owner moves, cuts or unmaps it
//! only while it is not. So an owner waits for a page at most, and only then.

#![expect(unsafe_code, reason = "has the system give memory; nothing is read or written")]

use std::ptr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustix::mm::{self, Advice};

/// Bytes that are given at a time: a huge page.
pub(super) const STEP: usize = 2 << 20;

/// What an owner waits for.
#[derive(Debug)]
struct Wish {
    id: u64,
    /// Where its memory is.
    start: usize,
    /// Bytes of it that were given.
    given: usize,
    /// Bytes of it that will soon be used.
    wanted: usize,
    /// A thread is at it.
    granted: bool,
}

#[derive(Debug)]
struct Wishes {
    all: Vec<Wish>,
    next_id: u64,
    /// Threads that give.
    givers: usize,
}

static WISHES: Mutex<Wishes> = Mutex::new(Wishes { all: Vec::new(), next_id: 0, givers: 0 });
/// Something is wanted.
static WANTED: Condvar = Condvar::new();
/// A step was done.
static GIVEN: Condvar = Condvar::new();

fn wishes() -> MutexGuard<'static, Wishes> {
    // What it guards is whole between any two statements.
    WISHES.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wishes {
    fn of(&mut self, id: u64) -> Option<&mut Wish> {
        self.all.iter_mut().find(|wish| wish.id == id)
    }
}

/// Gives what is wanted, until the process ends. For a thread of its own; several may do it.
pub fn give() -> ! {
    let mut wishes = wishes();
    wishes.givers += 1;
    loop {
        let next = wishes.all.iter_mut().find(|wish| !wish.granted && wish.given < wish.wanted);
        let Some(wish) = next else {
            wishes = WANTED.wait(wishes).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        wish.granted = true;
        let (id, at) = (wish.id, wish.start + wish.given);
        drop(wishes);
        // SAFETY: the memory is its owner's until the wish is no longer marked; the system only puts pages
        // where there are none.
        let given =
            unsafe { mm::madvise(ptr::with_exposed_provenance_mut(at), STEP, Advice::LinuxPopulateWrite) };
        wishes = self::wishes();
        if let Some(wish) = wishes.of(id) {
            wish.granted = false;
            // Where the system refuses, the owner's own touch must do.
            wish.given = if given.is_ok() { wish.given + STEP } else { wish.wanted };
        }
        GIVEN.notify_all();
    }
}

/// An owner's part of it; wants nothing at first.
#[derive(Debug, Default)]
pub(super) struct Ahead(Option<u64>);

impl Ahead {
    /// The owner's memory from `start` on will soon be used up to `wanted`, in whole steps; `given` of it is known to have
    /// been touched. Says whether somebody sees to it.
    #[cold]
    pub(super) fn want(&mut self, start: usize, given: usize, wanted: usize) -> bool {
        let mut wishes = wishes();
        if wishes.givers == 0 {
            return false;
        }
        let found = self.0.and_then(|id| wishes.of(id));
        if let Some(wish) = found {
            wish.wanted = wish.wanted.max(wanted);
        } else {
            let id = wishes.next_id;
            wishes.next_id += 1;
            wishes.all.push(Wish { id, start, given, wanted, granted: false });
            self.0 = Some(id);
        }
        WANTED.notify_one();
        true
    }

    /// Nothing is wanted any more, and nobody is at the memory when this returns: how much of it was given.
    pub(super) fn end(&mut self) -> Option<usize> {
        let id = self.0.take()?;
        let mut wishes = wishes();
        while wishes.of(id).is_some_and(|wish| wish.granted) {
            wishes = GIVEN.wait(wishes).unwrap_or_else(PoisonError::into_inner);
        }
        let at = wishes.all.iter().position(|wish| wish.id == id)?;
        Some(wishes.all.swap_remove(at).given)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    /// Nothing real: [`give`] must not see it, so it is marked as granted from the start.
    fn granted(ahead: &Ahead) {
        wishes().of(ahead.0.unwrap()).unwrap().granted = true;
    }

    #[test]
    fn an_owner_waits_for_the_step_that_is_under_way() {
        for _ in 0..300 {
            let mut held = wishes();
            held.givers += 1;
            drop(held);
            let mut ahead = Ahead::default();
            // No memory wants anything yet, so nobody touches this address.
            assert!(ahead.want(STEP, 0, 0));
            granted(&ahead);
            let id = ahead.0.unwrap();
            let mapped = Arc::new(AtomicBool::new(true));
            let owner = thread::spawn({
                let mapped = Arc::clone(&mapped);
                move || {
                    let given = ahead.end();
                    mapped.store(false, Ordering::SeqCst);
                    given
                }
            });
            for _ in 0..20 {
                thread::yield_now();
            }
            let mut held = wishes();
            held.givers -= 1;
            let wish = held.of(id).unwrap();
            assert!(mapped.load(Ordering::SeqCst), "it was unmapped during the step");
            (wish.granted, wish.given) = (false, STEP);
            drop(held);
            GIVEN.notify_all();
            assert_eq!(owner.join().unwrap(), Some(STEP));
        }
    }
}
