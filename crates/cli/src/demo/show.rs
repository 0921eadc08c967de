//! Progress on standard error: a spinner under lasting lines on a terminal, plain lines elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the spinner turns, and so how smoothly its clock runs.
const TICK: Duration = Duration::from_millis(120);

pub struct Show {
    bar: Option<ProgressBar>,
    started: Instant,
}

impl Show {
    pub fn new() -> Show {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            // The template is a constant; were it wrong, indicatif's own style would do.
            if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(TICK);
            bar
        });
        Show { bar, started: Instant::now() }
    }

    /// A line that stays.
    pub fn say(&self, line: &str) {
        let line = format!("{:6.1} s  {line}", self.started.elapsed().as_secs_f32());
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    /// What goes on; seen on a terminal only.
    pub fn now(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
        }
    }

    /// So many of so many; on a terminal every step is seen, elsewhere the last one.
    pub fn progress(&self, done: usize, all: usize, what: &str) {
        let words = format!("{done} of {all} {what}");
        if done == all { self.say(&words) } else { self.now(&words) }
    }

    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
