//! What `pillion package` does at the moment: one row of a terminal, with a bar of the finished programs. Elsewhere, as in CI, one line for
//! each step.

use std::{env, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the spinner turns and the elapsed time is shown.
const TICK: Duration = Duration::from_millis(200);
const ROW: &str = "{spinner:.yellow} {bar:12.yellow} {pos} of {len}: {wide_msg} {elapsed}";

/// Shows the current step, and how many programs are finished. The row disappears when it is dropped.
#[derive(Debug)]
pub(super) struct ProgressBars(ProgressBar);

impl ProgressBars {
    /// For so many programs. Both go to stderr; the row needs a terminal that understands escape sequences.
    pub(super) fn new(programs: usize) -> Self {
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        let target = if dumb { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let progress = Self::on(target, programs);
        progress.0.enable_steady_tick(TICK);
        progress
    }

    fn on(target: ProgressDrawTarget, programs: usize) -> Self {
        let bar = ProgressBar::with_draw_target(u64::try_from(programs).ok(), target);
        if let Ok(style) = ProgressStyle::with_template(ROW) {
            bar.set_style(style);
        }
        Self(bar)
    }

    pub(super) fn show(&self, step: &str) {
        if self.0.is_hidden() {
            anstream::eprintln!("{step} …");
        }
        self.0.set_message(step.to_owned());
    }

    /// Counts a program that is in place, or that could not be made.
    pub(super) fn finished_one(&self) {
        self.0.inc(1);
    }
}

impl Drop for ProgressBars {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;

    use super::*;

    #[test]
    fn the_row_has_the_step_and_the_finished_programs_and_disappears() {
        let terminal = InMemoryTerm::new(3, 80);
        let progress = ProgressBars::on(ProgressDrawTarget::term_like(Box::new(terminal.clone())), 2);
        progress.show("api for x86_64-unknown-linux-gnu: go build");
        progress.finished_one();
        progress.0.tick();
        let row = terminal.contents();
        assert!(row.contains("1 of 2: api for x86_64-unknown-linux-gnu: go build"), "{row:?}");
        drop(progress);
        assert_eq!(terminal.contents(), "");
    }
}
