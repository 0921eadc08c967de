//! Matches of a search, and why there are no more.

use xtreem_client::api::{
    AttributeValue, Attributes, Bar, Ended, Forbidden, Histogram, LossAccepted, NodeMatch, NodeStatus, Plan,
    Reach, Reached, Resources, SearchReport, SetReport, Validity,
};
use xtreem_discovery::standard::{self, Kind, Unit};

use super::{Table, Widths, bytes, cores, now_unix, short, validity};

/// Columns that are shown whatever the requirement says.
const ALWAYS: [&str; 4] = ["host", "cpu.cores", "mem.total", "arch"];
/// Attribute of a node whose key another machine has, too: that one's address.
const CLONED: &str = "identity.cloned";
/// Attribute of a node that takes no slots: why.
const TAKES_NO_SLOTS: &str = "slots.none";
/// Characters of a value in a table.
const CELL_MAX_CHARS: usize = 32;

/// Which attributes stand in the table of matches, and how wide.
pub struct Columns {
    names: Vec<String>,
    widths: Widths,
}

impl Columns {
    /// A match that came after the table was shown.
    pub fn row(&self, node: &NodeMatch) -> String {
        self.widths.line(cells(&self.names, node))
    }
}

fn cells(names: &[String], node: &NodeMatch) -> impl Iterator<Item = String> {
    let attributes = names.iter().map(|name| cell(name, &node.attributes));
    let address = match node.attributes.get(CLONED) {
        Some(other) => format!("{} CLONED at {other}", node.address),
        None => node.address.clone(),
    };
    // In a last column without a name, so that it is whole and moves nothing.
    let note = node.attributes.get(TAKES_NO_SLOTS).map(|why| format!("TAKES NO SLOTS: {why}"));
    [short(&node.id).to_owned(), address].into_iter().chain(attributes).chain([note.unwrap_or_default()])
}

/// A row a node: the usual attributes, and those that the requirement names.
pub fn matches(requirement: &str, found: &[NodeMatch]) -> (Columns, Table) {
    let mut names: Vec<String> = ALWAYS.map(String::from).to_vec();
    names.extend(named(requirement).filter(|name| !ALWAYS.contains(name)).map(String::from));
    names.dedup();
    names.retain(|name| found.iter().any(|node| node.attributes.contains_key(name)));
    let head = ["NODE", "ADDRESS"].into_iter().chain(names.iter().map(String::as_str)).chain([""]);
    let mut table = Table::new(head);
    for node in found {
        table.row(cells(&names, node));
    }
    (Columns { names, widths: table.widths() }, table)
}

/// Most bars that are drawn; neighbours are joined until they are no more.
const BARS_MAX: usize = 16;
/// Characters of the longest bar.
const BAR_LEN: u64 = 40;

/// Bars of an attribute's values, the longest one as wide as may be.
pub fn histogram(name: &str, histogram: &Histogram) -> String {
    let (mut numbers, mut texts): (Vec<&Bar>, Vec<&Bar>) =
        histogram.bars.iter().partition(|bar| bar.thousandths.is_some());
    numbers.sort_by_key(|bar| bar.thousandths);
    texts.sort_by_key(|bar| std::cmp::Reverse(bar.nodes));
    let joined = numbers.len().div_ceil(BARS_MAX).max(1);
    let number = |bar: &Bar| number(name, bar.thousandths.unwrap_or_default(), &bar.value);
    let mut rows: Vec<(String, u64)> = numbers
        .chunks(joined)
        .map(|bars| {
            let label = if joined > 1 { format!("from {}", number(bars[0])) } else { number(bars[0]) };
            (label, bars.iter().map(|bar| u64::from(bar.nodes)).sum())
        })
        .collect();
    rows.extend(texts.iter().take(BARS_MAX).map(|bar| (bar.value.clone(), bar.nodes.into())));
    let rest: u64 = texts.iter().skip(BARS_MAX).map(|bar| u64::from(bar.nodes)).sum();
    rows.push(("others".to_owned(), rest + u64::from(histogram.others)));
    rows.push(("without it".to_owned(), histogram.missing.into()));
    let most = rows.iter().map(|(_, nodes)| *nodes).max().unwrap_or(0).max(1);
    let mut table = Table::new([name, "NODES"]);
    for (label, nodes) in rows.into_iter().filter(|(_, nodes)| *nodes > 0) {
        let len = (nodes * BAR_LEN).div_ceil(most) as usize;
        table.row([label, nodes.to_string(), "█".repeat(len)]);
    }
    format!("{table}\n")
}

