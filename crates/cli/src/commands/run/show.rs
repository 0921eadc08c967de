//! Progress on standard error: a bar on a terminal, a line a step elsewhere.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use xtreem_client::api::{ProgressLine, SlotPhase};

use crate::submission::SoFar;
use crate::text;

/// The bar, its position and its last message.
const BAR: &str = "{spinner} [{bar:30}] {pos}/{len} {msg}";

pub(super) struct Show {
    bar: Option<ProgressBar>,
    wanted: u16,
}

impl Show {
    pub(super) fn new(wanted: u16) -> Show {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(wanted.into()), ProgressDrawTarget::stderr());
            // The template is a constant; were it wrong, indicatif's own style would do.
            if let Ok(style) = ProgressStyle::with_template(BAR) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar
        });
        Show { bar, wanted }
    }

    pub(super) fn step(&self, line: &ProgressLine, so_far: &SoFar) {
        let words = text::apps::progress(line, self.wanted);
        let Some(bar) = &self.bar else {
            eprintln!("{words}");
            return;
        };
        match line {
            ProgressLine::Held { nodes, .. } => bar.set_position((*nodes).into()),
            ProgressLine::Slot { .. } => bar.set_position(up(so_far)),
            ProgressLine::Accepted { .. } => bar.set_position(0),
            ProgressLine::Complete { .. } => {}
            ProgressLine::Waiting { .. } => {
                bar.set_position(0);
                bar.println(&words);
            }
            ProgressLine::NotPlaced { .. }
            | ProgressLine::Troubled { .. }
            | ProgressLine::Beaten { .. }
            | ProgressLine::Failed { .. } => bar.println(&words),
        }
        bar.set_message(words);
    }

    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Slots that run or ended.
fn up(so_far: &SoFar) -> u64 {
    let is_up = |phase| matches!(phase, SlotPhase::Running | SlotPhase::Done | SlotPhase::Failed);
    so_far.slots.iter().filter(|slot| is_up(slot.state)).count() as u64
}
