extern crate std;
use std::string::ToString;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

fn shape(sides: &[u32], edges: Edges) -> Shape {
    Shape::new(sides, edges).expect("a shape")
}

fn direction(dimension: u8, way: Way) -> Direction {
    Direction { dimension, way }
}

#[test]
fn the_last_dimension_runs_fastest_as_in_mpi() {
    let mesh = shape(&[2, 3, 4], Edges::Open);
    for (rank, coordinates) in
        [(0, [0, 0, 0]), (1, [0, 0, 1]), (4, [0, 1, 0]), (12, [1, 0, 0]), (23, [1, 2, 3])]
    {
        assert_eq!(mesh.coordinates(rank), Some(coordinates.to_vec()));
        assert_eq!(mesh.rank(&coordinates), Some(rank));
    }
    assert_eq!(mesh.coordinates(24), None);
    for outside in [&[0, 0, 4][..], &[2, 0, 0], &[0, 0], &[0, 0, 0, 0], &[]] {
        assert_eq!(mesh.rank(outside), None, "{outside:?}");
    }
}

#[test]
fn a_mesh_ends_where_a_torus_goes_on() {
    let (mesh, torus) = (shape(&[3, 4], Edges::Open), shape(&[3, 4], Edges::Joined));
    let cases = [
        (0, direction(0, Way::Down), None, Some(8)),
        (0, direction(1, Way::Down), None, Some(3)),
        (5, direction(0, Way::Up), Some(9), Some(9)),
        (5, direction(1, Way::Down), Some(4), Some(4)),
        (11, direction(0, Way::Up), None, Some(3)),
        (11, direction(1, Way::Up), None, Some(8)),
        (12, direction(1, Way::Down), None, None),
        (0, direction(2, Way::Up), None, None),
    ];
    for (rank, direction, in_mesh, in_torus) in cases {
        assert_eq!(mesh.neighbour(rank, direction), in_mesh, "{rank} {direction:?}");
        assert_eq!(torus.neighbour(rank, direction), in_torus, "{rank} {direction:?}");
    }
    assert_eq!(shape(&[1, 2], Edges::Joined).neighbours(0).map(|(_, rank)| rank).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(shape(&[1], Edges::Joined).neighbours(0).count(), 0, "nobody is its own neighbour");
}

#[test]
fn shapes_that_cannot_be_are_refused() {
    let cases = [
        (&[][..], ShapeError::NoSide),
        (&[1; 9], ShapeError::TooManyDimensions(9)),
        (&[8, 0, 4], ShapeError::EmptySide(1)),
        (&[u32::MAX, u32::MAX], ShapeError::TooLarge),
        (&[PLACES_MAX, 2], ShapeError::TooLarge),
        (&[u32::MAX; 8], ShapeError::TooLarge),
    ];
    for (sides, error) in cases {
        assert_eq!(Shape::new(sides, Edges::Open), Err(error));
    }
    assert!(Shape::new(&[PLACES_MAX], Edges::Open).is_ok());
    assert_eq!(ShapeError::EmptySide(1).to_string(), "side 1 is 0 long: every side is at least 1");
}

#[test]
fn a_misfit_names_the_nearest_shapes_that_fit() {
    let wish = shape(&[8, 8, 4], Edges::Joined);
    assert_eq!(wish.fit(256), Ok(()));
    let misfit = wish.fit(250).expect_err("six too many");
    assert_eq!(
        misfit.to_string(),
        "8 x 8 x 4 has 256 places for 250 members; near it and possible: 10 x 5 x 5, 5 x 10 x 5, 5 x 5 x 10"
    );
    assert!(misfit.nearest.iter().all(|shape| shape.fit(250).is_ok() && shape.edges() == Edges::Joined));
    let sides = |members| -> Vec<Vec<u32>> {
        wish.fit(members).expect_err("a misfit").nearest.iter().map(|shape| shape.sides().to_vec()).collect()
    };
    assert_eq!(sides(251)[0], [251, 1, 1], "a prime is a line");
    assert_eq!(sides(1), [[1, 1, 1]]);
    assert_eq!((sides(0), sides(u32::MAX)), (vec![], vec![]));
    assert_eq!(sides(288)[0], [9, 8, 4]);
}

#[test]
fn the_number_with_the_most_divisors_is_done_at_once() {
    let most = 245_044_800;
    assert_eq!(nearest::divisors(most).len(), 1_008);
    let misfit = shape(&[11; 8], Edges::Open).fit(most).expect_err("11^8 is less");
    assert_eq!(misfit.nearest.len(), NEAREST_MAX);
    assert!(misfit.nearest.iter().all(|shape| shape.fit(most).is_ok()));
}

#[test]
fn a_neighbour_that_was_replaced_is_told_once() {
    let mut around = Neighbourhood::new(shape(&[3, 3], Edges::Open), 4).expect("a rank of it");
    assert_eq!(around.refresh(Some).len(), 4);
    assert_eq!(around.refresh(Some), []);
    let changed = around.refresh(|rank| if rank == 7 { Some(70) } else { Some(rank) });
    assert_eq!(changed, [Change { direction: direction(0, Way::Up), rank: 7, now: Some(70) }]);
    let gone = around.refresh(|rank| (rank != 7).then_some(rank));
    assert_eq!(gone, [Change { direction: direction(0, Way::Up), rank: 7, now: None }]);
    assert!(Neighbourhood::<u32>::new(shape(&[3, 3], Edges::Open), 9).is_none());
}

fn any_edges() -> impl Strategy<Value = Edges> {
    prop_oneof![Just(Edges::Open), Just(Edges::Joined)]
}

fn any_shape() -> impl Strategy<Value = Shape> {
    (prop::collection::vec(1u32..6, 1..=5), any_edges()).prop_map(|(sides, edges)| shape(&sides, edges))
}

/// All ways to write a number as a product of so many, by trying.
fn all_ways(number: u32, dimensions: usize) -> Vec<Vec<u32>> {
    if dimensions == 1 {
        return vec![vec![number]];
    }
    let firsts = (1..=number).filter(|side| number.is_multiple_of(*side));
    let with = |first: u32| {
        let rests = all_ways(number / first, dimensions - 1);
        rests.into_iter().map(move |rest| [vec![first], rest].concat())
    };
    firsts.flat_map(with).collect()
}

proptest! {
    #[test]
    fn coordinates_lead_back_to_their_rank(shape in any_shape()) {
        for rank in 0..shape.places() {
            let coordinates = shape.coordinates(rank).expect("a rank of it");
            prop_assert_eq!(shape.rank(&coordinates), Some(rank));
        }
    }

    #[test]
    fn neighbours_differ_by_one_step_and_are_neighbours_of_each_other(shape in any_shape()) {
        for rank in 0..shape.places() {
            let own = shape.coordinates(rank).expect("a rank of it");
            for (direction, other) in shape.neighbours(rank) {
                prop_assert_eq!(shape.neighbour(other, direction.opposite()), Some(rank));
                let there = shape.coordinates(other).expect("a rank of it");
                let differ: Vec<usize> = (0..own.len()).filter(|i| own[*i] != there[*i]).collect();
                prop_assert_eq!(differ, [usize::from(direction.dimension)]);
            }
        }
    }

    #[test]
    fn a_torus_has_two_neighbours_a_long_side_and_a_mesh_fewer_at_its_ends(shape in any_shape()) {
        let long = shape.sides().iter().filter(|side| **side > 1).count();
        for rank in 0..shape.places() {
            let own = shape.coordinates(rank).expect("a rank of it");
            let ends = |(at, side): (&u32, &u32)| usize::from(*at == 0) + usize::from(at + 1 == *side);
            let lost: usize = own.iter().zip(shape.sides()).filter(|(_, side)| **side > 1).map(ends).sum();
            let expected = 2 * long - if shape.edges() == Edges::Open { lost } else { 0 };
            prop_assert_eq!(shape.neighbours(rank).count(), expected);
        }
    }

    #[test]
    fn nobody_is_nearer_than_the_nearest(shape in any_shape(), members in 1u32..400) {
        let cost = |sides: &[u32]| -> u32 {
            sides.iter().zip(shape.sides()).map(|(side, wanted)| side.abs_diff(*wanted)).sum()
        };
        let mut all = all_ways(members, shape.sides().len());
        all.sort_by_key(|sides| (cost(sides), std::cmp::Reverse(sides.clone())));
        all.truncate(NEAREST_MAX);
        match shape.fit(members) {
            Ok(()) => prop_assert_eq!(cost(&all[0]), 0),
            Err(misfit) => {
                let nearest: Vec<Vec<u32>> =
                    misfit.nearest.iter().map(|shape| shape.sides().to_vec()).collect();
                prop_assert_eq!(nearest, all);
            }
        }
    }

    #[test]
    fn hostile_sides_and_members_never_panic(
        sides in prop::collection::vec(prop_oneof![any::<u32>(), 0u32..9], 0..10),
        members in any::<u32>(),
        edges in any_edges(),
        rank in any::<u32>(),
    ) {
        if let Ok(shape) = Shape::new(&sides, edges) {
            let _ = shape.fit(members % 100_000);
            prop_assert_eq!(shape.coordinates(rank).is_some(), rank < shape.places());
            prop_assert_eq!(shape.neighbours(rank).count() > 2 * sides.len(), false);
        }
    }
}
