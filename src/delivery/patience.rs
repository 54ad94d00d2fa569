//! When a partner that lags is cut off. Pure: times and offsets are arguments.
//!
//! Three bounds, each on what a partner has not acknowledged: how many matches, how long one may
//! wait, and how long nothing at all may move. The age of the oldest match that waits is not kept
//! for every match; a mark is: "at this tick the log ended here". Where the cursor has not passed
//! the mark in time, matches that stood in the log then have waited too long. A mark that was passed is
//! set anew, so a match waits at least the bound and at most twice as long before its partner is cut off.

use crate::domain::Offset;
use crate::limits::{LAG_AGE_MS_MAX, LAG_LOOK_MS, LAG_MATCHES_MAX, PARTNER_SILENT_MS_MAX};
use crate::planted::{self, Defect};

/// How far a partner may lag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LagLimits {
    /// Matches that wait for its acknowledgement. What waited already when a session began is not
    /// held against it.
    pub matches: u64,
    /// How long a match may wait, ms.
    pub age_ms: u64,
    /// How long nothing may move while something waits, ms.
    pub silent_ms: u64,
}

impl Default for LagLimits {
    fn default() -> Self {
        Self { matches: LAG_MATCHES_MAX, age_ms: LAG_AGE_MS_MAX, silent_ms: PARTNER_SILENT_MS_MAX }
    }
}

/// Why a partner is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CutOff {
    /// Too many matches wait.
    #[error(
        "{matches} matches wait for your acknowledgement, more than {max}: acknowledge what is dealt with, or read faster"
    )]
    Matches {
        /// How many.
        matches: u64,
        /// The bound.
        max: u64,
    },
    /// A match has waited too long.
    #[error(
        "matches from offset {offset} on have waited over {max_ms} ms for your acknowledgement: acknowledge what is dealt with, or read faster"
    )]
    Age {
        /// The cursor.
        offset: Offset,
        /// The bound.
        max_ms: u64,
    },
    /// Nothing moved.
    #[error(
        "nothing was acknowledged for {max_ms} ms while matches from offset {offset} on waited: acknowledge what is dealt with"
    )]
    Silent {
        /// The cursor.
        offset: Offset,
        /// The bound.
        max_ms: u64,
    },
}

/// How a partner stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// It is done with all below, by its acknowledgement or because it is not shown it.
    pub done: Offset,
    /// Something is sent to it, or being sent, that it has not acknowledged. Where nothing is, what waits
    /// waits for the server itself and is not held against the partner.
    pub owes: bool,
}

/// One session's account.
#[derive(Debug)]
pub struct Patience {
    limits: LagLimits,
    cursor: Offset,
    /// When the cursor moved, or something began to wait.
    moved_ms: u64,
    /// Where the log ended at that tick.
    mark: Option<(Offset, u64)>,
}

impl Patience {
    /// A session begins to read at `start`, where the log ends at `end`.
    pub fn new(limits: LagLimits, start: Offset, end: Offset, now_ms: u64) -> Self {
        let matches = limits.matches.max(end.0.saturating_sub(start.0));
        Self { limits: LagLimits { matches, ..limits }, cursor: start, moved_ms: now_ms, mark: None }
    }

