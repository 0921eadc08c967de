//! The VO's policy as this node has it: a rumour brings it here, and here it is read for this node.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;

use xtreem_allocation::Record;
use xtreem_allocation::policy::{Extent, Policy, PolicyError, PolicyVersion, Refusal, SignedPolicy, Subject};
use xtreem_base::{Call, Core, Driven, Events, Handle, Instant, Rng, Sink, Wake};
use xtreem_discovery::{Attributes, Claimant};
use xtreem_membership::rumour::{Config, Contacts, Newer, Rumour};

use crate::PolicyMessage;

/// A policy that is in force here.
#[derive(Clone, Debug)]
struct InForce {
    signed: Arc<SignedPolicy>,
    policy: Policy,
    version: PolicyVersion,
}

/// This node's policy, if it has one, and how it spreads.
pub(crate) struct Policies {
    rumour: Rumour<SignedPolicy>,
    in_force: Option<Box<InForce>>,
}

impl Policies {
    pub fn new(config: &Config, rng: Rng, now: Instant) -> Self {
        Policies { rumour: Rumour::new(config, rng, now), in_force: None }
    }

    pub fn in_force(&self) -> Option<(&Arc<SignedPolicy>, &Policy, PolicyVersion)> {
        self.in_force.as_ref().map(|now| (&now.signed, &now.policy, now.version))
    }

    /// A policy with the number of the one in force that lost against it: the VO's root signed two.
    pub fn rival(&self) -> Option<PolicyVersion> {
        self.rumour.rival()
    }

    /// Puts a newer policy in force and tells of it; an older one changes nothing. Returns whether it is in
    /// force now.
    pub fn take<S>(
        &mut self,
        call: Call<'_, Config>,
        signed: SignedPolicy,
        out: &mut S,
    ) -> Result<bool, PolicyError>
    where
        S: Sink<PolicyMessage> + Events<Newer<SignedPolicy>> + Contacts,
    {
        let is_taken = self.rumour.take(call, signed, out)?;
        self.read()?;
        Ok(is_taken)
    }

    /// Puts in force what the rumour has brought.
    fn read(&mut self) -> Result<(), PolicyError> {
        let version = self.in_force.as_ref().map_or(PolicyVersion::NONE, |now| now.version);
        if let Some(signed) = self.rumour.document().filter(|_| self.rumour.version() != version) {
            let (policy, version) = signed.open()?;
            self.in_force = Some(Box::new(InForce { signed: signed.clone(), policy, version }));
        }
        Ok(())
    }

    /// A view of the policy for judging on a node with these attributes.
    pub fn judge<'a>(&'a self, attributes: &'a Attributes) -> Judge<'a> {
        Judge { in_force: self.in_force.as_deref(), attributes }
    }
}

impl Core for Policies {
    type Config = Config;
    type Message = PolicyMessage;
    type Fault = PolicyError;

    fn next_timeout(&self, config: &Config) -> Wake {
        self.rumour.next_timeout(config)
    }

    fn handle_gone(&mut self, call: Call<'_, Config>, peer: Handle) {
        self.rumour.handle_gone(call, peer);
    }

    fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.rumour.for_each_handle(f);
    }
}

impl<S> Driven<S> for Policies
where
    S: Sink<PolicyMessage> + Events<Newer<SignedPolicy>> + Contacts,
{
    fn handle_message(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        message: PolicyMessage,
        out: &mut S,
    ) -> Result<(), PolicyError> {
        self.rumour.handle_message(call, from, message, out)?;
        self.read()
    }

    fn handle_timeout(&mut self, call: Call<'_, Config>, out: &mut S) {
        self.rumour.handle_timeout(call, out);
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
        let extent = Extent { slots: by.slots, here };
        self.in_force.map_or(Ok(()), |now| now.policy.judge_hold(&subject(by), extent, self.attributes))
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

/// Who a record is of. Name and roles are its signer's: nobody but the owner and administrators can sign it,
/// and the driver has verified that. Without a readable proof there are none, and only rules for everybody or
/// for the key know the owner.
pub(crate) fn claimant(record: &Record) -> Claimant {
    let (roles, name) = match xtreem_wire::claimed_signer(&record.proof) {
        Some(claims) => (claims.roles.as_bits(), claims.name),
        None => (0, String::new()),
    };
    Claimant { owner: record.owner, roles, name, slots: record.slots }
}
