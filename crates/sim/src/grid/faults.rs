//! The kinds of faults that a run may meet, as named on the command line.

use std::fmt;
use std::str::FromStr;

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// A host and its processes are gone for good.
    Kill,
    /// The network of one host is gone for a while.
    Cut,
    /// The network falls into two parts for a while, 50/50 or 90/10.
    Split,
    /// A whole host stands still for a while, its processes included.
    Pause,
    /// An agent restarts as a new incarnation; its processes die with it.
    Restart,
    /// 1 % of all messages are lost.
    Loss,
    /// Clocks are up to one hour off and up to 200 ppm too fast or too slow.
    Clock,
    /// All machines, those of a site, or a share of them lose their power at once, and come back one by one.
    Power,
    /// 2 % of the members lie.
    Liar,
}

const KINDS: [(FaultKind, &str); 9] = [
    (FaultKind::Kill, "kill"),
    (FaultKind::Cut, "cut"),
    (FaultKind::Split, "split"),
    (FaultKind::Pause, "pause"),
    (FaultKind::Restart, "restart"),
    (FaultKind::Loss, "loss"),
    (FaultKind::Clock, "clock"),
    (FaultKind::Power, "power"),
    (FaultKind::Liar, "liar"),
];

/// A set of fault kinds. Written `kill,cut,loss`, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Faults(u16);

/// A list of faults could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownFault {
    /// The word that is no fault.
    pub word: String,
}

impl fmt::Display for UnknownFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no fault: expected `none` or a comma-separated list of ", self.word)?;
        for (i, (_, name)) in KINDS.iter().enumerate() {
            write!(f, "{}{name}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownFault {}

impl Faults {
    pub const NONE: Faults = Faults(0);
    /// What befalls machines and networks. Liars are asked for by name: they change what can be judged.
    pub const ALL: Faults = Faults((1 << FaultKind::Liar as u16) - 1);

    pub fn has(self, kind: FaultKind) -> bool {
        self.0 & kind.bit() != 0
    }

    pub fn without(self, kind: FaultKind) -> Faults {
        Faults(self.0 & !kind.bit())
    }

    pub fn with(self, kind: FaultKind) -> Faults {
        Faults(self.0 | kind.bit())
    }
}

impl FaultKind {
    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = KINDS.iter().filter(|(kind, _)| self.has(*kind)).map(|(_, name)| *name).collect();
        f.write_str(if names.is_empty() { "none".into() } else { names.join(",") }.as_str())
    }
}

impl FromStr for Faults {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        if text == "none" {
            return Ok(Faults::NONE);
        }
        text.split(',').map(str::trim).try_fold(Faults::NONE, |faults, word| {
            match KINDS.iter().find(|(_, name)| *name == word) {
                Some((kind, _)) => Ok(faults.with(*kind)),
                None => Err(UnknownFault { word: word.into() }),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written_alike() {
        for text in
            ["kill,cut,split,pause,restart,loss,clock,power", "none", "cut", "kill,clock", "kill,liar"]
        {
            assert_eq!(text.parse::<Faults>().map(|faults| faults.to_string()), Ok(text.to_string()));
        }
        assert_eq!("clock, kill".parse::<Faults>(), "kill,clock".parse());
        assert_eq!("kill,cut,split,pause,restart,loss,clock,power".parse(), Ok(Faults::ALL));
    }

    #[test]
    fn an_unknown_word_is_named_with_the_choices() {
        let error = "kill,fire".parse::<Faults>().expect_err("fire is no fault");
        assert_eq!(error.word, "fire");
        assert!(
            error.to_string().contains("\"fire\" is no fault") && error.to_string().contains("kill, cut")
        );
        assert!("".parse::<Faults>().is_err());
    }
}
