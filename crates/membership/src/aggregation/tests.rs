//! Claims about whole grids, and about what hostile peers can do.

extern crate std;

mod grid;

use std::collections::BTreeSet;
use std::vec::Vec;

use grid::Grid;

use super::*;

/// Two attributes: one even over all codes, one with a tenth of all nodes at one code and a tail.
fn machines(nodes: u32) -> Vec<Vec<u16>> {
    let mut rng = Rng::new(9);
    let tail = |rng: &mut Rng| (1 << rng.below(12)) + rng.below(500) as u16;
    (0..nodes)
        .map(|i| std::vec![rng.next_u32() as u16, if i % 10 == 0 { 1_717 } else { tail(&mut rng) }])
        .collect()
}

#[test]
fn without_faults_the_size_is_exact_and_no_mass_is_lost() {
    for nodes in [1, 2, 3, 10, 300] {
        let mut grid = Grid::new(&machines(nodes), 5);
        grid.run(6);
        let before = grid.mass(30);
        grid.run(26);
        // Between exchanges the sum is what the nodes brought in, to the last bit.
        let codes: Vec<u16> = grid.codes.values().map(|codes| codes[0]).collect();
        let bound = Bounds::even(2).rows[0].codes[30];
        let below = codes.iter().filter(|code| **code <= bound).count() as u64;
        assert!(before.abs_diff(below * u64::from(WHOLE)) <= 3 * u64::from(WHOLE), "some are under way");
        grid.run(6);
        assert_eq!(grid.estimates().len(), nodes as usize);
        assert_eq!(grid.size_error(), 0, "{nodes}");
        for estimate in grid.estimates() {
            let share = u64::from(estimate.curve(0).unwrap().at_most(bound)) * u64::from(nodes);
            // A value is off by a few roundings at most.
            assert!(share.abs_diff(below * u64::from(WHOLE)) <= 4 * u64::from(nodes), "{nodes}");
        }
        assert!(grid.faults.iter().all(|fault| *fault == Fault::Unsolicited), "{:?}", grid.faults);
    }
}

#[test]
fn bounds_go_where_the_mass_is_and_the_error_is_told() {
    let mut grid = Grid::new(&machines(1_000), 5);
    grid.run(40);
    let (coarse, told) = (grid.histogram_error(), grid.estimates()[0].curve_error(1).unwrap().max);
    assert!(coarse > 100 && told > WHOLE / 30, "{coarse} {told}");
    grid.run(60);
    let (fine, told) = (grid.histogram_error(), grid.estimates()[0].curve_error(1).unwrap().max);
    assert!(fine < 30 && told < WHOLE / 50, "{fine} {told}");
    let codes = grid.estimates()[0].bounds().rows[1].codes;
    assert!(codes.contains(&1_716) && codes.contains(&1_717), "{codes:?}");
}

#[test]
fn loss_and_churn_move_the_size_by_less_than_five_per_cent() {
    let mut grid = Grid::new(&machines(1_000), 7);
    grid.loss = 10;
    for _ in 0..130 {
        grid.run(1);
        grid.replace(2);
    }
    assert!(grid.size_error() < 50, "{}", grid.size_error());
    assert!(grid.histogram_error() < 40, "{}", grid.histogram_error());
}

#[test]
fn a_newcomer_hears_the_last_estimate_and_takes_part_in_the_next_epoch() {
    let mut grid = Grid::new(&machines(100), 5);
    grid.run(45);
    let (epoch, newcomer) = (grid.estimates()[0].epoch, grid.add(std::vec![1, 2]));
    grid.run(3);
    let node = &grid.nodes[&newcomer];
    assert!(node.is_heard() && node.estimate().unwrap().epoch == epoch && !node.takes_part());
    grid.run(22);
    assert!(grid.nodes[&newcomer].takes_part());
    grid.run(32);
    let node = &grid.nodes[&newcomer];
    assert!(!node.is_heard());
    assert_eq!(node.estimate().unwrap().size.nodes, 101);
}

#[test]
fn a_grid_that_was_asleep_finds_the_epoch_of_the_others() {
    let mut grid = Grid::new(&machines(60), 5);
    grid.run(36);
    // A third of the nodes is many epochs ahead, as after a long split.
    let now = grid.now;
    let ahead: Vec<Handle> = grid.nodes.keys().copied().take(20).collect();
    for peer in ahead {
        let config = grid.config.clone();
        grid.nodes.get_mut(&peer).unwrap().begin(Call::new(&config, now), 5_000, 0);
    }
    grid.run(4);
    assert!(grid.nodes.values().all(|node| node.epochs.number == 5_000));
    grid.run(65);
    assert_eq!((grid.estimates().len(), grid.size_error()), (60, 0));
}

/// Hands one message to a node in the middle of an epoch.
fn hand(grid: &mut Grid, from: u32, message: Message) -> Result<(), Fault> {
    struct Nowhere;
    impl Sink<Message> for Nowhere {
        fn send(&mut self, _: Handle, _: Message) {}
    }
    impl Sampler for Nowhere {
        fn fresh_peer(&mut self) -> Option<Handle> {
            None
        }
    }
    let (config, now) = (grid.config.clone(), grid.now);
    let node = grid.nodes.get_mut(&Handle::from_u32(0)).unwrap();
    node.handle_message(Call::new(&config, now), Handle::from_u32(from), message, &mut Nowhere)
}

