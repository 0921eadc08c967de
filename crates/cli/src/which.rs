//! From what a user calls an application to the one that is meant.

use std::str::FromStr;

use xtreem_base::AppId;
use xtreem_client::OperatorClient;
use xtreem_client::api::{AppList, AppSummary, WantedView};

use crate::exit::{Exit, Failure};
use crate::text;

/// Fewest digits that are taken for the beginning of an id.
const PREFIX_MIN_DIGITS: usize = 4;

/// Applications told when several are meant.
const CHOICES_MAX: usize = 16;

/// `APP/SLOT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotName {
    pub app: String,
    pub slot: Option<u16>,
}

impl FromStr for SlotName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            None => Ok(SlotName { app: text.to_owned(), slot: None }),
            Some((app, slot)) => {
                let slot = slot.parse().map_err(|_| format!("`{slot}` is no slot number"))?;
                Ok(SlotName { app: app.to_owned(), slot: Some(slot) })
            }
        }
    }
}

/// The id of the application that `text` means: a whole id, a name, or the beginning of an id. Says on
/// standard error when others that ended had its name.
pub async fn find(client: &OperatorClient, text: &str) -> Result<String, Failure> {
    if text.parse::<AppId>().is_ok() {
        return Ok(text.to_ascii_lowercase());
    }
    let by_name = client.apps(Some(text), true).await?;
    let named: Vec<_> = by_name.apps.iter().filter(|app| app.name == text).collect();
    if !named.is_empty() || !is_prefix(text) {
        let chosen = choose(text, &newest(&named), &by_name)?;
        if let Some(words) = others(&chosen.id, &named) {
            eprintln!("note: {words}");
        }
        return Ok(chosen.id.clone());
    }
    let all = client.apps(None, true).await?;
    let wanted = text.to_ascii_lowercase();
    let begun: Vec<_> = all.apps.iter().filter(|app| app.id.starts_with(&wanted)).collect();
    choose(text, &begun, &all).map(|app| app.id.clone())
}

/// Whether `text` is that id or enough of its beginning.
pub fn begins(text: &str, id: &str) -> bool {
    is_prefix(text) && id.starts_with(&text.to_ascii_lowercase())
}

fn is_prefix(text: &str) -> bool {
    text.len() >= PREFIX_MIN_DIGITS && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn runs(app: &AppSummary) -> bool {
    app.wanted == WantedView::Running && app.done < app.slots
}

/// Of one name those that run, or else the one that ended last. When nobody knows which that is: all.
fn newest<'a>(named: &[&'a AppSummary]) -> Vec<&'a AppSummary> {
    let running: Vec<_> = named.iter().copied().filter(|app| runs(app)).collect();
    if !running.is_empty() {
        return running;
    }
    let last = named.iter().copied().filter(|app| app.ended_s.is_some()).min_by_key(|app| app.ended_s);
    last.map_or_else(|| named.to_vec(), |last| vec![last])
}

/// That the name of the one that is meant was given to others before.
fn others(chosen: &str, named: &[&AppSummary]) -> Option<String> {
    match named.iter().filter(|app| app.id != chosen && !runs(app)).count() {
        0 => None,
        1 => Some("1 other of this name ended; `xtreem apps --all`".to_owned()),
        more => Some(format!("{more} others of this name ended; `xtreem apps --all`")),
    }
}

