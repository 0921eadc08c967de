//! A VO's policy on a few nodes: it spreads, and it is kept.

use alloc::boxed::Box;
use alloc::string::String;

use xtreem_allocation::policy::{Limit, Policy, Rule, SignedPolicy, Who};
use xtreem_allocation::{
    Confirm, Evidence, GuardianSet, Message as Allocation, Refused, SetVersion, SubmitRefusal,
};
use xtreem_discovery::{Claimant, HoldAnswer, HoldAsk, Message as Discovery, Query, Requirement, Route};

use super::*;
use crate::PolicyMessage;

/// Signatures are the driver's affair: any will do here. The digest orders policies of one version.
fn signed(version: u64, digest: u8, rules: Vec<Rule>) -> SignedPolicy {
    let document = Policy { version, rules }.to_document().expect("a good policy").into();
    SignedPolicy { document, digest: Digest::from_bytes([digest; 32]), signature: [0; 64] }
}

fn rule(name: &str, limit: Limit, keys: &[u8]) -> Rule {
    let keys = keys.iter().map(|byte| NodeId::from_bytes([*byte; 16])).collect();
    Rule { name: name.to_string(), limit, who: Who { keys, ..Who::default() } }
}

impl Net {
    /// Sets it on node 0 and lets it spread.
    fn set_policy(&mut self, signed: SignedPolicy) {
        self.with(0, |node, now, out| node.set_policy(now, signed, out))
            .expect("it lives")
            .expect("a policy");
        self.run(SECS(12));
    }

    fn versions(&self) -> BTreeSet<(u64, Digest)> {
        let version = |node: &Node| node.policy().map(|(_, _, version)| (version.version, version.digest));
        self.nodes
            .iter()
            .flatten()
            .map(|node| version(node).unwrap_or((0, Digest::from_bytes([0; 32]))))
            .collect()
    }

    fn submit_as(&mut self, at: usize, owner: u8, app: u8, slots: u16) -> Result<(), SubmitRefusal> {
        let mut application = application(slots, Wanted::Running);
        application.record.id = AppId::from_bytes([app; 16]);
        application.record.owner = NodeId::from_bytes([owner; 16]);
        application.record.submitter = self.ids[at];
        self.with(at, |node, now, out| node.submit(now, application, Duration::ZERO, out)).expect("it lives")
    }
}

#[test]
fn a_policy_reaches_every_node_and_the_newer_one_wins() {
    let mut net = Net::new(40, 1);
    let limit = |max| vec![rule("size", Limit::NodesPerApplication(max), &[])];
    net.set_policy(signed(2, 9, limit(4)));
    assert_eq!(net.versions(), BTreeSet::from([(2, Digest::from_bytes([9; 32]))]));
    net.set_policy(signed(1, 9, limit(5)));
    assert_eq!(
        net.versions(),
        BTreeSet::from([(2, Digest::from_bytes([9; 32]))]),
        "an older one changes nothing"
    );
    // Two of one version, on different nodes at once: all end with one, and those that changed were told.
    net.policies.clear();
    let other = signed(3, 1, limit(6));
    net.with(7, |node, now, out| node.set_policy(now, other, out));
    net.set_policy(signed(3, 2, limit(7)));
    assert_eq!(net.versions(), BTreeSet::from([(3, Digest::from_bytes([2; 32]))]));
    assert!(net.policies.contains(&(7, 3, true)), "{:?}", net.policies);
    // A node that comes later asks for it.
    net.nodes[5] = Some(newcomer(5));
    net.ids[5] = NodeId::from_bytes([0xee; 16]);
    net.with(5, |node, now, out| node.join(now, handle(0), out));
    net.run(SECS(12));
    assert_eq!(net.versions().len(), 1);
}

fn newcomer(at: usize) -> Node {
    let me = Me { handle: handle(at), id: NodeId::from_bytes([0xee; 16]), incarnation: 2 };
    Node::new(Arc::new(Config::emulated()), me, 77, Instant::ZERO)
}

#[test]
fn garbage_for_a_policy_is_counted_and_changes_nothing() {
    let mut net = Net::new(3, 1);
    let garbage = SignedPolicy { document: Arc::from(&[0xff; 40][..]), ..signed(9, 1, vec![]) };
    let message = Message::Policy(PolicyMessage::Document(Box::new(garbage)));
    net.with(1, |node, now, out| node.handle_message(now, handle(2), message, out));
    let node = net.nodes[1].as_ref().expect("it lives");
    let mut faults = BTreeMap::new();
    node.for_each_fault(&mut |name, count| *faults.entry(name).or_insert(0) += count);
    assert_eq!((faults["policy"], node.policy().is_none()), (1, true));
}

