//! What a broker knows of one connection.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::catching::Catching;
use super::{Access, Queue};
use crate::{EventWriter, Framer, Pattern, Slow, Stem};

/// Routes that a connection keeps: programs that publish fast do it to a few topics.
const ROUTES_MAX: usize = 8;

pub(super) struct Connection {
    /// Among all that there were.
    pub number: u64,
    pub access: Access,
    pub framer: Framer,
    /// Read, and not whole yet.
    pub partial: Vec<u8>,
    pub queue: Queue,
    pub wishes: Wishes,
    /// Its subscriptions, each with its group.
    pub subscriptions: BTreeMap<Pattern<'static>, Subscription>,
    /// While there are new ones, which get what was kept before.
    pub catching: Option<Catching>,
    pub routes: Vec<Route>,
    /// The number of its next event without one of its own.
    pub sequence: u64,
    /// Stands in the list of those that something waits for.
    pub is_dirty: bool,
    /// It ends once what waits is written.
    pub is_ending: bool,
}

/// What it asked for with `CONNECT`.
#[derive(Clone, Debug, Default)]
pub(super) struct Wishes {
    pub ok: bool,
    pub lost: bool,
    pub headers: bool,
    pub name: Option<String>,
    pub slow: Slow,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Subscription {
    pub group: Option<String>,
}

/// Where what is published to one topic goes, as long as nobody comes or goes.
pub(super) struct Route {
    /// The line of the request, as it came.
    pub line: Vec<u8>,
    pub topic: Arc<Pattern<'static>>,
    /// Of the table when this was found.
    pub version: u64,
    pub writer: EventWriter,
    /// Of events that are numbered here, and of those with a number of the publisher's own.
    pub stems: [Stem; 2],
    /// Who gets events as they are, and who with headers; in order.
    pub plain: Vec<u32>,
    pub full: Vec<u32>,
    /// Groups of which one member gets each event.
    pub groups: Vec<u32>,
    /// Events are kept for those who come later.
    pub is_replayed: bool,
}

impl Connection {
    pub fn new(number: u64, access: Access, payload_max: usize) -> Connection {
        Connection {
            number,
            access,
            framer: Framer::new(payload_max),
            partial: Vec::new(),
            queue: Queue::new(),
            wishes: Wishes::default(),
            subscriptions: BTreeMap::new(),
            catching: None,
            routes: Vec::new(),
            sequence: 0,
            is_dirty: false,
            is_ending: false,
        }
    }

    /// Names it among the publishers of its server: by its own word, or by its number.
    pub fn publisher(&self) -> String {
        match &self.wishes.name {
            Some(name) => format!("{} as {name}", self.access.who),
            None => self.anonymous(),
        }
    }

    pub fn anonymous(&self) -> String {
        format!("{} no {}", self.access.who, self.number)
    }

    /// The route of a request's line, if it still holds.
    pub fn route(&self, line: &[u8], version: u64) -> Option<usize> {
        self.routes.iter().position(|route| route.version == version && route.line == line)
    }

    /// Keeps a route in place of an older one of the same line. Places of others may change.
    pub fn keep_route(&mut self, route: Route) -> usize {
        if let Some(older) = self.routes.iter().position(|known| known.line == route.line) {
            self.routes.remove(older);
        } else if self.routes.len() == ROUTES_MAX {
            self.routes.remove(0);
        }
        self.routes.push(route);
        self.routes.len() - 1
    }
}
