//! The file's own form, and the way from it to a checked [`Config`].

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use xtreem_base::Duration;
use xtreem_discovery::standard::{self, Kind, Unit};
use xtreem_discovery::{Number, Value};
use xtreem_overlay::store::LEASE_MAX;
use xtreem_pubsub::keeper::Rule;
use xtreem_pubsub::{Pattern, REPLAY_MAX};

use super::{Config, Control, DEFAULT_STATE_DIR, NODE_NAME_MAX_BYTES, Offer, PubsubConfig, TcpConfig};
use crate::complaint::{Complaint, Source};
use crate::exec::Wanted;
use crate::quantity::parse_bytes;

/// Most cores that an offer may name: a slip of the keyboard, not a machine (our guess).
const CORES_MAX: i64 = 65_536;
/// Patterns that guests may use.
const GUESTS_MAX: usize = 64;
/// Rules that say which events are replayed (our guess).
const RULES_MAX: usize = 64;
/// Longest time for which they are kept: a day (our guess; what is kept longer is for a database).
const REPLAY_MAX_SECONDS: u32 = 86_400;

/// A reason and where in the text it lies.
#[derive(Debug)]
struct Wrong {
    span: Range<usize>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    state_dir: Option<Spanned<PathBuf>>,
    identity: Option<Spanned<PathBuf>>,
    policy: Option<Spanned<PathBuf>>,
    bind: Option<Spanned<String>>,
    advertise: Option<Spanned<String>>,
    #[serde(default)]
    join: Vec<Spanned<String>>,
    name: Option<Spanned<String>>,
    site: Option<Spanned<String>>,
    rack: Option<Spanned<String>>,
    emulated: Option<bool>,
    cyclon_period: Option<Spanned<String>>,
    trie_period: Option<Spanned<String>>,
    isolation: Option<Spanned<String>>,
    run_as: Option<Spanned<String>>,
    attributes: Option<Spanned<toml::Table>>,
    offer: Option<RawOffer>,
    control: Option<RawControl>,
    pubsub: Option<RawPubsub>,
    log: Option<RawLog>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOffer {
    cores: Option<Spanned<toml::Value>>,
    memory: Option<Spanned<toml::Value>>,
    disk: Option<Spanned<toml::Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawControl {
    path: Option<Spanned<PathBuf>>,
    mode: Option<Spanned<toml::Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPubsub {
    listen: Option<Spanned<String>>,
    #[serde(default)]
    guests: Vec<Spanned<String>>,
    retained_lease: Option<Spanned<String>>,
    #[serde(default)]
    replay: Vec<RawReplay>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawReplay {
    topics: Spanned<String>,
    events: Spanned<i64>,
    seconds: Spanned<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLog {
    filter: Option<Spanned<String>>,
}

pub(super) fn parse(file: &Path, source: Source<'_>) -> Result<Config, Complaint> {
    let base = file.parent().unwrap_or(Path::new(""));
    checked(base, source.text, source.toml()?).map_err(|wrong| source.complaint(wrong.span, wrong.reason))
}

fn checked(base: &Path, text: &str, raw: Raw) -> Result<Config, Wrong> {
    let state_dir = raw.state_dir.map_or(PathBuf::from(DEFAULT_STATE_DIR), |dir| base.join(dir.into_inner()));
    let mut config = Config::new(state_dir);
    config.identity = raw.identity.map(|path| base.join(path.into_inner()));
    config.policy = raw.policy.map(|path| base.join(path.into_inner()));
    if let Some(bind) = &raw.bind {
        config.bind = address(bind)?;
    }
    if let Some(advertise) = &raw.advertise {
        let parsed = advertise.get_ref().parse::<IpAddr>();
        let is_good = |ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast();
        let reason = "expected the IP address that others reach this node by, as 10.0.0.7 or fd00::7";
        config.advertise = Some(parsed.ok().filter(is_good).ok_or_else(|| wrong(advertise, reason))?);
    }
    for join in &raw.join {
        config.add_join(join.get_ref()).map_err(|reason| wrong(join, reason))?;
    }
    if let Some(name) = raw.name {
        check_name(name.get_ref()).map_err(|reason| wrong(&name, reason))?;
        config.name = Some(name.into_inner());
    }
    config.emulated = raw.emulated.unwrap_or(false);
    if let Some(period) = &raw.cyclon_period {
        config.cyclon_period = Some(gossip_period(period, config.emulated)?);
    }
    if let Some(period) = &raw.trie_period {
        config.trie_period = Some(gossip_period(period, config.emulated)?);
    }
    if let Some(isolation) = &raw.isolation {
        config.isolation = match isolation.get_ref().as_str() {
            "namespaces" => Wanted::Namespaces,
            "namespaces-if-possible" => Wanted::NamespacesIfPossible,
            "process-group" => Wanted::ProcessGroup,
            _ => {
                let expected = "expected \"namespaces\", \"namespaces-if-possible\" or \"process-group\"";
                return Err(wrong(isolation, expected));
            }
        };
    }
    if let Some(user) = raw.run_as {
        if ["", "0", "root"].contains(&user.get_ref().trim()) {
            return Err(wrong(&user, "expected the name of a user other than root, for programs alone"));
        }
        config.run_as = Some(user.into_inner());
    }
    if let Some(table) = raw.attributes {
        let place = Place { text, span: table.span() };
        flatten(&mut config, &place, "", table.into_inner())?;
    }
    for (name, value) in [("site", raw.site), ("rack", raw.rack)] {
        if let Some(value) = value {
            let set = config.declared.set(name, value.get_ref().as_str());
            set.map_err(|error| wrong(&value, error.to_string()))?;
        }
    }
    if let Some(offer) = raw.offer {
        config.offer = read_offer(offer)?;
    }
    if let Some(control) = raw.control {
        config.control = read_control(control, base, config.control)?;
    }
    config.pubsub = raw.pubsub.map(read_pubsub).transpose()?.unwrap_or_default();
    if let Some(filter) = raw.log.and_then(|log| log.filter) {
        config.log = filter.into_inner();
    }
    Ok(config)
}

fn wrong<T>(value: &Spanned<T>, reason: impl Into<String>) -> Wrong {
    Wrong { span: value.span(), reason: reason.into() }
}

fn address(text: &Spanned<String>) -> Result<SocketAddr, Wrong> {
    xtreem_net::parse_address(text.get_ref()).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => wrong(text, error.to_string()),
        _ => {
            let expected = "expected 10.0.0.7:7227 or [fd00::7]:7227";
            wrong(text, format!("{:?} is no address: {expected}", text.get_ref()))
        }
    })
}

pub(super) fn check_join(address: &str) -> Result<(), String> {
    let is_good = address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && host.len() <= 255 && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if is_good { Ok(()) } else { Err(format!("{address:?} is no address to join by: expected HOST:PORT")) }
}

fn check_name(name: &str) -> Result<(), String> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > NODE_NAME_MAX_BYTES || !name.chars().all(is_good) {
        return Err(format!(
            "a node's name has 1 to {NODE_NAME_MAX_BYTES} letters, digits, '-', '_' and '.'"
        ));
    }
    Ok(())
}

/// Between 100 ms and the real grid's 10 s; below that the emulated grid would only measure itself (our
/// guess).
fn gossip_period(text: &Spanned<String>, is_emulated: bool) -> Result<Duration, Wrong> {
    if !is_emulated {
        return Err(wrong(
            text,
            "the period is the same in the whole grid; only `emulated = true` may change it",
        ));
    }
    match humantime::parse_duration(text.get_ref()).map(|period| period.as_millis()) {
        Ok(millis @ 100..=10_000) => Ok(Duration::from_millis(millis as u64)),
        _ => Err(wrong(text, "expected a time from \"100ms\" to \"10s\"")),
    }
}

fn read_offer(raw: RawOffer) -> Result<Offer, Wrong> {
    let bytes = |size: Option<Spanned<toml::Value>>| match size {
        None => Ok(None),
        Some(size) => match size.get_ref().as_str().and_then(parse_bytes) {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(wrong(
                &size,
                format!("{} is no size: expected a number with a unit, as \"8GiB\"", size.get_ref()),
            )),
        },
    };
    let cores_milli = match &raw.cores {
        None => None,
        Some(cores) => match number(cores.get_ref()).map(Number::as_thousandths) {
            Some(milli) if (0..=CORES_MAX * 1_000).contains(&milli) => Some(milli as u32),
            _ => return Err(wrong(cores, "expected a number of cores from 0 to 65536, as 4 or 0.5")),
        },
    };
    Ok(Offer { cores_milli, memory_bytes: bytes(raw.memory)?, disk_bytes: bytes(raw.disk)? })
}

fn read_control(raw: RawControl, base: &Path, default: Control) -> Result<Control, Wrong> {
    let mode = match &raw.mode {
        None => default.mode,
        Some(mode) => match mode.get_ref().as_str().map(|digits| u32::from_str_radix(digits, 8)) {
            Some(Ok(bits @ 0..=0o777)) if bits & 0o600 == 0o600 => bits,
            _ => {
                return Err(wrong(
                    mode,
                    "expected permission bits from \"0600\" to \"0777\", the owner's among them",
                ));
            }
        },
    };
    Ok(Control { path: raw.path.map_or(default.path, |path| base.join(path.into_inner())), mode })
}

fn read_pubsub(raw: RawPubsub) -> Result<PubsubConfig, Wrong> {
    if raw.guests.len() > GUESTS_MAX {
        return Err(wrong(&raw.guests[GUESTS_MAX], format!("at most {GUESTS_MAX} patterns are possible")));
    }
    let guests = raw.guests.iter().map(topics).collect::<Result<_, _>>()?;
    let tcp = match (raw.listen, raw.guests.first()) {
        (Some(listen), _) => Some(TcpConfig { listen: address(&listen)?, guests }),
        (None, Some(first)) => {
            return Err(wrong(first, "nobody comes as a guest without `listen`: add an address and port"));
        }
        (None, None) => None,
    };
    let default = PubsubConfig::default().retained_lease;
    let retained_lease = raw.retained_lease.as_ref().map_or(Ok(default), retained_lease)?;
    if let Some(more) = raw.replay.get(RULES_MAX) {
        return Err(wrong(&more.topics, format!("at most {RULES_MAX} rules are possible")));
    }
    let replay = raw.replay.iter().map(read_replay).collect::<Result<_, _>>()?;
    Ok(PubsubConfig { tcp, retained_lease, replay })
}

fn topics(text: &Spanned<String>) -> Result<Pattern<'static>, Wrong> {
    Pattern::new(text.get_ref().clone()).map_err(|error| {
        wrong(text, format!("{error}; expected topics as \"a/b\", \"a/*\", \"a/**\" or \"**\""))
    })
}

fn read_replay(raw: &RawReplay) -> Result<Rule, Wrong> {
    let number = |of: &Spanned<i64>, max: u32| match u32::try_from(*of.get_ref()) {
        Ok(number) if (1..=max).contains(&number) => Ok(number),
        _ => Err(wrong(of, format!("expected a number from 1 to {max}"))),
    };
    let events = number(&raw.events, REPLAY_MAX)?;
    let lease = Duration::from_secs(number(&raw.seconds, REPLAY_MAX_SECONDS)?.into());
    Ok(Rule { topics: topics(&raw.topics)?, events, lease })
}

fn retained_lease(text: &Spanned<String>) -> Result<Duration, Wrong> {
    let lease =
        humantime::parse_duration(text.get_ref()).ok().map(|lease| Duration::from_secs(lease.as_secs()));
    lease
        .filter(|lease| *lease >= Duration::from_secs(60) && *lease <= LEASE_MAX)
        .ok_or_else(|| wrong(text, "expected a time from \"1m\" to \"30d\""))
}

/// Where `[attributes]` stands: values inside a table carry no spans of their own.
struct Place<'a> {
    text: &'a str,
    span: Range<usize>,
}

