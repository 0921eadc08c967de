//! What a program is told through its environment (the names are part of the local API).

use std::net::IpAddr;
use std::path::Path;

use xtreem_allocation::{Epoch, SlotRun};

use crate::program::{PortRef, Program};

/// Sorts as text as epochs are ordered, so that a store can refuse the older of two runs by comparing texts.
pub(crate) fn epoch_text(epoch: &Epoch) -> String {
    format!("{:010}-{}-{:010}-{:010}", epoch.counter, epoch.recruiter, epoch.incarnation, epoch.attempt)
}

/// Where and as what one run of a slot lives.
pub(crate) struct Place<'a> {
    pub run: SlotRun,
    pub app_name: &'a str,
    pub slots: u16,
    pub socket: &'a Path,
    pub token: &'a str,
    pub address: IpAddr,
    pub ports: &'a [(PortRef, u16)],
}

/// The program's own variables and the agent's.
pub(crate) fn environment(program: &Program, place: &Place<'_>) -> Vec<(String, String)> {
    let own = [
        ("XTREEM_SOCKET", place.socket.display().to_string()),
        ("XTREEM_TOKEN", place.token.to_owned()),
        ("XTREEM_APP", place.run.app.to_string()),
        ("XTREEM_APP_NAME", place.app_name.to_owned()),
        ("XTREEM_SLOT", place.run.slot.to_string()),
        ("XTREEM_SLOTS", place.slots.to_string()),
        ("XTREEM_EPOCH", epoch_text(&place.run.epoch)),
        ("XTREEM_ADDRESS", place.address.to_string()),
    ];
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
    let ports = place.ports.iter().map(|(port, number)| (port.variable(), number.to_string()));
    program.env.iter().cloned().chain(own).chain(ports).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtreem_base::NodeId;

    #[test]
    fn texts_sort_as_epochs_do() {
        let epoch = |counter, recruiter: u8, incarnation, attempt| Epoch {
            counter,
            recruiter: NodeId::from_bytes([recruiter; 16]),
            incarnation,
            attempt,
        };
        let mut epochs = [
            epoch(2, 0, 1, 1),
            epoch(10, 0, 1, 1),
            epoch(10, 255, 1, 1),
            epoch(10, 255, 2, 9),
            epoch(10, 255, 2, 10),
            epoch(u32::MAX, 1, 1, 1),
            Epoch::NONE,
        ];
        epochs.sort();
        let texts: Vec<_> = epochs.iter().map(epoch_text).collect();
        assert!(texts.is_sorted(), "{texts:?}");
    }
}
