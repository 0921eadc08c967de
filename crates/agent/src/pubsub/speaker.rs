//! Says what happens in the grid, as a publisher of its own at the agent's broker.
//!
//! When a node dies, a part of the ring has no owner for some seconds. What is to be said then must not wait
//! for a list of servers, so the lists of the applications that this agent takes part in are kept ready.

use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::Instant;
use xtreem_pubsub::broker::ConnectionId;
use xtreem_pubsub::storm::Storm;
use xtreem_pubsub::write_publish;

use super::clients::Server;
use super::news::{News, Ready, Said};

/// Lists are looked after so often. One is usable for 25 s after its making began: when nodes die that is
/// noticed after 5 to 8 s.
const READY_PERIOD: Duration = Duration::from_secs(15);

/// What is kept of it.
pub(super) struct Speaker {
    /// Its own connection to the broker; without one it says nothing.
    connection: Option<ConnectionId>,
    storm: Storm,
    ready: Ready,
    looked_after: Instant,
}

impl Speaker {
    pub fn new(connection: Option<ConnectionId>) -> Speaker {
        let (storm, ready) = (Storm::default(), Ready::default());
        Speaker { connection, storm, ready, looked_after: Instant::now() }
    }
}

impl Server {
    pub(super) fn take_news(self: &Rc<Self>, news: News) {
        match news {
            News::Say(said) => {
                let now = self.outside.borrow().now();
                let is_admitted = self.speaker.borrow_mut().storm.admit(now, &said.family());
                if is_admitted {
                    self.say(&said);
                }
            }
            News::TakesPart(app) => {
                let family = self.speaker.borrow_mut().ready.add(app);
                if let Some(family) = family {
                    let mut outside = self.outside.borrow_mut();
                    let now = outside.now();
                    outside.relay.keep_ready(now, &family);
                    drop(outside);
                    self.flush();
                }
            }
            News::TakesPartNoMore(app) => self.speaker.borrow_mut().ready.remove(app),
        }
    }

    /// Once a second. `missed` could not be handed over: too much came at once.
    pub(super) fn look_after_news(self: &Rc<Self>, missed: u64) {
        let mut speaker = self.speaker.borrow_mut();
        if missed > 0 {
            speaker.storm.count("", missed);
        }
        let unsaid = speaker.storm.take_unsaid();
        if speaker.looked_after.elapsed() >= READY_PERIOD {
            speaker.looked_after = Instant::now();
            let mut outside = self.outside.borrow_mut();
            let now = outside.now();
            for family in speaker.ready.all() {
                outside.relay.keep_ready(now, family);
            }
        }
        drop(speaker);
        for (family, count) in unsaid {
            self.say(&Said::unsaid(self.grid.own().id, &family, count));
        }
    }

    fn say(self: &Rc<Self>, said: &Said) {
        let Some((topic, connection)) = said.topic().zip(self.speaker.borrow().connection) else { return };
        let mut request = BytesMut::new();
        write_publish(&mut request, &topic, "", &said.payload());
        let mut outside = self.outside.borrow_mut();
        let now = outside.now();
        self.broker.borrow_mut().read(now, connection, &request, &mut *outside);
        drop(outside);
        tracing::debug!(%topic, "said to the grid");
        self.flush();
    }
}
