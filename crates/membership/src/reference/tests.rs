extern crate std;
use std::vec::Vec;

use super::*;

#[derive(Default)]
struct Sent(Vec<(Handle, Message)>);

impl Sink<Message> for Sent {
    fn send(&mut self, to: Handle, msg: Message) {
        self.0.push((to, msg));
    }
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn peers(count: u32) -> Vec<Handle> {
    (0..count).map(Handle::from_u32).collect()
}

fn with_members(count: u32) -> Reference {
    let mut reference = Reference::default();
    for peer in peers(count) {
        reference.answered(Call::new(&Config::default(), at(1_000)), peer);
    }
    reference
}

/// Runs until `until`; the first `alive` peers answer every probe after 50 ms.
fn run(reference: &mut Reference, from: Instant, until: Instant, alive: u32, mut sent: Sent) -> usize {
    let (config, mut now, mut probes) = (Config::default(), from, 0);
    loop {
        let (answers, mut replies) = (core::mem::take(&mut sent.0), Sent::default());
        probes += answers.len();
        for (to, msg) in answers {
            let Message::Probe { seq } = msg else { panic!("only probes are sent") };
            if to.as_u32() < alive {
                let alive = Message::Alive { seq };
                // The rest of an answered probe is late, which is fine.
                let _ = reference.handle_message(
                    Call::new(&config, now + Duration::from_millis(50)),
                    to,
                    alive,
                    &mut replies,
                );
            }
        }
        now = reference.next_timeout(&config).at;
        if now > until {
            return probes;
        }
        reference.handle_timeout(Call::new(&config, now), &mut sent);
    }
}

/// The verdict two timeouts after a check of `members`, `alive` of which answer.
fn verdict_of(members: u32, alive: u32) -> Verdict {
    let (config, mut reference, mut sent) = (Config::default(), with_members(members), Sent::default());
    reference.check(Call::new(&config, at(5_000)), &mut sent);
    run(&mut reference, at(5_000), at(7_000), alive, sent);
    match reference.verdict(Call::new(&config, at(5_060))) {
        // A result is used for one second only.
        Verdict::Pending => reference.verdict(Call::new(&config, at(7_000))),
        verdict => verdict,
    }
}

#[test]
fn fewer_than_half_is_cut_off_and_tiny_sets_say_nothing() {
    for (members, alive, expected) in [
        (0, 0, Verdict::Connected),
        (1, 0, Verdict::Connected),
        (2, 0, Verdict::Connected),
        (3, 0, Verdict::CutOff),
        (3, 1, Verdict::CutOff),
        (3, 2, Verdict::Connected),
        (4, 2, Verdict::Connected),
        (16, 7, Verdict::CutOff),
        (16, 8, Verdict::Connected),
        (16, 16, Verdict::Connected),
    ] {
        assert_eq!(verdict_of(members, alive), expected, "{alive} of {members}");
    }
}

#[test]
fn silent_members_are_asked_twice_before_the_verdict() {
    let (config, mut reference, mut sent) = (Config::default(), with_members(5), Sent::default());
    assert_eq!(reference.check(Call::new(&config, at(2_000)), &mut sent), Verdict::Pending);
    assert_eq!(sent.0.len(), 5);
    assert_eq!(reference.next_timeout(&config).at, at(3_000));
    reference.handle_timeout(Call::new(&config, at(3_000)), &mut sent);
    assert_eq!(sent.0.len(), 10);
    assert_eq!(reference.verdict(Call::new(&config, at(3_999))), Verdict::Pending);
    reference.handle_timeout(Call::new(&config, at(4_000)), &mut sent);
    assert_eq!(reference.verdict(Call::new(&config, at(4_000))), Verdict::CutOff);
    assert_eq!(sent.0.len(), 15, "a frozen set is asked again at once");
}

#[test]
fn a_running_probe_is_joined_and_a_fresh_result_is_used_again() {
    let (config, mut reference, mut sent) = (Config::default(), with_members(4), Sent::default());
    reference.check(Call::new(&config, at(2_000)), &mut sent);
    assert_eq!(reference.check(Call::new(&config, at(2_010)), &mut sent), Verdict::Pending);
    assert_eq!(sent.0.len(), 4);
    let Message::Probe { seq } = sent.0[0].1 else { panic!("a probe") };
    for peer in [0, 1] {
        let peer = Handle::from_u32(peer);
        assert_eq!(
            reference.handle_message(Call::new(&config, at(2_100)), peer, Message::Alive { seq }, &mut sent),
            Ok(())
        );
    }
    assert_eq!(reference.check(Call::new(&config, at(3_099)), &mut sent), Verdict::Connected);
    assert_eq!(sent.0.len(), 4);
    assert_eq!(reference.check(Call::new(&config, at(3_100)), &mut sent), Verdict::Pending);
    assert_eq!(sent.0.len(), 8);
}

#[test]
fn a_frozen_set_takes_no_strangers_and_thaws_when_half_answer() {
    let (config, mut reference, mut sent) = (Config::default(), with_members(16), Sent::default());
    reference.check(Call::new(&config, at(2_000)), &mut sent);
    run(&mut reference, at(2_000), at(9_500), 3, sent);
    for stranger in 100..200 {
        reference.answered(Call::new(&config, at(9_500)), Handle::from_u32(stranger));
    }
    assert_eq!(reference.verdict(Call::new(&config, at(9_500))), Verdict::CutOff);
    let mut handles = Vec::new();
    reference.for_each_handle(&mut |handle| handles.push(handle));
    assert_eq!(handles, peers(16));
    run(&mut reference, at(9_500), at(10_050), 8, Sent::default());
    assert_eq!(reference.verdict(Call::new(&config, at(10_100))), Verdict::Connected);
}

#[test]
fn after_the_isolation_limit_a_new_set_is_taken() {
    let (config, mut reference, mut sent) = (Config::default(), with_members(16), Sent::default());
    reference.check(Call::new(&config, at(2_000)), &mut sent);
    let probes = run(&mut reference, at(2_000), at(4_000_000), 2, sent);
    assert!((16 * 3_600..=16 * 3_604).contains(&probes), "{probes}");
    assert_eq!(reference.verdict(Call::new(&config, at(4_000_000))), Verdict::Connected);
    reference.answered(Call::new(&config, at(4_000_000)), Handle::from_u32(7));
    let mut handles = Vec::new();
    reference.for_each_handle(&mut |handle| handles.push(handle));
    assert_eq!(handles, [Handle::from_u32(7)]);
}

#[test]
fn silence_does_not_empty_the_set_but_answers_of_others_do() {
    let (config, mut reference, mut sent) = (Config::default(), with_members(5), Sent::default());
    let later = at(600_000);
    assert_eq!(reference.check(Call::new(&config, later), &mut sent), Verdict::Pending);
    assert_eq!(sent.0.len(), 5);
    let mut reference = with_members(5);
    reference.answered(Call::new(&config, later), Handle::from_u32(9));
    assert_eq!(reference.members().len(), 1);
}

#[test]
fn the_sixteen_that_answered_last_are_kept() {
    let (config, mut reference) = (Config::default(), Reference::default());
    for peer in 0..40 {
        reference.answered(Call::new(&config, at(u64::from(peer))), Handle::from_u32(peer));
    }
    reference.handle_gone(Call::new(&config, at(30)), Handle::from_u32(30));
    let mut handles = Vec::new();
    reference.for_each_handle(&mut |handle| handles.push(handle.as_u32()));
    handles.sort();
    assert_eq!(handles, (24..30).chain(31..40).collect::<Vec<_>>());
}

#[test]
fn answers_that_nobody_waits_for_are_faults() {
    let (config, mut reference, mut sent) = (Config::default(), with_members(4), Sent::default());
    let [member, stranger] = [0, 99].map(Handle::from_u32);
    let alive = |seq| Message::Alive { seq };
    assert_eq!(
        reference.handle_message(Call::new(&config, at(2_000)), member, alive(0), &mut sent),
        Err(Fault)
    );
    reference.check(Call::new(&config, at(2_000)), &mut sent);
    assert_eq!(
        reference.handle_message(Call::new(&config, at(2_001)), member, alive(0), &mut sent),
        Err(Fault)
    );
    assert_eq!(
        reference.handle_message(Call::new(&config, at(2_001)), stranger, alive(1), &mut sent),
        Err(Fault)
    );
    assert_eq!(reference.handle_message(Call::new(&config, at(2_001)), member, alive(1), &mut sent), Ok(()));
}

#[test]
fn whoever_answers_after_half_of_the_set_has_is_no_fault_once() {
    let (config, mut reference, mut sent) = (Config::default(), with_members(4), Sent::default());
    let call = Call::new(&config, at(2_000));
    reference.check(call, &mut sent);
    let mut answer =
        |peer| reference.handle_message(call, Handle::from_u32(peer), Message::Alive { seq: 1 }, &mut sent);
    assert_eq!([0, 1].map(&mut answer), [Ok(()); 2], "half is enough");
    assert_eq!([2, 3].map(&mut answer), [Ok(()); 2], "the others were asked as well");
    assert_eq!([2, 3].map(&mut answer), [Err(Fault); 2]);
    assert_eq!(reference.verdict(call), Verdict::Connected);
}

#[test]
fn the_operators_word_makes_those_that_answer_the_whole_set() {
    let config = Config::default();
    let (mut reference, mut sent) = (with_members(9), Sent::default());
    assert_eq!(reference.accept_loss(Call::new(&config, at(2_000))), None, "nobody is missing yet");
    reference.check(Call::new(&config, at(9_000)), &mut sent);
    run(&mut reference, at(9_000), at(20_000), 4, sent);
    let call = Call::new(&config, at(20_000));
    let reach = reference.reach(call).expect("cut off: four of nine answer");
    assert_eq!((reach.answering, reach.members, reach.needed()), (4, 9, 5));
    assert!(reach.ends_in < config.isolation_limit && reach.ends_in > Duration::from_secs(3_500));
    assert_eq!(reference.accept_loss(call), Some(5));
    assert_eq!((reference.verdict(call), reference.peers().count()), (Verdict::Connected, 4));
    assert_eq!(reference.reach(call), None);
}

#[test]
fn what_few_nodes_survive_is_what_the_page_says() {
    // Nodes of the grid, how many die, and whether the others go on. Each knows all others.
    let table = [
        (2, 1, true),
        (3, 1, true),
        (3, 2, true),
        (4, 1, true),
        (4, 2, false),
        (5, 2, true),
        (5, 3, false),
        (10, 4, true),
        (10, 5, false),
    ];
    for (nodes, dead, goes_on) in table {
        let verdict = verdict_of(nodes - 1, nodes - 1 - dead);
        assert_eq!(verdict == Verdict::Connected, goes_on, "{dead} of {nodes} nodes die");
    }
}
