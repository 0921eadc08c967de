//! Groups whose events the host deals out among servers: what comes here is for members here.

use super::{Broker, ConnectionId, Host, Subscription};
use crate::Pattern;
use crate::relay::{Arrival, Interest, arrival};

impl Broker {
    /// Events for one member each of a group here: they take turns. Whether there is one that may hear them;
    /// otherwise nobody got any.
    pub fn deliver_share(&mut self, group: &Interest, events: &Arrival) -> bool {
        let name = group.group.as_deref().unwrap_or_default();
        let Some(number) = self.groups.number(&group.pattern, name) else { return false };
        let single = |bytes| arrival::pieces(bytes).into_iter();
        for (plain, full) in single(&events.plain).zip(single(&events.full)) {
            let Some(id) = self.pick(number, &events.topic) else { return false };
            let with_headers = self.get(id).is_some_and(|connection| connection.wishes.headers);
            self.push(id, if with_headers { &full } else { &plain }, &events.topic, 1);
        }
        true
    }

    /// What a subscription is to the host: its pattern, and its group where the host deals to groups.
    pub(super) fn interest(&self, pattern: &Pattern<'static>, subscription: &Subscription) -> Interest {
        let group = subscription.group.clone().filter(|_| self.config.deals_groups);
        Interest { pattern: pattern.clone(), group }
    }

    /// One connection less has it.
    pub(super) fn drop_interest(
        &mut self,
        id: ConnectionId,
        pattern: &Pattern<'static>,
        subscription: &Subscription,
        host: &mut impl Host,
    ) {
        let interest = self.interest(pattern, subscription);
        if let Some(held) = self.held.get_mut(&interest) {
            held.retain(|known| *known != id);
        }
        let Some(count) = self.interests.get_mut(&interest) else { return };
        *count -= 1;
        if *count == 0 {
            self.interests.remove(&interest);
            self.held.remove(&interest);
            host.wanted(&interest, false);
        }
    }
}
