//! A grid of emulated hosts: a development VO, a lab, and one real agent a host.

use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::time::sleep;
use xtreem_agent::config::DEFAULT_PORT;
use xtreem_agent::is_root_of_machine;
use xtreem_client::OperatorClient;
use xtreem_client::api::{NodeStatus, SearchRequest};
use xtreem_emulation::{
    DISK, Host, HostSpec, Lab, LabOptions, LabUser, Network, NetworkChoice, this_program,
};
use xtreem_net::{Identity, VoKey};
use xtreem_wire::Roles;

use super::hosts::{Profile, profile};
use super::show::Show;
use crate::exit::{Exit, Failure};

/// Period of CYCLON and of the trie's gossip on emulated hosts, the numbers that differ from a real grid. A
/// fifth of the real period fills a view of 20 within a minute.
const PERIOD: Duration = Duration::from_secs(2);
/// Hosts from which on the period grows with their number, so that gossip leaves the machine to what is tried
/// out on it (measured on two cores: 200 hosts take a quarter of a core at 6.25 s, and would take three
/// quarters at 2 s).
const PERIOD_HOSTS: u32 = 64;
/// The period of a real grid, which is never exceeded.
const PERIOD_MAX: Duration = Duration::from_secs(10);
/// Validity of what the development VO issues, in days: no emulation lasts a week.
const CREDENTIAL_DAYS: u32 = 7;
/// Hosts started side by side; the next ones start when these have joined. All at once, the agents of a large
/// grid would keep each other from joining in time (our guess, for two cores).
const WAVE: usize = 16;
/// Longest time for an agent to answer, and for the grid to form: seconds as a rule (our guess for a loaded
/// machine).
const FORM_MAX: Duration = Duration::from_secs(120);
/// Between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(100);
/// Contacts that an agent has when it counts as part of the grid: CYCLON exchanges 8 at a time.
const CONTACTS_MIN: usize = 8;

/// One emulated host and the way to its agent.
pub struct GridHost {
    pub index: u16,
    pub name: String,
    pub address: SocketAddr,
    pub socket: PathBuf,
    pub client: OperatorClient,
    /// What it declares.
    pub profile: Profile,
}

impl GridHost {
    pub fn ip(&self) -> IpAddr {
        self.address.ip()
    }
}

/// A running grid. It lasts as long as this does.
pub struct Grid {
    pub lab: Lab,
    dir: PathBuf,
    /// Decides what hosts declare.
    pub seed: u64,
    vo: VoKey,
    pub hosts: Vec<GridHost>,
    /// How each host was started, in the same order, to start it again.
    pub specs: Vec<HostSpec>,
    /// Bytes of each host's own disk; without one its state lies in its directory.
    pub disk_bytes: Option<u64>,
    /// Who may submit applications.
    pub user: Identity,
    pub credential: PathBuf,
}

impl Grid {
    /// A grid under `dir` without hosts, and its VO.
    pub async fn start(dir: &Path, network: NetworkChoice, seed: u64, show: &Show) -> Result<Grid, Failure> {
        let user = is_root_of_machine().then(nobody);
        let lab = Lab::start(LabOptions { state_dir: dir.to_owned(), network, user }).await;
        let lab = lab.map_err(|e| failed(&e))?;
        if let Network::Loopback { reason } = lab.network() {
            show.say(&format!(
                "NO NAMESPACES: {reason}. Hosts are processes on loopback addresses instead: nothing keeps \
                 them from seeing each other. Their agents are told to run programs also where those cannot be \
                 isolated (`isolation = \"namespaces-if-possible\"`): run only programs that you trust."
            ));
        }
        if user.is_some() {
            show.say("Started by root: everything of the hosts is run as user nobody instead.");
        }
        let vo = VoKey::create("development").map_err(|e| failed(&e))?;
        let user = vo.issue_user("developer", Roles::SUBMIT, CREDENTIAL_DAYS).map_err(|e| failed(&e))?;
        let credential = dir.join("user.pem");
        save(&dir.join("root.pem"), |path| vo.save(path))?;
        save(&credential, |path| user.save(path))?;
        let (hosts, specs) = (Vec::new(), Vec::new());
        Ok(Grid { lab, dir: dir.to_owned(), seed, vo, hosts, specs, disk_bytes: None, user, credential })
    }