/// A number of an attribute in the unit that people use for it.
pub(super) fn number(name: &str, thousandths: i64, value: &str) -> String {
    match standard::find(name).map(|attribute| attribute.kind) {
        Some(Kind::Number(Unit::Bytes)) => bytes((thousandths / 1_000).max(0) as u64),
        Some(Kind::Number(Unit::Hertz)) => format!("{:.2} GHz", thousandths as f64 / 1e12),
        _ => value.to_owned(),
    }
}

/// How many match, where only that was asked for.
pub fn counted(report: &SearchReport) -> String {
    let missed = report.lost + report.unopened;
    let verb = if report.matched == 1 { "matches" } else { "match" };
    let mut text = format!("{} {verb}", count(report.matched as usize, "node"));
    if missed > 0 {
        text.push_str(&format!("; about {missed} more could not be asked"));
    }
    text.push('.');
    text
}

/// How a search went.
pub fn explain(report: &SearchReport) -> String {
    let mut table = Table::new([
        "plan",
        match report.plan {
            Plan::Contacts => "from random node to random node: this one does not know the prefix trie yet",
            Plan::Trie => "along the prefix trie, best subtree first",
            Plan::TrieThenContacts => "along the prefix trie, then to everybody else of a small grid",
            Plan::Gather => "handed down the prefix trie, each subtree once",
        },
    ]);
    if let Some(expected) = &report.expected {
        let nodes = count(expected.matches as usize, "node");
        let says = format!("about {nodes} to match, found with {}", count(expected.visits as usize, "visit"));
        table.row(["expected".to_owned(), says]);
    }
    let nodes = count(report.visited as usize, "node");
    table.row(["visits".to_owned(), format!("{} to {nodes}, {} silent", report.visits, report.silent)]);
    table.row(["round trips".to_owned(), report.round_trips.to_string()]);
    let matched = format!("{} of {} that answered", report.matched, report.answered);
    table.row(["matched".to_owned(), matched]);
    if let Some(size) = report.grid_size {
        table.row(["grid".to_owned(), format!("about {}", count(size as usize, "node"))]);
    }
    table.row(["covered".to_owned(), format!("{} of the nodes that can match", percent(report.covered))]);
    for clause in &report.excluded {
        table.row([format!("`{}`", clause.clause), format!("excluded {} of those visited", clause.count)]);
    }
    for (nodes, why) in [(report.lost, "no link is alive"), (report.unopened, "the search ended first")] {
        if nodes > 0 {
            table.row(["not asked".to_owned(), format!("about {nodes} that may match: {why}")]);
        }
    }
    table.to_string()
}

/// Words of the language that are no attributes.
const NO_NAMES: [&str; 15] = [
    "has", "in", "true", "false", "node", "nodes", "with", "where", "spread", "by", "sum", "avg", "min",
    "max", "count",
];

/// Attribute names in a requirement, in their order, once each.
fn named(requirement: &str) -> impl Iterator<Item = &str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
    let is_word =
        |word: &&str| word.starts_with(|c: char| c.is_ascii_lowercase()) && !NO_NAMES.contains(word);
    // Texts are no names: outside them is every second part between quotes.
    let outside = requirement.split('"').step_by(2);
    let mut seen: Vec<&str> = Vec::new();
    for word in outside.flat_map(move |part| part.split(move |c| !is_name(c))).filter(is_word) {
        if !seen.contains(&word) {
            seen.push(word);
        }
    }
    seen.into_iter()
}

