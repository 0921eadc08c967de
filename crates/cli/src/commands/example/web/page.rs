//! The page as text.

use std::net::SocketAddr;

use xtreem_client::api::Peer;

use super::slot::View;
use crate::text::short;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem}\
                     h1 small{font-weight:400;color:#667}dt{color:#667}dd{margin:0 0 .5rem 0}\
                     code{background:#eef;padding:0 .25rem}";

pub(super) fn html(view: &View) -> String {
    let mut body = String::new();
    match &view.whoami {
        Some(me) => {
            let app = &me.application;
            body.push_str(&format!(
                "<h1>{} <small>slot {} of {}</small></h1>\n<dl>\
                 <dt>address</dt><dd><code>{}</code></dd><dt>node</dt><dd><code>{}</code></dd>\
                 <dt>epoch</dt><dd><code>{}</code></dd><dt>application</dt><dd><code>{}</code></dd></dl>\n",
                escaped(&app.name),
                me.slot,
                app.slots,
                escaped(&me.address),
                escaped(&me.node),
                escaped(&me.epoch),
                escaped(&app.id),
            ));
            body.push_str("<h2>Some others</h2>\n<ul>\n");
            for peer in &view.peers {
                body.push_str(&format!("<li>{}</li>\n", link(peer)));
            }
            body.push_str("</ul>\n<h2>Recent changes</h2>\n<ul>\n");
            for change in &view.changes {
                body.push_str(&format!(
                    "<li>after {} s: {}</li>\n",
                    change.at_seconds,
                    escaped(&change.what)
                ));
            }
            body.push_str("</ul>\n");
        }
        None => body.push_str("<h1>xtreem example</h1>\n"),
    }
    if let Some(error) = &view.error {
        body.push_str(&format!("<p><strong>{}</strong></p>\n", escaped(error)));
    }
    body.push_str(&format!("<p>Up {} s, request {}.</p>\n", view.uptime_seconds, view.requests));
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"2\">\
         <title>xtreem example</title><style>{STYLE}</style></head>\n<body>\n{body}</body></html>\n"
    )
}

/// A peer serves the same page, where its port is known.
fn link(peer: &Peer) -> String {
    let slot = peer.slot.map_or(String::new(), |slot| format!("slot {slot} "));
    let text = format!("{slot}on {}", escaped(short(&peer.node)));
    match (peer.address.parse::<SocketAddr>(), peer.ports.get("http")) {
        (Ok(address), Some(port)) => {
            let target = SocketAddr::new(address.ip(), *port);
            format!("<a href=\"http://{target}/\">{text}</a>")
        }
        _ => format!("{text} ({})", escaped(&peer.address)),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::slot::Change;
    use super::*;
    use xtreem_client::api::{AppBrief, SlotSelf, WantedView};

    fn view() -> View {
        let application = AppBrief {
            id: "12".repeat(16),
            name: "<web>".to_owned(),
            slots: 6,
            generation: 1,
            wanted: WantedView::Running,
        };
        let whoami = SlotSelf {
            application,
            slot: 2,
            epoch: "0000000001.ab".to_owned(),
            node: "ab".repeat(16),
            address: "fd00::2".to_owned(),
            ports: [("http".to_owned(), 8080)].into(),
        };
        View {
            whoami: Some(whoami),
            peers: vec![Peer {
                node: "cd".repeat(16),
                address: "[fd00::3]:7227".to_owned(),
                slot: Some(3),
                ports: [("http".to_owned(), 8080)].into(),
            }],
            changes: vec![Change { at_seconds: 4, what: "slot 3 running".to_owned() }],
            uptime_seconds: 9,
            requests: 1,
            error: None,
        }
    }

    #[test]
    fn the_page_shows_slot_epoch_peers_and_changes() {
        let page = html(&view());
        for part in [
            "&lt;web&gt; <small>slot 2 of 6</small>",
            "<code>0000000001.ab</code>",
            "<a href=\"http://[fd00::3]:8080/\">slot 3 on cdcdcdcd</a>",
            "after 4 s: slot 3 running",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert!(!page.contains("<web>"));
    }

    #[test]
    fn whoami_is_one_flat_object() {
        let json = serde_json::to_value(view()).expect("plain data");
        assert_eq!((&json["slot"], &json["application"]["slots"]), (&2.into(), &6.into()));
        assert_eq!(json["peers"][0]["slot"], 3);
    }
}