impl Place<'_> {
    /// At the first line after the table's head that names the last part of `name`.
    fn wrong(&self, name: &str, reason: impl Into<String>) -> Wrong {
        let last = name.rsplit('.').next().unwrap_or(name);
        let body = self.text.get(self.span.start..).unwrap_or("");
        let names_it = |line: &&str| {
            let key = line.split('=').next().unwrap_or("").trim().trim_matches('"');
            key == name || key.rsplit('.').next().is_some_and(|part| part.trim_matches(['"', ']']) == last)
        };
        let found = body.split_inclusive('\n').scan(0, |at, line| {
            let start = *at;
            *at += line.len();
            Some((start, line))
        });
        let (start, line) = found.into_iter().find(|(_, line)| names_it(line)).unwrap_or((0, ""));
        let start = self.span.start + start;
        let span = start..start + line.trim_end().len();
        Wrong { span, reason: format!("attribute `{name}`: {}", reason.into()) }
    }
}

/// `gpu.count = 2` is a table in TOML and a name with a point here.
fn flatten(config: &mut Config, place: &Place<'_>, prefix: &str, table: toml::Table) -> Result<(), Wrong> {
    for (key, value) in table {
        let name = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        if let toml::Value::Table(inner) = value {
            flatten(config, place, &name, inner)?;
            continue;
        }
        let value = attribute(&name, value).map_err(|reason| place.wrong(&name, reason))?;
        check_may_declare(&name, config.emulated).map_err(|reason| place.wrong(&name, reason))?;
        config.declared.set(&name, value).map_err(|error| place.wrong(&name, error.to_string()))?;
    }
    Ok(())
}

