//! The faults of one gust as they come and go.

use std::time::Duration;

use xtreem_emulation::LabError;

use super::gust::{Fault, Gust, Kind};
use crate::demo::grid::Grid;

/// Between the starts of two hosts after a power cut.
const POWER_STEP: Duration = Duration::from_millis(500);

/// Where one fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    ToCome,
    On,
    Over,
}

/// One gust on one grid.
pub struct Faults<'a> {
    grid: &'a Grid,
    faults: Vec<(Fault, Phase)>,
    /// Hosts that are dead.
    dead: Vec<usize>,
}

impl<'a> Faults<'a> {
    pub fn new(grid: &'a Grid, gust: &Gust) -> Self {
        let faults = gust.faults.iter().map(|fault| (fault.clone(), Phase::ToCome)).collect();
        Faults { grid, faults, dead: Vec::new() }
    }

    pub fn are_over(&self) -> bool {
        self.faults.iter().all(|(_, phase)| *phase == Phase::Over)
    }

    /// Begins and ends what is due at this time of the gust.
    pub async fn step(&mut self, now: Duration) -> Result<(), LabError> {
        for at in 0..self.faults.len() {
            let (fault, phase) = self.faults[at].clone();
            match phase {
                Phase::ToCome if fault.at <= now => {
                    self.begin(&fault).await?;
                    self.faults[at].1 = Phase::On;
                }
                Phase::On if fault.at + fault.lasts <= now => {
                    self.end(&fault).await?;
                    self.faults[at].1 = Phase::Over;
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn begin(&mut self, fault: &Fault) -> Result<(), LabError> {
        let lab = &self.grid.lab;
        if fault.kind == Kind::Split {
            let aside: Vec<u16> = self.alive(&fault.hosts).map(|host| self.index(host)).collect();
            return lab.split(&aside).await;
        }
        for host in self.alive(&fault.hosts).collect::<Vec<_>>() {
            let index = self.index(host);
            match fault.kind {
                Kind::HostKilled | Kind::Power => {
                    lab.kill_host(index).await?;
                    self.dead.push(host);
                }
                Kind::AgentKilled => lab.kill_agent(index).await?,
                Kind::AgentTerminated => lab.terminate_agent(index).await?,
                Kind::Paused => lab.pause_host(index).await?,
                Kind::Cut => lab.cut(index).await?,
                Kind::DiskFull => lab.fill_disk(index).await?,
                Kind::Split => {}
            }
        }
        Ok(())
    }

    async fn end(&mut self, fault: &Fault) -> Result<(), LabError> {
        let lab = &self.grid.lab;
        if fault.kind == Kind::Split {
            return lab.merge().await;
        }
        for host in fault.hosts.clone() {
            let index = self.index(host);
            let is_dead = self.dead.contains(&host);
            match fault.kind {
                Kind::HostKilled | Kind::Power if is_dead => {
                    lab.spawn_host(self.grid.specs[host].clone()).await?;
                    self.dead.retain(|dead| *dead != host);
                    if fault.kind == Kind::Power {
                        tokio::time::sleep(POWER_STEP).await;
                    }
                }
                Kind::DiskFull => lab.free_disk(index).await?,
                // A power cut ends all else that a host had.
                _ if is_dead => {}
                Kind::AgentKilled | Kind::AgentTerminated => lab.restart_agent(index).await?,
                Kind::Paused => lab.resume_host(index).await?,
                Kind::Cut => lab.heal(index).await?,
                Kind::HostKilled | Kind::Power | Kind::Split => {}
            }
        }
        Ok(())
    }

    fn alive<'b>(&'b self, hosts: &'b [usize]) -> impl Iterator<Item = usize> + 'b {
        hosts.iter().copied().filter(|host| !self.dead.contains(host))
    }

    fn index(&self, host: usize) -> u16 {
        self.grid.hosts[host].index
    }
}