#[test]
fn what_no_correct_peer_sends_is_a_fault_and_changes_nothing() {
    let mut grid = Grid::new(&machines(20), 5);
    grid.run(20);
    let (config, now) = (grid.config.clone(), grid.now);
    let node = &grid.nodes[&Handle::from_u32(0)];
    let head = node.head(Call::new(&config, now));
    let half = Half { part: 0, sizes: node.sizes, values: node.values.clone(), samples: [1, 2].into() };
    let push = |head, half| Message::Push { seq: 1, head, half };
    let values = |f: &dyn Fn(&mut Vec<u16>)| {
        let mut values = half.values.to_vec();
        f(&mut values);
        Half { values: values.into(), ..half.clone() }
    };
    let table = [
        (push(head, Half { part: 1, ..half.clone() }), Fault::Shape),
        (push(head, values(&|values| values.truncate(5))), Fault::Shape),
        (push(head, values(&|values| values.push(1))), Fault::Shape),
        (push(head, Half { samples: [1, 2, 3].into(), ..half.clone() }), Fault::Shape),
        (push(head, values(&|values| values[7] ^= 1 << 15)), Fault::Outlier),
        (push(Head { epoch: u32::MAX, ..head }, half.clone()), Fault::UnexpectedEpoch),
        (Message::Pull { seq: 1, head, half: half.clone() }, Fault::Unsolicited),
        (Message::Here { seq: 1, head, why: Why::Busy }, Fault::Unsolicited),
        (
            Message::Bounds { schema: 1, epoch: head.epoch + 1, bounds: Arc::new(Bounds::even(3)) },
            Fault::Shape,
        ),
        (
            Message::Bounds {
                schema: 1,
                epoch: head.epoch + 1,
                bounds: Arc::new(Bounds {
                    rank: 0,
                    rows: [Row { codes: [7; BOUNDS], checks: 0 }, Row { codes: [7; BOUNDS], checks: 0 }]
                        .into(),
                }),
            },
            Fault::Unsound,
        ),
    ];
    for (message, fault) in table {
        let before = grid.nodes[&Handle::from_u32(0)].clone();
        assert_eq!(hand(&mut grid, 500, message), Err(fault));
        let after = &grid.nodes[&Handle::from_u32(0)];
        assert_eq!(
            (&before.values, before.sizes, before.epochs.number),
            (&after.values, after.sizes, after.epochs.number)
        );
    }
    assert_eq!(hand(&mut grid, 500, push(head, half)), Ok(()));
}

#[test]
fn a_liar_counts_as_much_as_the_exchanges_it_gets() {
    let mut grid = Grid::new(&machines(20), 5);
    grid.run(8);
    let (config, now) = (grid.config.clone(), grid.now);
    let node = &grid.nodes[&Handle::from_u32(0)];
    let (head, sizes) = (node.head(Call::new(&config, now)), Sizes::EMPTY);
    let lie = Half { part: 0, sizes, values: [WHOLE; 2 * BOUNDS].into(), samples: [9, 9].into() };
    let before = node.values.clone();
    // One push a peer and round is answered, others are refused as busy.
    for _ in 0..5 {
        hand(&mut grid, 500, Message::Push { seq: 1, head, half: lie.clone() }).unwrap();
    }
    let node = &grid.nodes[&Handle::from_u32(0)];
    for (before, after) in before.iter().zip(&node.values) {
        assert_eq!(*after, before + (WHOLE - before) / 2);
    }
}

#[test]
fn nobody_alone_begins_epochs() {
    let mut grid = Grid::new(&machines(20), 5);
    grid.run(20);
    let node = &grid.nodes[&Handle::from_u32(0)];
    let head = node.head(Call::new(&grid.config, grid.now));
    let later = Head { epoch: head.epoch + 1, age: 0, ..head };
    for _ in 0..9 {
        let word = Message::Ask { seq: 1, head: later, wants_estimate: false };
        assert_eq!(hand(&mut grid, 500, word), Err(Fault::UnexpectedEpoch));
    }
    assert_eq!(grid.nodes[&Handle::from_u32(0)].epochs.number, head.epoch);
}

#[test]
fn messages_survive_the_wire_and_cut_ones_do_not() {
    let mut grid = Grid::new(&machines(50), 5);
    grid.run(50);
    let node = &grid.nodes[&Handle::from_u32(0)];
    let (head, bounds) = (node.head(Call::new(&grid.config, grid.now)), node.bounds.clone());
    let half = Half { part: 0, sizes: node.sizes, values: node.values.clone(), samples: [1, 2, 3, 4].into() };
    let estimate = node.estimate().unwrap().clone();
    let messages = [
        Message::Push { seq: 7, head, half: half.clone() },
        Message::Pull { seq: 7, head, half },
        Message::Here { seq: 7, head, why: Why::OtherBounds },
        Message::Ask { seq: 7, head, wants_estimate: true },
        Message::Bounds { schema: 1, epoch: 4, bounds },
        Message::Estimate { schema: 1, estimate },
    ];
    for message in messages {
        let bytes = minicbor::to_vec(&message).unwrap();
        assert!(bytes.len() <= message.wire_bytes(), "{} {message:?}", bytes.len());
        assert_eq!(minicbor::decode::<Message>(&bytes).unwrap(), message);
        for len in 0..bytes.len() {
            assert!(minicbor::decode::<Message>(&bytes[..len]).is_err());
        }
    }
}

#[test]
fn the_same_seed_runs_the_same_way() {
    let run = || {
        let mut grid = Grid::new(&machines(100), 5);
        grid.loss = 20;
        grid.run(40);
        grid.estimates()
    };
    assert_eq!(run(), run());
    let sizes: BTreeSet<u32> = run().iter().map(|estimate| estimate.size.nodes).collect();
    assert!(!sizes.is_empty());
}
