//! The table against a plain list of what was written, and its rules one by one.

extern crate std;

use std::string::ToString as _;
use std::{format, vec};

use proptest::prelude::*;
use xtreem_base::{Duration, Handle};

use super::*;
use crate::store::{RequestId, Sent, Value, Writer};
use crate::{Namespace, Position};

const LEASE: Duration = Duration::from_secs(60);

fn key(name: u8) -> Key {
    Key::new(Namespace::USER, &[name]).expect("short")
}

fn id(member: u8) -> NodeId {
    NodeId::from_bytes([member; 16])
}

fn put<'a>(key: &'a Key, member: u8, value: &[u8], request: u64) -> Written<'a> {
    Written {
        key,
        value: Some(Value::new(value).expect("short")),
        writer: Writer { id: id(member), at: Some(Handle::from_u32(member.into())) },
        request: RequestId(request),
        degree: 2,
        lease: LEASE,
        expected: None,
        is_admin: false,
    }
}

fn remove(key: &Key, member: u8, request: u64) -> Written<'_> {
    Written { value: None, ..put(key, member, b"", request) }
}

fn range(after: u8, to: u8) -> Range {
    let at = |name| Position::new(key(name), id(0));
    Range::new(at(after), at(to))
}

fn shelf(names: &[u8]) -> Shelf {
    let mut shelf = Shelf::default();
    for &name in names {
        shelf.write(Instant::ZERO, 1, &put(&key(name), 1, b"x", name.into())).expect("room");
    }
    shelf
}

fn names<'a>(items: impl Iterator<Item = (&'a Key, &'a Item)>) -> Vec<u8> {
    items.map(|(key, _)| key.as_bytes()[1]).collect()
}

#[test]
fn only_the_writer_or_an_administrator_writes_again() {
    let (mut shelf, now, key) = (Shelf::default(), Instant::ZERO, key(1));
    let first = shelf.write(now, 1, &put(&key, 1, b"one", 1)).expect("new");
    assert_eq!(shelf.write(now, 1, &put(&key, 2, b"two", 2)), Err(Refused::AnotherWriter(id(1))));
    assert_eq!(shelf.write(now, 1, &remove(&key, 2, 3)), Err(Refused::AnotherWriter(id(1))));
    let second = shelf.write(now, 1, &Written { is_admin: true, ..put(&key, 2, b"two", 4) }).expect("admin");
    assert!(second > first && shelf.get(&key).is_some_and(|item| item.writer.id == id(2)));
    shelf.write(now, 1, &remove(&key, 2, 5)).expect("it is the writer now");
    assert_eq!(shelf.write(now, 1, &remove(&key, 2, 6)), Err(Refused::Nothing));
    shelf.write(now, 1, &put(&key, 3, b"three", 7)).expect("what was removed is nobody's");
}

#[test]
fn compare_and_set_sees_the_version_that_lies_there() {
    let (mut shelf, now, key) = (Shelf::default(), Instant::ZERO, key(1));
    let nothing = Some(Version::default());
    let first = Written { expected: nothing, ..put(&key, 1, b"one", 1) };
    let version = shelf.write(now, 3, &first).expect("nothing lies there");
    assert_eq!(version, Version { epoch: 3, number: 1 });
    let again = Written { expected: nothing, ..put(&key, 1, b"two", 2) };
    assert_eq!(shelf.write(now, 3, &again), Err(Refused::AnotherVersion(version)));
    assert_eq!(shelf.write(now, 3, &first), Ok(version), "a repetition is told what it made");
    let next = shelf.write(now, 4, &Written { expected: Some(version), ..again }).expect("as expected");
    assert_eq!(next, Version { epoch: 4, number: 2 });
    shelf.write(now, 4, &remove(&key, 1, 3)).expect("its own");
    let version = shelf.write(now, 4, &Written { expected: nothing, ..put(&key, 1, b"", 4) });
    assert_eq!(version, Ok(Version { epoch: 4, number: 4 }), "removals are counted and look like nothing");
}

