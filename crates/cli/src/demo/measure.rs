//! How fast real agents answer: `xtreem emulate --measure`.
//!
//! Queries go one after the other through the local API of random hosts, as `xtreem nodes` asks them. Every
//! answer is held against the truth, which the emulator declared itself.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use xtreem_base::Rng;
use xtreem_client::ClientError;
use xtreem_client::api::{Plan, SearchLine, SearchRequest};

use super::footprint::{self, Footprint};
use super::grid::{Grid, failed, until_within};
use super::queries::{self, Query};
use super::show::Show;
use crate::exit::Failure;

/// Nodes that a query wants.
const WANTED: u16 = 10;
/// Longest wait for the links to fill: half a minute as a rule, of a busy machine's time more.
const CONVERGE_MAX: Duration = Duration::from_secs(300);
/// Share of the hosts that every host's trie must count, in per cent, when the links count as filled:
/// summaries of the last exchange are a round or two old.
const COUNTED_PERCENT: u64 = 95;
/// How long the agents' cost at rest is looked at.
const REST: Duration = Duration::from_secs(20);
/// Bars for 99 of 100 queries, in milliseconds.
const FIRST_MS_MAX: f64 = 100.0;
const ANSWER_MS_MAX: f64 = 500.0;

/// What is printed.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub hosts: usize,
    pub seed: u64,
    /// From the command's start until every host had joined.
    pub formed_s: f64,
    /// And until every host's links led everywhere.
    pub converged_s: f64,
    pub rest: Footprint,
    /// Of the last minute, as the kernel says, before the first query and after the last.
    pub load_before: f64,
    pub load_after: f64,
    pub queries: usize,
    pub wanted: u16,
    /// Hosts that meet a query.
    pub truth: Spread,
    /// Until the first match on another host than the one that was asked.
    pub first_match_ms: Spread,
    /// Until the end of the answer.
    pub answer_ms: Spread,
    pub visits: Spread,
    pub round_trips: Spread,
    /// Queries that brought as many as wanted.
    pub satisfied: usize,
    /// Matches that do not meet their query, or came twice.
    pub wrong: usize,
    pub is_within_bars: bool,
}

/// The middle, the 99th of 100, the least and the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    pub min: f64,
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

impl Spread {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        // The nearest rank: the least value that so many per cent do not exceed.
        let rank = |percent: usize| {
            let at = (values.len() * percent).div_ceil(100).saturating_sub(1);
            values.get(at).copied().unwrap_or(0.0)
        };
        Spread { min: rank(0), p50: rank(50), p99: rank(99), max: rank(100) }
    }
}

/// How one query went.
struct Asked {
    truth: usize,
    first_ms: f64,
    answer_ms: f64,
    visits: u32,
    round_trips: u16,
    found: usize,
    wrong: usize,
}

/// Measures a grid that has formed.
pub async fn measure(grid: &Grid, count: u16, started: Instant, show: &Show) -> Result<Measured, Failure> {
    let formed_s = started.elapsed().as_secs_f64();
    converge(grid, show).await?;
    let converged_s = started.elapsed().as_secs_f64();
    show.say(&format!("links lead everywhere; looking at the agents for {} s", REST.as_secs()));
    let rest = footprint::measure(grid.dir(), REST).await;
    let truth: Vec<_> = grid.hosts.iter().map(|host| host.profile.attributes()).collect();
    let mut rng = Rng::derive(grid.seed, 0, "queries");
    let queries = queries::draw(&truth, WANTED.into(), count.into(), &mut rng);
    if queries.len() < usize::from(count) {
        return Err(failed(&format!("no requirements that {WANTED} of {} hosts meet", truth.len())));
    }
    let addresses: Vec<SocketAddr> = grid.hosts.iter().map(|host| host.address).collect();
    let load_before = load();
    let mut asked = Vec::new();
    for query in &queries {
        let at = rng.below(addresses.len() as u32) as usize;
        asked.push(ask(grid, at, query, &addresses).await?);
        show.progress(asked.len(), queries.len(), "queries answered");
    }
    let spread = |part: fn(&Asked) -> f64| Spread::of(asked.iter().map(part));
    let (first_match_ms, answer_ms) = (spread(|one| one.first_ms), spread(|one| one.answer_ms));
    Ok(Measured {
        hosts: addresses.len(),
        seed: grid.seed,
        formed_s,
        converged_s,
        rest,
        load_before,
        load_after: load(),
        queries: asked.len(),
        wanted: WANTED,
        truth: spread(|one| one.truth as f64),
        first_match_ms,
        answer_ms,
        visits: spread(|one| one.visits.into()),
        round_trips: spread(|one| one.round_trips.into()),
        satisfied: asked.iter().filter(|one| one.found >= usize::from(WANTED)).count(),
        wrong: asked.iter().map(|one| one.wrong).sum(),
        is_within_bars: first_match_ms.p99 < FIRST_MS_MAX && answer_ms.p99 < ANSWER_MS_MAX,
    })
}

