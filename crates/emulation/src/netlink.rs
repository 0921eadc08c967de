//! Links, bridges and addresses by rtnetlink(7), as root of one's own network namespace.

use std::io;
use std::net::Ipv6Addr;

use nix::net::if_::if_nametoindex;
use nix::unistd::Pid;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags};
use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::{Handle, LinkBridge, LinkUnspec, LinkVeth, new_connection};

/// The lab's end of a host's cable is `vINDEX`, the host's end is this.
pub(crate) const HOST_LINK: &str = "eth0";

/// Unique local addresses (RFC 4193) whose 40 bits, which the RFC wants random, spell "xtree"; the network is
/// private to the lab, so they meet nobody else's.
const PREFIX: [u16; 4] = [0xfd78, 0x7472, 0x6565, 0];
const PREFIX_BITS: u8 = 64;

/// The lab's own interface number in the network; above every host's index.
const LAB: u16 = 0xffff;

/// Hosts that every host knows by static neighbour entries. Entries that the kernel finds by itself count
/// against one limit for the whole machine (`gc_thresh3`, 1,024 by default, `net/core/neighbour.c`), which
/// forty hosts that all talk to each other exceed; static ones do not. The square of this number is what a
/// full lab costs, about 450 bytes and 20 µs each. Above it hosts find each other as usual.
const STATIC_NEIGHBOURS: u16 = 256;

/// The address of a host.
pub(crate) fn host_address(index: u16) -> Ipv6Addr {
    let [a, b, c, d] = PREFIX;
    Ipv6Addr::new(a, b, c, d, 0, 0, 0, index)
}

/// The link-layer address of a host: locally administered, the rest spells "xtr".
fn host_link_address(index: u16) -> [u8; 6] {
    let [high, low] = index.to_be_bytes();
    [0x02, 0x78, 0x74, 0x72, high, low]
}

/// The address of the lab itself, from which its children speak to the hosts.
pub(crate) fn lab_address() -> Ipv6Addr {
    host_address(LAB)
}

/// A conversation with the kernel about the network namespace it was opened in.
pub(crate) struct Netlink {
    handle: Handle,
}

impl Netlink {
    /// Opens the conversation. Within a tokio runtime, which carries it.
    pub fn open() -> io::Result<Self> {
        let (connection, handle, _) = new_connection()?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// Makes a bridge without spanning tree; its ports forward at once. Returns its interface number.
    pub async fn add_bridge(&self, name: &str) -> Result<u32, String> {
        // Without a multicast querier in the network snooping could only lose neighbour solicitations.
        let bridge = LinkBridge::new(name).mcast_snooping(false).build();
        self.handle
            .link()
            .add(bridge)
            .execute()
            .await
            .map_err(|error| format!("adding bridge {name}: {error}"))?;
        link_number(name)
    }

    /// Makes a host's cable: one end a port of `bridge` here, the other `eth0` in the namespace of process
    /// `host`.
    pub async fn add_cable(&self, index: u16, host: Pid, bridge: u32) -> Result<(), String> {
        let far = LinkUnspec::new_with_name(HOST_LINK)
            .setns_by_pid(host.as_raw().unsigned_abs())
            .address(host_link_address(index).to_vec())
            .build();
        let near = LinkVeth::new(&port(index), HOST_LINK)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(far)))
            .controller(bridge)
            .up()
            .build();
        let added = self.handle.link().add(near).execute().await;
        added.map_err(|error| format!("adding the cable of host {index}: {error}"))
    }

    /// Removes a host's cable, both ends.
    pub async fn remove_cable(&self, index: u16) -> Result<(), String> {
        let number = link_number(&port(index))?;
        let removed = self.handle.link().del(number).execute().await;
        removed.map_err(|error| format!("removing the cable of host {index}: {error}"))
    }

    /// Plugs a host's cable in or out.
    pub async fn set_cable(&self, index: u16, plugged: bool) -> Result<(), String> {
        self.set_up(&port(index), plugged).await
    }

    /// Moves a host's cable to another bridge.
    pub async fn move_cable(&self, index: u16, bridge: u32) -> Result<(), String> {
        let moved = LinkUnspec::new_with_name(&port(index)).controller(bridge).build();
        let moved = self.handle.link().change(moved).execute().await;
        moved.map_err(|error| format!("moving the cable of host {index}: {error}"))
    }

    /// Sets a link up or down.
    pub async fn set_up(&self, name: &str, up: bool) -> Result<(), String> {
        let link = LinkUnspec::new_with_name(name);
        let link = if up { link.up() } else { link.down() }.build();
        let set = self.handle.link().change(link).execute().await;
        set.map_err(|error| format!("setting {name} {}: {error}", if up { "up" } else { "down" }))
    }

    /// Gives a link an address that is usable at once: without duplicate address detection, which would hold
    /// it back for a second (RFC 4862 section 5.4).
    pub async fn add_address(&self, name: &str, address: Ipv6Addr) -> Result<(), String> {
        let mut request = self.handle.address().add(link_number(name)?, address.into(), PREFIX_BITS);
        request.message_mut().attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        request.execute().await.map_err(|error| format!("adding {address} to {name}: {error}"))
    }

    /// Tells a host by which link-layer addresses it reaches the others, also those that are not there yet.
    pub async fn add_neighbours(&self, name: &str) -> Result<(), String> {
        let link = link_number(name)?;
        for index in 1..=STATIC_NEIGHBOURS {
            // Another host may have spoken already, and the kernel have an entry of its own.
            let neighbour = self.handle.neighbours().add(link, host_address(index).into()).replace();
            let added = neighbour.link_layer_address(&host_link_address(index)).execute().await;
            added.map_err(|error| format!("adding neighbour {index} to {name}: {error}"))?;
        }
        Ok(())
    }
}

fn port(index: u16) -> String {
    format!("v{index}")
}

fn link_number(name: &str) -> Result<u32, String> {
    if_nametoindex(name).map_err(|error| format!("link {name}: {error}"))
}