#[test]
fn leases_end_and_removals_are_forgotten_with_them() {
    let mut shelf = shelf(&[1]);
    shelf.write(Instant::from_secs(10), 1, &put(&key(2), 1, b"", 9)).expect("room");
    shelf
        .write(
            Instant::from_secs(20),
            1,
            &Written { lease: Duration::from_secs(1), ..remove(&key(2), 1, 10) },
        )
        .expect("its own");
    assert_eq!(shelf.next_due(), Instant::from_secs(60));
    assert_eq!(shelf.expire(Instant::from_secs(59)), None);
    assert_eq!(shelf.expire(Instant::from_secs(60)), Some(key(1)));
    assert_eq!(shelf.next_due(), Instant::from_secs(70), "as long as the removed item had");
    assert_eq!(shelf.expire(Instant::from_secs(70)), Some(key(2)));
    assert_eq!((shelf.len(), shelf.bytes(), shelf.next_due()), (0, 0, Instant::FAR));
}

/// Else a signed overwrite, or a compare-and-set of long ago, would mean what lies there now.
#[test]
fn a_version_never_comes_twice_also_when_all_is_forgotten() {
    let mut shelf = shelf(&[1]);
    let first = shelf.get(&key(1)).map(|item| item.stamp.version);
    assert_eq!(shelf.expire(Instant::from_secs(60)), Some(key(1)));
    let second =
        shelf.write(Instant::from_secs(60), 1, &put(&key(1), 2, b"y", 2)).expect("nothing lies there");
    assert!(Some(second) > first, "{second} after {first:?}");
    let key = key(1);
    let stale = Written { expected: first, ..put(&key, 2, b"z", 3) };
    assert_eq!(shelf.write(Instant::from_secs(61), 1, &stale), Err(Refused::AnotherVersion(second)));
    let words = Refused::AnotherVersion(second).to_string();
    assert!(words.contains(&format!("there: {}.{};", second.epoch, second.number)), "{words}");
    assert!(Refused::AnotherVersion(Version::default()).to_string().contains("there: none;"));
}

#[test]
fn what_ends_before_something_that_it_replaced_is_a_mark_until_that_would_have_ended() {
    let (mut shelf, key) = (Shelf::default(), key(1));
    let write =
        |value, lease, request| Written { lease: Duration::from_secs(lease), ..put(&key, 1, value, request) };
    shelf.write(Instant::ZERO, 1, &write(&[0; 100], 100, 1)).expect("room");
    shelf.write(Instant::from_secs(10), 1, &write(&[0; 100], 20, 2)).expect("its own");
    shelf.write(Instant::from_secs(20), 1, &write(&[0; 100], 5, 3)).expect("its own");
    let bytes = shelf.bytes();
    assert_eq!((shelf.expire(Instant::from_secs(25)), shelf.len()), (None, 1));
    assert_eq!((shelf.bytes(), shelf.next_due()), (bytes - 100, Instant::from_secs(100)));
    assert!(shelf.scan(&key, None, 9, u64::MAX).found.is_empty());
    let nothing = Some(Version::default());
    let next = Written { expected: nothing, ..put(&key, 2, b"new", 4) };
    let version = shelf.clone().write(Instant::from_secs(26), 1, &next);
    assert_eq!(version, Ok(Version { epoch: 1, number: 4 }), "anybody writes, above all that was there");
    assert_eq!((shelf.expire(Instant::from_secs(100)), shelf.len()), (Some(key.clone()), 0));
}

#[test]
fn what_is_written_again_before_its_lease_ends_leaves_no_mark() {
    let (mut shelf, key) = (Shelf::default(), key(1));
    let lease = Duration::from_secs(90);
    let mut now = Instant::ZERO;
    for request in 1..100 {
        now += Duration::from_secs(30);
        shelf.write(now, 1, &Written { lease, ..put(&key, 1, b"x", request) }).expect("its own");
    }
    assert_eq!((shelf.expire(now + lease), shelf.len()), (Some(key), 0));
}

