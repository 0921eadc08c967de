//! What whole nodes know of all nodes together.

use xtreem_discovery::Requirement;

use super::*;

#[test]
fn every_node_counts_the_grid_and_knows_its_attributes() {
    let mut net = Net::new(12, 3);
    let unknown = net.with(5, |node, now, _| node.grid_estimate(now)).unwrap();
    assert!(unknown.last.is_none(), "no epoch has ended yet");
    // Two epochs of 30 rounds of two seconds: the second has bounds where the machines are.
    net.run(Duration::from_secs(140));
    let requirement = Requirement::parse("cpu.cores >= 4").unwrap();
    let none = Requirement::parse("cpu.cores >= 8").unwrap();
    for at in 0..12 {
        let known = net.with(at, |node, now, _| node.grid_estimate(now)).unwrap();
        let last = known.last.expect("an epoch has ended");
        assert_eq!((last.size.nodes, known.is_heard), (12, false), "{at}");
        let forecast = |net: &mut Net, requirement: &Requirement| {
            let requirement = requirement.clone();
            net.with(at, move |node, _, _| node.forecast(&requirement, Some(3))).unwrap().unwrap().matches
        };
        assert_eq!(forecast(&mut net, &requirement), 12);
        assert_eq!(forecast(&mut net, &none), 0);
    }
}
