//! What a server wants: all events of a pattern, or, for a group of subscribers, its share of them.

use alloc::string::String;
use core::fmt;

use crate::words::{Words, word};
use crate::{Fault, Pattern};

/// See the module. Two subscriptions to one pattern under one name of a group are one group, at whatever
/// servers they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interest {
    pub pattern: Pattern<'static>,
    /// One server of those of this name gets each event.
    pub group: Option<String>,
}

impl Interest {
    /// As it is written.
    pub(super) fn read(text: &[u8]) -> Result<Interest, Fault> {
        let mut words = Words::new(text);
        let pattern = words.pattern()?.into_owned();
        let group = match words.next_word() {
            None => None,
            Some(option) => {
                let name = option.strip_prefix(b"group=").ok_or(Fault::BadWord("group="))?;
                Some(word(name, "group=")?.into())
            }
        };
        words.end().map(|()| Interest { pattern, group })
    }
}

impl From<Pattern<'static>> for Interest {
    fn from(pattern: Pattern<'static>) -> Interest {
        Interest { pattern, group: None }
    }
}

impl From<&Pattern<'static>> for Interest {
    fn from(pattern: &Pattern<'static>) -> Interest {
        pattern.clone().into()
    }
}

/// As in a request.
impl fmt::Display for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pattern.fmt(f)?;
        match &self.group {
            None => Ok(()),
            Some(group) => write!(f, " group={group}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_nothing_else() {
        for (pattern, group) in [("a/b\"c", None), ("a/**", Some("workers")), ("**", Some("g.1"))] {
            let pattern = Pattern::new(pattern).expect("a pattern");
            let interest = Interest { pattern, group: group.map(String::from) };
            assert_eq!(Interest::read(interest.to_string().as_bytes()), Ok(interest));
        }
        for wrong in ["\"a\" group=", "\"a\" lease=3", "\"a\" group=b c", "group=b", "\"a\" group=\"b\""] {
            assert!(Interest::read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