#[test]
fn quotas_are_refused_by_name() {
    let (mut shelf, now) = (Shelf::default(), Instant::ZERO);
    let large = vec![0; crate::store::VALUE_MAX];
    let many: Vec<Key> = (0..MEMBER_ITEMS_MAX + 1)
        .map(|nth| Key::new(Namespace::USER, &nth.to_be_bytes()).expect("short"))
        .collect();
    for (nth, key) in many[1..].iter().enumerate() {
        shelf.write(now, 1, &put(key, 1, b"", nth as u64)).expect("room");
    }
    assert_eq!(shelf.write(now, 1, &put(&many[0], 1, b"", 0)), Err(Refused::MemberItems));
    shelf.write(now, 1, &put(&many[1], 1, &large, 1 << 40)).expect("no further item");
    let mut refused = Ok(Version::default());
    for (nth, key) in many[2..].iter().enumerate() {
        refused = shelf.write(now, 1, &put(key, 1, &large, 1 << 41 | nth as u64));
        if refused.is_err() {
            break;
        }
    }
    assert_eq!(refused, Err(Refused::MemberBytes));
    shelf.write(now, 1, &put(&many[0], 2, b"", 0)).expect("another member has a quota of its own");
    let wrong = [
        (Written { lease: Duration::ZERO, ..put(&many[0], 2, b"", 5) }, Refused::Lease),
        (Written { lease: LEASE_MAX + LEASE, ..put(&many[0], 2, b"", 5) }, Refused::Lease),
        (Written { degree: DEGREE_MAX + 1, ..put(&many[0], 2, b"", 5) }, Refused::Degree),
    ];
    for (write, why) in wrong {
        assert_eq!(shelf.write(now, 1, &write), Err(why));
    }
}

#[test]
fn of_two_copies_the_higher_version_stays_then_the_higher_digest_wherever_they_meet() {
    let key = key(1);
    let item = |epoch, number, value: &[u8]| {
        Item::new(Version { epoch, number }, &put(&key, 1, value, 1), Instant::from_secs(60))
    };
    let mut ended = item(2, 1, b"b");
    ended.remember(Instant::from_secs(90));
    let ended = ended.left_at(Instant::from_secs(60), &key).expect("it is remembered");
    let copies = [item(1, 9, b"a"), item(2, 1, b"b"), item(2, 1, b"c"), ended, item(2, 2, b"d")];
    let marked = copies[3].stamp;
    assert!(marked > copies[1].stamp && marked > copies[2].stamp && marked < copies[4].stamp);
    for one in &copies {
        for other in &copies {
            let (mut here, mut there) = (Shelf::default(), Shelf::default());
            here.merge(&key, one.clone());
            there.merge(&key, other.clone());
            let told = here.merge(&key, other.clone());
            there.merge(&key, one.clone());
            assert_eq!(here.get(&key), there.get(&key));
            let (winner, loser) = if one.stamp >= other.stamp { (one, other) } else { (other, one) };
            let mut winner = winner.clone();
            winner.remember(loser.remembered);
            assert_eq!(here.get(&key), Some(&winner));
            let expected = match one.stamp.cmp(&other.stamp) {
                core::cmp::Ordering::Equal => Merged::Same,
                core::cmp::Ordering::Less => Merged::Taken(Some(one.clone())),
                core::cmp::Ordering::Greater => Merged::Older,
            };
            assert_eq!(told, expected);
        }
    }
}

#[test]
fn scans_are_ordered_and_go_on_where_they_stopped() {
    let mut shelf = shelf(&[5, 1, 9, 3, 7]);
    shelf.write(Instant::ZERO, 1, &remove(&key(5), 1, 99)).expect("its own");
    let page = shelf.scan(&key(1), Some(&key(9)), 2, u64::MAX);
    assert_eq!((names(page.found.into_iter()), page.next), (vec![1, 3], Some(key(7))));
    let page = shelf.scan(&key(7), Some(&key(9)), 2, u64::MAX);
    assert_eq!((names(page.found.into_iter()), page.next), (vec![7], None));
    let page = shelf.scan(&key(0), None, 9, 1);
    assert_eq!((names(page.found.into_iter()), page.next), (vec![1], Some(key(3))), "one at least");
    assert_eq!(shelf.scan(&key(9), Some(&key(1)), 9, u64::MAX).found.len(), 0, "nothing lies between");
}

