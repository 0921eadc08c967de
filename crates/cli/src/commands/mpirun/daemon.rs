//! What starts a daemon of Open MPI beside a slot: this binary, which knows by which network the nodes reach
//! each other, and then a shell.
//!
//! Open MPI takes all networks of a machine for ways to the others. Where two machines have a bridge of
//! containers with one address each, which is the same, it connects a rank to itself and hangs.

use std::env;
use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use clap::Args;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

use crate::exit::{Exit, Failure};

/// Names the network to the ranks, for which the shell before them looks whether the user has named another.
pub const NETWORK: &str = "XTREEM_MPI_NETWORK";

#[derive(Args, Debug)]
pub struct Arguments {
    /// A line for a shell
    #[arg(allow_hyphen_values = true)]
    line: String,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let mut shell = Command::new("sh");
    shell.args(["-c", &arguments.line]);
    let address = env::var("XTREEM_ADDRESS").ok().and_then(|address| address.parse().ok());
    if let Some(network) = address.and_then(network_of) {
        shell.env(NETWORK, network);
    }
    let error = shell.exec();
    Err(Failure::new(Exit::ExecNoCommand, format!("starting a daemon by `sh`: {error}")))
}

/// The network that has an address of this machine. None for loopback, which Open MPI leaves out for its own
/// reasons.
fn network_of(address: IpAddr) -> Option<String> {
    if address.is_loopback() {
        return None;
    }
    let is_it = |found: &SockaddrStorage| match address {
        IpAddr::V4(address) => found.as_sockaddr_in().is_some_and(|found| found.ip() == address),
        IpAddr::V6(address) => found.as_sockaddr_in6().is_some_and(|found| found.ip() == address),
    };
    let mut all = getifaddrs().ok()?;
    all.find(|one| one.address.as_ref().is_some_and(is_it)).map(|one| one.interface_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_the_machine_leads_to_its_network_and_no_other_does() {
        for one in getifaddrs().expect("networks") {
            let Some(address) = one.address else { continue };
            let address = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
                (Some(found), _) => IpAddr::from(found.ip()),
                (_, Some(found)) => IpAddr::from(found.ip()),
                _ => continue,
            };
            assert_eq!(network_of(address).is_some(), !address.is_loopback(), "{address}");
        }
        // For documentation only (RFC 5737, RFC 3849).
        assert_eq!(network_of("203.0.113.77".parse().expect("an address")), None);
        assert_eq!(network_of("2001:db8::77".parse().expect("an address")), None);
    }
}