fn cell(name: &str, attributes: &Attributes) -> String {
    let Some(value) = attributes.get(name) else { return "-".to_owned() };
    let text = match (value, standard::find(name).map(|attribute| attribute.kind)) {
        (AttributeValue::Whole(size), Some(Kind::Number(Unit::Bytes))) if *size >= 0 => bytes(*size as u64),
        (AttributeValue::Whole(rate), Some(Kind::Number(Unit::Hertz))) => {
            format!("{:.2} GHz", *rate as f64 / 1e9)
        }
        (AttributeValue::List(entries), _) if entries.len() > 3 => format!("{} entries", entries.len()),
        _ => value.to_string(),
    };
    match text.char_indices().nth(CELL_MAX_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// How a search went, in one or two sentences; `wanted` where the user said how many.
pub fn closing(wanted: Option<usize>, report: &SearchReport) -> String {
    let matched = report.matched as usize;
    match wanted {
        Some(wanted) if matched < wanted => too_few(wanted, report),
        None if matched == 0 => format!("No node matches: {}", account(report)),
        None if report.ended != Ended::Enough => format!("{matched} found: {}", account(report)),
        _ => format!("{} found.", count(matched, "node")),
    }
}

/// What came of a search for a set, and why there is none.
pub fn set(set: &SetReport, report: &SearchReport) -> String {
    let reached: Vec<String> = set.reached.iter().filter_map(reached).collect();
    if set.found {
        let found = count(set.members as usize, "node");
        return if reached.is_empty() {
            format!("{found} found.")
        } else {
            format!("{found} found; together: {}.", reached.join(", "))
        };
    }
    let best = if reached.is_empty() {
        String::new()
    } else {
        format!("; the best that they come to is {}", reached.join(", "))
    };
    let seen = count(set.candidates as usize, "node");
    format!("No such set among the {seen} that could be members{best}: {}", account(report))
}

fn reached(Reached { aggregate, thousandths }: &Reached) -> Option<String> {
    let thousandths = (*thousandths)?;
    let name = aggregate.split(['(', ')']).nth(1).unwrap_or_default();
    let is_count = aggregate.starts_with("count(");
    let value = match thousandths {
        whole if whole % 1_000 == 0 => AttributeValue::Whole(whole / 1_000),
        // Of bytes and hertz nobody wants to see a thousandth.
        _ if standard::find(name).is_some_and(|known| known.kind != Kind::Number(Unit::Plain)) => {
            AttributeValue::Whole(thousandths / 1_000)
        }
        _ => AttributeValue::Decimal(thousandths as f64 / 1_000.0),
    };
    let name = if is_count { "" } else { name };
    Some(format!("{aggregate} = {}", cell(name, &[(name.to_owned(), value)].into())))
}

/// Why a search did not find `wanted` nodes, or not all of them could be held.
pub fn too_few(wanted: usize, report: &SearchReport) -> String {
    match report.matched as usize {
        matched if matched < wanted => format!("{matched} of {wanted} wanted: {}", account(report)),
        _ => format!("{} wanted, and not all could be had: {}", count(wanted, "node"), account(report)),
    }
}

fn account(report: &SearchReport) -> String {
    let matched = report.matched;
    let mut text = format!("of {} visited", count(report.visited as usize, "node"));
    match report.grid_size {
        Some(size) => text.push_str(&format!(" of about {size} in the grid")),
        None => text.push_str(" (the size of the grid is not known)"),
    }
    text.push_str(&format!(", {matched} matched"));
    if report.silent > 0 {
        text.push_str(&format!(", {} did not answer", report.silent));
    }
    let mut excluded: Vec<_> = report.excluded.iter().filter(|clause| clause.count > 0).collect();
    excluded.sort_by_key(|clause| std::cmp::Reverse(clause.count));
    for (at, clause) in excluded.iter().enumerate() {
        let joint = if at == 0 { "; " } else { ", " };
        text.push_str(&format!("{joint}`{}` excluded {}", clause.clause, clause.count));
    }
    text.push('.');
    let refused = report.refused;
    let reasons = [
        (refused.busy, "had no room"),
        (refused.too_many, "held enough for this asker"),
        (refused.same_app, "had a slot of it already"),
        (refused.stopped, "knew it as stopped"),
        (refused.mismatch, "declare more than they have"),
        (refused.cloned, "share their key with another machine (`xtreem node` there says where)"),
        (refused.port_taken, "have one of its ports in use"),
        (
            refused.port_too_low,
            "let programs listen at no port as low as one of its (`net.ipv4.ip_unprivileged_port_start`)",
        ),
        (refused.troubled, "cannot start programs just now"),
        (refused.not_isolated, "cannot isolate programs (`xtreem node` there says why)"),
    ];
    let reasons: Vec<_> =
        reasons.iter().filter(|(n, _)| *n > 0).map(|(n, why)| format!("{n} {why}")).collect();
    if !reasons.is_empty() {
        text.push_str(&format!(" Of those that matched, {}.", reasons.join(", ")));
    }
    for Forbidden { rule, count: nodes, why } in &report.forbidden {
        let nodes = count(*nodes as usize, "node");
        let why = why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        text.push_str(&format!(" {nodes} refused by VO rule {rule:?}{why}."));
    }
    text.push_str(match report.ended {
        Ended::Enough => "",
        Ended::Exhausted if report.lost > 0 => " Nodes to which no link is alive were not asked.",
        Ended::Exhausted if matches!(report.plan, Plan::Contacts | Plan::TrieThenContacts) => {
            " Every node that could be reached was asked."
        }
        Ended::Exhausted => " No other node can match.",
        Ended::Deadline => " The search ran out of time.",
        Ended::VisitLimit => " The search visited as many nodes as one search may.",
        Ended::Cancelled => " The search was given up.",
    });
    if report.covered < 1.0 && report.ended != Ended::Enough {
        text.push_str(&format!(" It covered {} of the nodes that can match.", percent(report.covered)));
    }
    text
}

/// Everything only when nothing is missing, and nothing only when all is.
fn percent(share: f64) -> String {
    if share >= 1.0 { "all".to_owned() } else { format!("about {} %", (100.0 * share).ceil().min(99.0)) }
}

pub fn count(n: usize, thing: &str) -> String {
    format!("{n} {thing}{}", if n == 1 { "" } else { "s" })
}

/// One node in full.
pub fn status(node: &NodeStatus) -> String {
    let mut text = Table::new(["node", &node.id]);
    text.row(["name", &node.name]);
    text.row(["VO", &node.vo]);
    if node.credential != Validity::default() {
        text.row(["credential", &validity(node.credential.not_after, now_unix())]);
    }
    text.row(["address", &node.address]);
    text.row(["incarnation", &node.incarnation.to_string()]);
    text.row(["version", &node.version]);
    text.row(["contacts", &node.contacts.to_string()]);
    text.row(["cut off", cut_off(node).as_deref().unwrap_or("no")]);
    if let Some(clock) = clock(node.clock_correction_ms) {
        text.row(["clock", &clock]);
    }
    text.row(["offered", &resources(&node.offered)]);
    text.row(["used", &resources(&node.used)]);
    text.row(["isolation", &node.isolation]);
    if let Some(why) = &node.takes_no_slots {
        text.row(["slots", &format!("takes none: {why}")]);
    }
    text.row(["network", &node.network]);
    for trouble in &node.troubles {
        text.row(["TROUBLE", trouble]);
    }
    if node.disk_is_full {
        text.row(["disk", "full: it takes no slots until there is room"]);
    }
    if node.left_behind.count > 0 {
        text.row(["left behind", &format!("{} of slots, which cannot be removed", node.left_behind.count)]);
    }
    for some in &node.left_behind.some {
        text.row(["", some]);
    }
    for name in node.attributes.keys() {
        text.row([name.clone(), cell(name, &node.attributes)]);
    }
    for (name, count) in node.counters.iter().filter(|(_, count)| **count > 0) {
        text.row([name.clone(), count.to_string()]);
    }
    text.to_string()
}

/// That a node is cut off, and what that means, in one line; nothing when it is not.
pub fn cut_off(node: &NodeStatus) -> Option<String> {
    match node.reach {
        Some(Reach { answering, members, needed, ends_in_s }) if node.cut_off => {
            // Whoever lost the others by dates alone would run everything twice.
            let then = if node.is_out_of_date {
                "The others may be well: first mend what `xtreem node` shows as TROUBLE"
            } else {
                "If the others are gone for good: `xtreem node accept-loss`"
            };
            Some(format!(
                "this node reaches {answering} of {members}: it replaces nothing until {needed} answer, for {} at \
                 most. {then}",
                duration(ends_in_s)
            ))
        }
        _ => node.cut_off.then(|| "too few contacts answer: it replaces nothing".to_owned()),
    }
}

/// Minutes, or seconds where there are few.
fn duration(seconds: u64) -> String {
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds.div_ceil(60)) }
}

