//! From the node's types to those of the API.

use std::collections::BTreeMap;

use xtreem_allocation::{Exit, Known, Record, SlotState, Wanted};
use xtreem_client::api;
use xtreem_discovery::{Attributes, Ended, Histogram, Number, Plan, Report, SetReport, Value};
use xtreem_net::Contact;

use crate::environment::epoch_text;

pub(super) fn attributes(attributes: &Attributes) -> api::Attributes {
    attributes.iter().map(|(name, found)| (name.to_owned(), value(found))).collect()
}

fn value(value: &Value) -> api::AttributeValue {
    match value {
        Value::Number(number) => match number.as_thousandths() {
            whole if whole % 1_000 == 0 => api::AttributeValue::Whole(whole / 1_000),
            thousandths => api::AttributeValue::Decimal(thousandths as f64 / 1_000.0),
        },
        Value::Text(text) => api::AttributeValue::Text(text.clone()),
        Value::Flag(flag) => api::AttributeValue::Flag(*flag),
        Value::List(entries) => api::AttributeValue::List(entries.clone()),
    }
}

pub(super) fn resources(resources: &xtreem_allocation::Resources) -> api::Resources {
    let xtreem_allocation::Resources { cores_milli, memory_bytes, disk_bytes } = *resources;
    api::Resources { cores_milli, memory_bytes, disk_bytes }
}

pub(super) fn report(report: &Report) -> api::SearchReport {
    let refused = report.refused;
    api::SearchReport {
        visits: report.visits,
        visited: report.visited,
        answered: report.answered,
        silent: report.silent,
        matched: report.matched,
        granted: report.granted,
        refused: api::HoldRefusals {
            busy: refused.busy,
            too_many: refused.too_many,
            same_app: refused.same_app,
            stopped: refused.stopped,
            mismatch: refused.mismatch,
            cloned: refused.cloned,
            troubled: refused.troubled,
            not_isolated: refused.not_isolated,
            port_taken: refused.port_taken,
            port_too_low: refused.port_too_low,
        },
        forbidden: report
            .forbidden
            .iter()
            .map(|(rule, count)| api::Forbidden { rule: rule.clone(), count: *count, why: None })
            .collect(),
        grid_size: report.grid_size_estimate.map(u64::from),
        excluded: report
            .excluded
            .iter()
            .map(|(clause, count)| api::Excluded { clause: clause.clone(), count: *count })
            .collect(),
        ended: match report.ended {
            Ended::Enough => api::Ended::Enough,
            Ended::Exhausted => api::Ended::Exhausted,
            Ended::Deadline => api::Ended::Deadline,
            Ended::VisitLimit => api::Ended::VisitLimit,
            Ended::Cancelled => api::Ended::Cancelled,
        },
        plan: match report.plan {
            Plan::Contacts => api::Plan::Contacts,
            Plan::Trie => api::Plan::Trie,
            Plan::TrieThenContacts => api::Plan::TrieThenContacts,
            Plan::Gather => api::Plan::Gather,
        },
        round_trips: report.round_trips,
        covered: covered(report),
        lost: report.lost,
        unopened: report.unopened,
        histogram: report.histogram.as_ref().map(histogram),
        expected: None,
        set: report.set.as_ref().map(set),
    }
}

fn set(set: &SetReport) -> api::SetReport {
    let reached = |(aggregate, value): &(String, Option<Number>)| api::Reached {
        aggregate: aggregate.clone(),
        thousandths: value.map(Number::as_thousandths),
    };
    api::SetReport {
        found: set.found,
        members: set.members,
        candidates: set.candidates,
        reached: set.reached.iter().map(reached).collect(),
    }
}

/// A search leaves out only who cannot match: of the others, those who answered.
fn covered(report: &Report) -> f64 {
    let missed = report.lost + report.unopened;
    if missed == 0 { 1.0 } else { f64::from(report.answered) / (f64::from(report.answered) + missed as f64) }
}

fn histogram(histogram: &Histogram) -> api::Histogram {
    let numbers = histogram.numbers().map(|(number, nodes)| {
        let thousandths = Some(number.as_thousandths());
        api::Bar { value: number.to_string(), thousandths, nodes }
    });
    let texts =
        histogram.texts().map(|(text, nodes)| api::Bar { value: text.to_owned(), thousandths: None, nodes });
    api::Histogram {
        bars: numbers.chain(texts).collect(),
        missing: histogram.missing,
        others: histogram.others,
    }
}

pub(super) fn wanted(wanted: Wanted) -> api::WantedView {
    match wanted {
        Wanted::Running => api::WantedView::Running,
        Wanted::Stopped => api::WantedView::Stopped,
    }
}

pub(super) fn record(record: &Record) -> api::RecordView {
    api::RecordView {
        id: record.id.to_string(),
        owner: record.owner.to_string(),
        name: record.name.clone(),
        spec_digest: record.spec_digest.to_string(),
        slots: record.slots,
        generation: record.generation,
        wanted: wanted(record.wanted),
        submitter: record.submitter.to_string(),
    }
}

pub(super) fn brief(record: &Record) -> api::AppBrief {
    api::AppBrief {
        id: record.id.to_string(),
        name: record.name.clone(),
        slots: record.slots,
        generation: record.generation,
        wanted: wanted(record.wanted),
    }
}

/// A slot of which a state and perhaps a holder is known.
pub(super) fn slot(number: u16, state: SlotState, holder: Option<Contact>) -> api::SlotView {
    let (phase, exit) = match state {
        SlotState::Planned => (api::SlotPhase::Planned, None),
        SlotState::Starting => (api::SlotPhase::Starting, None),
        SlotState::Running => (api::SlotPhase::Running, None),
        SlotState::FilesLost => (api::SlotPhase::FilesLost, None),
        SlotState::Done(exit) => (api::SlotPhase::Done, Some(exit)),
        SlotState::Failed(exit) => (api::SlotPhase::Failed, Some(exit)),
        SlotState::Failing(exit) => (api::SlotPhase::Failing, Some(exit)),
        SlotState::Pausing(exit) => (api::SlotPhase::Pausing, Some(exit)),
        SlotState::Troubled(_) => (api::SlotPhase::Troubled, None),
    };
    api::SlotView {
        slot: number,
        state: phase,
        epoch: None,
        node: holder.map(|contact| contact.id.to_string()),
        address: holder.map(|contact| contact.addr.to_string()),
        exit: exit.map(|exit| match exit {
            Exit::Code(code) => api::ExitView::Code(code),
            Exit::Signal(signal) => api::ExitView::Signal(signal),
        }),
        trouble: match state {
            SlotState::Troubled(trouble) => Some(trouble.to_string()),
            _ => None,
        },
        silent_s: None,
        last_lines: Vec::new(),
        ports: BTreeMap::new(),
    }
}

pub(super) fn known(known: &Known, holder: Option<Contact>) -> api::SlotView {
    api::SlotView { epoch: Some(epoch_text(&known.epoch)), ..slot(known.slot, known.state, holder) }
}

/// A slot of which nobody knows anything.
pub(super) fn unknown_slot(number: u16) -> api::SlotView {
    api::SlotView { state: api::SlotPhase::Unknown, ..slot(number, SlotState::Planned, None) }
}

pub(super) fn peer(contact: Contact, slot: Option<u16>) -> api::Peer {
    let (node, address) = (contact.id.to_string(), contact.addr.to_string());
    api::Peer { node, address, slot, ports: BTreeMap::new() }
}
