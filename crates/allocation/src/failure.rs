//! Kinds of failure, and what follows from what was seen of a slot: a table without side effects.
//!
//! *The node's trouble* kept it from running a program at all: another node is tried at once, it costs the
//! slot nothing, and it is never final. *The program's* failure is an exit of its own: it is final, where it
//! can be, only once several nodes saw it. *Absent: who is asked next; that is recruiting.*

use alloc::vec::Vec;
use core::fmt;

use minicbor::{Decode, Encode};
use xtreem_base::{Duration, Handle, HandleTable, NodeId};

use crate::{Exit, Restart};

/// Nodes that have to see a failure of the program before it is final, and a trouble of one kind before tries
/// pause and the user is told. Our guess: two may be alike by chance (one rack, one image); three seldom are.
pub(crate) const NODES: usize = 3;
/// ... and so many for a failure of the program while other slots of the application run: then it is likelier
/// that the nodes are ill. Our guess; a slot that fails by its own number is still given up.
const NODES_WHILE_OTHERS_RUN: usize = 6;
/// Failures of one slot that are remembered, one a node and kind; the oldest goes first. Our guess: several
/// times what decides anything.
pub const FAILURES_MAX: usize = 16;
/// Between tries that no new node can save: doubled from the first of these up to the second (our guess).
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Doubled so often, a pause is at its longest.
const DOUBLINGS_MAX: u32 = 6;

/// What kept a node from running a program. The program itself was not at fault, as far as can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Trouble {
    /// No node that it can reach has the files.
    #[n(0)]
    Files,
    /// Files, a directory or a log cannot be written: no space, no quota, read only, broken.
    #[n(1)]
    Disk,
    /// No process or thread can be made: too many of them, or no memory.
    #[n(2)]
    Processes,
    /// Too many open files.
    #[n(3)]
    Descriptors,
    /// The command, or the interpreter that it names, is not on this node.
    #[n(4)]
    Command,
    /// A fixed port is in use, or none is free.
    #[n(5)]
    Port,
    /// The kernel refuses to shut the program in.
    #[n(6)]
    Isolation,
    /// Anything else between the order and the program.
    #[n(7)]
    Other,
}

impl Trouble {
    /// Every kind, for tables and tests.
    pub const ALL: [Trouble; 8] = [
        Trouble::Files,
        Trouble::Disk,
        Trouble::Processes,
        Trouble::Descriptors,
        Trouble::Command,
        Trouble::Port,
        Trouble::Isolation,
        Trouble::Other,
    ];

    /// Whether other programs would fare the same: the node then grants no holds for a while.
    pub fn is_of_whole_node(self) -> bool {
        matches!(self, Trouble::Disk | Trouble::Processes | Trouble::Descriptors | Trouble::Isolation)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Trouble::Files => "files not available",
            Trouble::Disk => "disk full or not writable",
            Trouble::Processes => "no process can be started",
            Trouble::Descriptors => "too many open files",
            Trouble::Command => "command not found",
            Trouble::Port => "port in use",
            Trouble::Isolation => "programs cannot be isolated",
            Trouble::Other => "programs cannot be started",
        })
    }
}

/// Whose failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum FailureKind {
    /// The program ended by itself, with this exit the last time.
    #[n(0)]
    Program(#[n(0)] Exit),
    #[n(1)]
    Node(#[n(0)] Trouble),
}

impl FailureKind {
    fn is_like(self, other: FailureKind) -> bool {
        match (self, other) {
            (FailureKind::Program(_), FailureKind::Program(_)) => true,
            (FailureKind::Node(one), FailureKind::Node(other)) => one == other,
            _ => false,
        }
    }
}

/// What one node saw of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub struct Failure {
    #[n(0)]
    pub node: NodeId,
    #[n(1)]
    pub at: Handle,
    #[n(2)]
    pub kind: FailureKind,
    /// How often: a round of exits that came too quickly counts once.
    #[n(3)]
    pub count: u16,
}

/// What is to be done about a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another node is looked for, after this time.
    Elsewhere { pause: Duration },
    /// It is started here again, after this time; without one, after the pause that its ends have come to.
    Here { pause: Option<Duration> },
    /// It failed for good.
    Final,
}

/// Everything that failed of one slot, as far as its holder knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    failures: Vec<Failure>,
}

