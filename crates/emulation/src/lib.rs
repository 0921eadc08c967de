//! Many hosts on one machine, for `xtreem demo`, `xtreem emulate` and tests of real agents.
//!
//! A host is one user + PID + network + mount + UTS namespace with its own host name and IPv6 address, joined
//! to the others by a bridge. Faults are a host killed or paused, an agent killed, a cable cut, a network
//! split, a disk filled. Nothing here knows a protocol or an agent: a host runs whatever command it is given.
//!
//! Processes: the caller (holds [`Lab`]) → launcher → lab (PID 1 of the lab's namespaces: owns the bridges
//! and the hosts) → one init a host (PID 1 of the host's) → the host's command. All but the command are the
//! caller's own program started again, so its `main` must call [`internal_main`] before anything else. When
//! the caller dies, however it dies, everything below it dies.
//!
//! Absent on purpose: loss and delay of packets. The simulator has them; here they would need nftables or
//! netem, which not every kernel has.
//!
//! Where the kernel forbids namespaces a host is a process tree on a 127.x.y.z address; [`Lab::network`] says
//! so.

mod control;
mod conversation;
mod disk;
mod error;
mod fallback;
mod host_init;
mod hosts;
mod internal;
mod lab;
mod lab_process;
mod namespaces;
mod netlink;
mod processes;
mod spec;

pub use disk::DISK;
pub use error::{LabError, StartError};
pub use fallback::{FAULT_SWITCH_ENV, FaultSwitch};
pub use internal::{internal_main, this_program};
pub use lab::{Lab, LabChild};
pub use spec::{
    AgentState, ChildSpec, Exit, Host, HostSpec, HostStatus, LabOptions, LabUser, MAX_HOSTS, MAX_NAME_BYTES,
    MAX_STATE_DIR_BYTES, Network, NetworkChoice,
};
