//! What this node knows of all nodes together: aggregation over the grid-wide partial view, with the
//! attributes of the schema.

use alloc::sync::Arc;
use alloc::vec::Vec;

use xtreem_base::{Call, Core, Driven, Handle, Rng, Sampler, Sink, Wake};
use xtreem_discovery::forecast::{self, Forecast};
use xtreem_discovery::schema::Schema;
use xtreem_discovery::{Attributes, Requirement};
use xtreem_membership::aggregation::{Aggregation, Estimate, Fault, Message};

use crate::Config;

pub(crate) struct Aggregates {
    /// Nothing until attributes are known.
    core: Option<Aggregation>,
    schema: Option<Arc<Schema>>,
    rng: Rng,
}

/// A picture of the grid, as this node knows it.
#[derive(Clone, Debug)]
pub struct GridEstimate {
    /// The epoch that runs, zero when none is known.
    pub epoch: u32,
    /// Rounds since it began.
    pub age: u16,
    /// Rounds of an epoch.
    pub rounds: u8,
    /// What came out last.
    pub last: Option<Arc<Estimate>>,
    /// It is the word of a single peer: no epoch has ended here yet.
    pub is_heard: bool,
    /// What the attributes of `last` are: first the static ones of the schema, then the dynamic ones.
    pub schema: Option<Arc<Schema>>,
}

impl Aggregates {
    pub fn new(rng: Rng) -> Self {
        Aggregates { core: None, schema: None, rng }
    }

    /// Takes what the node says of itself; it counts from the next epoch on. While two schemas run, the older
    /// one's attributes are those that all nodes have.
    pub fn set_attributes(&mut self, call: Call<'_, Config>, me: Handle, attributes: &Attributes) {
        let Call { config, now } = call;
        let Some(schema) = config.schemas.iter().min_by_key(|schema| schema.version()) else { return };
        let mut codes: Vec<u16> = schema.codes(attributes)[..schema.dimensions().len()].into();
        codes.extend(&schema.present(attributes)[..schema.dynamics().len()]);
        match &mut self.core {
            Some(core) => core.set_codes(&codes),
            None => {
                let rng = Rng::new(self.rng.next_u64());
                let even = config.even_bounds.clone();
                let version = schema.version();
                self.core = Some(Aggregation::new(&config.aggregation, version, even, me, &codes, rng, now));
                self.schema = Some(schema.clone());
            }
        }
    }

    /// Nodes of the grid, about.
    pub fn size(&self) -> Option<u32> {
        Some(self.core.as_ref()?.estimate()?.size.nodes)
    }

    pub fn picture(&self, call: Call<'_, Config>) -> GridEstimate {
        let core = self.core.as_ref();
        let (epoch, age) = core.map_or((0, 0), |core| core.epoch(call.narrow(|config| &config.aggregation)));
        GridEstimate {
            epoch,
            age,
            rounds: call.config.aggregation.rounds,
            last: core.and_then(|core| core.estimate().cloned()),
            is_heard: core.is_some_and(Aggregation::is_heard),
            schema: self.schema.clone(),
        }
    }

    /// What a search will find and cost, about.
    pub fn forecast(&self, requirement: &Requirement, wanted: Option<u32>) -> Option<Forecast> {
        let (estimate, schema) = (self.core.as_ref()?.estimate()?, self.schema.as_ref()?);
        let share = |attribute, low, high| estimate.share(attribute, low, high).unwrap_or(u16::MAX);
        let matches = forecast::matches(&requirement.region(schema), schema, &share, estimate.size.nodes);
        Some(forecast::plan(estimate.size.nodes, matches, wanted))
    }
}

impl Core for Aggregates {
    type Config = Config;
    type Message = Message;
    type Fault = Fault;

    fn next_timeout(&self, config: &Config) -> Wake {
        self.core.as_ref().map_or(Wake::NEVER, |core| core.next_timeout(&config.aggregation))
    }

    fn handle_gone(&mut self, call: Call<'_, Config>, peer: Handle) {
        if let Some(core) = &mut self.core {
            core.handle_gone(call.narrow(|config| &config.aggregation), peer);
        }
    }

    fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.core.iter().for_each(|core| core.for_each_handle(f));
    }
}

impl<S: Sink<Message> + Sampler> Driven<S> for Aggregates {
    fn handle_message(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        message: Message,
        out: &mut S,
    ) -> Result<(), Fault> {
        match &mut self.core {
            Some(core) => core.handle_message(call.narrow(|config| &config.aggregation), from, message, out),
            None => Ok(()),
        }
    }

    fn handle_timeout(&mut self, call: Call<'_, Config>, out: &mut S) {
        let call = call.narrow(|config| &config.aggregation);
        if let Some(core) = self.core.as_mut().filter(|core| core.next_timeout(call.config).at <= call.now) {
            core.handle_timeout(call, out);
        }
    }
}