#[test]
fn a_submission_beyond_the_policy_is_refused_at_once_by_the_rules_name() {
    let mut net = Net::new(8, 2);
    net.set_policy(signed(
        1,
        1,
        vec![rule("size", Limit::NodesPerApplication(4), &[]), rule("members", Limit::Submit, &[1, 2])],
    ));
    let words = |refused: Result<(), SubmitRefusal>| refused.map_err(|refusal| refusal.to_string());
    let too_large = "refused by VO rule \"size\": an application may hold 4 nodes, and this one wants 5";
    assert_eq!(words(net.submit_as(3, 1, 7, 5)), Err(too_large.to_string()));
    let nobody = words(net.submit_as(3, 3, 8, 1)).expect_err("not a member");
    assert!(nobody.starts_with("refused by VO rule \"members\": only key 0101"), "{nobody}");
    assert_eq!(words(net.submit_as(3, 1, 9, 4)), Ok(()));
    net.run(SECS(5));
    assert_eq!(net.slots(), [0, 1, 2, 3]);
}

#[test]
fn reserved_nodes_hold_for_those_they_are_reserved_for_and_the_report_names_the_rule() {
    let mut net = Net::new(8, 3);
    for at in 0..3 {
        net.with(at, |node, now, _| {
            let mut attributes = Attributes::default();
            attributes.set("cpu.cores", Value::from(4)).expect("a short name and one value");
            attributes.set("gpu.count", Value::from(2)).expect("a short name and one value");
            node.set_attributes(now, attributes);
        });
    }
    let reserved = Limit::Reserved("gpu.count >= 1".into());
    net.set_policy(signed(1, 1, vec![rule("gpu-for-ml", reserved, &[2])]));
    assert_eq!(net.submit_as(5, 1, 7, 6), Ok(()));
    net.run(SECS(12));
    let Some(Progress::NotPlaced { report: Some(report) }) = net.progress.last() else {
        panic!("{:?}", net.progress)
    };
    assert_eq!((report.granted, &report.forbidden[..]), (5, &[("gpu-for-ml".to_string(), 3)][..]));
    // Whom they are reserved for gets them, and the others' applications keep away.
    assert_eq!(net.submit_as(5, 2, 8, 8), Ok(()));
    net.run(SECS(5));
    assert_eq!(net.slots().len(), 8);
}

#[test]
fn what_a_user_holds_is_counted_over_the_grid_before_the_first_confirm() {
    let mut net = Net::new(20, 4);
    net.set_policy(signed(1, 1, vec![rule("fair", Limit::NodesPerUser(8), &[])]));
    assert_eq!(net.submit_as(3, 1, 7, 6), Ok(()));
    net.run(SECS(8));
    assert_eq!(net.submit_as(11, 1, 8, 3), Ok(()), "only a count can tell");
    net.run(SECS(8));
    let Some(Progress::Forbidden { refusal }) = net.progress.last() else { panic!("{:?}", net.progress) };
    let words = "refused by VO rule \"fair\": a user may hold 8 nodes in all; 6 are held already, \
                 and 3 more are wanted";
    assert_eq!(refusal.to_string(), words);
    assert!(net.nodes.iter().flatten().all(|node| node.status().open_holds == 0), "all were released");
    assert_eq!(net.submit_as(11, 1, 9, 2), Ok(()));
    assert_eq!(net.submit_as(12, 2, 10, 8), Ok(()), "another user");
    net.run(SECS(8));
    assert_eq!(net.running.len(), 6 + 2 + 8);
}

/// What the count cannot see: submissions that are under way at once. Each by itself keeps the limit, so that
/// k of them end with k times of it at most.
#[test]
fn submissions_at_the_same_moment_exceed_the_limit_by_no_more_than_themselves() {
    let mut net = Net::new(30, 6);
    net.set_policy(signed(1, 1, vec![rule("fair", Limit::NodesPerUser(8), &[])]));
    for (at, app) in [(3, 7), (4, 8), (5, 9)] {
        assert_eq!(net.submit_as(at, 1, app, 6), Ok(()));
    }
    net.run(SECS(8));
    assert!(net.running.len() <= 3 * 8, "{}", net.running.len());
    assert!(net.running.len() > 8, "if not, the documentation promises too little");
    assert_eq!(net.submit_as(6, 1, 10, 1), Ok(()));
    net.run(SECS(8));
    assert!(matches!(net.progress.last(), Some(Progress::Forbidden { .. })), "the next one sees them all");
}

