//! The demo from the first host to the last table: find, deploy, lose three hosts, lose the cable of a
//! fourth, heal.

use std::collections::BTreeMap;
use std::net::{IpAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use xtreem_client::api::{AttributeValue, SearchRequest};
use xtreem_emulation::Network;

use super::client::Task;
use super::grid::{Grid, GridHost, failed, until_within};
use super::losses::Losses;
use super::processes;
use super::report::{Kind, Loss, Report};
use super::show::Show;
use super::traffic::Traffic;
use crate::app_file::AppFile;
use crate::exit::{Exit, Failure};
use crate::submission::{Outcome, Submission};
use crate::{sign, text};

/// The application, as it lies in the source tree.
pub const WEB_APP: &str = include_str!("../../../../examples/web/app.toml");

/// Emulated hosts.
const HOSTS: u16 = 16;

/// Longest wait for what a fault took away; the bar is 10 s, the rest shows how late a late one is.
const RESTORE_MAX: Duration = Duration::from_secs(20);
/// After a heal nothing may change for this long before it counts as settled (our guess: longer than any
/// stop).
const SETTLED: Duration = Duration::from_secs(2);

/// The story's state from the deployment on.
struct Story<'a> {
    grid: &'a mut Grid,
    show: &'a Show,
    /// Application id.
    id: String,
    slots: u16,
    traffic: Traffic,
    losses: Losses,
    /// Hosts that are dead or cut off: their agents' words prove nothing.
    faulty: Vec<IpAddr>,
    report: Report,
}

/// A host with a fault, and what it ran.
struct Struck {
    host: String,
    ip: IpAddr,
    slots: Vec<u16>,
    at: Instant,
    kind: Kind,
}

/// Tells the story on a grid that has no hosts yet.
pub async fn tell(grid: &mut Grid, show: &Show) -> Result<Report, Failure> {
    grid.form(HOSTS, show).await?;
    let parsed = AppFile::parse(WEB_APP, "examples/web/app.toml", Path::new(""));
    let mut app = parsed.map_err(|e| failed(&e))?;
    let mut report = Report {
        network: match grid.lab.network() {
            Network::Namespaces => "namespaces",
            Network::Loopback { .. } => "loopback",
        },
        hosts: grid.hosts.len(),
        slots_wanted: app.nodes,
        ..Report::default()
    };
    report.found_ms = find(grid, &app, show).await?;
    let port = usable_port(grid, &mut app);
    let task = Task { hosts: grid.hosts.iter().map(GridHost::ip).collect(), port };
    let traffic = Traffic::start(&grid.lab, &task).await?;
    let submitter = sign::submitter(&grid.hosts[0].client).await?;
    let application = sign::application(&app, &grid.user, submitter)?;
    let id = application.record.id.to_string();
    let losses = Losses::listen(&grid.hosts, &id);
    let submitted = Instant::now();
    show.say(&format!("{} submitted on {}, {} nodes wanted", app.name, grid.hosts[0].name, app.nodes));
    let submission = Submission::begin(&grid.hosts[0].client, &application, None).await?;
    follow(submission, show).await?;
    report.deployed_ms = millis(submitted.elapsed());
    let (slots, faulty) = (app.nodes, Vec::new());
    let mut story = Story { grid, show, id, slots, traffic, losses, faulty, report };
    story.until_answered().await?;
    story.show_places();
    story.lose_three_hosts().await?;
    story.cut_a_fourth_and_heal().await?;
    Ok(story.end())
}

/// Shows who fits; returns how long the search took.
async fn find(grid: &Grid, app: &AppFile, show: &Show) -> Result<u64, Failure> {
    let request =
        SearchRequest { requirement: app.requirement.to_string(), limit: HOSTS, ..SearchRequest::default() };
    let started = Instant::now();
    let reply = grid.hosts[0].client.search(&request).await?;
    let found_ms = millis(started.elapsed());
    show.say(&format!(
        "who meets `{}`? {} of {} hosts:",
        app.requirement,
        reply.matches.len(),
        grid.hosts.len()
    ));
    let mut lines: Vec<String> = reply
        .matches
        .iter()
        .map(|found| {
            let attribute = |name: &str| found.attributes.get(name).map(AttributeValue::to_string);
            let memory = match found.attributes.get("mem.total") {
                Some(AttributeValue::Whole(bytes)) => text::bytes(u64::try_from(*bytes).unwrap_or(0)),
                _ => "?".to_owned(),
            };
            let word = |name| attribute(name).unwrap_or_else(|| "?".to_owned());
            format!("    {} in {}: {} cores, {memory}", word("host"), word("site"), word("cpu.cores"))
        })
        .collect();
    lines.sort();
    lines.iter().for_each(|line| show.say(line));
    Ok(found_ms)
}

