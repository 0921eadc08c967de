extern crate std;
mod world;

use std::format;
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use xtreem_base::{Call, Core, Driven, Events, Handle, Instant, Rng, Sink};

use super::task::{Body, BodyTooLong, Why};
use super::*;
use world::{World, is_killer, is_poison, task};

fn body(bytes: &[u8]) -> Body {
    Body::new(bytes).expect("short")
}

fn item(state: State) -> Item {
    Item { task: task(1), state }
}

fn open(failed: u16, lost: u16) -> State {
    State::Open { input: body(b"in"), failed, lost }
}

fn done(attempt: u64, result: &[u8]) -> State {
    State::Done { attempt, result: body(result) }
}

#[test]
fn a_later_state_has_a_higher_stamp_whatever_came_before() {
    let given_up = State::GivenUp { why: Why::new("no"), input: Body::default() };
    let collected = State::Collected { attempt: Some(1) };
    let states = [open(0, 0), open(0, 1), open(3, 2), given_up, done(7, b"out"), collected];
    assert!(states.map(|state| item(state).stamp()).is_sorted_by(|a, b| a < b));
    let (one, other) = (item(done(1, b"out")).stamp(), item(done(2, b"out")).stamp());
    assert!(one.version == other.version && one.digest != other.digest, "one of two results stays");
}

/// What one member says, puts and tells.
#[derive(Default)]
struct Out {
    sent: Vec<(Handle, Message)>,
    told: Vec<Event>,
    put: Vec<Item>,
    loads: u32,
    removed: Vec<TaskId>,
}

impl Sink<Message> for Out {
    fn send(&mut self, to: Handle, message: Message) {
        self.sent.push((to, message));
    }
}

impl Events<Event> for Out {
    fn event(&mut self, event: Event) {
        self.told.push(event);
    }
}

impl Shelf for Out {
    fn put(&mut self, item: &Item) {
        self.put.push(item.clone());
    }
    fn load(&mut self) {
        self.loads += 1;
    }
    fn load_anew(&mut self) {
        self.loads += 1;
    }
    fn remove(&mut self, task: TaskId) {
        self.removed.push(task);
    }
}

/// One member by itself, and what it said in its last call.
struct One {
    config: Config,
    farm: Farm,
    now: Instant,
    out: Out,
}

const ME: Handle = Handle::from_u32(0);
const WORKER: Handle = Handle::from_u32(1);
const OTHER: Handle = Handle::from_u32(2);

impl One {
    fn new() -> One {
        let farm = Farm::new(ME, Rng::new(1));
        One { config: Config::default(), farm, now: Instant::ZERO, out: Out::default() }
    }

    /// A farmer that has read a table with these.
    fn farmer(items: Vec<Item>) -> One {
        let mut one = One::new();
        one.call(|farm, call, out| farm.handle_role(call, Role::Farmer, out));
        one.call(|farm, call, out| farm.handle_loaded(call, items, out));
        one.pass(one.config.lease);
        one
    }

