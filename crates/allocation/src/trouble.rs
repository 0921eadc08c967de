//! What this node has trouble with just now: it grants no holds for it.

use alloc::collections::BTreeMap;

use xtreem_base::{AppId, Instant};

use crate::{Config, Trouble};

/// Applications that are not taken for a while; the one whose time is over first goes. Our guess.
const AVOIDED_MAX: usize = 256;

/// Trouble of the whole node, and with single applications.
#[derive(Clone, Debug, Default)]
pub(crate) struct Troubles {
    node: Option<(Trouble, Instant)>,
    apps: BTreeMap<AppId, Instant>,
}

impl Troubles {
    /// A program of this application could not be started here.
    pub fn note(&mut self, now: Instant, app: AppId, trouble: Trouble, config: &Config) {
        let until = now + config.avoid;
        if trouble.is_of_whole_node() {
            self.node = Some((trouble, until));
        }
        self.apps.retain(|_, until| *until > now);
        self.apps.insert(app, until);
        if self.apps.len() > AVOIDED_MAX {
            let first = self.apps.iter().min_by_key(|(_, until)| **until).map(|(app, _)| *app);
            first.and_then(|app| self.apps.remove(&app));
        }
    }

    /// A program runs: whatever the node had is over.
    pub fn is_over(&mut self, app: AppId) {
        self.node = None;
        self.apps.remove(&app);
    }

    /// The trouble of the whole node, while it lasts.
    pub fn of_node(&self, now: Instant) -> Option<Trouble> {
        self.node.filter(|(_, until)| *until > now).map(|(trouble, _)| trouble)
    }

    /// Whether a slot of this application is not to be taken now.
    pub fn keep_off(&self, now: Instant, app: AppId) -> bool {
        self.of_node(now).is_some() || self.apps.get(&app).is_some_and(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(number: u16) -> AppId {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        AppId::from_bytes(bytes)
    }

    #[test]
    fn the_application_is_avoided_for_a_minute_and_with_a_full_disk_all_are() {
        let config = Config::default();
        let at = |secs: u64| Instant::from_millis(secs * 1_000);
        for trouble in Trouble::ALL {
            let mut troubles = Troubles::default();
            troubles.note(at(0), app(1), trouble, &config);
            assert!(troubles.keep_off(at(59), app(1)));
            assert_eq!(troubles.keep_off(at(59), app(2)), trouble.is_of_whole_node(), "{trouble}");
            assert!(!troubles.keep_off(at(60), app(1)) && !troubles.keep_off(at(60), app(2)));
            troubles.is_over(app(1));
            assert!(!troubles.keep_off(at(1), app(1)) && !troubles.keep_off(at(1), app(2)));
        }
    }

    #[test]
    fn the_table_of_avoided_applications_is_bounded() {
        let mut troubles = Troubles::default();
        for number in 0..2_000 {
            let now = Instant::from_millis(number.into());
            troubles.note(now, app(number), Trouble::Port, &Config::default());
        }
        assert_eq!(troubles.apps.len(), AVOIDED_MAX);
        assert!(troubles.keep_off(Instant::from_millis(2_000), app(1_999)));
    }
}