#[test]
fn finished_applications_do_not_count() {
    let mut net = Net::new(20, 4);
    net.program = Program::Finishes;
    net.set_policy(signed(1, 1, vec![rule("fair", Limit::NodesPerUser(8), &[])]));
    for app in 7..10 {
        assert_eq!(net.submit_as(3, 1, app, 6), Ok(()));
        net.run(SECS(10));
        assert!(matches!(net.progress.last(), Some(Progress::Complete { .. })), "{:?}", net.progress);
    }
}

impl Net {
    /// The hold that a node grants a visitor.
    pub(super) fn hold_at(&mut self, at: Handle, visitor: Handle, app: AppId) -> u64 {
        let owner = NodeId::from_bytes([1; 16]);
        let by = Claimant { owner, roles: 0, name: String::new(), slots: 1 };
        let (colocate, patience, is_spare) = (true, 0, false);
        let ask = HoldAsk {
            app,
            cores_milli: 1_000,
            memory_bytes: 1 << 20,
            disk_bytes: 0,
            colocate,
            patience,
            by: by.into(),
            is_spare,
            ports: FixedPorts::NONE,
        };
        let query = Query::Nodes { requirement: Requirement::default(), hold: Some(ask) };
        let route =
            Route { schema: 1, len: 0, contacts: true, only: false, aims: xtreem_discovery::Aims::NONE };
        let visit = Discovery::Visit { search: 1, attributes: false, query, route, facts: None };
        let sent = self.with(at.as_u32() as usize, |node, now, out| {
            node.handle_message(now, visitor, Message::Discovery(visit), out);
            core::mem::take(&mut out.sent)
        });
        match &sent.expect("it lives")[0].1 {
            Message::Discovery(Discovery::Answer { answer, .. }) => match answer.hold {
                Some(HoldAnswer::Granted { id }) => id,
                ref other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
}

/// Whoever lies about whose the application is gets a hold and no more.
#[test]
fn a_confirm_proves_what_the_hold_was_asked_for_with() {
    let mut net = Net::new(4, 5);
    let reserved = Limit::Reserved("cpu.cores >= 1".into());
    net.set_policy(signed(1, 1, vec![rule("mine", reserved, &[2])]));
    let app = application(1, Wanted::Running).record.id;
    let claim = |owner: u8| Claimant {
        owner: NodeId::from_bytes([owner; 16]),
        roles: 0,
        name: String::new(),
        slots: 1,
    };
    let visit = |owner| {
        let ask = HoldAsk {
            app,
            cores_milli: 1_000,
            memory_bytes: 1 << 20,
            disk_bytes: 0,
            colocate: false,
            patience: 0,
            by: claim(owner).into(),
            is_spare: false,
            ports: FixedPorts::NONE,
        };
        let query = Query::Nodes { requirement: Requirement::default(), hold: Some(ask) };
        let route =
            Route { schema: 1, len: 0, contacts: true, only: false, aims: xtreem_discovery::Aims::NONE };
        Message::Discovery(Discovery::Visit { search: 1, attributes: false, query, route, facts: None })
    };
    let mut said = |message| {
        let mut outbox = Outbox::new(NodeId::from_bytes([0; 16]), &[]);
        let node = net.nodes[1].as_mut().expect("it lives");
        node.handle_message(net.now, handle(3), message, &mut outbox);
        outbox.sent
    };
    let hold = |sent: &[(Handle, Message)]| match &sent[0].1 {
        Message::Discovery(Discovery::Answer { answer, .. }) => answer.hold.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(hold(&said(visit(1))), Some(HoldAnswer::Forbidden { rule: "mine".to_string() }));
    let Some(HoldAnswer::Granted { id }) = hold(&said(visit(2))) else { panic!("the key is listed") };
    let epoch = xtreem_allocation::Epoch {
        counter: 1,
        recruiter: NodeId::from_bytes([9; 16]),
        incarnation: 1,
        attempt: 1,
    };
    let confirm = Confirm {
        application: application(1, Wanted::Running),
        slot: 0,
        epoch,
        hold: id,
        guardians: GuardianSet { version: SetVersion { number: 0, by: epoch }, members: vec![], claim: None },
        neighbours: vec![],
        older: vec![],
        peers: vec![],
        evidence: Evidence::default(),
        failures: Vec::new(),
        failing: Vec::new(),
        sources: Vec::new(),
    };
    let sent = said(Message::Allocation(Allocation::Confirm(confirm.into())));
    let refused = Refused::Forbidden { rule: "mine".to_string() };
    let expected = Allocation::Refused { app, slot: 0, epoch, why: refused };
    assert!(sent.contains(&(handle(3), Message::Allocation(expected))), "{sent:?}");
    assert_eq!(net.nodes[1].as_ref().map(|node| node.status().used), Some(Resources::default()));
}
