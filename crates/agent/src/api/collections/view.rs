//! A collection as one member sees it.

use xtreem_base::Handle;
use xtreem_client::api::{
    CollectionReply, CollectionSpec, FarmProgress, FarmView, NearView, NeighbourView, PlaceView, Profile,
    RingPlace, StandingView,
};
use xtreem_overlay::collection;
use xtreem_overlay::mesh::Way;
use xtreem_overlay::ranks::{Epoch, Standing};

use crate::api::ring::{hex, owned};
use crate::collections::{self, Driver, Ended, Joined};

/// All that is known of it here.
pub(crate) async fn reply(joined: &Joined) -> Result<CollectionReply, Ended> {
    let (name, spec) = (joined.name.clone(), joined.spec.clone());
    joined.call(move |driver| of(driver, name, spec)).await
}

fn of(driver: &Driver, name: String, spec: CollectionSpec) -> CollectionReply {
    let (core, config) = (driver.core(), driver.config());
    CollectionReply {
        name,
        known: core.known(config),
        standing: core.standing(config).as_ref().map(standing),
        place: core.place().map(|place| place_view(driver, place)),
        // Where ranks are counted along a ring, it is nobody's business.
        ring: core.kind().copies().and_then(|_| ring(driver)),
        farm: matches!(spec, CollectionSpec::Farm { .. }).then(|| farm(driver)),
        nearest: nearest(driver),
        trouble: core.trouble().map(|misfit| misfit.to_string()),
        spec,
    }
}

pub(super) fn standing(standing: &Standing) -> StandingView {
    StandingView {
        rank: standing.rank,
        members: standing.members,
        numbering: numbering(&standing.epoch),
        settled: standing.is_settled,
    }
}

pub(super) fn numbering(epoch: &Epoch) -> String {
    collections::numbering(epoch).to_string()
}

fn place_view(driver: &Driver, place: collection::Place) -> PlaceView {
    let neighbours = place.neighbours.into_iter().map(|(direction, rank, holder)| NeighbourView {
        dimension: direction.dimension,
        way: if direction.way == Way::Up { 1 } else { -1 },
        rank,
        slot: holder.and_then(|holder: Handle| driver.slot_of(holder)),
    });
    PlaceView { at: place.at, neighbours: neighbours.collect() }
}

fn ring(driver: &Driver) -> Option<RingPlace> {
    let (ring, shelf) = (driver.core().ring()?, driver.core().store()?.shelf());
    let lease = ring.lease().filter(|lease| lease.is_valid(driver.now()));
    Some(RingPlace {
        key: ring.position().map(|position| hex(&position.key)),
        owns: lease.map(|lease| owned(lease, driver.now())),
        successors: ring.successors().iter().filter_map(|it| driver.slot_of(it.handle)).collect(),
        items: lease.map_or(0, |lease| shelf.sum(lease.range(), |_, item| !item.is_removed()).items),
        bytes: shelf.bytes(),
    })
}

fn farm(driver: &Driver) -> FarmView {
    FarmView {
        is_farmer: driver.core().is_farmer(),
        farmer: driver.core().farmer().and_then(|farmer| driver.slot_of(farmer)),
        progress: driver.core().own_progress(driver.now()).as_ref().map(progress),
    }
}

pub(super) fn progress(progress: &collection::Progress) -> FarmProgress {
    FarmProgress {
        open: progress.open,
        in_hand: progress.leased,
        done: progress.done,
        given_up: progress.given_up,
        collected: progress.collected,
        duplicates: progress.duplicates.into(),
        whole: progress.whole,
        oldest_s: progress.oldest_s,
    }
}

fn nearest(driver: &Driver) -> Vec<NearView> {
    let near = driver.core().nearest().into_iter().filter_map(|(handle, profile)| {
        let profile = match profile {
            collection::Profile::Items(items) => Profile::Items(items.as_slice().to_vec()),
            collection::Profile::Number(number) => Profile::Number(number.0),
        };
        Some(NearView { slot: driver.slot_of(handle)?, profile })
    });
    near.collect()
}