#[test]
fn parts_of_the_ring_go_over_the_end_and_are_handed_over_whole() {
    let mut shelf = shelf(&[1, 3, 5, 7, 9]);
    assert_eq!(names(shelf.within(&range(3, 7))), [5, 7]);
    assert_eq!(names(shelf.within(&range(7, 1))), [9, 1]);
    assert_eq!(names(shelf.within(&range(4, 4))), [5, 7, 9, 1, 3]);
    let all = shelf.sum(&range(4, 4), |_, _| true);
    let taken = shelf.split(&range(7, 1));
    assert_eq!((taken.len(), names(shelf.within(&range(4, 4)))), (2, vec![5, 7, 3]));
    let mut other = Shelf::default();
    for (key, item) in taken {
        assert_eq!(other.merge(&key, item), Merged::Taken(None));
    }
    let sums = [&shelf, &other].map(|it| it.sum(&range(4, 4), |_, _| true));
    assert_eq!(sums[0].items + sums[1].items, all.items);
    assert_eq!(sums[0].marks.wrapping_add(sums[1].marks), all.marks);
}

#[test]
fn the_median_halves_the_load_and_not_the_keys() {
    let mut shelf = shelf(&[1, 2, 3, 4]);
    assert_eq!(shelf.median(&range(0, 4)), Some(key(2)));
    shelf.write(Instant::ZERO, 1, &put(&key(1), 1, &[0; 60_000], 77)).expect("room");
    assert_eq!(shelf.median(&range(0, 4)), Some(key(1)));
    assert_eq!(shelf.median(&range(3, 1)), Some(key(4)), "over the end; the last one stays");
    assert_eq!(shelf.median(&range(3, 4)), None, "one item cannot be split");
}

#[test]
fn what_travels_comes_back_as_it_was_and_nothing_impossible_does() {
    let key = key(1);
    let item = Item::new(Version { epoch: 1, number: 1 }, &put(&key, 1, b"one", 1), Instant::from_secs(60));
    let sent = Sent::new(&key, &item, Instant::from_secs(20));
    let (_, opened) = sent.clone().open(Instant::from_secs(1_020)).expect("as a correct member sends it");
    let until = Instant::from_secs(1_060);
    assert_eq!(opened, Item { until, remembered: until, ..item });
    assert!(Sent { degree: DEGREE_MAX + 1, ..sent.clone() }.open(Instant::ZERO).is_err());
    assert!(Sent { left: LEASE_MAX + LEASE, ..sent }.open(Instant::ZERO).is_err());
}