    /// Looks at the partner and at the log's end. Gives the tick at which to look again; `None` where
    /// nothing waits, until something does.
    ///
    /// # Errors
    /// Where it is to be cut off.
    pub fn look(&mut self, partner: Standing, end: Offset, now_ms: u64) -> Result<Option<u64>, CutOff> {
        let LagLimits { matches, age_ms, silent_ms } = self.limits;
        if partner.done > self.cursor {
            (self.cursor, self.moved_ms) = (partner.done, now_ms);
        }
        let waiting = end.0.saturating_sub(self.cursor.0);
        if waiting == 0 || !partner.owes && !planted::on(Defect::WhoOwesNothingIsCutOff) {
            self.mark = None;
            return Ok((waiting > 0).then(|| now_ms.saturating_add(LAG_LOOK_MS)));
        }
        if self.mark.is_none() {
            // It did not wait before.
            self.moved_ms = now_ms;
        }
        let (upto, since_ms) = match self.mark {
            Some(mark) if mark.0 > self.cursor => mark,
            _ => *self.mark.insert((end, now_ms)),
        };
        debug_assert!(upto > self.cursor, "something waits");
        let (stale_ms, silent_at_ms) =
            (since_ms.saturating_add(age_ms), self.moved_ms.saturating_add(silent_ms));
        if waiting > matches {
            Err(CutOff::Matches { matches: waiting, max: matches })
        } else if now_ms >= stale_ms {
            Err(CutOff::Age { offset: self.cursor, max_ms: age_ms })
        } else if now_ms >= silent_at_ms {
            Err(CutOff::Silent { offset: self.cursor, max_ms: silent_ms })
        } else {
            Ok(Some(stale_ms.min(silent_at_ms).min(now_ms.saturating_add(LAG_LOOK_MS))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: LagLimits = LagLimits { matches: 100, age_ms: 10_000, silent_ms: 3_000 };

    fn owing(done: u64) -> Standing {
        Standing { done: Offset(done), owes: true }
    }

    /// Cursor, end, tick, and what is said.
    type Step = (u64, u64, u64, Result<Option<u64>, &'static str>);

    fn run(start: u64, end: u64, steps: &[Step]) {
        let mut patience = Patience::new(LIMITS, Offset(start), Offset(end), 0);
        for (cursor, end, now, says) in steps {
            let said = patience.look(owing(*cursor), Offset(*end), *now);
            match (&said, says) {
                (Ok(next), Ok(expected)) => assert_eq!(next, expected, "{cursor} {end} {now}"),
                (Err(why), Err(part)) => assert!(why.to_string().contains(part), "{why}"),
                _ => panic!("{cursor} {end} {now}: {said:?}, not {says:?}"),
            }
        }
    }

    #[test]
    fn a_partner_that_keeps_up_is_never_cut_off() {
        let mut patience = Patience::new(LIMITS, Offset(0), Offset(0), 0);
        for second in 0..100_000 {
            let end = Offset(second * 50);
            let behind = owing((second * 50).saturating_sub(90));
            assert!(patience.look(behind, end, second * 1_000).is_ok());
        }
        // What waits for the server itself is not held against it.
        let mut patience = Patience::new(LIMITS, Offset(0), Offset(0), 0);
        for second in 0..1_000 {
            let standing = Standing { done: Offset(5), owes: false };
            assert_eq!(
                patience.look(standing, Offset(500), second * 1_000),
                Ok(Some(second * 1_000 + 1_000))
            );
        }
        // Nothing comes for a long time, and nobody looks; then something.
        run(0, 0, &[(0, 0, 0, Ok(None)), (0, 1, 99_500, Ok(Some(100_500)))]);
    }

    #[test]
    fn too_many_matches_but_not_those_of_before() {
        run(0, 0, &[(0, 100, 0, Ok(Some(1_000))), (0, 101, 1, Err("101 matches wait"))]);
        run(
            0,
            500,
            &[
                (0, 500, 0, Ok(Some(1_000))),
                (10, 510, 1, Ok(Some(1_001))),
                (10, 511, 2, Err("more than 500")),
            ],
        );
    }

    #[test]
    fn silence_counts_from_when_something_waits_or_moved() {
        run(
            0,
            0,
            &[
                (0, 0, 0, Ok(None)),
                (0, 1, 51_000, Ok(Some(52_000))),
                (0, 9, 53_999, Ok(Some(54_000))),
                (0, 9, 54_000, Err("for 3000 ms")),
            ],
        );
        run(
            0,
            9,
            &[
                (0, 9, 0, Ok(Some(1_000))),
                (1, 9, 2_999, Ok(Some(3_999))),
                (1, 9, 5_500, Ok(Some(5_999))),
                (1, 9, 5_999, Err("offset 1 on waited")),
            ],
        );
    }

    #[test]
    fn a_match_that_waits_too_long_ends_it_however_busy_the_partner_is() {
        let mut patience = Patience::new(LIMITS, Offset(0), Offset(90), 0);
        let mut cut = None;
        for second in 0..40u64 {
            // It acknowledges one match a second of ninety that wait.
            if let Err(why) = patience.look(owing(second), Offset(90), second * 1_000) {
                cut = Some((second, why));
                break;
            }
        }
        let (second, why) = cut.unwrap();
        assert_eq!((second, why), (10, CutOff::Age { offset: Offset(10), max_ms: 10_000 }));
        // One that passes its marks in time goes on.
        let mut patience = Patience::new(LIMITS, Offset(0), Offset(90), 0);
        for second in 0..200u64 {
            patience.look(owing(second * 10), Offset(90 + second * 10), second * 1_000).unwrap();
        }
    }
}
