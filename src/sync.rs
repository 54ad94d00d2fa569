//! Locks and counters of which the order matters: the standard ones, and nothing else.
//!
//! In unit tests each is the standard one with a point before and after it at which `shuttle` may let
//! another thread run, so that [`schedules`] drives the real code through many orders of its steps,
//! the same ones for a seed. Outside of `schedules` those points do nothing. What shuttle does not
//! show: orders that only weak memory allows (every step is sequentially consistent there), and
//! orders inside tokio's channels and semaphores, each of whose calls is one step.

#[cfg(not(test))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic::AtomicU64};

#[cfg(test)]
pub(crate) use scheduled::{AtomicU64, Mutex, MutexGuard, schedules};

#[cfg(test)]
mod scheduled {
    use std::cell::Cell;
    use std::ops::{Deref, DerefMut};
    use std::sync::atomic::Ordering;
    use std::sync::{LockResult, TryLockError};

    thread_local! {
        /// Whether this thread runs under shuttle, all of whose threads are one of the system's.
        static SCHEDULED: Cell<bool> = const { Cell::new(false) };
    }

    /// Here another thread may run.
    fn switch() {
        if SCHEDULED.get() && !std::thread::panicking() {
            shuttle::sync::atomic::AtomicBool::new(true).load(Ordering::SeqCst);
        }
    }

    /// Runs `body` under `count` random orders, and under `count` in which few threads are put off at a few
    /// points (PCT: Burckhardt et al., "A randomized scheduler with probabilistic guarantees of finding
    /// bugs", 2010). Fails at the first order in which it panics, or all wait for each other.
    pub(crate) fn schedules(seed: u64, count: usize, body: impl Fn() + Send + Sync + 'static) {
        struct Unscheduled;
        impl Drop for Unscheduled {
            fn drop(&mut self) {
                SCHEDULED.set(false);
            }
        }
        use shuttle::scheduler::{PctScheduler, RandomScheduler};
        let _unscheduled = Unscheduled;
        SCHEDULED.set(true);
        let mut config = shuttle::Config::new();
        config.stack_size = 256 << 10;
        config.silence_warnings = true;
        let body = std::sync::Arc::new(body);
        let again = std::sync::Arc::clone(&body);
        let random = RandomScheduler::new_from_seed(seed, count);
        let ran = shuttle::Runner::new(random, config.clone()).run(move || again());
        assert_eq!(ran, count);
        let pct = PctScheduler::new_from_seed(seed, 3, count);
        assert_eq!(shuttle::Runner::new(pct, config).run(move || body()), count);
    }

    /// See the module head.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

    /// What a held lock gives.
    pub(crate) struct MutexGuard<'a, T>(Option<std::sync::MutexGuard<'a, T>>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(std::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
            if !SCHEDULED.get() {
                let held = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                return Ok(MutexGuard(Some(held)));
            }
            switch();
            loop {
                match self.0.try_lock() {
                    Ok(held) => return Ok(MutexGuard(Some(held))),
                    Err(TryLockError::Poisoned(held)) => return Ok(MutexGuard(Some(held.into_inner()))),
                    Err(TryLockError::WouldBlock) => shuttle::thread::yield_now(),
                }
            }
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.0.as_ref().expect("held until it is dropped")
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().expect("held until it is dropped")
        }
    }

    impl<T> Drop for MutexGuard<'_, T> {
        fn drop(&mut self) {
            drop(self.0.take());
            switch();
        }
    }

    /// See the module head.
    #[derive(Debug, Default)]
    pub(crate) struct AtomicU64(std::sync::atomic::AtomicU64);

    impl AtomicU64 {
        pub(crate) fn new(value: u64) -> Self {
            Self(std::sync::atomic::AtomicU64::new(value))
        }

        pub(crate) fn fetch_add(&self, by: u64, order: Ordering) -> u64 {
            switch();
            let before = self.0.fetch_add(by, order);
            switch();
            before
        }

        pub(crate) fn fetch_sub(&self, by: u64, order: Ordering) -> u64 {
            switch();
            let before = self.0.fetch_sub(by, order);
            switch();
            before
        }
    }

    /// The points are there: a counter that is read and then written loses counts.
    #[test]
    #[should_panic(expected = "a count is lost")]
    fn a_race_is_found() {
        schedules(1, 200, || {
            let count = std::sync::Arc::new(Mutex::new(0));
            let add = |count: std::sync::Arc<Mutex<u64>>| {
                move || {
                    let before = *count.lock().unwrap();
                    *count.lock().unwrap() = before + 1;
                }
            };
            let other = shuttle::thread::spawn(add(std::sync::Arc::clone(&count)));
            add(std::sync::Arc::clone(&count))();
            other.join().unwrap();
            assert_eq!(*count.lock().unwrap(), 2, "a count is lost");
        });
    }
}
