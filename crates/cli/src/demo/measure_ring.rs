//! How fast the ring of real agents is: `xtreem emulate --measure-ring`.
//!
//! Look-ups go one after the other through random agents, puts and gets many at a time, all through the local
//! API as programs ask it. What was put is read through another agent and compared.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinSet;
use xtreem_base::Rng;
use xtreem_client::OperatorClient;
use xtreem_client::api::RingWrite;

use super::grid::{Grid, until_within};
use super::measure::{Spread, load};
use super::show::Show;
use crate::commands::bench::sends;
use crate::exit::Failure;

/// Look-ups, one after the other.
const LOOKUPS: usize = 2_000;
/// How long puts, and then gets, go on.
const SPAN: Duration = Duration::from_secs(10);
/// Requests under way at one time.
const AT_ONCE: usize = 32;
/// Length of a value.
const VALUE_BYTES: usize = 128;
/// Longest wait for the ring to be one: half a minute as a rule, of a busy machine's time more.
const RING_MAX: Duration = Duration::from_secs(300);
/// How long messages of each length are sent.
const SENDING_S: u64 = 5;
/// Bars: see `docs/figures.md`.
const LOOKUP_P99_US_MAX: f64 = 20_000.0;
const SENDS_MIN: f64 = 100_000.0;

/// What is printed.
#[derive(Clone, Debug, Serialize)]
pub struct MeasuredRing {
    pub hosts: usize,
    pub seed: u64,
    /// From the command's start until every host owned a part, and all parts together were the ring.
    pub ring_s: f64,
    pub load_before: f64,
    pub load_after: f64,
    pub lookups: usize,
    pub hops: Spread,
    /// As the agent that was asked counts; the local API is not in it.
    pub lookup_p50_us: f64,
    pub lookup_p99_us: f64,
    /// Acknowledged with two copies beside the owner's.
    pub puts_per_second: f64,
    pub gets_per_second: f64,
    /// Puts and gets that failed.
    pub failed: usize,
    /// Values that were not what had been put.
    pub wrong: usize,
    /// Between two members of an application, by the length of the message in bytes.
    pub sends_per_second: BTreeMap<usize, f64>,
    pub is_within_bars: bool,
}

/// Measures a grid that has formed.
pub async fn measure_ring(grid: &Grid, started: Instant, show: &Show) -> Result<MeasuredRing, Failure> {
    close(grid, show).await?;
    let (ring_s, load_before) = (started.elapsed().as_secs_f64(), load());
    let mut rng = Rng::derive(grid.seed, 0, "ring");
    let (mut micros, mut hops) = (Vec::new(), Vec::new());
    for number in 0..LOOKUPS {
        let host = &grid.hosts[rng.below(grid.hosts.len() as u32) as usize];
        let key = format!("01{:016x}", rng.next_u64());
        let owner = host.client.ring_owner(&key).await?;
        micros.push(owner.micros as f64);
        hops.push(f64::from(owner.hops));
        show.progress(number + 1, LOOKUPS, "look-ups");
    }
    let clients: Vec<OperatorClient> = grid.hosts.iter().map(|host| host.client.clone()).collect();
    show.say(&format!("{AT_ONCE} puts at a time, and then gets, {} s each", SPAN.as_secs()));
    let puts = load_loop(&clients, put).await;
    // Of what was put by each worker: some are faster than others.
    let last = puts.least;
    let gets =
        load_loop(&clients, move |client, worker, number| get(client, worker, number % last.max(1))).await;
    let sends = sends::on(grid, SENDING_S, show).await?;
    let sends_per_second: BTreeMap<usize, f64> =
        sends.iter().map(|one| (one.bytes, one.sends_per_second.round())).collect();
    let lookup = Spread::of(micros);
    let fastest = sends.first().map_or(0.0, |one| one.sends_per_second);
    Ok(MeasuredRing {
        hosts: grid.hosts.len(),
        seed: grid.seed,
        ring_s,
        load_before,
        load_after: load(),
        lookups: LOOKUPS,
        hops: Spread::of(hops),
        lookup_p50_us: lookup.p50,
        lookup_p99_us: lookup.p99,
        puts_per_second: puts.per_second(),
        gets_per_second: gets.per_second(),
        failed: puts.failed + gets.failed,
        wrong: gets.wrong,
        sends_per_second,
        is_within_bars: lookup.p99 <= LOOKUP_P99_US_MAX && fastest >= SENDS_MIN,
    })
}

/// Waits until each host owns a part that begins where another one's ends.
async fn close(grid: &Grid, show: &Show) -> Result<(), Failure> {
    until_within(RING_MAX, "every host to own a part of one ring", async || {
        let (mut ends, mut begins) = (Vec::new(), Vec::new());
        for host in &grid.hosts {
            let Ok(ring) = host.client.ring().await else { return false };
            if let (Some(key), Some(owns)) = (ring.key, ring.owns) {
                ends.push(key);
                begins.push(owns.after);
            }
        }
        show.progress(ends.len(), grid.hosts.len(), "hosts own a part of the ring");
        ends.sort_unstable();
        begins.sort_unstable();
        ends.len() == grid.hosts.len() && ends == begins
    })
    .await
}

