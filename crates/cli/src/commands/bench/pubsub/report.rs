//! What is printed: medians over the runs, and sums of what should be zero.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::load::{Outcome, Plan};

/// What is told of one protocol.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    pub messages_per_second: f64,
    pub deliveries_per_second: f64,
    /// From when a message was due to when a subscriber read it; with a rate only. Without one it would tell
    /// how long the window is.
    pub p50_us: Option<f64>,
    pub p99_us: Option<f64>,
    /// None if the server's process is not known.
    pub server_cpu_us_per_delivery: Option<f64>,
    /// Of all runs together.
    pub lost: u64,
    /// Came after a later one, or twice; of all runs together.
    pub reordered: u64,
}

/// What `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Servers of each protocol.
    pub agents: usize,
    pub subscribers: usize,
    pub size: usize,
    pub batch: u64,
    pub rate: Option<u64>,
    pub window: Option<u64>,
    pub count: u64,
    pub runs: usize,
    /// The server and the generator each had one.
    pub own_cores: bool,
    pub protocols: BTreeMap<&'static str, Figures>,
}

/// One run, and what the server's processor worked for it.
pub type Run = (Outcome, Option<Duration>);

impl Figures {
    pub fn of(runs: &[Run]) -> Figures {
        let per_second = |count: fn(&Outcome) -> u64| {
            median(runs.iter().map(|(run, _)| count(run) as f64 / run.span.as_secs_f64().max(1e-9)))
        };
        let percentile = |percent| {
            median(runs.iter().filter_map(|(run, _)| Some(run.latency.percentile(percent)? as f64 / 1e3)))
        };
        let cpu = runs.iter().filter_map(|(run, cpu)| Some(cpu.as_ref()?.as_secs_f64() * 1e6 / of(run)?));
        Figures {
            messages_per_second: per_second(|run| run.published).map_or(0.0, f64::round),
            deliveries_per_second: per_second(|run| run.deliveries).map_or(0.0, f64::round),
            p50_us: percentile(50).map(|time| rounded(time, 1)),
            p99_us: percentile(99).map(|time| rounded(time, 1)),
            server_cpu_us_per_delivery: median(cpu).map(|time| rounded(time, 3)),
            lost: runs.iter().map(|(run, _)| run.lost).sum(),
            reordered: runs.iter().map(|(run, _)| run.reordered).sum(),
        }
    }
}

/// Its deliveries, if there were any.
fn of(run: &Outcome) -> Option<f64> {
    (run.deliveries > 0).then_some(run.deliveries as f64)
}

impl Report {
    pub fn new(
        plan: &Plan,
        agents: usize,
        runs: usize,
        own_cores: bool,
        all: &BTreeMap<&'static str, Vec<Run>>,
    ) -> Report {
        Report {
            agents,
            subscribers: plan.subscribers,
            size: plan.size,
            batch: plan.batch,
            rate: plan.rate,
            window: plan.rate.is_none().then_some(plan.window),
            count: plan.count,
            runs,
            own_cores,
            protocols: all.iter().map(|(name, runs)| (*name, Figures::of(runs))).collect(),
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{:<8} {:>12} {:>14} {:>9} {:>9} {:>14} {:>8} {:>10}\n",
            "", "messages/s", "deliveries/s", "p50 µs", "p99 µs", "CPU µs each", "lost", "reordered"
        );
        let shown = |value: Option<f64>| value.map_or("-".to_owned(), |value| value.to_string());
        for (name, figures) in &self.protocols {
            text += &format!(
                "{name:<8} {:>12} {:>14} {:>9} {:>9} {:>14} {:>8} {:>10}\n",
                figures.messages_per_second,
                figures.deliveries_per_second,
                shown(figures.p50_us),
                shown(figures.p99_us),
                shown(figures.server_cpu_us_per_delivery),
                figures.lost,
                figures.reordered,
            );
        }
        text
    }
}

/// The middle one, or between the two in the middle.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let (low, high) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    Some((values[low] + values[high]) / 2.0)
}

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::super::histogram::Histogram;
    use super::*;

    #[test]
    fn the_middle_is_told_and_no_loss_is_hidden() {
        let run = |millis, lost| {
            let mut latency = Histogram::new();
            latency.add(20_000);
            let span = Duration::from_millis(millis);
            let outcome = Outcome { span, published: 100, deliveries: 200, lost, reordered: 0, latency };
            (outcome, Some(Duration::from_millis(1)))
        };
        let figures = Figures::of(&[run(100, 0), run(1_000, 3), run(200, 0)]);
        assert_eq!((figures.messages_per_second, figures.deliveries_per_second), (500.0, 1_000.0));
        assert_eq!((figures.lost, figures.reordered), (3, 0));
        assert_eq!(figures.server_cpu_us_per_delivery, Some(5.0));
        assert!(figures.p99_us.is_some_and(|time| (19.0..21.0).contains(&time)), "{figures:?}");
    }

    #[test]
    fn a_run_in_which_nothing_came_is_told_as_such() {
        let latency = Histogram::new();
        let span = Duration::ZERO;
        let outcome = Outcome { span, published: 9, deliveries: 0, lost: 9, reordered: 0, latency };
        let figures = Figures::of(&[(outcome, None)]);
        assert_eq!((figures.deliveries_per_second, figures.lost), (0.0, 9));
        assert_eq!((figures.p50_us, figures.server_cpu_us_per_delivery), (None, None));
    }
}
