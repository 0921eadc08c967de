//! What is kept so that the loss of one node loses nothing else.

use xtreem_membership::Message as Shuffling;

use super::*;

#[test]
fn guardians_fetch_the_files_from_the_submitter_too_as_the_first_holder_may_die_at_once() {
    for seed in 0..5 {
        let mut net = Net::new(16, seed);
        net.submit(0, 1);
        net.run(SECS(5));
        assert_eq!(net.fetches.len(), 3, "seed {seed}");
        for (at, sources) in &net.fetches {
            assert!(*at == 0 || sources.contains(&handle(0)), "seed {seed}: {at} asks {sources:?}");
        }
    }
}

#[test]
fn who_restarted_is_tried_as_what_it_is_now() {
    let mut node = Net::new(1, 1).nodes.remove(0).expect("it lives");
    let (old, new) = (handle(7), handle(8));
    node.remember(old);
    node.handle_gone(Instant::from_millis(20_000), old, Some(new), &mut Outbox::default());
    let mut out = Outbox::default();
    while out.sent.is_empty() {
        node.handle_timeout(node.next_timeout().at, &mut out);
    }
    let is_ping = |message: &Message| matches!(message, Message::Grid(Shuffling::Ping { .. }));
    assert!(out.sent.iter().any(|(to, message)| *to == new && is_ping(message)), "{:?}", out.sent);
    assert!(out.sent.iter().all(|(to, _)| *to != old));
}
