//! The VO's policy as this node has it: how it gets here, and what it says of this node.
//!
//! Epidemic, push and pull (Demers et al., PODC 1987): a new policy goes at once to a few contacts, and in each round a
//! node tells one contact which one it has; whichever is older is then fetched anew.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use xtreem_allocation::policy::{Policy, PolicyError, PolicyVersion, Refusal, SignedPolicy, Subject, Wish};
use xtreem_allocation::{Record, policy::Limit};
use xtreem_base::{Duration, Handle, Instant, Rng};
use xtreem_discovery::{Attributes, Claimant, Requirement};
use xtreem_membership::Cyclon;

use crate::adapters::Post;
use crate::{Event, Message, Output};

/// Contacts that hear of a new policy at once. Our guess: 3 reach nearly all of a large grid, and the rounds the rest.
const FANOUT: usize = 3;
/// Rounds in which a node without a policy asks for one; later ones come to it.
const ASKING_ROUNDS: u8 = 3;

/// Node to node.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum PolicyMessage {
    /// The sender has this one.
    #[n(0)]
    Offer(#[n(0)] PolicyVersion),
    /// Its answer when the receiver's is older: send it.
    #[n(1)]
    Fetch,
    #[n(2)]
    Document(#[n(0)] Box<SignedPolicy>),
}

/// A policy that is in force here.
#[derive(Clone, Debug)]
struct InForce {
    signed: Arc<SignedPolicy>,
    policy: Policy,
    version: PolicyVersion,
    /// For each rule, what the nodes that it reserves meet; nothing for other rules. A requirement that this node
    /// cannot read counts as met: what may be reserved stays reserved.
    reserved: Vec<Option<Requirement>>,
}

/// This node's policy, if it has one, and when it speaks of it next.
pub(crate) struct Policies {
    now: Option<Box<InForce>>,
    due: Instant,
    period: Duration,
    asked: u8,
    rng: Rng,
}

impl Policies {
    pub fn new(now: Instant, period: Duration, mut rng: Rng) -> Self {
        let due = now + rng.jitter(period, 50);
        Policies { now: None, due, period, asked: 0, rng }
    }

    pub fn version(&self) -> PolicyVersion {
        self.now.as_ref().map_or(PolicyVersion::NONE, |now| now.version)
    }

    pub fn in_force(&self) -> Option<(&Arc<SignedPolicy>, &Policy, PolicyVersion)> {
        self.now.as_ref().map(|now| (&now.signed, &now.policy, now.version))
    }

    pub fn next_timeout(&self) -> Instant {
        self.due
    }

    pub fn handle_timeout<O: Output>(&mut self, now: Instant, grid: &Cyclon, post: &mut Post<'_, O>) {
        if self.due > now {
            return;
        }
        self.offer(1, grid, post);
        self.asked = self.asked.saturating_add(1);
        let is_silent = self.now.is_none() && self.asked >= ASKING_ROUNDS;
        self.due = if is_silent { Instant::FAR } else { now + self.rng.jitter(self.period, 25) };
    }

    fn offer<O: Output>(&mut self, contacts: usize, grid: &Cyclon, post: &mut Post<'_, O>) {
        let mut peers: Vec<Handle> = grid.view().map(|(peer, _)| peer).collect();
        self.rng.shuffle(&mut peers);
        for peer in peers.into_iter().take(contacts) {
            post.send(peer, Message::Policy(PolicyMessage::Offer(self.version())));
        }
    }

    /// Returns whether the message made sense.
    pub fn handle_message<O: Output>(
        &mut self,
        now: Instant,
        from: Handle,
        message: PolicyMessage,
        grid: &Cyclon,
        post: &mut Post<'_, O>,
    ) -> Result<(), PolicyError> {
        match message {
            PolicyMessage::Offer(theirs) if theirs > self.version() => {
                post.send(from, Message::Policy(PolicyMessage::Fetch));
            }
            PolicyMessage::Offer(theirs) if theirs < self.version() => {
                post.send(from, Message::Policy(PolicyMessage::Offer(self.version())));
            }
            PolicyMessage::Offer(_) => {}
            PolicyMessage::Fetch => {
                if let Some(in_force) = &self.now {
                    let document = Box::new(SignedPolicy::clone(&in_force.signed));
                    post.send(from, Message::Policy(PolicyMessage::Document(document)));
                }
            }
            PolicyMessage::Document(signed) => {
                self.take(now, *signed, grid, post)?;
            }
        }
        Ok(())
    }

    /// Puts a newer policy in force and tells of it; an older one changes nothing. Returns whether it is in force now.
    pub fn take<O: Output>(
        &mut self,
        now: Instant,
        signed: SignedPolicy,
        grid: &Cyclon,
        post: &mut Post<'_, O>,
    ) -> Result<bool, PolicyError> {
        let (policy, version) = signed.open()?;
        let ours = self.version();
        if version <= ours {
            return Ok(version == ours);
        }
        let reserved = policy.rules.iter().map(|rule| match &rule.limit {
            Limit::Reserved(nodes) => Requirement::parse(nodes).ok(),
            _ => None,
        });
        let reserved = reserved.collect();
        let signed = Arc::new(signed);
        self.now = Some(Box::new(InForce { signed: signed.clone(), policy, version, reserved }));
        self.due = now + self.rng.jitter(self.period, 25);
        self.offer(FANOUT, grid, post);
        let conflicts = ours.version == version.version;
        post.out.event(Event::PolicyChanged { signed, version: version.version, conflicts });
        Ok(true)
    }

    /// A view of the policy for judging on a node with these attributes.
    pub fn judge<'a>(&'a self, attributes: &'a Attributes) -> Judge<'a> {
        Judge { in_force: self.now.as_deref(), attributes }
    }
}

/// Says what the policy says; without one, yes to everything.
#[derive(Clone, Copy)]
pub(crate) struct Judge<'a> {
    in_force: Option<&'a InForce>,
    attributes: &'a Attributes,
}

