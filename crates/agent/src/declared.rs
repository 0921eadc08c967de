//! Declared against measured: the operator's word holds for what cannot be measured; a lie about the rest
//! stops the agent at its start, before any search can believe it.

use xtreem_allocation::Resources;
use xtreem_discovery::standard::{self, Kind, Unit};
use xtreem_discovery::{Attributes, Number, Value};

use crate::config::{Config, Offer};

/// How far a declared size or clock may lie from the measured one, in per cent: firmware and kernel keep some
/// memory, and people write round numbers (our guess).
const TOLERANCE_PERCENT: i128 = 10;

/// Why the configuration does not fit the machine. Nothing was started.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeclaredError {
    #[error(
        "attribute `{name}` is declared as {declared} but this machine measures {measured}; \
         leave it out (only an emulated host may differ)"
    )]
    Contradiction { name: String, declared: String, measured: String },
    #[error(
        "`offer.{what}` is {offered} but this machine has {measured}; lower it, or leave it out to offer all"
    )]
    OfferTooLarge { what: &'static str, offered: String, measured: String },
    #[error("attribute `{name}`: {reason}")]
    NotTaken { name: String, reason: String },
}

/// The node's attributes: measured ones, and declared ones beside them (over them on an emulated host).
///
/// Called at the start, where a contradiction is an error, and at every later measurement.
pub(crate) fn merge(measured: Attributes, config: &Config) -> Result<Attributes, DeclaredError> {
    let mut merged = measured;
    for (name, declared) in config.declared.iter() {
        match merged.value(name) {
            Some(found) if !config.emulated => {
                if !agree(name, declared, found) {
                    let (declared, measured) = (declared.to_string(), found.to_string());
                    return Err(DeclaredError::Contradiction { name: name.to_owned(), declared, measured });
                }
            }
            _ => set(&mut merged, name, declared.clone())?,
        }
    }
    Ok(merged)
}

/// Sets an attribute that the agent knows itself.
pub(crate) fn set(into: &mut Attributes, name: &str, value: impl Into<Value>) -> Result<(), DeclaredError> {
    into.set(name, value)
        .map_err(|error| DeclaredError::NotTaken { name: name.to_owned(), reason: error.to_string() })
}

fn agree(name: &str, declared: &Value, measured: &Value) -> bool {
    let (Value::Number(declared), Value::Number(measured)) = (declared, measured) else {
        return declared == measured;
    };
    match standard::find(name).map(|row| row.kind) {
        Some(Kind::Number(Unit::Bytes | Unit::Hertz)) => {
            let (a, b) = (i128::from(declared.as_thousandths()), i128::from(measured.as_thousandths()));
            (a - b).abs() * 100 <= b * TOLERANCE_PERCENT
        }
        _ => declared == measured,
    }
}

/// What the node offers: as configured, else all that the machine (or the emulated host) has.
pub(crate) fn offer(attributes: &Attributes, config: &Config) -> Result<Resources, DeclaredError> {
    let number = |name| match attributes.value(name) {
        Some(Value::Number(number)) => *number,
        _ => Number::default(),
    };
    let bytes = |name| u64::try_from(number(name).whole()).unwrap_or(0);
    let cores_milli = u32::try_from(number("cpu.cores").as_thousandths()).unwrap_or(0);
    let has = Resources {
        cores_milli,
        memory_bytes: bytes("mem.total"),
        // On a real machine the disk that is free now; an emulated host may declare only a size.
        disk_bytes: bytes(if attributes.value("disk.free").is_some() { "disk.free" } else { "disk.total" }),
    };
    let Offer { cores_milli, memory_bytes, disk_bytes } = config.offer;
    let offered = Resources {
        cores_milli: cores_milli.unwrap_or(has.cores_milli),
        memory_bytes: memory_bytes.unwrap_or(has.memory_bytes),
        disk_bytes: disk_bytes.unwrap_or(has.disk_bytes),
    };
    let table = [
        ("cores", u64::from(offered.cores_milli), u64::from(has.cores_milli)),
        ("memory", offered.memory_bytes, has.memory_bytes),
        ("disk", offered.disk_bytes, bytes("disk.total").max(has.disk_bytes)),
    ];
    match table.into_iter().find(|(_, offered, measured)| offered > measured) {
        Some((what, offered, measured)) if !config.emulated => {
            let text = |amount| if what == "cores" { thousandths(amount) } else { mebibytes(amount) };
            Err(DeclaredError::OfferTooLarge { what, offered: text(offered), measured: text(measured) })
        }
        _ => Ok(offered),
    }
}

fn thousandths(amount: u64) -> String {
    format!("{}.{:03}", amount / 1_000, amount % 1_000)
}

fn mebibytes(amount: u64) -> String {
    format!("{} MiB", amount >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Attributes {
        let mut measured = Attributes::new();
        measured.set("cpu.cores", 8).unwrap();
        measured.set("mem.total", 8_000_000_000).unwrap();
        measured.set("disk.total", 100 << 30).unwrap();
        measured.set("disk.free", 50 << 30).unwrap();
        measured.set("arch", "x86_64").unwrap();
        measured
    }

    fn declaring(name: &str, value: impl Into<Value>) -> Config {
        let mut config = Config::new("/state".into());
        config.declared.set(name, value).unwrap();
        config
    }

    #[test]
    fn a_lie_is_refused_and_a_round_number_is_not() {
        let table = [
            ("cpu.cores", Value::from(16), false),
            ("cpu.cores", Value::from(8), true),
            ("mem.total", Value::from(8u64 << 30), true),
            ("mem.total", Value::from(16u64 << 30), false),
            ("arch", Value::from("aarch64"), false),
            ("rack", Value::from("r7"), true),
        ];
        for (name, value, is_taken) in table {
            let merged = merge(machine(), &declaring(name, value.clone()));
            assert_eq!(merged.is_ok(), is_taken, "{name} = {value}");
        }
    }

    #[test]
    fn an_emulated_host_is_what_it_declares() {
        let mut config = declaring("cpu.cores", 64);
        config.emulated = true;
        let merged = merge(machine(), &config).unwrap();
        assert_eq!(merged.value("cpu.cores"), Some(&Value::from(64)));
        assert_eq!(offer(&merged, &config).unwrap().cores_milli, 64_000);
    }

    #[test]
    fn nobody_offers_more_than_the_machine_has() {
        let mut config = Config::new("/state".into());
        assert_eq!(offer(&machine(), &config).unwrap().disk_bytes, 50 << 30);
        config.offer.memory_bytes = Some(9_000_000_000);
        assert!(matches!(
            offer(&machine(), &config),
            Err(DeclaredError::OfferTooLarge { what: "memory", .. })
        ));
        config.emulated = true;
        assert_eq!(offer(&machine(), &config).unwrap().memory_bytes, 9_000_000_000);
    }
}
