//! Many seeds, one a thread.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use super::report::{Report, SweepReport};
use super::{Options, run};

/// Runs every seed of the range (its end excluded) on `threads` threads; `on_done` sees each report as it
/// comes, which is not the order of the seeds.
pub fn sweep(
    seeds: Range<u64>,
    options: &Options,
    threads: usize,
    mut on_done: impl FnMut(u64, &Report),
) -> SweepReport {
    let count = seeds.end.saturating_sub(seeds.start);
    // How many were begun: it never comes near its own end, while a seed may.
    let begun = AtomicU64::new(0);
    let mut report = SweepReport::default();
    thread::scope(|scope| {
        let (done, reports) = mpsc::sync_channel(threads.max(1));
        for _ in 0..threads.max(1) {
            let (done, begun, first) = (done.clone(), &begun, seeds.start);
            scope.spawn(move || {
                loop {
                    let number = begun.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let seed = first + number;
                    if done.send(run(&Options { seed, ..options.clone() })).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        for one in reports {
            report.seeds += 1;
            report.failed += u64::from(!one.ok);
            report.failures.extend(one.failures());
            on_done(one.seed, &one);
        }
    });
    report.failures.sort_by_key(|failure| (failure.seed, failure.at_ms));
    report
}