fn check_may_declare(name: &str, is_emulated: bool) -> Result<(), &'static str> {
    if name.starts_with("offer.") {
        return Err("what a node offers is told under [offer]");
    }
    if name.starts_with("identity.") {
        return Err("only the node itself says whether its identity is its own");
    }
    if name.starts_with("slots.") {
        return Err("only the node itself counts its slots");
    }
    if standard::is_dynamic(name) && !is_emulated {
        return Err("changes all the time and is measured; only `emulated = true` may declare it");
    }
    Ok(())
}

/// A value of TOML as an attribute's value; texts with a unit are numbers where a number is meant.
fn attribute(name: &str, value: toml::Value) -> Result<Value, String> {
    let kind = standard::find(name).map(|row| row.kind);
    let found = match value {
        toml::Value::Boolean(flag) => Value::Flag(flag),
        toml::Value::Array(entries) => {
            let text = |entry| match entry {
                toml::Value::String(text) => Ok(text),
                other => Err(format!("a list has texts only, not {}", other.type_str())),
            };
            Value::List(entries.into_iter().map(text).collect::<Result<_, _>>()?)
        }
        toml::Value::String(text) => match (kind, Number::parse(&text)) {
            (Some(Kind::Number(_)), Ok((number, _))) => Value::Number(number),
            (Some(Kind::Number(_)), Err(_)) => {
                return Err(format!("{text:?} is no number with a known unit"));
            }
            // A site's own attribute: what ends in a unit is meant as a number, `"12"` is meant as text.
            (None, Ok((number, Unit::Bytes | Unit::Hertz))) => Value::Number(number),
            _ => Value::Text(text),
        },
        other => match number(&other) {
            Some(number) => Value::Number(number),
            None => return Err(format!("{} is no attribute value", other.type_str())),
        },
    };
    let is_right = match (kind, &found) {
        (None, _) => true,
        (Some(Kind::Number(_)), Value::Number(number)) => number.as_thousandths() >= 0,
        (Some(Kind::Text), Value::Text(_))
        | (Some(Kind::Flag), Value::Flag(_))
        | (Some(Kind::List), Value::List(_)) => true,
        _ => false,
    };
    if is_right { Ok(found) } else { Err(format!("expected {}, found {found}", expected(kind))) }
}

fn expected(kind: Option<Kind>) -> &'static str {
    match kind {
        Some(Kind::Number(_)) => "a number that is not negative",
        Some(Kind::Text) => "a text",
        Some(Kind::Flag) => "true or false",
        Some(Kind::List) => "a list of texts",
        None => "a value",
    }
}

/// Rounded to whole thousandths, so that `0.1` is exactly a tenth. One that is too large or finer is none.
fn number(value: &toml::Value) -> Option<Number> {
    match value {
        toml::Value::Integer(whole) => Some(Number::from_whole(*whole)),
        toml::Value::Float(float) => {
            let thousandths = (float * 1_000.0).round();
            // Up to here each whole number has a float of its own.
            let is_whole = (thousandths - float * 1_000.0).abs() < 1e-6 && thousandths.abs() < 9e15;
            is_whole.then(|| Number::from_thousandths(thousandths as i64))
        }
        _ => None,
    }
}