    fn call<R>(&mut self, f: impl FnOnce(&mut Farm, Call<'_, Config>, &mut Out) -> R) -> R {
        self.out = Out::default();
        f(&mut self.farm, Call::new(&self.config, self.now), &mut self.out)
    }

    fn hear(&mut self, from: Handle, message: Message) -> Result<(), Fault> {
        self.call(|farm, call, out| farm.handle_message(call, from, message, out))
    }

    fn pass(&mut self, span: Duration) {
        self.now += span;
        self.call(|farm, call, out| farm.handle_timeout(call, out));
    }

    /// All that was put is acknowledged.
    fn keep(&mut self) {
        for item in std::mem::take(&mut self.out.put) {
            let kept = Stored::Kept(item.stamp());
            self.call(|farm, call, out| farm.handle_stored(call, item.task, kept, out));
        }
    }

    /// Hands the next task to a worker.
    fn hand(&mut self, worker: Handle) -> Option<(TaskId, u64)> {
        self.hear(worker, Message::Ask { seq: 1 }).expect("a farmer");
        self.out.sent.iter().find_map(|(to, message)| match message {
            Message::Hand { task, attempt, .. } if *to == worker => Some((*task, *attempt)),
            _ => None,
        })
    }

    fn report(&mut self, worker: Handle, attempt: u64, outcome: Outcome) {
        self.hear(worker, Message::Report { task: task(1), attempt, outcome }).expect("a farmer");
    }
}

#[test]
fn nothing_is_acknowledged_before_it_is_on_the_ring() {
    let mut one = One::farmer(vec![]);
    one.call(|farm, call, out| farm.add(call, task(1), b"in", out)).expect("room");
    assert_eq!((one.out.told.len(), one.out.put.len()), (0, 1));
    assert_eq!(one.hand(WORKER), None, "nor is it handed out");
    one.out.put.push(item(open(0, 0)));
    one.keep();
    assert_eq!(one.out.told, [Event::Added(task(1))]);
    let (_, attempt) = one.hand(WORKER).expect("it is safe now");
    one.report(WORKER, attempt, Outcome::Done(body(b"out")));
    assert_eq!((one.out.sent.len(), one.farm.farmer().outcome(task(1))), (0, None));
    one.keep();
    assert_eq!(one.out.sent, [(WORKER, Message::Kept { task: task(1), attempt })]);
    assert_eq!(one.out.told, [Event::Settled(task(1))]);
    assert_eq!(one.farm.farmer().outcome(task(1)), Some(Outcome::Done(body(b"out"))));
}

#[test]
fn what_the_ring_does_not_acknowledge_is_put_again() {
    let mut one = One::farmer(vec![]);
    one.call(|farm, call, out| farm.add(call, task(1), b"in", out)).expect("room");
    one.pass(one.config.store_timeout);
    assert_eq!(one.out.put, [item(open(0, 0))]);
}

#[test]
fn a_worker_that_asks_again_gets_the_same_task_and_others_the_next() {
    let second = Item { task: task(2), state: open(0, 0) };
    let mut one = One::farmer(vec![item(open(0, 0)), second]);
    let first = one.hand(WORKER);
    assert_eq!(first, one.hand(WORKER));
    assert_eq!(one.hand(OTHER).map(|(task, _)| task), Some(task(2)));
    assert_eq!(one.farm.farmer().progress(one.now).leased, 2);
}

#[test]
fn a_lease_that_is_renewed_holds_and_one_that_is_not_does_not() {
    let mut one = One::farmer(vec![item(open(0, 0))]);
    let (task, attempt) = one.hand(WORKER).expect("a task");
    for _ in 0..10 {
        one.pass(Duration::from_secs(20));
        one.hear(WORKER, Message::Renew { task, attempt }).expect("a farmer");
    }
    assert_eq!(one.hand(OTHER), None);
    one.pass(one.config.lease);
    assert_eq!(one.out.put, [item(open(0, 1))]);
    one.keep();
    let again = one.hand(OTHER).expect("it is handed out again");
    assert!(again.0 == task && again.1 != attempt);
    assert_eq!(one.farm.farmer().progress(one.now).lost_leases, 1);
}

#[test]
fn the_task_of_a_worker_that_is_gone_is_handed_out_at_once() {
    let mut one = One::farmer(vec![item(open(0, 0))]);
    one.hand(WORKER).expect("a task");
    one.call(|farm, call, _| farm.handle_gone(call, WORKER));
    one.pass(Duration::ZERO);
    one.keep();
    assert!(one.hand(OTHER).is_some());
}

#[test]
fn of_two_workers_the_first_result_stays_and_the_other_counts_as_one_too_many() {
    let mut one = One::farmer(vec![item(open(0, 0))]);
    let (_, slow) = one.hand(WORKER).expect("a task");
    one.pass(one.config.lease);
    one.keep();
    let (_, fast) = one.hand(OTHER).expect("again");
    one.report(WORKER, slow, Outcome::Done(body(b"slow after all")));
    assert_eq!(one.out.sent, [(OTHER, Message::Stop { task: task(1), attempt: fast })]);
    one.keep();
    for _ in 0..2 {
        one.report(OTHER, fast, Outcome::Done(body(b"too late")));
        assert_eq!(one.out.sent, [(OTHER, Message::Stop { task: task(1), attempt: fast })]);
    }
    let progress = one.farm.farmer().progress(one.now);
    assert_eq!((progress.duplicates, progress.done), (1, 1), "told twice, counted once");
    one.report(WORKER, slow, Outcome::Done(body(b"slow after all")));
    assert_eq!(one.out.sent, [(WORKER, Message::Kept { task: task(1), attempt: slow })]);
    assert_eq!(one.farm.farmer().progress(one.now).duplicates, 1, "a repeated report is none");
}

#[test]
fn a_task_that_always_fails_is_given_up_and_told() {
    let mut one = One::farmer(vec![item(open(0, 0))]);
    for nth in 1..=4 {
        let (_, attempt) = one.hand(WORKER).expect("a task");
        one.report(WORKER, attempt, Outcome::Failed(Why::new("no such file")));
        one.keep();
        assert!(one.out.sent.contains(&(WORKER, Message::Kept { task: task(1), attempt })), "{nth}");
        one.report(WORKER, attempt, Outcome::Failed(Why::new("told again")));
        assert!(one.out.put.is_empty(), "it counts once");
    }
    assert_eq!(one.hand(WORKER), None);
    let outcome = one.farm.farmer().outcome(task(1));
    assert_eq!(outcome, Some(Outcome::Failed(Why::new("no such file"))));
    let progress = one.farm.farmer().progress(one.now);
    assert_eq!((progress.given_up, progress.open), (1, 0));
}

#[test]
fn a_task_that_ends_programs_is_given_up_as_one_that_fails() {
    let mut one = One::farmer(vec![item(open(0, 0))]);
    for nth in 1..=4 {
        let (_, attempt) = one.hand(WORKER).expect("a task");
        one.call(|farm, call, _| farm.handle_ended(call, WORKER));
        one.call(|farm, call, _| farm.handle_ended(call, WORKER));
        assert!(one.farm.next_timeout(&one.config).at <= one.now, "it is stored at once");
        one.pass(Duration::ZERO);
        assert_eq!(one.out.put.len(), 1, "{nth}");
        one.keep();
        one.hear(WORKER, Message::Renew { task: task(1), attempt }).expect("a farmer");
        assert_eq!(one.out.sent, [(WORKER, Message::Stop { task: task(1), attempt })], "{nth}");
    }
    let why = Why::new("the program that had it ended");
    assert_eq!(one.farm.farmer().outcome(task(1)), Some(Outcome::Failed(why)));
    assert_eq!(one.farm.farmer().progress(one.now).lost_leases, 0);
}

#[test]
fn tasks_that_were_never_tried_go_first() {
    let tried = [open(1, 0), open(0, 1), open(0, 0), open(0, 0)];
    let items = (1..).map(task).zip(tried).map(|(task, state)| Item { task, state });
    let mut one = One::farmer(items.collect());
    let (first, attempt) = one.hand(WORKER).expect("a task");
    assert_eq!(first, task(3));
    one.hear(WORKER, Message::Report { task: first, attempt, outcome: Outcome::Failed(Why::new("no")) })
        .expect("a farmer");
    one.keep();
    let workers = (3..).map(Handle::from_u32);
    let order: Vec<TaskId> = workers.map_while(|worker| one.hand(worker)).map(|(task, _)| task).collect();
    assert_eq!(order, [task(4), task(1), task(2), task(3)]);
}

#[test]
fn whoever_has_a_task_in_hand_for_too_long_has_failed_at_it() {
    let mut one = One::farmer(vec![item(open(0, 0))]);
    one.config.time_max = Some(Duration::from_secs(50));
    let (_, attempt) = one.hand(WORKER).expect("a task");
    let renew = Message::Renew { task: task(1), attempt };
    for seconds in [20, 40] {
        one.pass(Duration::from_secs(20));
        one.hear(WORKER, renew.clone()).expect("a farmer");
        // Whoever asks again has no more time than before.
        assert_eq!(one.hand(WORKER), Some((task(1), attempt)));
        assert_eq!(one.farm.farmer().progress(one.now).oldest_s, Some(seconds));
    }
    one.pass(Duration::from_secs(10));
    assert!(one.out.sent.contains(&(WORKER, Message::Stop { task: task(1), attempt })));
    assert_eq!(one.out.put, [item(open(1, 0))]);
    assert_eq!(one.farm.farmer().progress(one.now).oldest_s, None);
    // It has not heard that.
    one.hear(WORKER, renew).expect("a farmer");
    assert_eq!(one.out.sent, [(WORKER, Message::Stop { task: task(1), attempt })]);
    one.out.put.push(item(open(1, 0)));
    one.keep();
    for _ in 2..=4 {
        one.hand(OTHER).expect("it is handed out again");
        one.pass(one.config.lease - Duration::from_secs(1));
        let (_, attempt) = one.hand(OTHER).expect("the same");
        one.hear(OTHER, Message::Renew { task: task(1), attempt }).expect("a farmer");
        one.pass(Duration::from_secs(21));
        one.keep();
    }
    let why = Why::new("it was in hand for 50 s, all the time that a task has");
    assert_eq!(one.farm.farmer().outcome(task(1)), Some(Outcome::Failed(why)));
}

#[test]
fn a_farmer_works_itself_while_nobody_else_does() {
    let mut one = One::farmer(vec![item(open(0, 0)), Item { task: task(2), state: open(0, 0) }]);
    let asked = one.hand(ME);
    assert!(asked.is_some(), "nobody has asked for a lease");
    assert_eq!(one.hand(OTHER).map(|(task, _)| task), Some(task(2)), "others have what they ask for");
    let mut one = One::farmer(vec![item(open(0, 0)), Item { task: task(2), state: open(0, 0) }]);
    let (other, attempt) = one.hand(OTHER).expect("a task");
    one.pass(one.config.own_turn);
    assert_eq!(one.hand(ME), None, "somebody is at one");
    one.hear(OTHER, Message::Return { task: other, attempt }).expect("its own");
    assert!(one.hand(ME).is_some(), "nobody has asked for a while");
    let mut one = One::farmer(vec![]);
    one.hear(OTHER, Message::Ask { seq: 1 }).expect("a farmer");
    one.call(|farm, call, out| farm.add(call, task(1), b"in", out)).expect("room");
    one.keep();
    assert_eq!(one.hand(ME), None, "who has just asked asks again");
    one.pass(one.config.own_turn);
    assert!(one.hand(ME).is_some());
}

#[test]
fn a_farmer_asks_itself_and_does_what_it_hands_out() {
    let mut one = One::farmer(vec![item(open(0, 0))]);
    let [(ME, Message::Ask { seq })] = one.out.sent[..] else { panic!("{:?}", one.out.sent) };
    one.hear(ME, Message::Ask { seq }).expect("a farmer");
    let hand = one.out.sent.pop().expect("a task").1;
    one.hear(ME, hand).expect("it has asked");
    assert!(matches!(&one.out.told[..], [Event::Start { .. }]), "{:?}", one.out.told);
}

#[test]
fn a_task_that_is_given_back_counts_for_nothing_and_is_handed_out_at_once() {
    let mut one = One::new();
    one.call(|farm, call, out| farm.handle_role(call, Role::WorkerOf(WORKER), out));
    one.call(|farm, call, out| farm.give_back(call, out));
    assert_eq!(one.out.sent, [], "it has none");
    let hand = Message::Hand { seq: 1, task: task(1), attempt: 5, lease: Duration::ZERO, input: body(b"") };
    one.hear(WORKER, hand).expect("it has asked");
    one.call(|farm, call, out| farm.give_back(call, out));
    let back = Message::Return { task: task(1), attempt: 5 };
    assert_eq!((&one.out.sent[..], one.farm.worker().task()), (&[(WORKER, back)][..], None));
    let mut one = One::farmer(vec![item(open(0, 0))]);
    let (task, attempt) = one.hand(WORKER).expect("a task");
    one.hear(WORKER, Message::Return { task, attempt }).expect("its own");
    assert_eq!((one.hand(OTHER).map(|it| it.0), one.out.put.len()), (Some(task), 0));
}

#[test]
fn a_new_farmer_hears_who_is_at_what_before_it_hands_out() {
    let mut one = One::new();
    one.call(|farm, call, out| farm.handle_role(call, Role::Farmer, out));
    assert_eq!(one.hear(WORKER, Message::Ask { seq: 1 }), Err(Fault::NotFarmer));
    one.call(|farm, call, out| farm.handle_loaded(call, vec![item(open(0, 0))], out));
    assert_eq!(one.out.told, [Event::Ready]);
    one.hear(OTHER, Message::Ask { seq: 1 }).expect("a farmer");
    assert_eq!(one.out.sent, [(OTHER, Message::Idle { seq: 1 })]);
    one.hear(WORKER, Message::Renew { task: task(1), attempt: 77 }).expect("a farmer");
    one.pass(Duration::from_secs(20));
    one.hear(WORKER, Message::Renew { task: task(1), attempt: 77 }).expect("a farmer");
    one.pass(Duration::from_secs(10));
    assert_eq!(one.hand(OTHER), None, "the worker of the farmer before is still at it");
    one.report(WORKER, 77, Outcome::Done(body(b"out")));
    assert_eq!(one.farm.farmer().progress(one.now).done, 1);
}

#[test]
fn two_tables_become_one_and_the_ring_decides() {
    let (ours, theirs) = (item(done(1, b"ours")), item(done(2, b"theirs")));
    let (winner, loser) = if ours.stamp() > theirs.stamp() { (ours, theirs) } else { (theirs, ours) };
    // This side has the loser, and its application was told.
    let mut one = One::farmer(vec![loser.clone()]);
    for _ in 0..2 {
        one.call(|farm, call, out| farm.handle_loaded(call, vec![winner.clone()], out));
    }
    assert_eq!(one.farm.farmer().tasks().next(), Some((task(1), &winner.state)));
    assert_eq!(one.farm.farmer().progress(one.now).duplicates, 1);
    // This side has the winner.
    let mut one = One::farmer(vec![winner.clone()]);
    one.call(|farm, call, out| farm.handle_loaded(call, vec![loser], out));
    assert_eq!((&one.out.told[..], &one.out.put), (&[][..], &vec![winner]), "the ring is told");
    assert_eq!(one.farm.farmer().progress(one.now).duplicates, 1);
}

#[test]
fn a_result_that_loses_on_the_ring_stops_its_worker_and_is_told_as_replaced_if_it_was_told() {
    let mut one = One::farmer(vec![item(open(0, 0))]);
    let (_, attempt) = one.hand(WORKER).expect("a task");
    one.report(WORKER, attempt, Outcome::Done(body(b"ours")));
    let collected = item(State::Collected { attempt: Some(attempt ^ 1) });
    let lost = Stored::Lost(collected.clone());
    one.call(|farm, call, out| farm.handle_stored(call, task(1), lost, out));
    assert_eq!(one.out.sent, [(WORKER, Message::Stop { task: task(1), attempt })]);
    assert_eq!(one.out.told, []);
    let mut one = One::farmer(vec![item(done(1, b"ours"))]);
    one.call(|farm, call, out| farm.handle_loaded(call, vec![collected], out));
    assert_eq!(one.out.told, [Event::Replaced(task(1))]);
}

#[test]
fn what_the_ring_has_lost_it_gets_again() {
    let mut one = One::farmer(vec![item(done(1, b"out"))]);
    one.pass(one.config.reload);
    assert_eq!(one.out.loads, 1);
    one.call(|farm, call, out| farm.handle_loaded(call, vec![], out));
    assert_eq!(one.out.put, [item(done(1, b"out"))]);
}

#[test]
fn a_collected_task_is_remembered_for_a_while_and_done_by_nobody() {
    let mut one = One::farmer(vec![item(done(1, b"out"))]);
    let outcome = one.call(|farm, call, out| farm.collect(call, task(1), out));
    assert_eq!(outcome, Ok(Outcome::Done(body(b"out"))));
    one.keep();
    let again = one.call(|farm, call, out| farm.collect(call, task(1), out));
    assert_eq!(again, Err(CollectError::Unknown));
    one.call(|farm, call, out| farm.add(call, task(1), b"in", out)).expect("known");
    assert_eq!((one.farm.farmer().progress(one.now).collected, one.hand(WORKER)), (1, None));
    one.pass(one.config.keep);
    assert_eq!((one.out.removed.len(), one.farm.farmer().tasks().count()), (1, 0));
}

#[test]
fn a_full_table_refuses_tasks_and_leaves_results_with_their_workers() {
    let mut one = One::farmer(vec![]);
    let full = BYTES_MAX / BODY_MAX;
    for number in 0..full as u32 {
        one.call(|farm, call, out| farm.add(call, task(number), &[0; BODY_MAX], out)).expect("room");
    }
    let more = one.call(|farm, call, out| farm.add(call, task(u32::MAX), &[0; BODY_MAX], out));
    assert_eq!(more, Err(AddError::Full));
    let long = one.call(|farm, call, out| farm.add(call, task(u32::MAX), &[0; BODY_MAX + 1], out));
    assert_eq!(long, Err(AddError::TooLong(BodyTooLong(BODY_MAX + 1))));
    assert_eq!(one.farm.farmer().progress(one.now).open, full as u32);
}

#[test]
fn a_member_that_is_not_the_farmer_refuses_and_says_so() {
    let mut one = One::new();
    let added = one.call(|farm, call, out| farm.add(call, task(1), b"in", out));
    assert_eq!(added, Err(AddError::NotFarmer));
    let collected = one.call(|farm, call, out| farm.collect(call, task(1), out));
    assert_eq!(collected, Err(CollectError::NotFarmer));
    for message in [
        Message::Ask { seq: 1 },
        Message::Renew { task: task(1), attempt: 1 },
        Message::Report { task: task(1), attempt: 1, outcome: Outcome::Done(body(b"")) },
    ] {
        assert_eq!(one.hear(WORKER, message), Err(Fault::NotFarmer));
    }
    assert!(one.farm.next_timeout(&one.config).is_never());
}

#[test]
fn a_worker_obeys_its_farmer_only_and_returns_what_comes_late() {
    let mut one = One::new();
    one.call(|farm, call, out| farm.handle_role(call, Role::WorkerOf(WORKER), out));
    let [(WORKER, Message::Ask { seq })] = one.out.sent[..] else { panic!("{:?}", one.out.sent) };
    let hand = |seq, attempt| Message::Hand {
        seq,
        task: task(1),
        attempt,
        lease: Duration::ZERO,
        input: body(b"in"),
    };
    assert_eq!(one.hear(OTHER, hand(seq, 1)), Err(Fault::NotMyFarmer));
    assert_eq!(one.hear(WORKER, hand(seq ^ 1, 1)), Err(Fault::Unsolicited));
    assert_eq!(one.out.sent, [(WORKER, Message::Return { task: task(1), attempt: 1 })]);
    assert_eq!(one.hear(WORKER, hand(seq, 2)), Ok(()));
    assert_eq!(one.farm.worker().task(), Some(task(1)));
    assert_eq!(one.hear(WORKER, hand(seq, 2)), Err(Fault::Unsolicited));
    assert_eq!(one.out.sent, [], "sent twice, it is the task at hand");
    assert!(one.farm.next_timeout(&one.config).at > one.now, "a lease of nothing does not make it busy");
    let wrong = one.call(|farm, call, out| farm.finish(call, task(2), Outcome::Done(body(b"")), out));
    assert_eq!(wrong, Err(FinishError));
    assert_eq!(one.hear(WORKER, Message::Kept { task: task(1), attempt: 2 }), Err(Fault::Unsolicited));
    one.hear(WORKER, Message::Stop { task: task(1), attempt: 2 }).expect("from its farmer");
    assert_eq!(one.out.told, [Event::Stop(task(1))]);
}

#[test]
fn a_worker_whose_program_wants_nothing_asks_for_nothing_and_keeps_what_comes() {
    let mut one = One::new();
    one.call(|farm, call, out| farm.set_wants(call, false, out));
    one.call(|farm, call, out| farm.handle_role(call, Role::WorkerOf(WORKER), out));
    assert!(one.out.sent.is_empty() && one.farm.next_timeout(&one.config).is_never());
    one.call(|farm, call, out| farm.set_wants(call, true, out));
    let [(WORKER, Message::Ask { seq })] = one.out.sent[..] else { panic!("{:?}", one.out.sent) };
    one.call(|farm, call, out| farm.set_wants(call, false, out));
    one.pass(Duration::from_secs(60));
    assert_eq!(one.out.sent, []);
    let (lease, input) = (Duration::from_secs(30), body(b"in"));
    one.hear(WORKER, Message::Hand { seq, task: task(1), attempt: 1, lease, input }).expect("asked for");
    assert_eq!(one.farm.worker().task(), Some(task(1)));
}

#[test]
fn a_result_is_told_to_each_new_farmer_until_one_has_kept_it() {
    let mut one = One::new();
    one.call(|farm, call, out| farm.handle_role(call, Role::WorkerOf(WORKER), out));
    let (lease, input) = (one.config.lease, body(b"in"));
    let hand = Message::Hand { seq: 1, task: task(1), attempt: 5, lease, input };
    one.hear(WORKER, hand).expect("its farmer");
    let outcome = Outcome::Done(body(b"out"));
    let report = Message::Report { task: task(1), attempt: 5, outcome: outcome.clone() };
    one.call(|farm, call, out| farm.finish(call, task(1), outcome, out)).expect("its task");
    assert_eq!(one.out.sent, [(WORKER, report.clone())]);
    for _ in 0..20 {
        let wake = one.farm.next_timeout(&one.config).at;
        assert!(wake.since(one.now) <= one.config.rest_max);
        one.pass(wake.since(one.now));
        assert_eq!(one.out.sent, [(WORKER, report.clone())]);
    }
    one.call(|farm, call, out| farm.handle_role(call, Role::WorkerOf(OTHER), out));
    assert_eq!(one.out.sent, [(OTHER, report)]);
    one.hear(OTHER, Message::Kept { task: task(1), attempt: 5 }).expect("its farmer");
    assert_eq!(one.out.sent, [(OTHER, Message::Ask { seq: 2 })]);
}

fn samples() -> Vec<Message> {
    let (task, attempt) = (task(1), u64::MAX);
    let failed = Outcome::Failed(Why::new("ä lot"));
    vec![
        Message::Ask { seq: 1 },
        Message::Renew { task, attempt },
        Message::Report { task, attempt, outcome: Outcome::Done(body(b"out")) },
        Message::Report { task, attempt, outcome: failed },
        Message::Return { task, attempt },
        Message::Hand { seq: 2, task, attempt, lease: Duration::from_secs(30), input: body(b"in") },
        Message::Idle { seq: 3 },
        Message::Kept { task, attempt },
        Message::Stop { task, attempt },
    ]
}

#[test]
fn messages_and_items_survive_the_wire_and_hostile_ones_never_panic() {
    for message in samples() {
        let bytes = minicbor::to_vec(&message).expect("written");
        assert_eq!(minicbor::decode::<Message>(&bytes).ok(), Some(message));
        for len in 0..bytes.len() {
            assert!(minicbor::decode::<Message>(&bytes[..len]).is_err());
        }
        for bit in 0..8 * bytes.len() {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let _ = minicbor::decode::<Message>(&bytes);
        }
    }
    for state in [open(1, 2), done(3, b"out"), State::Collected { attempt: None }] {
        let bytes = minicbor::to_vec(item(state.clone())).expect("written");
        assert_eq!(minicbor::decode::<Item>(&bytes).ok(), Some(item(state)));
    }
}

#[test]
fn bodies_and_reasons_that_are_too_long_are_refused_when_they_are_read() {
    let long = minicbor::to_vec(minicbor::bytes::ByteVec::from(vec![0; BODY_MAX + 1])).expect("written");
    assert!(minicbor::decode::<Body>(&long).is_err());
    let text: String = "ä".repeat(WHY_MAX / 2);
    assert!(minicbor::decode::<Why>(&minicbor::to_vec(&text).expect("written")).is_ok());
    assert!(minicbor::decode::<Why>(&minicbor::to_vec(format!("{text}a")).expect("written")).is_err());
    assert_eq!(Why::new(&format!("a{text}")).as_str().len(), WHY_MAX - 1, "cut between characters");
    assert_eq!(
        BodyTooLong(9).to_string(),
        "9 bytes: 61440 are possible; put more into a file and its name here"
    );
}

/// Everything that holds in the end, whatever happened.
fn check(world: &World, seed: u64) {
    let lost: Vec<u32> = (0..world.tasks).filter(|number| world.item(task(*number)).is_none()).collect();
    assert_eq!(lost, [], "seed {seed}: tasks are lost");
    for number in 0..world.tasks {
        let state = world.item(task(number)).expect("it was looked for").state;
        match state {
            State::Done { .. } => assert!(!is_poison(number), "seed {seed}: {number}"),
            State::GivenUp { .. } => {
                assert!(is_poison(number) || is_killer(number), "seed {seed}: {number} was given up");
            }
            _ => panic!("seed {seed}: {number} is {state:?}"),
        }
    }
    assert!(world.kept >= world.tasks, "seed {seed}: {}", world.kept);
}

#[test]
fn no_task_is_lost_whoever_dies_in_whatever_order() {
    for seed in 0..20 {
        let mut world = World::new(seed, 12, 60);
        world.config.losses_max = 1_000;
        world.kill_every(Duration::from_secs(7), Duration::from_secs(300));
        world.run(Instant::from_secs(1_500));
        check(&world, seed);
    }
}

#[test]
fn the_farmer_dies_again_and_again_and_the_next_rank_takes_over() {
    for seed in 0..10 {
        let mut world = World::new(seed, 12, 60);
        (1..6).for_each(|nth| world.kill_farmer_at(Instant::from_secs(45 * nth)));
        world.run(Instant::from_secs(1_000));
        check(&world, seed);
        assert!(world.farmers.len() >= 5, "seed {seed}: {:?}", world.farmers);
    }
}

#[test]
fn two_farmers_of_a_partition_become_one_with_one_result_a_task() {
    let mut duplicates = 0;
    for seed in 0..20 {
        let mut world = World::new(seed, 12, 60);
        world.split_between(Instant::from_secs(5), Instant::from_secs(120));
        world.run(Instant::from_secs(1_000));
        check(&world, seed);
        duplicates += world.duplicates();
    }
    assert!(duplicates > 50, "both sides have worked: {duplicates}");
}

#[test]
fn a_task_that_kills_its_workers_is_given_up() {
    let mut world = World::new(1, 12, 30);
    world.config.losses_max = 3;
    world.has_killers = true;
    world.run(Instant::from_secs(2_000));
    check(&world, 1);
    let given_up =
        |number: u32| matches!(world.item(task(number)).map(|i| i.state), Some(State::GivenUp { .. }));
    assert!((0..30).filter(|number| is_killer(*number)).all(given_up));
}

#[test]
fn deaths_and_partitions_together_lose_nothing() {
    for seed in 100..115 {
        let mut world = World::new(seed, 16, 60);
        world.config.losses_max = 1_000;
        world.kill_every(Duration::from_secs(15), Duration::from_secs(300));
        world.split_between(Instant::from_secs(20), Instant::from_secs(90));
        world.split_between(Instant::from_secs(150), Instant::from_secs(200));
        world.run(Instant::from_secs(1_500));
        check(&world, seed);
    }
}
