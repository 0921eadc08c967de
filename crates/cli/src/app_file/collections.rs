//! `[collections.NAME]`: each key is checked at its own place, and what is wrong names it.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use toml::{Spanned, Value};
use xtreem_agent::complaint::{Complaint, Source};
use xtreem_base::Duration;
use xtreem_client::api::{ATTEMPTS_DEFAULT, COPIES_DEFAULT, CollectionSpec, Metric, TASK_LEASE_S_DEFAULT};
use xtreem_overlay::collection::{
    FAILURES_MAX, TASK_LEASE_MAX, TASK_LEASE_MIN, TASK_TIME_MAX, TASK_TIME_MIN,
};
use xtreem_overlay::store::DEGREE_MAX;

/// Keys and their values.
pub(super) type Table = BTreeMap<Spanned<String>, Spanned<Value>>;

/// One collection, whose keys are taken out one by one.
struct Keys<'a> {
    source: &'a Source<'a>,
    name: &'a str,
    table: Table,
    span: Range<usize>,
}

/// What a collection is.
pub(super) fn spec(
    source: &Source<'_>,
    name: &str,
    table: Spanned<Table>,
) -> Result<CollectionSpec, Complaint> {
    let span = table.span();
    let mut keys = Keys { source, name, table: table.into_inner(), span };
    let kind = keys.kind()?;
    let spec = match kind.as_str() {
        "ring" => CollectionSpec::Ring { copies: keys.copies()? },
        "chord" => CollectionSpec::Chord { copies: keys.copies()? },
        "ranks" => CollectionSpec::Ranks {},
        "mesh" => CollectionSpec::Mesh { shape: keys.shape()?, joined: keys.joined()? },
        "farm" => CollectionSpec::Farm {
            copies: keys.copies()?,
            lease_s: keys.lease()?,
            attempts: keys.attempts()?,
            timeout_s: keys.timeout()?,
        },
        _ => CollectionSpec::Nearest { metric: keys.metric()? },
    };
    keys.end(&kind)?;
    Ok(spec)
}

impl Keys<'_> {
    fn take(&mut self, key: &str) -> Option<Spanned<Value>> {
        let at = self.table.keys().find(|it| it.get_ref() == key)?.clone();
        self.table.remove(&at)
    }

    fn needed(&mut self, key: &str, want: &str) -> Result<Spanned<Value>, Complaint> {
        let missing = format!("missing key `{key}` in collections.{}: want {want}", self.name);
        self.take(key).ok_or_else(|| self.source.complaint(self.span.clone(), missing))
    }

    fn wrong(&self, key: &str, value: &Spanned<Value>, want: &str) -> Complaint {
        let reason = format!("collections.{}.{key} = {}: want {want}", self.name, value.get_ref());
        self.source.complaint(value.span(), reason)
    }

    fn kind(&mut self) -> Result<String, Complaint> {
        let want = "\"ranks\", \"mesh\", \"farm\", \"ring\", \"chord\" or \"nearest\"";
        let value = self.needed("kind", want)?;
        match value.get_ref() {
            Value::String(kind)
                if ["ranks", "mesh", "farm", "ring", "chord", "nearest"].contains(&kind.as_str()) =>
            {
                Ok(kind.clone())
            }
            _ => Err(self.wrong("kind", &value, want)),
        }
    }

    fn number<T: TryFrom<i64>>(
        &mut self,
        key: &str,
        default: T,
        range: RangeInclusive<i64>,
        want: &str,
    ) -> Result<T, Complaint> {
        let Some(value) = self.take(key) else { return Ok(default) };
        let number = value.get_ref().as_integer().filter(|number| range.contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| self.wrong(key, &value, want))
    }

    fn copies(&mut self) -> Result<u8, Complaint> {
        let want = format!("a whole number, 0 to {DEGREE_MAX} are possible");
        self.number("copies", COPIES_DEFAULT, 0..=DEGREE_MAX.into(), &want)
    }

    fn lease(&mut self) -> Result<u32, Complaint> {
        let seconds = |lease: Duration| (lease.as_micros() / 1_000_000).cast_signed();
        let (least, most) = (seconds(TASK_LEASE_MIN), seconds(TASK_LEASE_MAX));
        let want = format!("a whole number of seconds, from {least} to {most} (1 day)");
        self.number("lease_s", TASK_LEASE_S_DEFAULT, least..=most, &want)
    }

    fn timeout(&mut self) -> Result<Option<u32>, Complaint> {
        let seconds = |time: Duration| (time.as_micros() / 1_000_000).cast_signed();
        let (least, most) = (seconds(TASK_TIME_MIN), seconds(TASK_TIME_MAX));
        let want = format!("a whole number of seconds, from {least} to {most} (30 days)");
        // None is written as nothing, so it is no number of the range.
        self.number("timeout_s", 0, least..=most, &want).map(|seconds| (seconds > 0).then_some(seconds))
    }

    fn attempts(&mut self) -> Result<u16, Complaint> {
        let want = format!("a whole number from 1 to {FAILURES_MAX}");
        self.number("attempts", ATTEMPTS_DEFAULT, 1..=FAILURES_MAX.into(), &want)
    }

    fn shape(&mut self) -> Result<Vec<u32>, Complaint> {
        let want = "a list of whole numbers from 1 on, as [2, 4]";
        let value = self.needed("shape", want)?;
        let side = |side: &Value| side.as_integer().and_then(|side| u32::try_from(side).ok());
        let sides = value.get_ref().as_array().and_then(|sides| sides.iter().map(side).collect());
        sides.ok_or_else(|| self.wrong("shape", &value, want))
    }

    fn joined(&mut self) -> Result<bool, Complaint> {
        let Some(value) = self.take("joined") else { return Ok(false) };
        value.get_ref().as_bool().ok_or_else(|| self.wrong("joined", &value, "true or false"))
    }

    fn metric(&mut self) -> Result<Metric, Complaint> {
        let want = "\"items\" or \"number\"";
        let value = self.needed("metric", want)?;
        match value.get_ref().as_str() {
            Some("items") => Ok(Metric::Items),
            Some("number") => Ok(Metric::Number),
            _ => Err(self.wrong("metric", &value, want)),
        }
    }

    /// What nobody took is no key of this kind.
    fn end(self, kind: &str) -> Result<(), Complaint> {
        let Some(key) = self.table.keys().next() else { return Ok(()) };
        let known = match kind {
            "ranks" => "ranks has no keys beside kind",
            "mesh" => "mesh has the keys kind, shape and joined",
            "farm" => "farm has the keys kind, copies, lease_s, attempts and timeout_s",
            "nearest" => "nearest has the keys kind and metric",
            "chord" => "chord has the keys kind and copies",
            _ => "ring has the keys kind and copies",
        };
        let reason = format!("unknown key `{}` in collections.{}: {known}", key.get_ref(), self.name);
        Err(self.source.complaint(key.span(), reason))
    }
}
