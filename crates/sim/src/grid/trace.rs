//! What a run prints about single applications, one line an event: for finding out why a seed fails.

use std::fmt::{self, Write as _};

use xtreem_base::{AppId, Handle, Instant};

use super::host::{host_of, incarnation_of};

/// Which applications are traced, on the error output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trace {
    #[default]
    Off,
    /// Those whose id begins so, in hexadecimal, or whose name is so; with every message that names them.
    Apps(Vec<String>),
    All,
}

impl Trace {
    pub(crate) fn is_on(&self) -> bool {
        *self != Trace::Off
    }

    /// Everything is traced, why nodes wake up included.
    pub(crate) fn is_full(&self) -> bool {
        *self == Trace::All
    }

    pub(crate) fn covers(&self, app: AppId, name: &str) -> bool {
        match self {
            Trace::Off => false,
            Trace::All => true,
            Trace::Apps(wanted) => {
                let id = app.to_string();
                wanted.iter().any(|start| id.starts_with(start.as_str()) || name == start)
            }
        }
    }
}

/// Prints one line: virtual milliseconds, host and incarnation, what happened.
pub(crate) fn line(at: Instant, host: Option<Handle>, what: impl fmt::Display) {
    let who = host.map_or_else(|| "-".into(), name);
    eprintln!("{:>10.3} {who:>8}  {what}", at.as_micros() as f64 / 1_000.0);
}

/// `host.incarnation`.
pub(crate) fn name(handle: Handle) -> String {
    format!("{}.{}", host_of(handle), incarnation_of(handle))
}

/// The debug form of something, handles written as `h12.0`: host and incarnation.
pub(crate) fn readable(what: &dyn fmt::Debug) -> String {
    let text = format!("{what:?}");
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find('h') {
        let (before, tail) = rest.split_at(at);
        out.push_str(before);
        let digits = tail[1..].bytes().take_while(u8::is_ascii_digit).count();
        let follows_word = before.bytes().last().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
        match tail[1..1 + digits].parse().map(Handle::from_u32) {
            Ok(handle) if !follows_word => {
                let written = write!(out, "h{}", name(handle));
                debug_assert!(written.is_ok(), "writing to a string cannot fail");
            }
            _ => out.push_str(&tail[..1 + digits]),
        }
        rest = &tail[1 + digits..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_become_host_and_incarnation_and_words_stay() {
        #[derive(Debug)]
        #[expect(dead_code, reason = "read by Debug")]
        struct Held {
            peer: Handle,
            path: &'static str,
            none: Handle,
        }
        let what = Held { peer: super::super::host::handle_of(12, 3), path: "hash1 ah7", none: Handle::NONE };
        assert_eq!(readable(&what), "Held { peer: h12.3, path: \"hash1 ah7\", none: h- }");
    }

    #[test]
    fn applications_are_chosen_by_id_or_name() {
        let app = AppId::from_bytes([0xab; 16]);
        let only = |start: &str| Trace::Apps(vec![start.into()]);
        assert!(only("abab").covers(app, "app1") && only("app1").covers(app, "app1"));
        assert!(!only("ba").covers(app, "app1") && !only("app1").covers(app, "app11"));
        assert!(Trace::All.covers(app, "x") && !Trace::Off.covers(app, "x"));
    }
}
