//! The farm's table on the ring, answer by answer.

use super::super::table::{Purpose, Request, Table, key_of};
use super::*;
use crate::farm::{Body, Item, State, Stored, TaskId};
use crate::store::{Action, Failed, Found, Refused, RequestId, Success, Value, Version};

const TASK: TaskId = TaskId([7; 16]);
const REQUEST: RequestId = RequestId(1);

fn item(state: State) -> Item {
    Item { task: TASK, state }
}

fn open() -> Item {
    item(State::Open { input: Body::new(b"in").expect("short"), failed: 0, lost: 0 })
}

fn done(attempt: u64) -> Item {
    item(State::Done { attempt, result: Body::new(b"out").expect("short") })
}

fn version(number: u64) -> Version {
    Version { epoch: 1, number }
}

fn found(item: &Item, number: u64) -> Result<Success, Failed> {
    let value = Value::new(&minicbor::to_vec(item).expect("written")).expect("short");
    let (writer, left) = (Member { slot: 1, epoch: 1 }.id(), secs(60));
    let found = Found { key: key_of(TASK), value, writer, version: version(number), left };
    Ok(Success::Got { found: Some(found), epoch: 1 })
}

/// Puts an item; the version over which it is written.
fn put(table: &mut Table, item: &Item) -> Option<Version> {
    let (operation, purpose) = table.request(Request::Put(item.clone())).expect("nothing is under way");
    assert_eq!(purpose, Purpose::Write(TASK));
    table.begun(REQUEST, purpose);
    let Action::Write { expected, value: Some(_), degree: 2, .. } = operation.action else {
        panic!("{operation:?}")
    };
    expected
}

fn written(number: u64) -> Result<Success, Failed> {
    Ok(Success::Written { version: version(number), epoch: 1 })
}

fn refused(number: u64) -> Result<Success, Failed> {
    Err(Failed::Refused(Refused::AnotherVersion(version(number))))
}

#[test]
fn an_item_is_written_over_what_was_seen_last_and_a_newer_one_follows() {
    let mut table = Table::new(2);
    assert_eq!(put(&mut table, &open()), Some(Version::default()), "over nothing");
    assert!(table.request(Request::Put(done(1))).is_none(), "one at a time");
    let next = table.done(REQUEST, &written(3)).expect("its own");
    assert_eq!(next.stored, Some((TASK, Stored::Kept(open().stamp()))));
    let (operation, purpose) = next.begin.expect("the newer one");
    assert!(matches!(operation.action, Action::Write { expected, .. } if expected == Some(version(3))));
    table.begun(RequestId(2), purpose);
    let next = table.done(RequestId(2), &written(4)).expect("its own");
    assert_eq!(next.stored, Some((TASK, Stored::Kept(done(1).stamp()))));
    assert!(table.done(RequestId(9), &written(4)).is_none(), "of somebody else");
}

#[test]
fn of_what_lies_there_and_what_is_put_the_farms_order_decides() {
    let garbage = item(State::Collected { attempt: None });
    let cases = [
        (done(1), open(), None),
        (open(), done(1), Some(Stored::Lost(done(1)))),
        (done(1), done(1), Some(Stored::Kept(done(1).stamp()))),
    ];
    for (ours, theirs, stored) in cases {
        let mut table = Table::new(2);
        put(&mut table, &ours);
        let next = table.done(REQUEST, &refused(5)).expect("its own");
        let (operation, purpose) = next.begin.expect("it is read");
        assert_eq!((operation.action, purpose), (Action::Get, Purpose::Read(TASK)));
        table.begun(REQUEST, purpose);
        let next = table.done(REQUEST, &found(&theirs, 5)).expect("its own");
        assert_eq!(next.stored.map(|(_, stored)| stored), stored, "{ours:?} over {theirs:?}");
        let is_written = next.begin.is_some_and(|(operation, _)| {
            matches!(operation.action, Action::Write { expected, .. } if expected == Some(version(5)))
        });
        assert_eq!(is_written, stored.is_none());
    }
    // What no farmer wrote is written over.
    let mut table = Table::new(2);
    put(&mut table, &open());
    table.done(REQUEST, &refused(5));
    table.begun(REQUEST, Purpose::Read(TASK));
    let another = Item { task: TaskId([8; 16]), ..garbage };
    let next = table.done(REQUEST, &found(&another, 5)).expect("its own");
    assert!(matches!(next.begin, Some((_, Purpose::Write(_)))));
}

#[test]
fn what_fails_is_left_to_the_farm_to_put_again() {
    let mut table = Table::new(2);
    for failed in [Failed::Unanswered, Failed::Indefinite, Failed::Refused(Refused::Full)] {
        put(&mut table, &open());
        let next = table.done(REQUEST, &Err(failed)).expect("its own");
        assert!(next.stored.is_none() && next.begin.is_none());
    }
    assert!(table.request(Request::Load).is_some());
    assert!(table.request(Request::Load).is_none(), "once at a time");
    table.begun(REQUEST, Purpose::Page(1));
    let next = table.done(REQUEST, &Err(Failed::Unanswered)).expect("its own");
    assert!(next.loaded.is_none());
    assert!(table.request(Request::Load).is_some(), "again");
}

#[test]
fn an_outcome_that_lost_in_a_split_is_put_again() {
    let mut table = Table::new(2);
    assert!(table.lost(&key_of(TASK)).is_none(), "it was another's");
    put(&mut table, &done(1));
    table.done(REQUEST, &written(1));
    let (operation, purpose) = table.lost(&key_of(TASK)).expect("it is compared");
    assert_eq!((operation.action, purpose), (Action::Get, Purpose::Read(TASK)));
    table.begun(REQUEST, purpose);
    let next = table.done(REQUEST, &found(&open(), 9)).expect("its own");
    assert!(matches!(next.begin, Some((_, Purpose::Write(TASK)))), "done beats open");
}

#[test]
fn the_table_is_read_page_by_page() {
    let mut table = Table::new(2);
    let (_, purpose) = table.request(Request::Load).expect("nothing is under way");
    table.begun(REQUEST, purpose);
    let Ok(Success::Got { found: Some(one), .. }) = found(&done(1), 4) else { panic!("one") };
    let page = Success::Scanned { found: [one.clone()].into(), next: Some(key_of(TaskId([8; 16]))) };
    let next = table.done(REQUEST, &Ok(page)).expect("its own");
    let (operation, purpose) = next.begin.expect("the next page");
    assert_eq!(operation.key, key_of(TaskId([8; 16])));
    table.begun(REQUEST, purpose);
    let next = table.done(REQUEST, &Ok(Success::Scanned { found: Vec::new(), next: None })).expect("its own");
    assert_eq!(next.loaded, Some([done(1)].into()));
    assert_eq!(put(&mut table, &item(State::Collected { attempt: Some(1) })), Some(version(4)));
}
