//! The attribute names that every agent uses alike. Sites may add their own; these keep their meaning
//! everywhere.

/// What the numbers of an attribute count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things, or a ratio.
    Plain,
    Bytes,
    Hertz,
}

/// The form of an attribute's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Number(Unit),
    Text,
    Flag,
    List,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Attribute {
    pub name: &'static str,
    pub kind: Kind,
    /// Changes while the agent runs: measured anew every second, never part of a digest or a key.
    pub dynamic: bool,
    pub meaning: &'static str,
}

const fn row(name: &'static str, kind: Kind, dynamic: bool, meaning: &'static str) -> Attribute {
    Attribute { name, kind, dynamic, meaning }
}

const PLAIN: Kind = Kind::Number(Unit::Plain);
const BYTES: Kind = Kind::Number(Unit::Bytes);

/// The names are in order.
pub const ATTRIBUTES: &[Attribute] = &[
    row("address", Kind::Text, true, "address and port at which other nodes reach the agent"),
    row("arch", Kind::Text, false, "instruction set, as in `uname -m`"),
    row("commands", Kind::List, false, "commands found on PATH"),
    row("cpu.cores", PLAIN, false, "logical cores"),
    row("cpu.flags", Kind::List, false, "features of the CPU, as in /proc/cpuinfo"),
    row("cpu.freq", Kind::Number(Unit::Hertz), false, "highest clock of a core"),
    row("cpu.model", Kind::Text, false, "model name of the CPU"),
    row("cut_off", Kind::Flag, true, "the node reaches too few of those it knew, and replaces nothing"),
    row("disk.free", BYTES, true, "free disk space for slots"),
    row("disk.total", BYTES, false, "size of the disk that slots use"),
    row("gpu.count", PLAIN, false, "GPUs; missing when there are none"),
    row("gpu.mem", BYTES, false, "memory of the largest GPU"),
    row("gpu.model", Kind::Text, false, "model of the first GPU"),
    row("host", Kind::Text, false, "host name"),
    row("id", Kind::Text, false, "the node's id"),
    row("kernel", Kind::Text, false, "kernel release, as in `uname -r`"),
    row("load.15m", PLAIN, true, "load average of 15 minutes"),
    row("load.1m", PLAIN, true, "load average of 1 minute"),
    row("load.5m", PLAIN, true, "load average of 5 minutes"),
    row("mem.free", BYTES, true, "memory available to new processes"),
    row("mem.total", BYTES, false, "memory of the machine"),
    row("offer.cores", PLAIN, false, "cores that the operator offers to the grid"),
    row("offer.disk", BYTES, false, "disk space that the operator offers"),
    row("offer.mem", BYTES, false, "memory that the operator offers"),
    row("os", Kind::Text, false, "distribution, as ID in /etc/os-release"),
    row("os.version", Kind::Text, false, "its version, as VERSION_ID"),
    row("rack", Kind::Text, false, "rack in which the machine stands, from the configuration"),
    row("site", Kind::Text, false, "site that the machine belongs to, from the configuration"),
    row("slots.free", PLAIN, true, "slots that could still be offered"),
    row("slots.none", Kind::Text, true, "why the node takes no slots; missing when it takes some"),
    row("slots.used", PLAIN, true, "slots running or held"),
];

/// The standard attribute of that name.
pub fn find(name: &str) -> Option<&'static Attribute> {
    let at = ATTRIBUTES.binary_search_by(|attribute| attribute.name.cmp(name)).ok()?;
    ATTRIBUTES.get(at)
}

/// Whether the attribute changes while the agent runs. What a site adds is static.
pub fn is_dynamic(name: &str) -> bool {
    find(name).is_some_and(|attribute| attribute.dynamic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn the_document_has_the_same_table() {
        let document = include_str!("../../../../docs/protocols/discovery.md");
        for Attribute { name, kind, dynamic, meaning } in ATTRIBUTES {
            let kind = match kind {
                Kind::Number(Unit::Plain) => "number",
                Kind::Number(Unit::Bytes) => "bytes",
                Kind::Number(Unit::Hertz) => "hertz",
                Kind::Text => "text",
                Kind::Flag => "flag",
                Kind::List => "list",
            };
            let dynamic = if *dynamic { " yes" } else { "" };
            let row = format!("| `{name}` | {kind} |{dynamic} | {meaning} |");
            assert!(document.contains(&row), "{row}");
        }
    }

    #[test]
    fn every_row_is_found() {
        for attribute in ATTRIBUTES {
            assert_eq!(find(attribute.name).map(|found| found.name), Some(attribute.name));
        }
        assert!(is_dynamic("load.1m") && !is_dynamic("mem.total") && !is_dynamic("site.rack"));
    }
}
