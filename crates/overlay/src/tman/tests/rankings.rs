//! The rankings as tables.

use core::cmp::Ordering::{self, Equal, Greater, Less};

use super::super::ranking::log_scale;
use xtreem_base::Rng;

use super::*;

fn ordered<R: Ranking>(ranking: &R, of: &R::Profile, side: Side, all: &[R::Profile]) -> Vec<R::Profile> {
    let mut all = all.to_vec();
    all.sort_by(|a, b| ranking.compare(of, side, a, b));
    all
}

#[test]
fn the_ring_has_successors_and_predecessors_over_its_end() {
    let all = [at(1), at(3), at(7), at(9)];
    let cases = [(5, [7, 9, 1, 3]), (0, [1, 3, 7, 9]), (10, [1, 3, 7, 9]), (8, [9, 1, 3, 7])];
    for (of, expected) in cases {
        assert_eq!(ordered(&Ring, &at(of), Side::After, &all), expected.map(at));
        let backwards: Vec<_> = expected.into_iter().rev().map(at).collect();
        assert_eq!(ordered(&Ring, &at(of), Side::Before, &all), backwards);
    }
    assert!(!Ring.is_possible(&at(5), &at(5)) && Ring.is_possible(&at(5), &at(6)));
    let twin = Position::new(at(6).key, at(5).id);
    assert!(!Ring.is_possible(&at(5), &twin), "the own id, elsewhere");
}

#[test]
fn scales_grow_by_eight_for_each_doubling() {
    let cases = [(0, 0), (1, 0), (2, 8), (3, 12), (4, 16), (6, 20), (8, 24), (9, 25), (1 << 100, 800)];
    for (distance, scale) in cases {
        assert_eq!(log_scale(distance), scale, "{distance}");
    }
    assert!(log_scale(u128::MAX) < u16::MAX);
    let scale = |side, of, other| Ring.scale(&at(of), side, &at(other));
    assert_eq!(scale(Side::After, 5, 9), scale(Side::Before, 9, 5));
    assert!(scale(Side::After, 5, 9) < scale(Side::After, 5, 100));
}

fn place(coordinates: &[u32]) -> Coordinates {
    Coordinates::new(coordinates).expect("one to eight")
}

#[test]
fn steps_are_counted_along_the_dimensions_and_around_a_torus() {
    let cases = [
        (&[8, 8, 4][..], &[0, 0, 0][..], &[1, 2, 3][..], 4, 6),
        (&[8, 8, 4], &[0, 0, 0], &[7, 7, 3], 3, 17),
        (&[8, 8, 4], &[1, 1, 1], &[1, 1, 1], 0, 0),
        (&[5], &[0], &[3], 2, 3),
        (&[1, 2], &[0, 1], &[0, 0], 1, 1),
    ];
    for (shape, a, b, torus, mesh) in cases {
        for (ends, distance) in [(Ends::Joined, torus), (Ends::Apart, mesh)] {
            let grid = Grid::new(place(shape), ends);
            assert_eq!(grid.distance(&place(a), &place(b)), distance, "{shape:?} {a:?} {b:?} {ends:?}");
            assert_eq!(grid.distance(&place(b), &place(a)), distance);
        }
    }
}

#[test]
fn a_place_must_be_in_the_shape_and_somewhere_else() {
    let grid = Grid::new(place(&[4, 2]), Ends::Joined);
    for (coordinates, is_possible) in
        [(&[3, 1][..], true), (&[0, 0], false), (&[4, 0], false), (&[0, 2], false), (&[1], false)]
    {
        assert_eq!(grid.is_possible(&place(&[0, 0]), &place(coordinates)), is_possible, "{coordinates:?}");
    }
    assert_eq!(Coordinates::new(&[]), Err(WrongDimensions(0)));
    assert_eq!(Coordinates::new(&[1; 9]), Err(WrongDimensions(9)));
}

#[test]
fn who_takes_a_place_has_no_neighbour_there() {
    let config = Config::default();
    let grid = Grid::new(place(&[4, 4]), Ends::Joined);
    let mut node = TMan::new(&config, grid, h(0), place(&[3, 3]), Rng::new(1), Instant::ZERO);
    node.learn(call(&config, 0), h(1), place(&[0, 0]));
    node.learn(call(&config, 0), h(2), place(&[2, 0]));
    node.set_profile(call(&config, 0), place(&[0, 0]));
    assert!(node.neighbours(Side::After).map(|peer| peer.handle).eq([h(2)]));
}

#[test]
fn sets_are_near_by_what_they_have_in_common_or_by_its_share() {
    let items = |items: &[u64]| Items::new(items).expect("few");
    let of = items(&[1, 2, 3, 4]);
    // (a, b, nearer by count, nearer by share)
    let cases: [(&[u64], &[u64], Ordering, Ordering); 5] = [
        (&[1, 2], &[1], Less, Less),
        (&[1, 2, 3, 9, 10, 11, 12, 13], &[1, 2], Less, Greater),
        (&[1, 9], &[2, 8], Equal, Equal),
        (&[], &[7], Equal, Equal),
        (&[1, 2, 3, 4], &[1, 2, 3, 4, 5], Equal, Less),
    ];
    for (a, b, by_count, by_share) in cases {
        let compare = |ranking: Similar| ranking.compare(&of, Side::After, &items(a), &items(b));
        assert_eq!((compare(Similar::Count), compare(Similar::Share)), (by_count, by_share), "{a:?} {b:?}");
    }
    assert_eq!(items(&[3, 1, 3]).as_slice(), [1, 3]);
    let many: Vec<u64> = (0..33).collect();
    assert_eq!(Items::new(&many), Err(TooManyItems(33)));
    assert_eq!(Similar::Share.compare(&items(&[]), Side::After, &items(&[]), &items(&[1])), Equal);
}

#[test]
fn numbers_are_near_by_their_difference() {
    let numbers = [i64::MIN, -3, 4, 5, i64::MAX].map(Number);
    let order = ordered(&Close, &Number(1), Side::After, &numbers);
    assert_eq!(order, [4, -3, 5, i64::MAX, i64::MIN].map(Number), "of equals the first one");
}

#[test]
fn one_sided_rankings_keep_the_nearest_too() {
    let config = Config { view_size: 10, far: 4, ..Config::default() };
    let me = TMan::new(&config, Close, h(0), Number(500), Rng::new(1), Instant::ZERO);
    let mut node = me;
    for number in (0..1_000).map(|i| i * 7 % 1_000).filter(|number| *number != 500) {
        node.learn(call(&config, 0), h(number as u32 + 1), Number(number));
    }
    let away: Vec<u64> = node.neighbours(Side::After).map(|peer| peer.profile.0.abs_diff(500)).collect();
    assert_eq!(away[..6], [1, 1, 2, 2, 3, 3]);
    assert_eq!((away.len(), node.neighbours(Side::Before).len()), (10, 0));
    let spread: Vec<_> = away.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(spread[9 - 1] > 100, "{away:?}");
}
