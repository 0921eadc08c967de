//! Runs one program for one slot, so that nothing of it outlives its agent.
//!
//! Three processes stand in a row: the agent, a *helper* (this same binary, started again as
//! `internal-exec`), and the helper's child, which is PID 1 of new user, PID, mount and IPC namespaces and
//! starts the program. PID 1 holds the reading end of a pipe whose writing end only the agent holds: however
//! the agent dies, the pipe ends, PID 1 exits, and the kernel kills everything in its namespace, `setsid` or
//! not. PID 1 also dies with the helper (`PR_SET_PDEATHSIG`). See pid_namespaces(7), user_namespaces(7).
//!
//! Two layers keep the program from the rest of the machine: its mounts (`sandbox`), and Landlock (`fence`).
//! Where the kernel grants no namespaces nothing is started, unless the plan allows it: then the helper
//! itself is a subreaper over the program's process group. [`Isolation`] says which layers hold.
//!
//! A command *beside* a program (`door`) has a helper of its own, which joins the program's namespaces
//! instead of making new ones, and is a subreaper over the command within them.
#![deny(unsafe_code)]

mod door;
mod fence;
mod helper;
mod init;
mod link;
mod log;
mod order;
mod plan;
mod raw;
mod running;
mod sandbox;
mod terminal;

pub use door::{Beside, Door};
pub use helper::{INTERNAL_COMMAND, internal_main};
pub use log::{Log, LogChunk};
pub use order::{Exit, Isolation, Kernel, Landlock, ProgramUser};
pub use plan::{LOG_MAX_BYTES, Plan, PlanError, TEMPORARY, Wanted};
pub use running::{Running, StartError, give, start};
pub use terminal::{Terminal, window_of};
