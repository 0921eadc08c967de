//! A node by itself.

use super::*;

#[test]
fn a_node_alone_owns_the_whole_ring_and_says_so_of_every_key() {
    struct Alone(Vec<Event>);
    impl Sink<Message> for Alone {
        fn send(&mut self, to: Handle, message: Message) {
            panic!("{message:?} to {to:?}, where nobody is");
        }
    }
    impl Events<Event> for Alone {
        fn event(&mut self, event: Event) {
            self.0.push(event);
        }
    }
    impl Sampler for Alone {
        fn fresh_peer(&mut self) -> Option<Handle> {
            None
        }
    }
    impl Host for Alone {
        fn id_of(&self, _: Handle) -> Option<NodeId> {
            None
        }
        fn is_admin(&self, _: Handle) -> bool {
            false
        }
        fn site_of(&self, _: Handle) -> Option<u64> {
            None
        }
    }
    let (config, id) = (Config::default(), NodeId::from_bytes([5; 16]));
    let (mut now, mut out) = (Instant::ZERO, Alone(Vec::new()));
    let mut node = Overlay::new(&config, id, Handle::from_u32(1), Rng::new(4), now);
    while now < Instant::from_millis(60_000) {
        now = node.next_timeout(&config).at.max(now);
        node.handle_timeout(Call::new(&config, now), &mut out);
    }
    assert!(node.ring().lease().is_some_and(|lease| lease.is_valid(now) && lease.range().is_whole()));
    let key = Key::from_bytes(b"anything").expect("short");
    let lookup = node.lookup(Call::new(&config, now), key, &mut out).expect("the first");
    node.handle_timeout(Call::new(&config, now), &mut out);
    let is_found = |event: &Event| match event {
        Event::Ring(ring::Event::Found { lookup: it, owner }) => *it == lookup && owner.range.is_whole(),
        _ => false,
    };
    assert!(out.0.iter().any(is_found), "{:?}", out.0);
}