/// What happens to the table and to the list beside it.
#[derive(Clone, Debug)]
enum Step {
    Put { name: u8, member: u8, len: u8, lease: u8, expects: bool },
    Remove { name: u8, member: u8 },
    Merge { name: u8, member: u8, number: u64, lease: u8 },
    Pass(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let (name, member) = (0..12u8, 1..4u8);
    prop_oneof![
        (name.clone(), member.clone(), any::<u8>(), 1..100u8, any::<bool>())
            .prop_map(|(name, member, len, lease, expects)| Step::Put { name, member, len, lease, expects }),
        (name.clone(), member.clone()).prop_map(|(name, member)| Step::Remove { name, member }),
        (name, member, 1..5u64, 1..100u8).prop_map(|(name, member, number, lease)| Step::Merge {
            name,
            member,
            number,
            lease
        }),
        (0..50u8).prop_map(Step::Pass),
    ]
}

/// The same as a list: key, writer, version, value, end of the lease, and of the mark.
type Model = Vec<(u8, u8, Stamp, Option<Value>, Instant, Instant)>;

use crate::store::Stamp;

fn set(model: &mut Model, name: u8, item: &Item, lease_end: Instant) {
    let end = model.iter().find(|known| known.0 == name).map_or(lease_end, |known| known.5.max(lease_end));
    model.retain(|known| known.0 != name);
    let until = if item.value.is_none() { end } else { lease_end };
    model.push((name, item.writer.id.as_bytes()[0], item.stamp, item.value.clone(), until, end));
    model.sort_by_key(|known| known.0);
}

/// A copy of something older has come.
fn lengthen(model: &mut Model, name: u8, lease_end: Instant) {
    for known in model.iter_mut().filter(|known| known.0 == name) {
        known.5 = known.5.max(lease_end);
        known.4 = if known.3.is_none() { known.5 } else { known.4 };
    }
}

/// Time has passed.
fn age(model: &mut Model, now: Instant) {
    model.retain(|known| known.5 > now);
    for known in model.iter_mut().filter(|known| known.4 <= now) {
        let mark = Item::new(known.2.version, &remove(&key(known.0), known.1, 0), known.5);
        (known.2, known.3, known.4) = (mark.stamp, None, known.5);
    }
}

proptest! {
    #[test]
    fn it_is_a_list_of_what_was_written(steps in prop::collection::vec(step(), 1..80)) {
        let (mut shelf, mut model, mut now) = (Shelf::default(), Model::new(), Instant::ZERO);
        for (nth, step) in steps.into_iter().enumerate() {
            let request = nth as u64;
            match step {
                Step::Put { name, member, len, lease, expects } => {
                    let known = model.iter().find(|known| known.0 == name && known.3.is_some()).cloned();
                    let value = vec![member; len.into()];
                    let key = key(name);
                    let expected = expects.then(|| known.as_ref().map_or(Version::default(), |it| it.2.version));
                    let lease = Duration::from_secs(lease.into());
                    let write = Written { expected, lease, ..put(&key, member, &value, request) };
                    let result = shelf.write(now, 1, &write);
                    let is_anothers = known.is_some_and(|known| known.1 != member);
                    prop_assert_eq!(result.is_err(), is_anothers);
                    if let Ok(version) = result {
                        let item = shelf.get(&key).expect("just written");
                        prop_assert_eq!(item.stamp.version, version);
                        prop_assert!(model.iter().all(|it| it.0 != name || it.2.version < version));
                        set(&mut model, name, item, now + lease);
                    }
                }
                Step::Remove { name, member } => {
                    let is_own = model.iter().any(|it| it.0 == name && it.1 == member && it.3.is_some());
                    let result = shelf.write(now, 1, &remove(&key(name), member, request));
                    prop_assert_eq!(result.is_ok(), is_own);
                    if result.is_ok() {
                        set(&mut model, name, shelf.get(&key(name)).expect("remembered"), now + LEASE);
                    }
                }
                Step::Merge { name, member, number, lease } => {
                    let key = key(name);
                    let version = Version { epoch: 1, number };
                    let end = now + Duration::from_secs(lease.into());
                    let item = Item::new(version, &put(&key, member, &[member], request), end);
                    let known = model.iter().find(|known| known.0 == name).map(|known| known.2);
                    shelf.merge(&key, item.clone());
                    if known < Some(item.stamp) {
                        set(&mut model, name, &item, end);
                    } else if known > Some(item.stamp) {
                        lengthen(&mut model, name, end);
                    }
                }
                Step::Pass(seconds) => {
                    now += Duration::from_secs(seconds.into());
                    while shelf.expire(now).is_some() {}
                    age(&mut model, now);
                }
            }
            let listed: Model = shelf.iter().map(|(key, item)| {
                let writer = item.writer.id.as_bytes()[0];
                (key.as_bytes()[1], writer, item.stamp, item.value.clone(), item.until, item.remembered)
            }).collect();
            prop_assert_eq!(&listed, &model);
            let bytes: u64 = shelf.iter().map(|(key, item)| item.weight(key)).sum();
            prop_assert_eq!(shelf.bytes(), bytes);
            prop_assert_eq!(shelf.usage.values().map(|usage| usage.bytes).sum::<u64>(), bytes);
            prop_assert_eq!(shelf.usage.values().map(|usage| usage.items as usize).sum::<usize>(), shelf.len());
        }
        // Any part and its rest are the whole; the parts of a split at the median differ by one item at most.
        let whole = range(100, 100);
        for to in 0..12 {
            let (part, rest) = (range(3, to), range(to, 3));
            if to != 3 {
                prop_assert_eq!(shelf.load(&part) + shelf.load(&rest), shelf.load(&whole));
            }
        }
        if let Some(median) = shelf.median(&whole) {
            let to = Position::of_key(median.clone());
            let half = Range::new(whole.after.clone(), to);
            let heaviest = shelf.iter().map(|(key, item)| item.weight(key)).max().unwrap_or(0);
            prop_assert!(shelf.load(&half).abs_diff(shelf.load(&whole) / 2) <= heaviest);
        }
    }
}

#[test]
fn in_a_shared_part_the_newest_stays_and_counts_as_its_writers() {
    let (mut shelf, now) = (Shelf::default(), Instant::ZERO);
    let name = |nth: u32| Key::new(Namespace::RETAINED, &nth.to_be_bytes()).expect("short");
    let first = shelf.write(now, 1, &put(&name(0), 1, b"one", 1)).expect("new");
    let second = shelf.write(now, 1, &put(&name(0), 2, b"two", 2)).expect("shared");
    assert!(second > first && shelf.get(&name(0)).is_some_and(|item| item.writer.id == id(2)));
    for nth in 1..MEMBER_ITEMS_MAX {
        shelf.write(now, 1, &put(&name(nth), 2, b"x", nth.into())).expect("room");
    }
    let more = name(MEMBER_ITEMS_MAX);
    assert_eq!(shelf.write(now, 1, &put(&more, 2, b"x", 9_999)), Err(Refused::MemberItems));
    shelf.write(now, 1, &put(&more, 1, b"x", 9_999)).expect("the first one has none any more");
    shelf.write(now, 1, &remove(&name(0), 1, 10_000)).expect("shared");
}

#[test]
fn a_writer_has_its_quota_and_one_that_writes_for_all_has_that_of_the_node() {
    let (mut shelf, now) = (Shelf::default(), Instant::ZERO);
    let name = |nth: u32| Key::new(Namespace::USER, &nth.to_be_bytes()).expect("short");
    for nth in 0..MEMBER_ITEMS_MAX {
        shelf.write(now, 1, &put(&name(nth), 1, b"x", nth.into())).expect("room");
    }
    let more = name(MEMBER_ITEMS_MAX);
    let write = put(&more, 1, b"x", 9_999);
    assert_eq!(shelf.write(now, 1, &write), Err(Refused::MemberItems));
    assert!(shelf.write(now, 1, &Written { is_admin: true, ..write }).is_ok());
}

proptest! {
    /// Every version lies somewhere as a stray copy until its lease ends, and comes home at any time.
    #[test]
    fn what_was_replaced_never_comes_back(
        steps in prop::collection::vec((0..4u8, 1..100u64, any::<prop::sample::Index>()), 1..60),
    ) {
        let (mut shelf, key, mut now) = (Shelf::default(), key(1), Instant::ZERO);
        let mut strays: Vec<Sent> = Vec::new();
        let mut sent_at: Vec<Instant> = Vec::new();
        // The last one that was written, and when it ends.
        let mut last: Option<(Version, Instant)> = None;
        for (nth, (kind, seconds, which)) in steps.into_iter().enumerate() {
            let lease = Duration::from_secs(seconds);
            match kind {
                0 | 1 => {
                    let write = Written { lease, ..put(&key, 1, &[kind], nth as u64) };
                    let write = if kind == 0 { write } else { Written { value: None, ..write } };
                    let Ok(version) = shelf.write(now, 1, &write) else { continue };
                    let until = if kind == 0 { now + lease } else { now };
                    last = Some((version, until));
                    let item = shelf.get(&key).expect("just written");
                    strays.push(Sent::new(&key, item, now));
                    sent_at.push(now);
                }
                2 => now += Duration::from_secs(seconds / 4),
                _ if strays.is_empty() => {}
                _ => {
                    let at = which.index(strays.len());
                    let (_, item) = strays[at].clone().open(sent_at[at]).expect("possible");
                    if let Some(item) = item.left_at(now, &key) {
                        shelf.merge(&key, item);
                    }
                }
            }
            while shelf.expire(now).is_some() {}
            let live = shelf.get(&key).filter(|item| !item.is_removed()).map(|item| item.stamp.version);
            let expected = last.filter(|(_, until)| *until > now).map(|(version, _)| version);
            prop_assert_eq!(live, expected);
        }
    }
}
