//! Topics, one a row.

use xtreem_client::api::{TopicList, TopicView};

use super::Table;

pub fn list(list: &TopicList) -> String {
    if list.topics.is_empty() {
        return "Nobody subscribes to anything there, or publishes, and no topic has a last value.\n"
            .to_owned();
    }
    let mut text = Table::new(["TOPIC", "SUBSCRIBED", "PUBLISHED", "RETAINED", "GROUPS"]);
    for TopicView { topic, subscribers, publishers, retained_bytes, groups, .. } in &list.topics {
        let retained = retained_bytes.map_or("-".to_owned(), |bytes| format!("{bytes} B"));
        text.row([topic, &subscribers.to_string(), &publishers.to_string(), &retained, &groups.join(" ")]);
    }
    let more = list.next.as_ref().map(|_| "There is more: --limit.\n").unwrap_or_default();
    format!("{text}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_topic_is_a_row_and_more_is_said() {
        let view = |topic: &str, retained_bytes| TopicView {
            topic: topic.into(),
            subscribers: 2,
            publishers: 0,
            groups: vec!["workers".into()],
            retained_bytes,
            retained_left_s: None,
        };
        let topics = vec![view("a/b", Some(7)), view("a/**", None)];
        let shown = list(&TopicList { topics, next: Some("61".into()) });
        assert_eq!(shown.lines().nth(1), Some("a/b    2           0          7 B       workers"), "{shown}");
        assert!(shown.ends_with("There is more: --limit.\n"));
        assert!(list(&TopicList::default()).starts_with("Nobody"));
    }
}
