//! Progress: a bar where there is a terminal, a plain line now and then where there is none.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::output::{grouped, note};

/// How often a plain line is printed.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// How often a spinner turns.
const TICK_EVERY: Duration = Duration::from_millis(200);

/// What lasts long and says how far it is. Prints nothing in its first second.
pub(super) struct Progress {
    what: &'static str,
    total: Option<u64>,
    done: u64,
    shown: Shown,
}

enum Shown {
    Bar(ProgressBar),
    Lines { next: Instant },
}

impl Progress {
    /// Of `total` things where the number is known.
    pub(super) fn new(what: &'static str, total: Option<u64>) -> Self {
        let shown = if std::io::stderr().is_terminal() {
            let bar = match total {
                Some(total) => ProgressBar::new(total),
                None => ProgressBar::new_spinner(),
            };
            let template = match total {
                Some(_) => "{msg} [{bar:24}] {human_pos} of {human_len}, {eta} to go",
                None => "{msg} {spinner} {human_pos} ({per_sec})",
            };
            let style = ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("=> ");
            Shown::Bar(bar.with_style(style).with_message(what))
        } else {
            Shown::Lines { next: Instant::now() + LINE_EVERY }
        };
        Self { what, total, done: 0, shown }
    }

    /// Of something that cannot say how far it is: shows that it lives, and since when.
    pub(super) fn busy(what: &'static str) -> Self {
        let progress = Self::new(what, None);
        if let Shown::Bar(bar) = &progress.shown {
            let style = ProgressStyle::with_template("{msg} {spinner} {elapsed}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(TICK_EVERY);
        }
        progress
    }

    /// So many are done in all.
    pub(super) fn set(&mut self, done: u64) {
        self.done = done;
        match &mut self.shown {
            Shown::Bar(bar) => bar.set_position(done),
            Shown::Lines { next } if Instant::now() >= *next => {
                *next = Instant::now() + LINE_EVERY;
                match self.total {
                    Some(total) => {
                        note(&format!("{}: {} of {}", self.what, grouped(done), grouped(total)));
                    }
                    None => note(&format!("{}: {}", self.what, grouped(done))),
                }
            }
            Shown::Lines { .. } => {}
        }
    }

    /// One more is done; shown every few thousand.
    pub(super) fn step(&mut self) {
        self.done += 1;
        if self.done.is_multiple_of(8_192) {
            self.set(self.done);
        }
    }

    /// A line of its own, above the bar.
    pub(super) fn note(&self, text: &str) {
        match &self.shown {
            Shown::Bar(bar) => bar.suspend(|| note(&text)),
            Shown::Lines { .. } => note(&text),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}
