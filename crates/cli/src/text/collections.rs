//! The collections of an application, as its slots see them.

use xtreem_client::api::{AppCollections, CollectionReply, CollectionSpec, NearView};

use super::{Table, bytes, count};

/// A row a slot of each collection.
pub fn list(told: &AppCollections) -> String {
    let mut rows: Vec<(&CollectionReply, u16)> =
        told.slots.iter().flat_map(|it| it.collections.iter().map(|of| (of, it.slot))).collect();
    rows.sort_by(|a, b| (&a.0.name, a.1).cmp(&(&b.0.name, b.1)));
    let mut table =
        Table::new(["COLLECTION", "KIND", "SLOT", "RANK", "MEMBERS", "PLACE", "ITEMS", "BYTES", "NOTE"]);
    for (of, slot) in &rows {
        let standing = of.standing.as_ref();
        let rank = standing.and_then(|standing| standing.rank).map(|rank| rank.to_string());
        let members = standing.map(|it| format!("{}{}", it.members, if it.settled { "" } else { "?" }));
        let place = of.place.as_ref().map(|place| joined(&place.at));
        let ring = of.ring.as_ref();
        let row = [
            of.name.replace(char::is_control, "?"),
            kind(&of.spec).to_owned(),
            slot.to_string(),
            rank.unwrap_or_else(dash),
            members.unwrap_or_else(dash),
            place.unwrap_or_else(dash),
            ring.map_or_else(dash, |ring| ring.items.to_string()),
            ring.map_or_else(dash, |ring| bytes(ring.bytes)),
            note(of),
        ];
        table.row(row);
    }
    let mut text = if table.is_empty() {
        "No slot that told is a member of a collection.\n".to_owned()
    } else {
        table.to_string()
    };
    if told.slots.len() < usize::from(told.known) {
        let known = count(told.known.into(), "running slot");
        text.push_str(&format!("\n{} of {known} told.\n", told.slots.len()));
    }
    text
}

fn dash() -> String {
    "-".to_owned()
}

fn joined<T: ToString>(parts: &[T]) -> String {
    parts.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}

fn kind(spec: &CollectionSpec) -> &'static str {
    if matches!(spec, CollectionSpec::Mesh { joined: true, .. }) { "torus" } else { spec.kind() }
}

/// What there is to say beside numbers.
fn note(of: &CollectionReply) -> String {
    if let Some(trouble) = &of.trouble {
        return trouble.replace(char::is_control, "?");
    }
    if let Some(progress) = of.farm.as_ref().and_then(|farm| farm.progress.as_ref()) {
        let oldest = progress.oldest_s.map(|seconds| format!(" (for up to {seconds} s)"));
        return format!(
            "farmer: {} open, {} in work{}, {} done, {} given up",
            progress.open,
            progress.in_hand,
            oldest.unwrap_or_default(),
            progress.done,
            progress.given_up
        );
    }
    if let Some(ring) = of.ring.as_ref().filter(|ring| ring.owns.is_none()) {
        return if ring.key.is_none() { "looks for a place" } else { "owns nothing now" }.to_owned();
    }
    if of.nearest.is_empty() {
        return dash();
    }
    let slots: Vec<u16> = of.nearest.iter().map(|NearView { slot, .. }| *slot).collect();
    format!("near slots {}", joined(&slots))
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtreem_client::api::{
        FarmProgress, FarmView, PlaceView, Profile, RingPlace, SlotCollections, StandingView,
    };

    fn reply(name: &str, spec: CollectionSpec) -> CollectionReply {
        CollectionReply {
            name: name.to_owned(),
            spec,
            known: 1,
            standing: None,
            place: None,
            ring: None,
            farm: None,
            nearest: Vec::new(),
            trouble: None,
        }
    }

    #[test]
    fn there_is_a_row_a_slot_of_each_collection_and_who_did_not_tell_is_counted() {
        let standing = |rank, settled| {
            Some(StandingView { rank: Some(rank), members: 2, numbering: "0".into(), settled })
        };
        let mesh = CollectionSpec::Mesh { shape: vec![1, 2], joined: true };
        let place = PlaceView { at: vec![0, 1], neighbours: Vec::new() };
        let world =
            CollectionReply { standing: standing(1, false), place: Some(place), ..reply("world", mesh) };
        let ring =
            RingPlace { key: Some("01".into()), owns: None, successors: vec![], items: 3, bytes: 2_048 };
        let progress =
            FarmProgress { open: 3, in_hand: 1, done: 2, oldest_s: Some(61), ..FarmProgress::default() };
        let farm = FarmView { is_farmer: true, farmer: Some(0), progress: Some(progress) };
        let farm_spec = CollectionSpec::Farm { copies: 2, lease_s: 30, attempts: 4, timeout_s: None };
        let jobs = CollectionReply {
            standing: standing(0, true),
            ring: Some(ring.clone()),
            farm: Some(farm),
            ..reply("jobs", farm_spec)
        };
        let items =
            CollectionReply { ring: Some(ring), ..reply("items", CollectionSpec::Ring { copies: 2 }) };
        let near = CollectionSpec::Nearest { metric: xtreem_client::api::Metric::Number };
        let nearest = vec![NearView { slot: 7, profile: Profile::Number(1) }];
        let near = CollectionReply { nearest, ..reply("near", near) };
        let slots = vec![
            SlotCollections { slot: 1, collections: vec![world, items] },
            SlotCollections { slot: 0, collections: vec![jobs, near] },
        ];
        let text = list(&AppCollections { slots, known: 3 });
        let expected = "\
COLLECTION  KIND     SLOT  RANK  MEMBERS  PLACE  ITEMS  BYTES  NOTE
items       ring     1     -     -        -      3      2 KiB  owns nothing now
jobs        farm     0     0     2        -      3      2 KiB  farmer: 3 open, 1 in work (for up to 61 s), 2 done, 0 given up
near        nearest  0     -     -        -      -      -      near slots 7
world       torus    1     1     2?       0,1    -      -      -

2 of 3 running slots told.
";
        assert_eq!(text, expected);
        let none = list(&AppCollections::default());
        assert_eq!(none, "No slot that told is a member of a collection.\n");
    }
}