    /// Everything of the grid lies below it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts `count` hosts and returns when their agents know each other.
    pub async fn form(&mut self, count: u16, show: &Show) -> Result<(), Failure> {
        let specs = (1..=count).map(|index| self.prepare(index, count)).collect::<Result<Vec<_>, _>>()?;
        for wave in specs.chunks(WAVE) {
            let started = self.lab.spawn_hosts(wave.to_vec()).await.map_err(|e| failed(&e))?;
            self.specs.extend_from_slice(wave);
            let known = self.hosts.len();
            self.hosts.extend(started.into_iter().map(|host| grid_host(host, self.seed)));
            for host in &self.hosts[known..] {
                answering(host, &self.lab).await?;
            }
            self.joined(known).await?;
            show.progress(self.hosts.len(), usize::from(count), "hosts up");
        }
        self.formed(show).await
    }

    /// Waits until the hosts from `known` on are part of the grid.
    async fn joined(&self, known: usize) -> Result<(), Failure> {
        let enough = CONTACTS_MIN.min(known);
        let mut joined = known;
        until("the hosts to join", async || {
            while let Some(host) = self.hosts.get(joined) {
                if host.client.node().await.map_or(0, |node| node.contacts) < enough {
                    return false;
                }
                joined += 1;
            }
            true
        })
        .await
    }

    /// Credential, configuration and command of one host.
    fn prepare(&self, index: u16, count: u16) -> Result<HostSpec, Failure> {
        let digits = count.to_string().len().max(2);
        let name = format!("host{index:0digits$}");
        let dir = self.lab.host_dir(&name);
        fs::create_dir_all(&dir).map_err(|e| failed(&format!("{}: {e}", dir.display())))?;
        let identity = self.vo.issue_node(&name, CREDENTIAL_DAYS).map_err(|e| failed(&e))?;
        save(&dir.join("node.pem"), |path| identity.save(path))?;
        let address = SocketAddr::new(self.lab.address(index), DEFAULT_PORT);
        // A tree, so that no host has to take in all others.
        let mut parents: Vec<u16> = [index / 2, index / 3].into_iter().filter(|parent| *parent > 0).collect();
        parents.dedup();
        let join: Vec<_> = parents
            .into_iter()
            .map(|parent| SocketAddr::new(self.lab.address(parent), DEFAULT_PORT).to_string())
            .collect();
        let config = dir.join("agent.toml");
        let period = period(count).as_millis();
        // Where hosts have no namespaces, programs have none, and nobody's own work is at stake.
        let isolation = match self.lab.network() {
            Network::Namespaces => "",
            Network::Loopback { .. } => "isolation = \"namespaces-if-possible\"\n",
        };
        let state = self.disk_bytes.map_or(".", |_| DISK);
        let text = format!(
            "{isolation}state_dir = \"{state}\"\ncontrol.path = \"control.sock\"\nidentity = \"node.pem\"\nname = \"{name}\"\nbind = \"{address}\"\njoin = {join:?}\n\
             emulated = true\ncyclon_period = \"{period}ms\"\ntrie_period = \"{period}ms\"\n{}",
            profile(index, self.seed).toml()
        );
        fs::write(&config, text).map_err(|e| failed(&format!("{}: {e}", config.display())))?;
        let command: Vec<OsString> =
            vec![this_program().into(), "agent".into(), "--config".into(), config.into()];
        Ok(HostSpec { index, name, command, env: Vec::new(), disk_bytes: self.disk_bytes })
    }