impl History {
    /// As earlier holders told it; an honest list has each node and kind once.
    pub fn told(mut failures: Vec<Failure>) -> Self {
        failures.truncate(FAILURES_MAX);
        History { failures }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Failure> {
        self.failures.iter()
    }

    pub fn to_vec(&self) -> Vec<Failure> {
        self.failures.clone()
    }

    /// One more failure of that kind on that node.
    pub fn note(&mut self, node: NodeId, at: Handle, kind: FailureKind) {
        let is_it = |failure: &&mut Failure| failure.node == node && failure.kind.is_like(kind);
        if let Some(known) = self.failures.iter_mut().find(is_it) {
            (known.at, known.kind, known.count) = (at, kind, known.count.saturating_add(1));
            return;
        }
        if self.failures.len() >= FAILURES_MAX {
            self.failures.remove(0);
        }
        self.failures.push(Failure { node, at, kind, count: 1 });
    }

    fn like(&self, kind: FailureKind) -> impl Iterator<Item = &Failure> {
        self.failures.iter().filter(move |failure| failure.kind.is_like(kind))
    }

    /// Different nodes that saw a failure of this kind.
    pub fn nodes(&self, kind: FailureKind) -> usize {
        let mut nodes: Vec<NodeId> = self.like(kind).map(|failure| failure.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.len()
    }

    fn tries(&self, kind: FailureKind) -> u32 {
        self.like(kind).map(|failure| u32::from(failure.count)).sum()
    }

    /// The program runs: what kept nodes from starting it is over.
    pub fn is_started(&mut self) {
        self.failures.retain(|failure| matches!(failure.kind, FailureKind::Program(_)));
    }

    /// It has run long enough: nothing of before counts.
    pub fn is_healthy(&mut self) {
        self.failures.clear();
    }

    /// The trouble that so many nodes had that the user is to know.
    pub fn lasting_trouble(&self) -> Option<Trouble> {
        let kinds = self.failures.iter().rev().filter_map(|failure| match failure.kind {
            FailureKind::Node(trouble) => Some(trouble),
            FailureKind::Program(_) => None,
        });
        kinds.into_iter().find(|trouble| self.nodes(FailureKind::Node(*trouble)) >= NODES)
    }

    /// What follows the newest failure, which has been noted: of the program too often in too short a time,
    /// or of the node. `others_run`: other slots of the application do.
    pub fn next(&self, restart: Restart, kind: FailureKind, others_run: bool) -> Next {
        let is_enough = match kind {
            FailureKind::Program(_) if others_run => self.nodes(kind) >= NODES_WHILE_OTHERS_RUN,
            _ => self.nodes(kind) >= NODES,
        };
        match (kind, restart) {
            (FailureKind::Program(_), Restart::Never) => Next::Final,
            (FailureKind::Program(_), Restart::OnFailure) if is_enough => Next::Final,
            (FailureKind::Program(_), Restart::Always) if is_enough => Next::Here { pause: None },
            (FailureKind::Node(_), _) if is_enough => {
                Next::Elsewhere { pause: doubled(self.tries(kind), NODES as u32) }
            }
            _ => Next::Elsewhere { pause: Duration::ZERO },
        }
    }

    /// What follows when no other node could be had. `is_only`: no other one matches; otherwise those that do
    /// are taken.
    pub fn next_when_alone(&self, restart: Restart, kind: FailureKind, is_only: bool) -> Next {
        match (kind, restart) {
            (FailureKind::Program(_), Restart::Always) => Next::Here { pause: None },
            (FailureKind::Program(_), _) if is_only => Next::Final,
            (FailureKind::Program(_), _) => Next::Here { pause: None },
            (FailureKind::Node(_), _) => Next::Here { pause: Some(doubled(self.tries(kind), 1)) },
        }
    }
}

/// The pause after so many tries, of which the `first`th is the first that is followed by one.
fn doubled(tries: u32, first: u32) -> Duration {
    let doublings = tries.saturating_sub(first).min(DOUBLINGS_MAX);
    (PAUSE * (1 << doublings)).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const PROGRAM: FailureKind = FailureKind::Program(Exit::Code(1));
    const DISK: FailureKind = FailureKind::Node(Trouble::Disk);
    const PORT: FailureKind = FailureKind::Node(Trouble::Port);

    /// What each of these nodes saw, one after the other.
    fn history(seen: &[(u8, FailureKind)]) -> History {
        let mut history = History::default();
        for (node, kind) in seen {
            history.note(NodeId::from_bytes([*node; 16]), Handle::from_u32((*node).into()), *kind);
        }
        history
    }

    fn elsewhere(secs: u64) -> Next {
        Next::Elsewhere { pause: Duration::from_secs(secs) }
    }

    #[test]
    fn what_follows_a_failure() {
        use Restart::{Always, Never, OnFailure};
        let here = Next::Here { pause: None };
        let p = |nodes: &[u8]| nodes.iter().map(|node| (*node, PROGRAM)).collect::<Vec<_>>();
        let d = |nodes: &[u8]| nodes.iter().map(|node| (*node, DISK)).collect::<Vec<_>>();
        let table = [
            // The program's: three nodes have to see it, and the same node twice is one.
            (OnFailure, p(&[1]), PROGRAM, elsewhere(0)),
            (OnFailure, p(&[1, 2]), PROGRAM, elsewhere(0)),
            (OnFailure, p(&[1, 1, 1, 2]), PROGRAM, elsewhere(0)),
            (OnFailure, p(&[1, 2, 3]), PROGRAM, Next::Final),
            (Always, p(&[1]), PROGRAM, elsewhere(0)),
            (Always, p(&[1, 2, 3]), PROGRAM, here),
            (Never, p(&[1]), PROGRAM, Next::Final),
            // The node's: at once on three nodes, then later and later, never final.
            (Never, d(&[1]), DISK, elsewhere(0)),
            (OnFailure, d(&[1, 2]), DISK, elsewhere(0)),
            (OnFailure, d(&[1, 2, 3]), DISK, elsewhere(1)),
            (OnFailure, d(&[1, 2, 3, 4]), DISK, elsewhere(2)),
            (Always, d(&[1, 2, 3, 1, 2]), DISK, elsewhere(4)),
            (Always, d(&[1; 40]), DISK, elsewhere(0)),
            (Never, d(&[1, 2, 3, 1, 2, 3, 1, 2, 3]), DISK, elsewhere(60)),
            // Kinds do not add up.
            (OnFailure, [p(&[1, 2]), d(&[3, 4])].concat(), PROGRAM, elsewhere(0)),
            (OnFailure, [d(&[1, 2]), vec![(3, PORT)]].concat(), PORT, elsewhere(0)),
        ];
        for (restart, seen, newest, next) in table {
            assert_eq!(history(&seen).next(restart, newest, false), next, "{restart:?} after {seen:?}");
        }
    }

    #[test]
    fn while_other_slots_run_six_nodes_have_to_see_a_program_fail() {
        let table = [(3, elsewhere(0)), (5, elsewhere(0)), (6, Next::Final)];
        for (nodes, next) in table {
            let seen: Vec<_> = (0..nodes).map(|node| (node, PROGRAM)).collect();
            assert_eq!(history(&seen).next(Restart::OnFailure, PROGRAM, true), next, "{nodes}");
        }
        let troubled = history(&[(1, DISK), (2, DISK), (3, DISK)]);
        assert_eq!(troubled.next(Restart::OnFailure, DISK, true), elsewhere(1));
    }

    #[test]
    fn what_follows_when_no_other_node_can_be_had() {
        use Restart::{Always, Never, OnFailure};
        let here = |secs| Next::Here { pause: Some(Duration::from_secs(secs)) };
        let table = [
            (OnFailure, vec![(1, PROGRAM)], PROGRAM, true, Next::Final),
            (OnFailure, vec![(1, PROGRAM)], PROGRAM, false, Next::Here { pause: None }),
            (Always, vec![(1, PROGRAM)], PROGRAM, true, Next::Here { pause: None }),
            (Never, vec![(1, DISK)], DISK, true, here(1)),
            (OnFailure, vec![(1, DISK); 2], DISK, true, here(2)),
            (OnFailure, vec![(1, DISK); 7], DISK, false, here(60)),
            (Always, vec![(1, DISK); 700], DISK, false, here(60)),
        ];
        for (restart, seen, newest, is_only, next) in table {
            let judged = history(&seen).next_when_alone(restart, newest, is_only);
            assert_eq!(judged, next, "{restart:?} after {} of {newest:?}", seen.len());
        }
    }

    #[test]
    fn a_history_is_bounded_and_forgets_what_is_over() {
        let many: Vec<(u8, FailureKind)> = (0..40).map(|node| (node, DISK)).collect();
        let mut history = history(&many);
        assert_eq!((history.iter().count(), history.nodes(DISK)), (FAILURES_MAX, FAILURES_MAX));
        assert_eq!(history.lasting_trouble(), Some(Trouble::Disk));
        history.note(NodeId::from_bytes([1; 16]), Handle::from_u32(1), PROGRAM);
        history.is_started();
        assert_eq!((history.nodes(DISK), history.nodes(PROGRAM), history.lasting_trouble()), (0, 1, None));
        history.is_healthy();
        assert_eq!(history.iter().count(), 0);
        assert_eq!(History::told(many_failures(99)).iter().count(), FAILURES_MAX);
    }

    fn many_failures(count: u8) -> Vec<Failure> {
        let failure = |node: u8| Failure {
            node: NodeId::from_bytes([node; 16]),
            at: Handle::from_u32(node.into()),
            kind: PORT,
            count: 1,
        };
        (0..count).map(failure).collect()
    }
}
