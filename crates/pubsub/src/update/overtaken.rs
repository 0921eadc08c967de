//! Which versions updates of this server's clients wrote: when a split has ended and another one has won,
//! the client is told.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Version;
use crate::keeper::Asker;
use crate::{Pattern, Topic};

/// Versions that are remembered; the oldest are forgotten, and their clients not told. Our guess.
const WRITTEN_MAX: usize = 4_096;

#[derive(Debug, Default)]
pub(super) struct Written(VecDeque<(Vec<u8>, Version, Topic<'static>, Asker)>);

impl Written {
    pub fn add(&mut self, topic: &Topic<'static>, version: Version, asker: &Asker) {
        if self.0.len() >= WRITTEN_MAX {
            self.0.pop_front();
        }
        self.0.push_back((topic.order_key(), version, topic.clone(), asker.clone()));
    }

    /// Who wrote that. Of one topic of one update it is told once.
    pub fn take(&mut self, key: &[u8], version: Version) -> Option<(Asker, Arc<Pattern<'static>>)> {
        let is_it = |(known, at, ..): &&(Vec<u8>, Version, _, _)| known == key && *at == version;
        let (_, _, topic, asker) = self.0.iter().find(is_it)?.clone();
        self.0.retain(|(_, _, of, by)| *of != topic || *by != asker);
        Some((asker, Arc::new(Pattern::Topic(topic))))
    }
}