impl Judge<'_> {
    /// What this node says of itself.
    pub fn attributes(&self) -> &Attributes {
        self.attributes
    }

    pub fn hold(&self, by: &Claimant, here: u32) -> Result<(), Refusal> {
        let Some(InForce { policy, reserved, .. }) = self.in_force else { return Ok(()) };
        policy.judge_hold(&subject(by), Wish { slots: by.slots, here }, |rule| {
            reserved[rule].as_ref().is_none_or(|nodes| nodes.matches(self.attributes))
        })
    }

    pub fn submission(&self, by: &Claimant) -> Result<(), Refusal> {
        self.in_force.map_or(Ok(()), |now| now.policy.judge_submission(&subject(by), by.slots))
    }

    pub fn limits_total(&self, by: &Claimant) -> bool {
        self.in_force.is_some_and(|now| now.policy.limits_total(&subject(by)))
    }

    pub fn total(&self, by: &Claimant, held: u32) -> Result<(), Refusal> {
        self.in_force.map_or(Ok(()), |now| now.policy.judge_total(&subject(by), held, by.slots))
    }
}

fn subject(by: &Claimant) -> Subject<'_> {
    Subject { owner: by.owner, name: &by.name, roles: by.roles }
}

/// Who a record is of. Name and roles are its signer's: nobody but the owner and administrators can sign it, and the
/// driver has verified that. Without a readable proof there are none, and only rules for everybody or for the key
/// know the owner.
pub(crate) fn claimant(record: &Record) -> Claimant {
    let (roles, name) = match xtreem_wire::claimed_signer(&record.proof) {
        Some(claims) => (claims.roles.as_bits(), claims.name),
        None => (0, String::new()),
    };
    Claimant { owner: record.owner, roles, name, slots: record.slots }
}
