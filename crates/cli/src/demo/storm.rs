//! `xtreem emulate --storm`: real agents under faults of every kind, many at once, for as long as is asked.
//!
//! Gusts and calms take turns. A gust draws faults; at its end all of them are over, and the calm waits until
//! every slot of every application runs on one host, once. At the end the applications are stopped, and what
//! they left behind is looked for.

mod apps;
mod faults;
mod gust;
mod report;

use std::time::{Duration, Instant};

use tokio::time::sleep;
use xtreem_base::Rng;
use xtreem_emulation::Network;

use self::apps::Apps;
use self::faults::Faults;
use self::gust::Gust;
pub use self::report::Report;
use super::grid::{Grid, failed};
use super::show::Show;
use crate::exit::Failure;

/// Bytes of a host's disk: an agent's state and the applications' files take less than a tenth.
pub const DISK_BYTES: u64 = 64 << 20;
/// Hosts from which on a storm leaves enough of them to run the applications.
pub const HOSTS_MIN: u16 = 12;
/// Longest time from the last fault's end until all runs: a power cut's bar.
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// For so long nothing may change before it counts as settled: longer than any stop.
const SETTLED: Duration = Duration::from_secs(4);
/// When it does not settle, how much longer the next gust waits, to see whether it is late or lost.
const LATE_MAX: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);

/// Lets it storm for `span` on a grid that has formed with disks.
pub async fn storm(grid: &Grid, span: Duration, seed: u64, show: &Show) -> Result<Report, Failure> {
    let has_namespaces = matches!(grid.lab.network(), Network::Namespaces);
    let apps = Apps::submit(grid, show).await?;
    let (began, mut rng) = (Instant::now(), Rng::derive(seed, 0, "storm"));
    let mut report = Report::new(seed, grid.hosts.len(), &apps);
    settle(&apps, &mut report, show).await;
    while began.elapsed() < span {
        let gust = Gust::draw(&mut rng, grid.hosts.len(), has_namespaces);
        show.say(&format!("gust {}: {gust}", report.gusts + 1));
        let mut faults = Faults::new(grid, &gust);
        let start = Instant::now();
        while !faults.are_over() {
            faults.step(start.elapsed()).await.map_err(|e| failed(&e))?;
            sleep(LOOK).await;
        }
        gust.faults.iter().for_each(|fault| report.count(fault.kind));
        report.gusts += 1;
        settle(&apps, &mut report, show).await;
    }
    report.seconds = began.elapsed().as_secs();
    show.say("the storm is over: stopping the applications");
    report.left_behind = apps.stop(grid).await?;
    Ok(report)
}

/// Waits until every slot runs once, and notes how long that took or what is wrong.
async fn settle(apps: &Apps, report: &mut Report, show: &Show) {
    let (start, mut since) = (Instant::now(), None);
    let mut is_late = false;
    loop {
        let wrong = apps.wrong();
        since = if wrong.is_empty() { since.or(Some(Instant::now())) } else { None };
        if let Some(since) = since
            && since.elapsed() >= SETTLED
        {
            let took = since.saturating_duration_since(start);
            show.say(&format!(
                "calm: every slot runs once, {:.1} s after the last fault",
                took.as_secs_f32()
            ));
            return report.settled(took);
        }
        let waited = start.elapsed();
        if waited > SETTLE_MAX && !is_late && since.is_none() {
            is_late = true;
            show.say(&format!("NOT SETTLED after {} s: {}", waited.as_secs(), wrong.join("; ")));
            report.violation(format!("gust {}: {}", report.gusts, wrong.join("; ")));
        }
        if waited > SETTLE_MAX + LATE_MAX {
            report.never_settled += 1;
            return;
        }
        sleep(LOOK).await;
    }
}
