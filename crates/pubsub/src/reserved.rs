//! Topics at which agents say what happens in the grid: `grid/` and all below, and `app/ID/slot/` and all
//! below of each application. No client publishes there, and of another server is taken what it may say.

use alloc::vec::Vec;

use xtreem_base::{AppId, NodeId};

use crate::{Pattern, Topic};

const GRID: &str = "grid";
const NODE: &str = "node";
const APP: &str = "app";
const SLOT: &str = "slot";
/// What does not fit a second's events is counted at the topic that ends so.
pub const LOST: &str = "lost";

/// Whether one of the topics that are meant is the agents' own.
pub fn is_reserved(pattern: &Pattern<'_>) -> bool {
    match pattern {
        Pattern::All => true,
        Pattern::Topic(topic) => is_below(&levels(topic)),
        Pattern::Subtree(topic) => is_below(&levels(topic)) || is_above(&levels(topic)),
        Pattern::Children(topic) => {
            let levels = levels(topic);
            is_below(&levels) || matches!(levels[..], [APP, _])
        }
        Pattern::Range(..) => is_range_reserved(pattern),
    }
}

fn is_below(levels: &[&str]) -> bool {
    matches!(levels, [GRID, ..] | [APP, _, SLOT, ..])
}

fn is_above(levels: &[&str]) -> bool {
    matches!(levels, [APP] | [APP, _])
}

/// A range that touches several applications means the slots of one of them.
fn is_range_reserved(range: &Pattern<'_>) -> bool {
    let Pattern::Range(from, to) = range else { return false };
    let touches = |topic: alloc::string::String| {
        Topic::new(topic).is_ok_and(|topic| Pattern::Subtree(topic).overlaps(range))
    };
    if touches(GRID.into()) {
        return true;
    }
    match (&levels(from)[..], &levels(to)[..]) {
        ([APP, app, ..], [APP, other, ..]) if app == other => touches(alloc::format!("{APP}/{app}/{SLOT}")),
        _ => touches(APP.into()),
    }
}

fn levels<'a>(topic: &'a Topic<'_>) -> Vec<&'a str> {
    topic.as_str().split('/').collect()
}

/// Whether the server `origin` may say this at all, as far as the server `own` can tell: of a node that it
/// has joined, nobody else; that it has left, nobody of itself, and not of `own`, which is there.
pub fn may_say(origin: NodeId, own: NodeId, topic: &Pattern<'_>) -> bool {
    if !is_reserved(topic) {
        return true;
    }
    let Pattern::Topic(topic) = topic else { return false };
    let is_app = |app: &str| app.parse::<AppId>().is_ok();
    match levels(topic)[..] {
        [GRID, NODE, node, what] => match (node.parse::<NodeId>(), what) {
            (Ok(node), "joined" | LOST) => node == origin,
            (Ok(node), "left") => node != origin && node != own,
            _ => false,
        },
        [APP, app, SLOT, slot, "running" | "failed" | "replaced" | "moved"] => {
            is_app(app) && slot.parse::<u16>().is_ok()
        }
        [APP, app, SLOT, LOST] => is_app(app),
        _ => false,
    }
}

/// What is published to such a topic goes to whoever wants one of these: one list of servers for all events
/// of nodes, and one for those of an application's slots.
pub fn family(topic: &Pattern<'_>) -> Option<Pattern<'static>> {
    let Pattern::Topic(topic) = topic else { return None };
    let text = topic.as_str();
    if !text.starts_with("grid/") && !text.starts_with("app/") {
        return None;
    }
    match levels(topic)[..] {
        [GRID, ..] => of_nodes(),
        [APP, app, SLOT, ..] => subtree(alloc::format!("{APP}/{app}/{SLOT}")),
        _ => None,
    }
}

fn of_nodes() -> Option<Pattern<'static>> {
    subtree(GRID.into())
}

/// The same for the slots of an application.
pub fn family_of_app(app: AppId) -> Option<Pattern<'static>> {
    subtree(alloc::format!("{APP}/{app}/{SLOT}"))
}

fn subtree(topic: alloc::string::String) -> Option<Pattern<'static>> {
    Topic::new(topic).ok().map(Pattern::Subtree)
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    fn pattern(text: &str) -> Pattern<'_> {
        match text.split_once(' ') {
            Some((from, to)) => Pattern::range(from, to),
            None => Pattern::new(text),
        }
        .expect("a pattern")
    }

    #[test]
    fn whatever_may_mean_a_topic_of_the_agents_is_reserved() {
        for text in [
            "**",
            "grid",
            "grid/x",
            "grid/*",
            "grid/**",
            "app/a/slot",
            "app/a/slot/1/failed",
            "app/a/*",
            "app/**",
            "app/a/**",
            "app/a/slot/**",
            "app/a/slot/*",
            "app/a/slot/1/*",
            "a b",
            "f/x h",
            "app/a/s app/a/t",
            "app/a app/b",
            "app/a/x app/b/a",
            "app/a/slot/1 app/a/slot/2",
        ] {
            assert!(is_reserved(&pattern(text)), "{text}");
        }
        for text in [
            "grids",
            "a/grid/x",
            "app",
            "app/a",
            "app/*",
            "app/a/x",
            "app/a/slots",
            "app/a/x/**",
            "app/a/x/slot/1",
            "apple/a/slot/1",
            "h z",
            "app/a/a app/a/b",
            "app/a/t app/a/z",
        ] {
            assert!(!is_reserved(&pattern(text)), "{text}");
        }
    }

    #[test]
    fn a_server_says_of_itself_only_that_it_joined_and_of_others_only_that_they_left() {
        let [me, other, third] = [1, 2, 3].map(|byte| NodeId::from_bytes([byte; 16]));
        let app = AppId::from_bytes([9; 16]);
        let may = |text: &str| may_say(other, me, &pattern(text));
        assert!(may(&format!("grid/node/{other}/joined")) && may(&format!("grid/node/{other}/lost")));
        assert!(!may(&format!("grid/node/{third}/joined")) && !may(&format!("grid/node/{third}/lost")));
        assert!(may(&format!("grid/node/{third}/left")));
        assert!(!may(&format!("grid/node/{other}/left")), "who has left says nothing");
        assert!(!may(&format!("grid/node/{me}/left")), "this server knows better");
        for what in ["0/running", "65535/failed", "1/replaced", "1/moved", "lost"] {
            assert!(may(&format!("app/{app}/slot/{what}")), "{what}");
        }
        for text in ["1/other", "65536/failed", "x/failed", "failed", "1/failed/x"] {
            assert!(!may(&format!("app/{app}/slot/{text}")), "{text}");
        }
        for text in ["**", "grid/**", "grid/node", "grid/other", "app/x/slot/1/failed", "app/**"] {
            assert!(!may(text), "{text}");
        }
        assert!(may("news/sport") && may("app/x/y"));
    }

    #[test]
    fn events_of_a_family_have_one_list() {
        let app = AppId::from_bytes([9; 16]);
        let of = |text: &str| family(&pattern(text)).map(|family| family.text().into_owned());
        assert_eq!(of("grid/node/x/joined").as_deref(), Some("grid/**"));
        let slots = format!("app/{app}/slot/**");
        assert_eq!(of(&format!("app/{app}/slot/3/failed")), Some(slots.clone()));
        assert_eq!(family_of_app(app).map(|family| family.text().into_owned()), Some(slots));
        assert_eq!((of("app/x/y"), of("news"), of("grid/*")), (None, None, None));
    }
}
