//! Which slots a holder watches, and whose turn it is to recruit. Pure arithmetic on a circle of slots.

/// A holder watches this many slots on either side (docs/design/allocation.md, "Slots").
pub const REACH: u16 = 4;

/// Steps from `from` up to `to` on a circle of `slots`.
fn up(from: u16, to: u16, slots: u16) -> u16 {
    (u32::from(to) + u32::from(slots) - u32::from(from)).rem_euclid(u32::from(slots)) as u16
}

/// True when the holder of `watcher` watches `slot`.
pub fn watches(watcher: u16, slot: u16, slots: u16) -> bool {
    watcher != slot && (up(watcher, slot, slots) <= REACH || up(slot, watcher, slots) <= REACH)
}

/// The slots that the holder of `slot` watches, each once, nearest first.
pub fn around(slot: u16, slots: u16) -> impl Iterator<Item = u16> {
    let reach = REACH.min((slots - 1).div_ceil(2));
    let step = move |by: u16, upwards: bool| {
        let by = if upwards { by } else { slots - by };
        ((u32::from(slot) + u32::from(by)) % u32::from(slots)) as u16
    };
    (1..=reach).flat_map(move |by| {
        let (above, below) = (step(by, true), step(by, false));
        [Some(above), (below != above).then_some(below)].into_iter().flatten()
    })
}

/// The watchers of `slot` in the order of recruiting, each once: downwards from it, cyclic, so that the holder
/// with the greatest number below `slot` comes first.
fn order(slot: u16, slots: u16) -> impl Iterator<Item = u16> {
    let reach = REACH.min(slots - 1);
    let mut seen = [slot; 2 * REACH as usize];
    let low = (1..=reach).map(move |by| (slot + slots - by) % slots);
    let high = (1..=reach).rev().map(move |by| (slot + by) % slots);
    low.chain(high).enumerate().filter_map(move |(at, watcher)| {
        let is_new = watcher != slot && !seen[..at].contains(&watcher);
        seen[at] = watcher;
        is_new.then_some(watcher)
    })
}

/// Whose turn it is to recruit a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Live watchers that come before: each costs a wait.
    pub place: u16,
    /// Position among all watchers, live or not: of two that recruit at once the lower one goes on.
    pub order: u16,
}

/// When the holder of one of `is_mine` recruits `slot`. Nothing when none of them watches it.
pub fn turn(
    slot: u16,
    slots: u16,
    is_mine: impl Fn(u16) -> bool,
    is_live: impl Fn(u16) -> bool,
) -> Option<Turn> {
    let mut place = 0;
    for (at, watcher) in order(slot, slots).enumerate() {
        if is_mine(watcher) {
            return Some(Turn { place, order: at as u16 });
        }
        place += u16::from(is_live(watcher));
    }
    None
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    #[test]
    fn around_names_each_watched_slot_once() {
        let table: [(u16, u16, &[u16]); 6] = [
            (0, 1, &[]),
            (0, 2, &[1]),
            (1, 3, &[2, 0]),
            (0, 4, &[1, 3, 2]),
            (0, 9, &[1, 8, 2, 7, 3, 6, 4, 5]),
            (1, 100, &[2, 0, 3, 99, 4, 98, 5, 97]),
        ];
        for (slot, slots, want) in table {
            assert_eq!(around(slot, slots).collect::<Vec<_>>(), want, "around {slot} of {slots}");
            assert!(want.iter().all(|&other| watches(slot, other, slots)));
        }
    }

    #[test]
    fn watching_is_mutual() {
        for slots in 1..30 {
            for a in 0..slots {
                for b in 0..slots {
                    assert_eq!(watches(a, b, slots), watches(b, a, slots));
                    assert_eq!(watches(a, b, slots), around(a, slots).any(|slot| slot == b));
                }
            }
        }
    }

    #[test]
    fn the_live_holder_with_the_greatest_number_below_recruits() {
        // Lost slot, slots, mine, live ones, place.
        type Row = (u16, u16, u16, &'static [u16], Option<u16>);
        let table: [Row; 8] = [
            (5, 10, 4, &[1, 2, 3, 6], Some(0)),
            (5, 10, 3, &[1, 2, 4, 6], Some(1)),
            (5, 10, 3, &[1, 2, 6], Some(0)),
            (0, 10, 9, &[1, 2, 8], Some(0)),
            (5, 10, 6, &[], Some(0)),
            (5, 10, 6, &[4, 9], Some(2)),
            (5, 100, 10, &[], None),
            (1, 2, 0, &[], Some(0)),
        ];
        for (slot, slots, mine, live, want) in table {
            let got = turn(slot, slots, |s| s == mine, |s| live.contains(&s)).map(|turn| turn.place);
            assert_eq!(got, want, "slot {slot} of {slots}, mine {mine}, live {live:?}");
        }
    }

    #[test]
    fn no_two_watchers_have_the_same_order() {
        for slots in 2..30 {
            for slot in 0..slots {
                let orders = (0..slots).filter_map(|w| turn(slot, slots, |s| s == w, |_| true));
                let mut orders: Vec<u16> = orders.map(|turn| turn.order).collect();
                orders.sort_unstable();
                assert!(orders.iter().enumerate().all(|(at, order)| at == usize::from(*order)));
            }
        }
    }

    #[test]
    fn exactly_one_live_watcher_has_place_zero() {
        for slots in 2..14u16 {
            for dead in 0..(1u32 << slots) {
                let live = |s: u16| dead & (1 << s) == 0;
                for slot in (0..slots).filter(|&s| !live(s)) {
                    let watchers = (0..slots).filter(|&s| live(s) && watches(s, slot, slots));
                    let place = |w| turn(slot, slots, |s| s == w, live).map(|turn| turn.place);
                    let first = watchers.clone().filter(|&w| place(w) == Some(0));
                    assert_eq!(first.count(), usize::from(watchers.count() > 0));
                }
            }
        }
    }
}