/// The port of the application on the hosts. Without namespaces it may be in use on this machine; then
/// another takes its place.
fn usable_port(grid: &Grid, app: &mut AppFile) -> u16 {
    let Some(http) = app.program.ports.iter_mut().find(|port| port.name == "http") else { return 0 };
    if matches!(grid.lab.network(), Network::Loopback { .. }) {
        let ip = grid.hosts[0].ip();
        let listener = TcpListener::bind((ip, http.port)).or_else(|_| TcpListener::bind((ip, 0)));
        if let Ok(address) = listener.and_then(|listener| listener.local_addr()) {
            http.port = address.port();
        }
    }
    http.port
}

async fn follow(mut submission: Submission, show: &Show) -> Result<(), Failure> {
    while let Some(line) = submission.next().await? {
        show.now(&text::apps::progress(&line, submission.so_far.slots.len().try_into().unwrap_or(u16::MAX)));
    }
    match &submission.so_far.outcome {
        Some(Outcome::Complete { failed: 0, .. }) => Ok(()),
        outcome => Err(Failure::new(Exit::Failed, format!("the application did not start: {outcome:?}"))),
    }
}

impl Story<'_> {
    /// Waits until every slot has answered a request.
    async fn until_answered(&self) -> Result<(), Failure> {
        until_within(RESTORE_MAX, "every slot to answer", async || self.traffic.seen().has_all(self.slots))
            .await
    }

    /// Which live, reachable host runs which slot.
    fn places(&self) -> BTreeMap<u16, IpAddr> {
        let running = processes::running(&self.id);
        running.into_iter().filter(|(_, ip)| !self.faulty.contains(ip)).collect()
    }

    fn name(&self, ip: IpAddr) -> String {
        self.grid.by_ip(ip).map_or_else(|| ip.to_string(), |host| host.name.clone())
    }

    fn show_places(&self) {
        let places: Vec<String> =
            self.places().into_iter().map(|(slot, ip)| format!("{slot} on {}", self.name(ip))).collect();
        self.show.say(&format!("all slots run: {}", places.join(", ")));
    }

    /// Two hosts that run adjacent slots, and the one that took the submission.
    async fn lose_three_hosts(&mut self) -> Result<(), Failure> {
        let places = self.places();
        let submitter = self.grid.hosts[0].ip();
        let pair = adjacent(&places, self.slots, submitter)
            .ok_or_else(|| failed(&"no two adjacent slots run on hosts that did not take the submission"))?;
        let mut struck = Vec::new();
        for ip in [pair.0, pair.1, submitter] {
            struck.push(self.kill(ip, &places).await?);
        }
        let names: Vec<&str> = struck.iter().map(|each| each.host.as_str()).collect();
        self.show.say(&format!("killed {}; the last one had taken the submission", names.join(", ")));
        self.until_restored(&struck).await;
        Ok(())
    }

    async fn kill(&mut self, ip: IpAddr, places: &BTreeMap<u16, IpAddr>) -> Result<Struck, Failure> {
        let struck = self.struck(ip, places, Kind::Kill)?;
        let index = self.index(ip)?;
        self.grid.lab.kill_host(index).await.map_err(|e| failed(&e))?;
        Ok(struck)
    }

    /// The record of a fault that is about to happen.
    fn struck(&mut self, ip: IpAddr, places: &BTreeMap<u16, IpAddr>, kind: Kind) -> Result<Struck, Failure> {
        self.index(ip)?;
        self.faulty.push(ip);
        let slots = places.iter().filter(|(_, place)| **place == ip).map(|(slot, _)| *slot).collect();
        Ok(Struck { host: self.name(ip), ip, slots, at: Instant::now(), kind })
    }

    fn index(&self, ip: IpAddr) -> Result<u16, Failure> {
        self.grid.by_ip(ip).map(|host| host.index).ok_or_else(|| failed(&format!("{ip} is no host")))
    }

    /// Waits until each lost slot answers from another host, and notes when that was.
    async fn until_restored(&mut self, struck: &[Struck]) {
        self.show.now("waiting until what was lost runs again");
        let mut losses = Vec::new();
        for each in struck {
            for slot in &each.slots {
                let (noticed_ms, replaced_ms, replaced_by) = (None, None, None);
                let (host, kind) = (each.host.clone(), each.kind);
                losses.push((each, Loss { slot: *slot, host, kind, noticed_ms, replaced_ms, replaced_by }));
            }
        }
        let restored = until_within(RESTORE_MAX, "lost slots to run again", async || {
            for (struck, loss) in &mut losses {
                self.look(struck, loss);
            }
            losses.iter().all(|(_, loss)| loss.replaced_ms.is_some() && loss.noticed_ms.is_some())
        });
        if let Err(failure) = restored.await {
            self.show.say(&failure.message);
        }
        self.report.losses.extend(losses.into_iter().map(|(_, loss)| loss));
    }

    fn look(&self, struck: &Struck, loss: &mut Loss) {
        let after = |at: Instant| Some(millis(at.saturating_duration_since(struck.at)));
        if loss.noticed_ms.is_none()
            && let Some(at) = self.losses.noticed(loss.slot, struck.ip, struck.at, &self.faulty)
        {
            loss.noticed_ms = after(at);
            let seconds = at.saturating_duration_since(struck.at).as_secs_f32();
            self.show
                .say(&format!("slot {} of {}: loss noticed after {seconds:.1} s", loss.slot, struck.host));
        }
        if loss.replaced_ms.is_none()
            && let Some((at, by)) = self.traffic.seen().replaced(loss.slot, struck.ip, struck.at)
        {
            loss.replaced_ms = after(at);
            let (seconds, by) = (at.saturating_duration_since(struck.at).as_secs_f32(), self.name(by));
            self.show.say(&format!("slot {} runs again on {by} after {seconds:.1} s", loss.slot));
            loss.replaced_by = Some(by);
        }
    }

    /// A host that runs a slot loses its cable, and gets it back once its slot runs elsewhere.
    async fn cut_a_fourth_and_heal(&mut self) -> Result<(), Failure> {
        let places = self.places();
        let ip = places.values().copied().next().ok_or_else(|| failed(&"no slot runs any more"))?;
        let index = self.index(ip)?;
        let struck = self.struck(ip, &places, Kind::Cut)?;
        self.grid.lab.cut(index).await.map_err(|e| failed(&e))?;
        self.show.say(&format!("cut the cable of {}, which runs slot {:?}", struck.host, struck.slots));
        self.until_restored(std::slice::from_ref(&struck)).await;
        let twice = processes::duplicates(&processes::running(&self.id));
        self.grid.lab.heal(index).await.map_err(|e| failed(&e))?;
        let healed = Instant::now();
        self.faulty.retain(|faulty| *faulty != ip);
        self.show.say(&format!("healed the cut; slots that run twice now: {twice}"));
        let settled = self.until_settled().await;
        let running = processes::running(&self.id);
        self.report.duplicates_after_heal = processes::duplicates(&running);
        self.report.slots_running = self.places().len();
        let after = settled.map(|at| at.saturating_duration_since(healed).as_secs_f32());
        self.show.say(&match after {
            Some(seconds) => format!("every slot runs once, {seconds:.1} s after the heal"),
            None => "the slots do not settle".to_owned(),
        });
        self.show_places();
        Ok(())
    }

    /// Waits until every slot runs on one host for a while; since when.
    async fn until_settled(&self) -> Option<Instant> {
        self.show.now("waiting until every slot runs once");
        let mut since = None;
        let settled = until_within(RESTORE_MAX, "every slot to run once", async || {
            let running = processes::running(&self.id);
            let is_so = running.len() == usize::from(self.slots) && processes::duplicates(&running) == 0;
            since = if is_so { since.or(Some(Instant::now())) } else { None };
            since.is_some_and(|since| since.elapsed() >= SETTLED)
        });
        settled.await.ok()?;
        since
    }

    fn end(mut self) -> Report {
        let seen = self.traffic.seen();
        (self.report.requests_served, self.report.requests_failed) = (seen.served, seen.failed);
        drop(seen);
        self.grid.hosts.retain(|host| !self.faulty.contains(&host.ip()));
        self.report.judged()
    }
}

/// The hosts of two slots next to each other, neither of them `submitter`.
fn adjacent(places: &BTreeMap<u16, IpAddr>, slots: u16, submitter: IpAddr) -> Option<(IpAddr, IpAddr)> {
    (0..slots).find_map(|slot| {
        let (first, second) = (*places.get(&slot)?, *places.get(&((slot + 1) % slots))?);
        (first != second && first != submitter && second != submitter).then_some((first, second))
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    #[test]
    fn the_pair_is_adjacent_and_spares_the_submitter() {
        // Hosts by slot, and the pair of hosts; host 1 took the submission.
        let table = [
            (vec![1, 2, 3], Some((2, 3))),
            (vec![2, 1, 3], Some((3, 2))),
            (vec![2, 3, 4], Some((2, 3))),
            (vec![1, 2], None),
        ];
        for (hosts, expected) in table {
            let places = (0..).zip(hosts.iter().map(|last| ip(*last))).collect();
            let expected = expected.map(|(first, second)| (ip(first), ip(second)));
            assert_eq!(adjacent(&places, hosts.len() as u16, ip(1)), expected, "{hosts:?}");
        }
    }
}
