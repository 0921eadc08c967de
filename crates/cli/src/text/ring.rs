//! A place on the ring of all nodes.

use xtreem_client::api::{AnnouncementView, RingItems, RingMember, RingOwner, RingReply};

use super::Table;

/// Digits of a key or an id that are enough to tell it from others.
const DIGITS: usize = 16;

fn short(text: &str) -> &str {
    text.get(..DIGITS).unwrap_or(text)
}

fn member(member: &RingMember) -> String {
    format!("{} at {}", member.id.get(..8).unwrap_or(&member.id), short(&member.key))
}

/// One line: who says what. Signs that a terminal would obey are left out.
pub fn announcement(told: &AnnouncementView) -> String {
    let body = String::from_utf8_lossy(&told.body.0);
    let body: String = body.chars().filter(|sign| !sign.is_control()).collect();
    format!("{} ({}): {body}\n", told.name, told.by.get(..8).unwrap_or(&told.by))
}

/// Where the node stands, what it owns and whom it knows.
pub fn place(ring: &RingReply) -> String {
    let Some(key) = &ring.key else {
        return "This node has no place on the ring yet; it takes one within some seconds.\n".to_owned();
    };
    let mut text = Table::new(["key", short(key)]);
    let owns = match &ring.owns {
        Some(range) if range.after == *key => format!("every key, epoch {}", range.epoch),
        Some(range) => format!("what comes after {}, epoch {}", short(&range.after), range.epoch),
        None => "nothing: its neighbours grant it nothing now".to_owned(),
    };
    text.row(["owns", &owns]);
    if let Some(left) = ring.owns.as_ref().and_then(|range| range.lease_ms) {
        text.row(["lease", &format!("{:.1} s", left as f64 / 1e3)]);
    }
    text.row(["predecessor", &ring.predecessor.as_ref().map_or("-".to_owned(), member)]);
    for (at, successor) in ring.successors.iter().enumerate() {
        text.row([if at == 0 { "successors" } else { "" }, &member(successor)]);
    }
    for (level, row) in ring.rows.iter().enumerate().skip(1) {
        let known: Vec<String> = row.iter().flatten().map(member).collect();
        text.row([format!("row {level}"), known.join(", ")]);
    }
    text.row(["candidates", &ring.candidates.to_string()]);
    text.to_string()
}

/// Who owns a key.
pub fn owner(found: &RingOwner) -> String {
    let mut text = Table::new(["owner", &found.owner.id]);
    text.row(["address", &found.owner.address]);
    text.row(["owns", &format!("after {} to {}", short(&found.after), short(&found.owner.key))]);
    text.row(["epoch", &found.epoch.to_string()]);
    text.row(["hops", &found.hops.to_string()]);
    text.row(["took", &format!("{:.1} ms", found.micros as f64 / 1e3)]);
    text.to_string()
}

/// Items, one a row; of their values the beginning.
pub fn items(items: &RingItems) -> String {
    if items.items.is_empty() {
        return "Nothing lies there.\n".to_owned();
    }
    let mut text = Table::new(["KEY", "BYTES", "VALUE", "VERSION", "WRITER"]);
    for item in &items.items {
        let bytes = &item.value.0;
        let value: String =
            String::from_utf8_lossy(bytes).chars().take(32).flat_map(char::escape_debug).collect();
        let writer = item.writer.get(..8).unwrap_or(&item.writer);
        text.row([&item.key, &bytes.len().to_string(), &value, &item.version, writer]);
    }
    let more = items.next.as_ref().map(|_| "There is more: --limit.\n").unwrap_or_default();
    format!("{text}{more}")
}