    /// Waits until the agents know each other, and a search reaches them all.
    async fn formed(&self, show: &Show) -> Result<(), Failure> {
        let enough = CONTACTS_MIN.min(self.hosts.len().saturating_sub(1));
        let mut in_touch = 0;
        until("the grid to form", async || {
            while let Some(host) = self.hosts.get(in_touch) {
                let contacts = host.client.node().await.map_or(0, |node| node.contacts);
                if contacts < enough {
                    return false;
                }
                in_touch += 1;
                show.progress(in_touch, self.hosts.len(), "hosts in touch");
            }
            true
        })
        .await?;
        until("a search to reach every host", async || {
            let limit = u16::try_from(self.hosts.len()).unwrap_or(u16::MAX);
            let everybody = SearchRequest { limit, timeout_ms: Some(5_000), ..SearchRequest::default() };
            let found = self.hosts[0].client.search(&everybody).await;
            found.is_ok_and(|reply| reply.matches.len() >= self.hosts.len())
        })
        .await
    }

    pub fn by_ip(&self, ip: IpAddr) -> Option<&GridHost> {
        self.hosts.iter().find(|host| host.ip() == ip)
    }

    /// Ends everything; on return nothing of the grid runs.
    pub async fn stop(self) {
        self.lab.stop().await;
    }
}

/// Whom the hosts of a superuser belong to.
fn nobody() -> LabUser {
    // The number that the kernel shows for users that it does not know, and nearly every list of users has
    // it.
    const NOBODY: u32 = 65_534;
    match nix::unistd::User::from_name("nobody") {
        Ok(Some(user)) if !user.uid.is_root() => LabUser { uid: user.uid.as_raw(), gid: user.gid.as_raw() },
        _ => LabUser { uid: NOBODY, gid: NOBODY },
    }
}

/// How often the agents of so many hosts gossip.
fn period(hosts: u16) -> Duration {
    (PERIOD * u32::from(hosts) / PERIOD_HOSTS).clamp(PERIOD, PERIOD_MAX)
}

fn grid_host(host: Host, seed: u64) -> GridHost {
    let socket = host.dir.join("control.sock");
    GridHost {
        index: host.index,
        profile: profile(host.index, seed),
        name: host.name,
        address: SocketAddr::new(host.address, DEFAULT_PORT),
        client: OperatorClient::new(&socket),
        socket,
    }
}

/// Waits for an agent's first answer; when the agent has ended instead, its last words are the failure.
async fn answering(host: &GridHost, lab: &Lab) -> Result<NodeStatus, Failure> {
    let mut answer = None;
    let what = format!("the agent of {} to answer", host.name);
    let waited = until(&what, async || {
        answer = host.client.node().await.ok();
        answer.is_some()
    });
    let result = waited.await;
    answer.ok_or_else(|| {
        let log = fs::read_to_string(lab.host_dir(&host.name).join("agent.log")).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(3).collect();
        let words = last.into_iter().rev().collect::<Vec<_>>().join("\n  ");
        let failure = result.err().unwrap_or_else(|| failed(&"no answer"));
        failure.with_hint(format!("the last words of the agent:\n  {words}"))
    })
}

/// Looks until `is_so`.
async fn until(what: &str, is_so: impl AsyncFnMut() -> bool) -> Result<(), Failure> {
    until_within(FORM_MAX, what, is_so).await
}

/// Looks until `is_so`, but no longer than `max`.
pub async fn until_within(
    max: Duration,
    what: &str,
    mut is_so: impl AsyncFnMut() -> bool,
) -> Result<(), Failure> {
    let end = Instant::now() + max;
    while !is_so().await {
        if Instant::now() > end {
            let waited = max.as_secs();
            return Err(Failure::new(Exit::Failed, format!("waited {waited} s in vain for {what}")));
        }
        sleep(LOOK).await;
    }
    Ok(())
}

fn save(path: &Path, write: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<(), Failure> {
    write(path).map_err(|e| failed(&format!("{}: {e}", path.display())))
}

pub fn failed(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_grids_gossip_less_often_and_never_less_than_a_real_one() {
        let table = [(1, 2_000), (16, 2_000), (64, 2_000), (200, 6_250), (320, 10_000), (1_000, 10_000)];
        for (hosts, millis) in table {
            assert_eq!(period(hosts), Duration::from_millis(millis), "{hosts}");
        }
    }

    #[test]
    fn labs_and_agents_mean_the_same_fault_switch() {
        assert_eq!(xtreem_emulation::FAULT_SWITCH_ENV, xtreem_agent::FAULT_SWITCH_ENV);
    }
}
