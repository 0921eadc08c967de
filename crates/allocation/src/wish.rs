//! What the node around has to do for the core.

use alloc::string::String;
use alloc::vec::Vec;

use xtreem_base::{AppId, Handle, NodeId};
use xtreem_discovery::{FactsAsk, Need};

use crate::Ask;

/// One thing to be done by the node around. What has an answer names the input that brings it.
#[derive(Clone, Debug)]
pub enum Wish {
    /// Search nodes that match, with holds and these facts; answered by `handle_found` and
    /// `handle_search_done`.
    Search {
        ticket: Ticket,
        need: Need,
        ask: Ask,
        /// Nodes that are looked for; candidates beyond the need are counted in.
        wanted: u16,
        exclude: Vec<Handle>,
        facts: FactsAsk,
    },
    /// End this search. Nothing of it is handed in any more, and what it holds is released.
    CancelSearch(Ticket),
    /// Find the node of this host name, id or address; answered by `handle_located` with its coordinate.
    Locate { app: AppId, node: String },
    /// Search the owner's applications; answered by `handle_counted` with the slots of all but this one.
    CountOwner { app: AppId, owner: NodeId },
    /// Let others probe a silent peer; answered by `handle_alive` if it answers one of them.
    AskOthers { about: Handle, helpers: Vec<Handle> },
    /// Take part in the application's own collection, or learn more members of it.
    JoinCollection { app: AppId, members: Vec<Handle> },
    /// Take part in the application's own collection no longer; there may be none.
    LeaveCollection { app: AppId },
}

/// Names a search that the protocol asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ticket {
    Submission(AppId),
    Slot(AppId, u16),
}
