//! The applications of a run: their shapes, drawn from the seed, and what is known of each as the run goes
//! on.

use std::sync::Arc;

use xtreem_allocation::{Application, Record, Resources, Restart, Spec, Trouble, Wanted};
use xtreem_base::{AppId, Digest, Duration, Instant, NodeId, Rng};
use xtreem_discovery::{FixedPorts, Need};

use super::host::HostNo;
use super::seen::Behaviour;

/// What a user wants to run.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub name: String,
    pub slots: u16,
    pub behaviour: Behaviour,
    pub requirement: Need,
    pub resources: Resources,
    pub colocate: bool,
    pub restart: Restart,
    pub placement: Arc<str>,
    /// How long its submission tries again by itself; without, its user does.
    pub wait: Duration,
}

/// Requirements of different width; every host of `world` meets the first, about a fifth the last.
const REQUIREMENTS: [&str; 4] =
    ["", "cpu.cores >= 4", "arch == \"x86_64\" && mem.total >= 4GiB", "site == \"north\" || cpu.cores >= 16"];

/// Half of the applications take what comes.
const PLACEMENTS: [&str; 8] =
    ["", "", "", "random", "spread by site", "near", "pack", "weighted by cpu.cores - mem.total / 4GiB"];

/// One of the simulator's own requirements.
pub(crate) fn parsed(requirement: &str) -> Need {
    Need::parse(requirement).expect("written here, and run by the tests")
}

impl Shape {
    /// About ten slots, some applications have one, some twenty (docs/design/allocation.md, "What is judged
    /// in the simulator").
    pub fn draw(number: u32, rng: &mut Rng) -> Self {
        let slots = match rng.below(10) {
            0 => 1,
            1 => 2,
            2 => 20,
            _ => rng.between(8, 12) as u16,
        };
        let behaviour = match rng.below(20) {
            0 => Behaviour::Broken,
            1..=3 => Behaviour::Flaky,
            4..=6 => Behaviour::Batch,
            _ => Behaviour::Service,
        };
        let resources = match rng.below(4) {
            0 => Resources { cores_milli: 2_000, memory_bytes: 1 << 30, disk_bytes: 1 << 30 },
            _ => Resources::SLOT_DEFAULT,
        };
        Shape {
            name: format!("app{number}"),
            slots,
            behaviour,
            requirement: parsed(REQUIREMENTS[rng.below(REQUIREMENTS.len() as u32) as usize]),
            resources,
            colocate: rng.chance(1, 8),
            restart: Restart::OnFailure,
            placement: PLACEMENTS[rng.below(PLACEMENTS.len() as u32) as usize].into(),
            wait: Duration::ZERO,
        }
    }

    /// A fresh submission of this shape.
    pub fn application(&self, rng: &mut Rng) -> Application {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&rng.next_u64().to_be_bytes());
        bytes[8..].copy_from_slice(&rng.next_u64().to_be_bytes());
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&rng.next_u64().to_be_bytes());
        let record = Record {
            id: AppId::from_bytes(bytes),
            owner: NodeId::from_bytes([0xaa; 16]),
            name: self.name.clone(),
            spec_digest: Digest::from_bytes(digest),
            slots: self.slots,
            generation: 1,
            wanted: Wanted::Running,
            proof: Arc::from([]),
            submitter: NodeId::from_bytes([0; 16]),
        };
        let spec = Spec {
            requirement: self.requirement.clone(),
            resources: self.resources,
            colocate: self.colocate,
            restart: self.restart,
            payload: Arc::from([]),
            placement: self.placement.clone(),
            ports: FixedPorts::NONE,
        };
        Application { record, spec: Arc::new(spec) }
    }
}

/// One submission and what became of it.
#[derive(Debug)]
pub(crate) struct App {
    /// Which shape of the schedule.
    pub shape: usize,
    /// Submissions of this shape so far.
    pub attempts: u32,
    pub record: Record,
    pub behaviour: Behaviour,
    pub resources: Resources,
    pub submitter: HostNo,
    pub is_accepted: bool,
    pub submitted: Instant,
    /// When every slot ran or had ended.
    pub complete: Option<Instant>,
    /// Why its submission was told that a slot cannot be started.
    pub trouble: Option<Trouble>,
    /// When it was turned away for good.
    pub refused: Option<Instant>,
    /// Searches that found too few nodes and were followed by another attempt.
    pub turned_away: u32,
    /// See [`AppFacts::is_lost`](super::seen::AppFacts::is_lost).
    pub is_lost: bool,
    pub stop: Stop,
}

/// How far a user is with stopping an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    NotWanted,
    /// The record is sent until a node takes it.
    Wanted,
    Taken,
}

impl App {
    /// The record with which its owner stops it.
    pub fn stopped_record(&self) -> Record {
        Record { generation: self.record.generation + 1, wanted: Wanted::Stopped, ..self.record.clone() }
    }
}