/// What the operator's word did, and where it is still to be given.
pub fn loss_accepted(accepted: LossAccepted, elsewhere: &[NodeMatch]) -> String {
    let given_up = count(accepted.given_up.into(), "node");
    let mut text = format!("This node waits no longer for {given_up}, and replaces what ran there.\n");
    if !elsewhere.is_empty() {
        text += "These nodes are cut off, too, and wait for the same word, each on its own machine:\n";
    }
    for node in elsewhere {
        let host = node.attributes.get("host").map_or_else(|| "?".to_owned(), AttributeValue::to_string);
        text += &format!("  {} ({})\n", host.replace(char::is_control, "?"), node.address);
    }
    text
}

/// What is wrong with the machine's clock, if anything is.
fn clock(correction_ms: i64) -> Option<String> {
    let direction = if correction_ms > 0 { "behind" } else { "ahead of" };
    let seconds = correction_ms.unsigned_abs() / 1_000;
    (correction_ms != 0)
        .then(|| format!("{seconds} s {direction} its peers', which the agent corrects; set it"))
}

fn resources(amount: &Resources) -> String {
    let Resources { cores_milli, memory_bytes, disk_bytes } = *amount;
    format!("{} cores, {} memory, {} disk", cores(cores_milli), bytes(memory_bytes), bytes(disk_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtreem_client::api::{Excluded, HoldRefusals};

    fn node(id: &str, cores: i64) -> NodeMatch {
        let attributes = [
            ("cpu.cores", AttributeValue::Whole(cores)),
            ("mem.total", AttributeValue::Whole(16 << 30)),
            ("site", AttributeValue::Text("lab \u{1b}".to_owned())),
            ("commands", AttributeValue::List(vec![String::new(); 9])),
        ];
        NodeMatch {
            id: id.repeat(16),
            address: "[fd00::1]:7227".to_owned(),
            attributes: attributes.map(|(name, value)| (name.to_owned(), value)).into(),
        }
    }

    fn report() -> SearchReport {
        SearchReport {
            visits: 18,
            visited: 16,
            answered: 15,
            silent: 1,
            matched: 2,
            granted: 0,
            refused: HoldRefusals::default(),
            forbidden: Vec::new(),
            grid_size: Some(17),
            excluded: vec![
                Excluded { clause: "cpu.cores >= 4".to_owned(), count: 5 },
                Excluded { clause: "has gpu.model".to_owned(), count: 0 },
                Excluded { clause: "arch == \"x86_64\"".to_owned(), count: 9 },
            ],
            ended: Ended::Exhausted,
            plan: Plan::Trie,
            round_trips: 3,
            covered: 1.0,
            lost: 0,
            unopened: 0,
            histogram: None,
            set: None,
            expected: None,
        }
    }

    #[test]
    fn a_table_shows_the_usual_attributes_and_those_asked_for() {
        let found = [node("ab", 8), node("cd", 16)];
        let (_, text) = matches("site == \"cpu.freq\" && \"sh\" in commands", &found);
        assert_eq!(
            text.to_string(),
            "NODE      ADDRESS         cpu.cores  mem.total  site   commands\n\
             abababab  [fd00::1]:7227  8          16 GiB     lab ?  9 entries\n\
             cdcdcdcd  [fd00::1]:7227  16         16 GiB     lab ?  9 entries\n"
        );
    }

    #[test]
    fn who_lost_the_others_by_dates_is_not_told_to_give_them_up() {
        let status = |is_out_of_date: bool| {
            let none = serde_json::json!({ "cores_milli": 0, "memory_bytes": 0, "disk_bytes": 0 });
            serde_json::from_value::<NodeStatus>(serde_json::json!({
                "id": "", "name": "", "vo": "", "address": "", "incarnation": 1, "version": "", "contacts": 0,
                "cut_off": true, "offered": none, "used": none, "attributes": {}, "counters": {},
                "isolation": "", "network": "", "is_out_of_date": is_out_of_date,
                "reach": { "answering": 0, "members": 3, "needed": 2, "ends_in_s": 3_600 },
            }))
            .expect("a status")
        };
        for (is_out_of_date, part, absent) in [
            (false, "gone for good: `xtreem node accept-loss`", "may be well"),
            (true, "may be well", "accept-loss"),
        ] {
            let words = cut_off(&status(is_out_of_date)).expect("it is cut off");
            assert!(words.contains(part) && !words.contains(absent), "{words}");
        }
    }

    #[test]
    fn a_match_that_comes_later_stands_in_the_same_columns() {
        let (columns, table) = matches("", &[node("ab", 8)]);
        let more = columns.row(&node("ef", 128));
        assert_eq!(table.to_string().lines().nth(1).unwrap().find("16 GiB"), more.find("16 GiB"));
    }

    #[test]
    fn a_node_that_takes_no_slots_is_marked_with_the_reason_also_when_it_comes_later() {
        let unwilling = |id| {
            let mut node = node(id, 8);
            node.attributes.insert(TAKES_NO_SLOTS.into(), AttributeValue::Text("the agent is root".into()));
            node
        };
        let mark = "  TAKES NO SLOTS: the agent is root\n";
        let (_, text) = matches("", &[node("ab", 8), unwilling("cd")]);
        let text = text.to_string();
        assert!(text.ends_with(mark) && text.matches("TAKES").count() == 1, "{text}");
        let (columns, _) = matches("", &[node("ab", 8)]);
        assert!(columns.row(&unwilling("ef")).ends_with(mark));
        assert!(columns.row(&node("ef", 8)).ends_with("16 GiB\n"));
    }

    #[test]
    fn a_histogram_is_drawn_and_a_count_says_what_it_missed() {
        let bar = |value: &str, thousandths, nodes| Bar { value: value.into(), thousandths, nodes };
        let bars = vec![bar("16", Some(16_000), 40), bar("4", Some(4_000), 20), bar("odd \u{1b}", None, 1)];
        let text = histogram("cpu.cores", &Histogram { bars, missing: 2, others: 0 });
        assert_eq!(
            text,
            format!(
                "cpu.cores   NODES\n4           20     {}\n16          40     {}\nodd ?       1      █\n\
                 without it  2      ██\n\n",
                "█".repeat(20),
                "█".repeat(40)
            )
        );
        assert_eq!(counted(&report()), "2 nodes match.");
        assert_eq!(counted(&SearchReport { matched: 1, ..report() }), "1 node matches.");
        let partial = SearchReport { covered: 15.0 / 22.0, lost: 3, unopened: 4, ..report() };
        assert_eq!(counted(&partial), "2 nodes match; about 7 more could not be asked.");
        assert!(explain(&partial).contains("about 4 that may match: the search ended first"));
        assert!(explain(&partial).contains("about 69 % of the nodes that can match"));
        let visits = "visits              18 to 16 nodes, 1 silent\n";
        assert!(explain(&report()).contains(visits), "{}", explain(&report()));
        assert!(explain(&report()).contains("all of the nodes that can match"));
        let expected = Some(xtreem_client::api::Expected { matches: 120, visits: 35 });
        let foreseen = explain(&SearchReport { expected, ..report() });
        assert!(foreseen.contains("about 120 nodes to match, found with 35 visits"), "{foreseen}");
    }

    #[test]
    fn too_few_matches_are_explained() {
        assert_eq!(
            closing(Some(6), &report()),
            "2 of 6 wanted: of 16 nodes visited of about 17 in the grid, 2 matched, 1 did not answer; \
             `arch == \"x86_64\"` excluded 9, `cpu.cores >= 4` excluded 5. No other node can match."
        );
        let refused = HoldRefusals { busy: 2, ..HoldRefusals::default() };
        let busy =
            SearchReport { refused, grid_size: None, excluded: vec![], ended: Ended::Deadline, ..report() };
        assert_eq!(
            closing(Some(6), &busy),
            "2 of 6 wanted: of 16 nodes visited (the size of the grid is not known), 2 matched, 1 did not answer. \
             Of those that matched, 2 had no room. The search ran out of time."
        );
        let why = Some("nodes with gpu.count >= 1 are reserved for user alice".to_owned());
        let forbidden = vec![Forbidden { rule: "gpu-for-ml".to_owned(), count: 2, why }];
        let kept = SearchReport { forbidden, excluded: vec![], ..report() };
        assert_eq!(
            closing(Some(6), &kept),
            "2 of 6 wanted: of 16 nodes visited of about 17 in the grid, 2 matched, 1 did not answer. 2 nodes refused by \
             VO rule \"gpu-for-ml\": nodes with gpu.count >= 1 are reserved for user alice. No other node can \
             match."
        );
    }

    #[test]
    fn a_set_is_told_with_what_it_comes_to() {
        let reached = |aggregate: &str, thousandths| Reached { aggregate: aggregate.into(), thousandths };
        let aggregates = vec![
            reached("sum(disk.free)", Some((12 << 30) * 1_000)),
            reached("avg(load.1m)", Some(433)),
            reached("count(gpu.model)", Some(2_000)),
            reached("max(mem.free)", None),
        ];
        let found = SetReport { found: true, members: 3, candidates: 9, reached: aggregates };
        let together = "sum(disk.free) = 12 GiB, avg(load.1m) = 0.433, count(gpu.model) = 2";
        assert_eq!(set(&found, &report()), format!("3 nodes found; together: {together}."));
        let none = SetReport { found: false, members: 0, ..found };
        let text = set(&none, &report());
        assert!(
            text.starts_with(&format!(
                "No such set among the 9 nodes that could be members; the best that they come to is {together}: of 16 \
                 nodes visited of about 17 in the grid"
            )),
            "{text}"
        );
    }

    #[test]
    fn enough_matches_need_no_explanation() {
        assert_eq!(closing(Some(2), &report()), "2 nodes found.");
        let enough = SearchReport { ended: Ended::Enough, ..report() };
        assert_eq!(closing(None, &enough), "2 nodes found.");
        assert!(closing(None, &report()).starts_with("2 found: of 16 nodes visited of about 17"));
        let nobody = SearchReport { matched: 0, ..report() };
        assert!(closing(None, &nobody).starts_with("No node matches: of 16 nodes visited"));
    }

    #[test]
    fn a_partial_answer_says_so() {
        let partial = SearchReport { ended: Ended::Deadline, covered: 0.6, ..report() };
        let words = "The search ran out of time. It covered about 60 % of the nodes that can match.";
        assert!(closing(None, &partial).ends_with(words), "{}", closing(None, &partial));
        let enough = SearchReport { ended: Ended::Enough, ..partial };
        assert_eq!(closing(None, &enough), "2 nodes found.");
        assert_eq!(percent(0.999), "about 99 %", "something is missing");
    }

    #[test]
    fn a_clock_is_spoken_of_when_it_is_wrong() {
        assert_eq!(clock(0), None);
        let ahead = "3600 s ahead of its peers', which the agent corrects; set it";
        assert_eq!(clock(-3_600_001).as_deref(), Some(ahead));
        assert!(clock(45_000).is_some_and(|text| text.starts_with("45 s behind its peers'")));
    }
}
