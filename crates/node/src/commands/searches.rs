//! Searches for the users of this node.

use xtreem_base::Instant;
use xtreem_discovery::forecast::Forecast;
use xtreem_discovery::{Requirement, SearchId, SearchSpec, StartRefusal};

use crate::{Node, Output};

impl Node {
    /// Starts a search for this node's own user; `Event::Search` tells how it goes on.
    pub fn search(
        &mut self,
        now: Instant,
        spec: SearchSpec,
        out: &mut impl Output,
    ) -> Result<SearchId, StartRefusal> {
        let id = self.start_search(now, spec, out)?;
        self.settle(now, out);
        Ok(id)
    }

    pub(crate) fn start_search(
        &mut self,
        now: Instant,
        spec: SearchSpec,
        out: &mut impl Output,
    ) -> Result<SearchId, StartRefusal> {
        let mut seeds = self.contacts();
        self.rng.shuffle(&mut seeds);
        let (discovery, call, mut hosted) = self.searching(now, out);
        let call = discovery.narrow(call);
        discovery.start(call, spec, &seeds, &mut hosted)
    }

    pub fn cancel_search(&mut self, now: Instant, id: SearchId, out: &mut impl Output) {
        self.cancel(now, id, out);
        self.settle(now, out);
    }

    pub(crate) fn cancel(&mut self, now: Instant, id: SearchId, out: &mut impl Output) {
        let (discovery, call, mut hosted) = self.searching(now, out);
        let call = discovery.narrow(call);
        discovery.cancel(call, id, &mut hosted.out);
    }

    /// What a search for so many nodes (nothing: for all) will find and cost, about; nothing before an epoch
    /// of aggregation has ended.
    pub fn forecast(&self, requirement: &Requirement, wanted: Option<u32>) -> Option<Forecast> {
        self.aggregates.forecast(requirement, wanted)
    }
}
