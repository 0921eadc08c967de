//! Ports for programs. A number is free when the system gives it and no other slot here was promised it.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use crate::program::PortRef;

/// Tries until a number is found that no other slot has (our guess: far fewer slots than ports).
const TRIES_MAX: u32 = 64;

/// The numbers promised to slots that run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports(Arc<Mutex<BTreeSet<u16>>>);

/// The ports of one slot, given back when dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    ports: Ports,
    pub(crate) numbers: Vec<(PortRef, u16)>,
}

impl Ports {
    /// A number for each port. A fixed number that somebody listens on is refused; nobody keeps it free from
    /// then on until the program listens.
    pub(crate) fn reserve(&self, wanted: &[PortRef], address: IpAddr) -> io::Result<Reserved> {
        let mut reserved = Reserved { ports: self.clone(), numbers: Vec::new() };
        for port in wanted {
            let number = if port.port == 0 { self.any(address)? } else { fixed(address, port.port)? };
            reserved.numbers.push((port.clone(), number));
        }
        Ok(reserved)
    }

    fn any(&self, address: IpAddr) -> io::Result<u16> {
        for _ in 0..TRIES_MAX {
            let number = TcpListener::bind((address, 0))?.local_addr()?.port();
            if self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(number) {
                return Ok(number);
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no free port found"))
    }
}

/// The number itself, unless somebody listens on it. What this agent may not test, as low numbers, it leaves
/// to the program.
fn fixed(address: IpAddr, number: u16) -> io::Result<u16> {
    match TcpListener::bind((address, number)) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        _ => Ok(number),
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut taken = self.ports.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (port, number) in &self.numbers {
            if port.port == 0 {
                taken.remove(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_port_on_which_somebody_listens_is_refused() {
        let here = IpAddr::from([127, 0, 0, 1]);
        let listener = TcpListener::bind((here, 0)).unwrap();
        let number = listener.local_addr().unwrap().port();
        let wanted = [PortRef { name: "http".into(), port: number }];
        let error = Ports::default().reserve(&wanted, here).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        assert_eq!(Ports::default().reserve(&wanted, here).unwrap().numbers[0].1, number);
    }

    #[test]
    fn no_two_slots_are_promised_one_port_and_ports_come_back() {
        let ports = Ports::default();
        let wanted = ["a", "b", "c"].map(|name| PortRef { name: name.into(), port: 0 });
        let here = IpAddr::from([127, 0, 0, 1]);
        let first = ports.reserve(&wanted, here).unwrap();
        let second = ports.reserve(&wanted, here).unwrap();
        let numbers: BTreeSet<u16> =
            first.numbers.iter().chain(&second.numbers).map(|(_, number)| *number).collect();
        assert_eq!(numbers.len(), 6);
        drop((first, second));
        assert!(ports.0.lock().unwrap().is_empty());
    }
}
