//! Ports for programs.
//!
//! A port with a number is booked with the slot's hold, by the node. One that may have any number gets it
//! here: outside the range from which the system itself hands ports out (an outgoing connection of anybody
//! could take it while the program is down), free when it was tried, and no other slot's as long as the slot
//! lives, also while its program is started again.

mod told;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use xtreem_allocation::SlotRun;
use xtreem_base::AppId;

use crate::agent::random_u64;
use crate::program::PortRef;

pub(crate) use told::{Seen, covered, of, serve};

/// Numbers tried for one port (our guess: far fewer slots than numbers).
const TRIES_MAX: usize = 512;
/// The lowest number given (our guess: below it live services that are known by their numbers).
const LOWEST: u16 = 10_000;
/// How long a slot's numbers are kept when its program has ended: longer than the pause before it is started
/// again, which is 60 s at most.
const KEPT: Duration = Duration::from_secs(120);
/// The range from which Linux hands ports out unless told otherwise (ip(7)).
const EPHEMERAL: RangeInclusive<u16> = 32_768..=60_999;
/// From here on a program without `CAP_NET_BIND_SERVICE` may listen unless told otherwise (ip(7)).
const UNPRIVILEGED: u16 = 1_024;

/// The numbers promised to slots.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports {
    promises: Arc<Mutex<BTreeMap<SlotRun, Promise>>>,
    /// What other nodes told of theirs.
    pub(crate) seen: Arc<Seen>,
}

#[derive(Debug)]
struct Promise {
    numbers: Vec<(PortRef, u16)>,
    /// When the program ended, if it does not run.
    ended: Option<Instant>,
}

/// The ports of one slot while its program runs.
#[derive(Debug)]
pub(crate) struct Reserved {
    ports: Ports,
    run: SlotRun,
    pub(crate) numbers: Vec<(PortRef, u16)>,
}

impl Ports {
    /// A number for each port: the one that it has, the one that an earlier start of this run got, or a new
    /// one. One that it has and that somebody listens on is refused.
    pub(crate) fn reserve(&self, run: SlotRun, wanted: &[PortRef], address: IpAddr) -> io::Result<Reserved> {
        let mut promises = self.promises();
        promises.retain(|_, promise| promise.ended.is_none_or(|ended| ended.elapsed() < KEPT));
        let before = promises.remove(&run).map(|promise| promise.numbers).unwrap_or_default();
        let mut numbers: Vec<(PortRef, u16)> = Vec::new();
        for port in wanted {
            let again = before.iter().find(|(other, _)| other == port).map(|(_, number)| *number);
            let number = match port.port {
                0 => match again.filter(|number| is_free(address, *number)) {
                    Some(number) => number,
                    None => any(&mut promises, &numbers, address)?,
                },
                fixed if is_free(address, fixed) => fixed,
                taken => {
                    let why = format!("port {:?} ({taken}) is in use on this node", port.name);
                    return Err(io::Error::new(io::ErrorKind::AddrInUse, why));
                }
            };
            numbers.push((port.clone(), number));
        }
        promises.insert(run, Promise { numbers: numbers.clone(), ended: None });
        drop(promises);
        Ok(Reserved { ports: self.clone(), run, numbers })
    }

    /// The ports of the newest run of the slot whose program runs here, or is being started.
    pub(crate) fn here(&self, app: AppId, slot: u16) -> Option<Vec<(String, u16)>> {
        let promises = self.promises();
        let is_it = |(run, promise): &(&SlotRun, &Promise)| {
            run.app == app && run.slot == slot && promise.ended.is_none()
        };
        let (_, promise) = promises.iter().rev().find(is_it)?;
        Some(promise.numbers.iter().map(|(port, number)| (port.name.clone(), *number)).collect())
    }

    /// A panic elsewhere cannot leave the table half-changed: every change is one insertion or removal.
    fn promises(&self) -> MutexGuard<'_, BTreeMap<SlotRun, Promise>> {
        self.promises.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(promise) = self.ports.promises().get_mut(&self.run) {
            promise.ended = Some(Instant::now());
        }
    }
}

/// A number that nobody has. Where there is none left, slots whose programs ended lose theirs.
fn any(
    promises: &mut BTreeMap<SlotRun, Promise>,
    own: &[(PortRef, u16)],
    address: IpAddr,
) -> io::Result<u16> {
    let range = ephemeral();
    for _ in 0..2 {
        let is_promised = |number: u16| {
            let others = promises.values().flat_map(|promise| &promise.numbers);
            others.chain(own).any(|(_, other)| *other == number)
        };
        let found = candidates(&range, random_u64()).find(|n| !is_promised(*n) && is_free(address, *n));
        if let Some(number) = found {
            return Ok(number);
        }
        promises.retain(|_, promise| promise.ended.is_none());
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no free port found"))
}

/// Some numbers outside `ephemeral`, from a random one on. When the system takes all for itself, any.
fn candidates(ephemeral: &RangeInclusive<u16>, random: u64) -> impl Iterator<Item = u16> + use<> {
    let outside: Vec<u16> = (LOWEST..=u16::MAX).filter(|number| !ephemeral.contains(number)).collect();
    let numbers = if outside.is_empty() { (LOWEST..=u16::MAX).collect() } else { outside };
    let start = (random % numbers.len() as u64) as usize;
    numbers.into_iter().cycle().skip(start).take(TRIES_MAX)
}

/// From which the system hands ports out.
fn ephemeral() -> RangeInclusive<u16> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    parse_range(&text).unwrap_or(EPHEMERAL)
}

