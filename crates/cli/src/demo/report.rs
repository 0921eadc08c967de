//! What a demo comes to: the JSON object, and the short table for people.

use serde::Serialize;

use crate::text::Table;

/// The JSON object of `xtreem demo`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Every lost slot runs elsewhere, all slots run, none twice.
    pub ok: bool,
    /// `namespaces` or `loopback`.
    pub network: &'static str,
    pub hosts: usize,
    /// Time of the search for nodes that fit.
    pub found_ms: u64,
    /// From the submission until all slots run.
    pub deployed_ms: u64,
    pub losses: Vec<Loss>,
    pub slots_wanted: u16,
    pub slots_running: usize,
    /// Slots that more than one host runs, once the cut was healed and things had settled.
    pub duplicates_after_heal: usize,
    pub requests_served: u64,
    pub requests_failed: u64,
}

/// A slot that a fault took away. Times are from the injection of the fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loss {
    pub slot: u16,
    pub host: String,
    pub kind: Kind,
    /// Until the first live agent said so; nothing when none did.
    pub noticed_ms: Option<u64>,
    /// Until another host answered requests for the slot; nothing when none did.
    pub replaced_ms: Option<u64>,
    /// That host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
}

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Kill,
    Cut,
}

impl Report {
    /// Says at the end whether all went well.
    pub fn judged(mut self) -> Report {
        let is_restored = self.losses.iter().all(|loss| loss.replaced_ms.is_some());
        let all_run = self.slots_running == usize::from(self.slots_wanted);
        self.ok = is_restored && all_run && self.duplicates_after_heal == 0;
        self
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut table = Table::new(["SLOT", "HOST", "FAULT", "NOTICED AFTER", "RUNS AGAIN AFTER", "ON"]);
        for loss in &self.losses {
            let fault = match loss.kind {
                Kind::Kill => "killed",
                Kind::Cut => "cut off",
            };
            table.row([
                loss.slot.to_string(),
                loss.host.clone(),
                fault.to_owned(),
                seconds(loss.noticed_ms),
                seconds(loss.replaced_ms),
                loss.replaced_by.clone().unwrap_or_default(),
            ]);
        }
        format!(
            "\n{table}\n{} of {} slots run, {} of them twice after the cut was healed; {} requests served, {} failed \
             meanwhile.\n{}\n",
            self.slots_running,
            self.slots_wanted,
            match self.duplicates_after_heal {
                0 => "none".to_owned(),
                many => many.to_string(),
            },
            self.requests_served,
            self.requests_failed,
            if self.ok { "All is well." } else { "NOT everything was restored." }
        )
    }
}

fn seconds(millis: Option<u64>) -> String {
    match millis {
        // Tenths of a second are what people read.
        Some(millis) => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        None => "never".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let loss = Loss {
            slot: 2,
            host: "host05".to_owned(),
            kind: Kind::Kill,
            noticed_ms: Some(4_160),
            replaced_ms: Some(5_020),
            replaced_by: Some("host09".to_owned()),
        };
        Report { losses: vec![loss], slots_wanted: 6, slots_running: 6, ..Report::default() }
    }

    #[test]
    fn all_is_well_only_when_every_slot_runs_once_again() {
        type Change = fn(&mut Report);
        let table: [(Change, bool); 4] = [
            (|_| {}, true),
            (|report| report.losses[0].replaced_ms = None, false),
            (|report| report.slots_running = 5, false),
            (|report| report.duplicates_after_heal = 1, false),
        ];
        for (change, is_ok) in table {
            let mut report = report();
            change(&mut report);
            assert_eq!(report.judged().ok, is_ok);
        }
    }

    #[test]
    fn the_table_has_a_line_a_loss() {
        let table = report().judged().table();
        assert!(table.contains("2     host05  killed  4.1 s          5.0 s             host09"), "{table}");
        assert!(table.contains("6 of 6 slots run, none of them twice"), "{table}");
    }

    #[test]
    fn the_object_names_what_scripts_read() {
        let json = serde_json::to_value(report()).expect("plain data");
        assert_eq!(
            (&json["losses"][0]["kind"], &json["losses"][0]["replaced_ms"]),
            (&"kill".into(), &5_020.into())
        );
    }
}
