//! Where to listen, from the environment that the agent gives to a program.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// When nobody says a port.
const PORT_DEFAULT: u16 = 8_080;

/// `XTREEM_ADDRESS` and `XTREEM_PORT_HTTP`; loopback and 8080 without them.
pub(super) fn address(variable: &dyn Fn(&str) -> Option<String>) -> Result<SocketAddr, String> {
    let wrong = |name: &str, value: &str, what: &str| format!("{name}={value}: expected {what}");
    let ip = match variable("XTREEM_ADDRESS") {
        None => IpAddr::from(Ipv4Addr::LOCALHOST),
        Some(text) => {
            // IPv6 addresses may stand in brackets, as they do before a port.
            let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&text);
            bare.parse().map_err(|_| wrong("XTREEM_ADDRESS", &text, "an IP address"))?
        }
    };
    let port = match variable("XTREEM_PORT_HTTP") {
        None => PORT_DEFAULT,
        Some(text) => text.parse().map_err(|_| wrong("XTREEM_PORT_HTTP", &text, "a port number"))?,
    };
    Ok(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ip: Option<&str>, port: Option<&str>) -> Result<String, String> {
        let variable = |name: &str| match name {
            "XTREEM_ADDRESS" => ip.map(str::to_owned),
            "XTREEM_PORT_HTTP" => port.map(str::to_owned),
            _ => None,
        };
        address(&variable).map(|address| address.to_string())
    }

    #[test]
    fn the_agents_words_or_loopback() {
        assert_eq!(of(None, None).as_deref(), Ok("127.0.0.1:8080"));
        assert_eq!(of(Some("fd00::7"), Some("80")).as_deref(), Ok("[fd00::7]:80"));
        assert_eq!(of(Some("[fd00::7]"), None).as_deref(), Ok("[fd00::7]:8080"));
        assert_eq!(of(Some("127.0.0.9"), Some("1")).as_deref(), Ok("127.0.0.9:1"));
    }

    #[test]
    fn wrong_words_are_named() {
        assert_eq!(of(Some("here"), None), Err("XTREEM_ADDRESS=here: expected an IP address".to_owned()));
        assert_eq!(of(None, Some("http")), Err("XTREEM_PORT_HTTP=http: expected a port number".to_owned()));
    }
}