/// From where programs may listen: those in a user namespace of their own have no capability in the machine's
/// network.
pub(crate) fn lowest() -> u16 {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    parse_lowest(&text)
}

/// It may be 65,536, where all are privileged: then only the last one is free.
fn parse_lowest(text: &str) -> u16 {
    let number: Option<u32> = text.trim().parse().ok();
    number.map_or(UNPRIVILEGED, |number| u16::try_from(number).unwrap_or(u16::MAX))
}

fn parse_range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    match (numbers.next()?, numbers.next()?) {
        (Ok(low), Ok(high)) => Some(low..=high),
        _ => None,
    }
}

/// Whether nobody listens there, neither by TCP nor by UDP. What else may keep a program from listening, such
/// as a number that needs root, is not the port's fault.
pub(crate) fn is_free(address: IpAddr, number: u16) -> bool {
    let is_taken = |error: io::Error| error.kind() == io::ErrorKind::AddrInUse;
    // One after the other: as long as this holds a port, nobody else can have it.
    let tcp = || TcpListener::bind((address, number)).err();
    let udp = || UdpSocket::bind((address, number)).err();
    !tcp().is_some_and(is_taken) && !udp().is_some_and(is_taken)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use xtreem_allocation::Epoch;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn run(slot: u16) -> SlotRun {
        SlotRun { app: AppId::from_bytes([1; 16]), slot, epoch: Epoch::NONE }
    }

    fn auto(names: &[&str]) -> Vec<PortRef> {
        names.iter().map(|name| PortRef { name: (*name).into(), port: 0 }).collect()
    }

    fn numbers(reserved: &Reserved) -> BTreeSet<u16> {
        reserved.numbers.iter().map(|(_, number)| *number).collect()
    }

    #[test]
    fn no_two_slots_are_promised_one_port_and_a_slot_keeps_its_own_over_a_start() {
        let ports = Ports::default();
        let wanted = auto(&["a", "b", "c"]);
        let first = ports.reserve(run(1), &wanted, HERE).unwrap();
        let second = ports.reserve(run(2), &wanted, HERE).unwrap();
        let all: BTreeSet<u16> = numbers(&first).union(&numbers(&second)).copied().collect();
        assert_eq!(all.len(), 6);
        let of_system = ephemeral();
        assert!(all.iter().all(|number| *number >= LOWEST && !of_system.contains(number)), "{all:?}");
        let before = numbers(&first);
        assert_eq!(ports.here(run(1).app, 1).map(|told| told.len()), Some(3));
        drop(first);
        assert_eq!(ports.here(run(1).app, 1), None, "its program does not run");
        let again = ports.reserve(run(1), &wanted, HERE).unwrap();
        assert_eq!(numbers(&again), before);
    }

    #[test]
    fn a_port_in_use_is_noticed_and_not_given() {
        let tcp = TcpListener::bind((HERE, 0)).unwrap();
        assert!(!is_free(HERE, tcp.local_addr().unwrap().port()));
        let udp = UdpSocket::bind((HERE, 0)).unwrap();
        assert!(!is_free(HERE, udp.local_addr().unwrap().port()));
        // What a slot had is given to it again only while it is free.
        let ports = Ports::default();
        let first = ports.reserve(run(1), &auto(&["a"]), HERE).unwrap();
        let number = first.numbers[0].1;
        drop(first);
        let thief = TcpListener::bind((HERE, number)).unwrap();
        assert_ne!(ports.reserve(run(1), &auto(&["a"]), HERE).unwrap().numbers[0].1, number);
        let fixed = [PortRef { name: "http".into(), port: number }];
        let refused = ports.reserve(run(2), &fixed, HERE).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        assert!(refused.to_string().contains(&format!("({number})")), "{refused}");
        drop(thief);
        assert_eq!(ports.reserve(run(2), &fixed, HERE).unwrap().numbers[0].1, number);
    }

    #[test]
    fn the_lowest_port_is_what_the_machine_says() {
        let table =
            [("1024\n", 1_024), ("0\n", 0), ("80", 80), ("65536\n", u16::MAX), ("", 1_024), ("x", 1_024)];
        for (text, lowest) in table {
            assert_eq!(parse_lowest(text), lowest, "{text:?}");
        }
    }

    #[test]
    fn numbers_come_from_outside_the_range_of_the_system() {
        for (text, expected) in [
            ("32768\t60999\n", Some(32_768..=60_999)),
            ("1024 65535", Some(1_024..=65_535)),
            ("", None),
            ("x y", None),
        ] {
            assert_eq!(parse_range(text), expected, "{text:?}");
        }
        for random in [0, 1, 7_000, 22_767, u64::MAX] {
            let tried: Vec<u16> = candidates(&EPHEMERAL, random).collect();
            assert_eq!(tried.len(), TRIES_MAX);
            assert!(tried.iter().all(|number| *number >= LOWEST && !EPHEMERAL.contains(number)));
        }
        assert_eq!(candidates(&(1_024..=u16::MAX), 3).count(), TRIES_MAX, "where all are the system's");
    }
}