/// Waits until every host's own trie counts nearly all hosts. A host that is asked for any one node is that
/// node itself, so its answer is what it knows alone.
async fn converge(grid: &Grid, show: &Show) -> Result<(), Failure> {
    let (hosts, mut knowing) = (&grid.hosts, 0);
    let enough = hosts.len() as u64 * COUNTED_PERCENT / 100;
    until_within(CONVERGE_MAX, "every host's links to lead everywhere", async || {
        while let Some(host) = hosts.get(knowing) {
            let itself = SearchRequest { limit: 1, ..SearchRequest::default() };
            let knows = host.client.search(&itself).await.is_ok_and(|reply| {
                let counted = reply.report.grid_size.unwrap_or(0);
                reply.report.plan == Plan::Trie && counted >= enough
            });
            if !knows {
                return false;
            }
            knowing += 1;
            show.progress(knowing, hosts.len(), "hosts with links that lead everywhere");
        }
        true
    })
    .await
}

async fn ask(grid: &Grid, at: usize, query: &Query, addresses: &[SocketAddr]) -> Result<Asked, ClientError> {
    let request =
        SearchRequest { requirement: query.requirement.clone(), limit: WANTED, ..SearchRequest::default() };
    let began = Instant::now();
    let millis = || began.elapsed().as_secs_f64() * 1_000.0;
    let mut lines = grid.hosts[at].client.search_lines(&request).await?;
    let (mut first_ms, mut found, mut wrong) = (None, BTreeSet::new(), 0);
    loop {
        match lines.next().await? {
            Some(SearchLine::Match(one)) => {
                let place = addresses.iter().position(|address| one.address == address.to_string());
                if place != Some(at) {
                    first_ms.get_or_insert_with(millis);
                }
                match place.filter(|place| query.truth.contains(place)) {
                    Some(place) if found.insert(place) => {}
                    _ => wrong += 1,
                }
            }
            Some(SearchLine::Dropped { .. }) => {}
            Some(SearchLine::Done { report }) => {
                let answer_ms = millis();
                return Ok(Asked {
                    truth: query.truth.len(),
                    first_ms: first_ms.unwrap_or(answer_ms),
                    answer_ms,
                    visits: report.visits,
                    round_trips: report.round_trips,
                    found: found.len(),
                    wrong,
                });
            }
            None => return Err(ClientError::no_report()),
        }
    }
}

/// The machine's load average of one minute; 0 where the kernel does not tell.
pub fn load() -> f64 {
    let text = fs::read_to_string(Path::new("/proc/loadavg")).unwrap_or_default();
    text.split_ascii_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
}

impl Measured {
    /// For people.
    pub fn text(&self) -> String {
        let mut table = crate::text::Table::new(["", "p50", "p99", "max"]);
        let rows = [
            ("first match", &self.first_match_ms, " ms"),
            ("whole answer", &self.answer_ms, " ms"),
            ("visits", &self.visits, ""),
            ("round trips", &self.round_trips, ""),
        ];
        for (name, spread, unit) in rows {
            let cell = |value: f64| format!("{value:.0}{unit}");
            table.row([name.to_owned(), cell(spread.p50), cell(spread.p99), cell(spread.max)]);
        }
        let Footprint { cpu_percent, cpu_percent_all, memory_mib, threads, open_files, .. } = self.rest;
        format!(
            "{hosts} hosts with declared attributes (seed {seed}): all up and joined after {formed:.0} s, links lead \
             everywhere after {converged:.0} s.\nAt rest an agent takes {cpu_percent:.2} % of a core (all together \
             {cpu_percent_all:.0} %) and {memory_mib:.1} MiB, with {threads:.0} threads and {open_files:.0} open \
             files.\n\n{queries} queries for {wanted} nodes, each met by {least:.0} to {most:.0} hosts, one after the \
             other at random hosts:\n\n{table}\n{satisfied} of {queries} satisfied, {wrong} wrong matches. Load \
             average {before:.1} before, {after:.1} after. Bars (first match in {FIRST_MS_MAX:.0} ms, answer in \
             {ANSWER_MS_MAX:.0} ms, at p99): {verdict}.\n",
            hosts = self.hosts,
            seed = self.seed,
            formed = self.formed_s,
            converged = self.converged_s,
            queries = self.queries,
            wanted = self.wanted,
            least = self.truth.min,
            most = self.truth.max,
            satisfied = self.satisfied,
            wrong = self.wrong,
            before = self.load_before,
            after = self.load_after,
            verdict = if self.is_within_bars { "kept" } else { "NOT KEPT" },
        )
    }

    /// Every query was answered as it should.
    pub fn is_right(&self) -> bool {
        self.satisfied == self.queries && self.wrong == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let values = (1..=200).rev().map(f64::from);
        assert_eq!(Spread::of(values), Spread { min: 1.0, p50: 100.0, p99: 198.0, max: 200.0 });
        assert_eq!(Spread::of([7.0]), Spread { min: 7.0, p50: 7.0, p99: 7.0, max: 7.0 });
        assert_eq!(Spread::of([]), Spread::default());
    }
}