/// A running one goes before those that are only remembered; several are refused with the choices.
fn choose<'a>(text: &str, apps: &[&'a AppSummary], list: &AppList) -> Result<&'a AppSummary, Failure> {
    let running: Vec<_> = apps.iter().copied().filter(|app| runs(app)).collect();
    let candidates = if running.is_empty() { apps.to_vec() } else { running };
    match candidates[..] {
        [app] => Ok(app),
        [] => Err(Failure::new(
            Exit::Refused,
            format!(
                "no application `{text}` was found; {} answered",
                text::count(list.report.answered as usize, "node")
            ),
        )
        .with_hint("`xtreem apps` lists what runs")),
        _ => {
            let choices: String = candidates
                .iter()
                .take(CHOICES_MAX)
                .map(|app| {
                    let state = text::apps::state(app.wanted, app.done, app.slots);
                    format!("\n  {}  {}  owner {}  {state}", app.id, app.name, text::short(&app.owner))
                })
                .collect();
            Err(Failure::new(Exit::Refused, format!("`{text}` means several applications:{choices}"))
                .with_hint("use the id of one"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtreem_client::api::{Ended, Plan, SearchReport};

    fn app(id: &str, wanted: WantedView) -> AppSummary {
        AppSummary {
            id: id.repeat(16),
            name: "web".to_owned(),
            owner: "cd".repeat(16),
            generation: 1,
            wanted,
            slots: 3,
            done: 0,
            ended_s: None,
            holders: vec![],
        }
    }

    fn chosen(apps: &[AppSummary]) -> Result<String, Failure> {
        let report = SearchReport {
            visits: 9,
            visited: 9,
            answered: 9,
            silent: 0,
            matched: 0,
            granted: 0,
            refused: Default::default(),
            forbidden: Vec::new(),
            grid_size: None,
            excluded: vec![],
            ended: Ended::Exhausted,
            plan: Plan::Trie,
            round_trips: 1,
            covered: 1.0,
            lost: 0,
            unopened: 0,
            histogram: None,
            set: None,
            expected: None,
        };
        let list = AppList { apps: vec![], left_out: 0, report };
        choose("web", &apps.iter().collect::<Vec<_>>(), &list).map(|app| app.id.clone())
    }

    #[test]
    fn one_application_or_one_running_one_is_meant() {
        use WantedView::{Running, Stopped};
        assert_eq!(chosen(&[app("11", Running)]), Ok("11".repeat(16)));
        assert_eq!(chosen(&[app("11", Stopped)]), Ok("11".repeat(16)));
        assert_eq!(
            chosen(&[app("11", Stopped), app("22", Running), app("33", Stopped)]),
            Ok("22".repeat(16))
        );
    }

    #[test]
    fn a_name_means_the_one_that_runs_or_else_the_one_that_ended_last() {
        use WantedView::{Running, Stopped};
        let over = |id, ended_s| AppSummary { ended_s, ..app(id, Stopped) };
        let [old, new, unknown] = [over("11", Some(900)), over("22", Some(5)), over("33", None)];
        let done = AppSummary { done: 3, ended_s: Some(60), ..app("44", Running) };
        let runs = app("55", Running);
        let table: [(&[&AppSummary], &str, Option<&str>); 5] = [
            (&[&old], "11", None),
            (&[&old, &new, &unknown, &done], "22", Some("3 others of this name ended; `xtreem apps --all`")),
            (&[&old, &done], "44", Some("1 other of this name ended; `xtreem apps --all`")),
            (&[&old, &runs, &new], "55", Some("2 others of this name ended; `xtreem apps --all`")),
            (&[&unknown], "33", None),
        ];
        for (named, meant, words) in table {
            let newest = newest(named);
            assert_eq!(newest.iter().map(|app| &app.id[..2]).collect::<Vec<_>>(), [meant]);
            assert_eq!(others(&newest[0].id, named).as_deref(), words, "{meant}");
        }
        assert_eq!(newest(&[&unknown, &over("66", None)]).len(), 2, "nobody knows which is newer");
    }

    #[test]
    fn two_running_applications_of_one_name_are_refused_with_the_choices() {
        let failure =
            chosen(&[app("11", WantedView::Running), app("22", WantedView::Running)]).expect_err("two");
        assert_eq!(failure.exit, Exit::Refused);
        assert!(failure.message.contains(&"11".repeat(16)) && failure.message.contains(&"22".repeat(16)));
        assert!(failure.message.contains("owner cdcdcdcd"), "{failure}");
    }

    #[test]
    fn an_unknown_name_says_how_many_were_asked() {
        let failure = chosen(&[]).expect_err("none");
        assert!(failure.message.contains("was found; 9 nodes answered"), "{failure}");
    }

    #[test]
    fn slots_are_written_after_a_slash() {
        let name = |app: &str, slot| Ok(SlotName { app: app.to_owned(), slot });
        assert_eq!("web".parse(), name("web", None));
        assert_eq!("web/3".parse(), name("web", Some(3)));
        assert!("web/x".parse::<SlotName>().is_err() && "web/70000".parse::<SlotName>().is_err());
    }
}