/// What came of many requests.
#[derive(Default)]
struct Tally {
    done: usize,
    /// By the slowest worker, failed ones included.
    least: usize,
    failed: usize,
    wrong: usize,
    seconds: f64,
}

impl Tally {
    fn per_second(&self) -> f64 {
        (self.done as f64 / self.seconds.max(1e-9)).round()
    }
}

/// How one request ended.
enum Ended {
    Well,
    Wrong,
    Failed,
}

/// [`AT_ONCE`] workers, each one request after the other, at one host after the other.
async fn load_loop<F, R>(clients: &[OperatorClient], request: F) -> Tally
where
    F: Fn(OperatorClient, usize, usize) -> R + Clone + Send + 'static,
    R: Future<Output = Ended> + Send,
{
    let (begun, mut workers) = (Instant::now(), JoinSet::new());
    for worker in 0..AT_ONCE {
        let (clients, request) = (clients.to_vec(), request.clone());
        workers.spawn(async move {
            let mut tally = Tally::default();
            let mut number = 0;
            while begun.elapsed() < SPAN {
                let client = clients[(worker + number) % clients.len()].clone();
                match request(client, worker, number).await {
                    Ended::Well => tally.done += 1,
                    Ended::Wrong => tally.wrong += 1,
                    Ended::Failed => tally.failed += 1,
                }
                number += 1;
            }
            tally
        });
    }
    let mut all = Tally { least: usize::MAX, ..Tally::default() };
    while let Some(ended) = workers.join_next().await {
        let tally = ended.unwrap_or_default();
        all.done += tally.done;
        all.least = all.least.min(tally.done + tally.failed);
        all.failed += tally.failed;
        all.wrong += tally.wrong;
    }
    all.seconds = begun.elapsed().as_secs_f64();
    all
}

/// Begins alike for nobody, so that the keys are all over the ring.
fn key(worker: usize, number: usize) -> String {
    format!("{:016x}", xtreem_base::mix((worker as u64) << 32 | number as u64))
}

fn value(worker: usize, number: usize) -> Vec<u8> {
    key(worker, number).into_bytes().into_iter().cycle().take(VALUE_BYTES).collect()
}

async fn put(client: OperatorClient, worker: usize, number: usize) -> Ended {
    match client.ring_put(&key(worker, number), value(worker, number), &RingWrite::default()).await {
        Ok(_) => Ended::Well,
        Err(_) => Ended::Failed,
    }
}

/// Some of the last puts may have failed: nothing lies there then, which is no wrong value.
async fn get(client: OperatorClient, worker: usize, number: usize) -> Ended {
    match client.ring_get(&key(worker, number)).await {
        Ok(item) if item.value.0 == value(worker, number) => Ended::Well,
        Ok(_) => Ended::Wrong,
        Err(_) => Ended::Failed,
    }
}

impl MeasuredRing {
    /// For people.
    pub fn text(&self) -> String {
        let sends = self.sends_per_second.iter();
        let sends: Vec<String> = sends.map(|(bytes, rate)| format!("{rate:.0} of {bytes} bytes")).collect();
        format!(
            "{hosts} hosts (seed {seed}): one ring after {ring:.0} s.\n{lookups} look-ups: {p50:.0} µs (median), \
             {p99:.0} µs (p99), {hops:.0} hops (median), {most:.0} at most.\n{puts:.0} puts and {gets:.0} gets a \
             second, {AT_ONCE} at a time, of {VALUE_BYTES} bytes with two copies; {failed} failed, {wrong} were \
             wrong.\nSends a second between two members: {sends}.\nLoad average {before:.1} before, {after:.1} after. \
             Bars (look-up p99 {bar:.0} ms, {SENDS_MIN:.0} sends): {verdict}.\n",
            hosts = self.hosts,
            seed = self.seed,
            ring = self.ring_s,
            lookups = self.lookups,
            p50 = self.lookup_p50_us,
            p99 = self.lookup_p99_us,
            hops = self.hops.p50,
            most = self.hops.max,
            puts = self.puts_per_second,
            gets = self.gets_per_second,
            failed = self.failed,
            wrong = self.wrong,
            sends = sends.join(", "),
            before = self.load_before,
            after = self.load_after,
            bar = LOOKUP_P99_US_MAX / 1_000.0,
            verdict = if self.is_within_bars { "kept" } else { "NOT KEPT" },
        )
    }

    /// Every answer was right.
    pub fn is_right(&self) -> bool {
        self.wrong == 0 && self.failed == 0
    }
}
