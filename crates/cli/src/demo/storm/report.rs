//! What a storm came to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::apps::Apps;
use super::gust::Kind;

/// Violations that are kept in words; all are counted.
const VIOLATIONS_MAX: usize = 100;

/// The JSON object of `xtreem emulate --storm`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub seed: u64,
    pub hosts: usize,
    pub apps: usize,
    pub slots: u16,
    pub seconds: u64,
    pub gusts: u32,
    /// How often each kind of fault happened.
    pub faults: BTreeMap<&'static str, u32>,
    /// From the last fault of a gust until every slot ran once, in seconds: the middle one and the longest.
    pub settled_median_s: f64,
    pub settled_max_s: f64,
    /// Calms in which that took too long, and those in which it did not happen at all.
    pub late: u32,
    pub never_settled: u32,
    pub violations: Vec<String>,
    /// What was there a minute after the applications were stopped.
    pub left_behind: Vec<String>,
    #[serde(skip)]
    settled: Vec<f64>,
}

impl Report {
    pub fn new(seed: u64, hosts: usize, apps: &Apps) -> Report {
        let slots = apps.apps.iter().map(|app| app.slots).sum();
        Report { seed, hosts, apps: apps.apps.len(), slots, ..Report::default() }
    }

    pub fn count(&mut self, kind: Kind) {
        *self.faults.entry(kind.word()).or_default() += 1;
    }

    pub fn settled(&mut self, took: Duration) {
        self.settled.push(took.as_secs_f64());
        self.settled.sort_by(f64::total_cmp);
        self.settled_median_s = self.settled[self.settled.len() / 2];
        self.settled_max_s = self.settled.last().copied().unwrap_or(0.0);
    }

    pub fn violation(&mut self, words: String) {
        self.late += 1;
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(words);
        }
    }

    pub fn is_well(&self) -> bool {
        self.late == 0 && self.never_settled == 0 && self.left_behind.is_empty()
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!(
            "\nA storm of {} s on {} hosts with {} applications of {} slots, seed {}: {} gusts\n",
            self.seconds, self.hosts, self.apps, self.slots, self.seed, self.gusts
        );
        for (word, count) in &self.faults {
            let _ = writeln!(text, "  {count:>4}  {word}");
        }
        let _ = writeln!(
            text,
            "Every slot ran once {:.1} s after a gust (median), {:.1} s at most; {} calms were late, {} did not come.",
            self.settled_median_s, self.settled_max_s, self.late, self.never_settled
        );
        self.violations.iter().for_each(|words| text += &format!("  WRONG  {words}\n"));
        self.left_behind.iter().for_each(|words| text += &format!("  LEFT   {words}\n"));
        text + if self.is_well() { "All is well.\n" } else { "NOT all is well.\n" }
    }
}
