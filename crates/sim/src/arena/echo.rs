//! A protocol of two messages, played: all that a new one needs in order to be simulated.

use xtreem_base::{Call, Core, Driven, Duration, Events, Handle, Instant, Plane, Sampler, Sink, Wake};

use super::{Arena, Member};
use crate::link::{Latency, Link};

/// Pings anybody at that time and once a second from then on, and tells whose pong comes.
pub(super) struct Echo(pub(super) Instant);

pub(super) enum Word {
    Ping,
    Pong,
}

impl Core for Echo {
    type Config = ();
    type Message = Word;
    type Fault = ();

    fn next_timeout(&self, (): &()) -> Wake {
        Wake::new(self.0, "a ping")
    }
    fn handle_gone(&mut self, _: Call<'_, ()>, _: Handle) {}
    fn for_each_handle(&self, _: &mut dyn FnMut(Handle)) {}
}

impl<S: Sink<Word> + Sampler + Events<Handle>> Driven<S> for Echo {
    fn handle_message(&mut self, _: Call<'_, ()>, from: Handle, word: Word, out: &mut S) -> Result<(), ()> {
        match word {
            Word::Ping => out.send(from, Word::Pong),
            Word::Pong => out.event(from),
        }
        Ok(())
    }
    fn handle_timeout(&mut self, call: Call<'_, ()>, out: &mut S) {
        out.fresh_peer().into_iter().for_each(|peer| out.send(peer, Word::Ping));
        self.0 = call.now + Duration::from_secs(1);
    }
}

impl Member for Echo {
    type Event = Handle;
    fn plane(word: &Word) -> Plane {
        if matches!(word, Word::Ping) { Plane::Datagram } else { Plane::Stream }
    }
}

#[test]
fn as_many_answer_as_live_and_are_heard() {
    let mut arena = Arena::new((), Link::new(1, Latency::WORLD, 100_000), 100);
    (0..100).for_each(|slot| arena.add(Handle::from_u32(slot), Echo(Instant::ZERO)));
    arena.run_until(Instant::from_millis(99_990));
    assert!(arena.take_events().len().abs_diff(9_000) < 200);
    (0..50).for_each(|slot| arena.kill(slot));
    arena.run_until(Instant::from_millis(199_990));
    assert!(arena.take_events().len().abs_diff(9_000 / 4) < 200, "half ask, half of them a living one");
}
