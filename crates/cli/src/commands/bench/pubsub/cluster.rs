//! Servers of one protocol that are measured together: one, or several that tell each other what is
//! published, over TLS both here and there.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use xtreem_net::VoKey;

use super::proto::Proto;
use super::server::{Server, find, free_port};
use crate::demo::grid::failed;
use crate::exit::Failure;

/// Days for which credentials hold: no measurement lasts a week.
const DAYS: u32 = 7;

/// All servers of one protocol. The publisher is at the first.
pub struct Cluster {
    pub proto: Proto,
    pub servers: Vec<Server>,
}

impl Cluster {
    /// One server that runs already.
    pub fn there(server: Server) -> Cluster {
        Cluster { proto: server.proto, servers: vec![server] }
    }

    /// Starts so many with all their files in `dir`, which is made. Each may have `clients_max` connections.
    pub fn start(proto: Proto, dir: &Path, count: usize, clients_max: usize) -> Result<Cluster, Failure> {
        let in_dir = |e: io::Error| failed(&format!("{}: {e}", dir.display()));
        fs::create_dir(dir).map_err(in_dir)?;
        let bonds = Bonds::new(proto, dir, count)?;
        let mut servers = Vec::new();
        for number in 0..count {
            let dir = dir.join(number.to_string());
            fs::create_dir(&dir).map_err(in_dir)?;
            let addr = loopback(free_port())?;
            let command = command(proto, &dir, addr, clients_max, &bonds, number)?;
            servers.push(Server::start(proto, &dir, addr, command)?);
        }
        Ok(Cluster { proto, servers })
    }

    /// Where clients connect: the publisher at the first, subscribers at the others in turn.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|server| server.addr).collect()
    }

    /// Processor time of all of them, up to now; none if a process is not known.
    pub fn cpu(&self) -> Option<Duration> {
        self.servers.iter().map(Server::cpu).sum()
    }
}

/// How the servers know each other.
enum Bonds {
    None,
    /// Nodes of one VO that is made for them alone, and where each is for the others.
    Vo(VoKey, Vec<SocketAddr>),
    /// Routes, and the files of a certificate that all of them have and trust.
    Routes {
        addrs: Vec<SocketAddr>,
        cert: PathBuf,
        key: PathBuf,
    },
}

impl Bonds {
    fn new(proto: Proto, dir: &Path, count: usize) -> Result<Bonds, Failure> {
        let save = |name: &str, text: &str| {
            let path = dir.join(name);
            fs::write(&path, text).map_err(|e| failed(&format!("{}: {e}", path.display())))?;
            Ok::<PathBuf, Failure>(path)
        };
        match proto {
            Proto::Xtreem => {
                // All at once: a port that was given back could come twice.
                let sockets = (0..count).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)));
                let sockets = sockets.collect::<Result<Vec<_>, _>>().map_err(|e| failed(&e))?;
                let addrs = sockets.iter().map(UdpSocket::local_addr).collect::<Result<_, _>>();
                let vo = VoKey::create("bench").map_err(|e| failed(&e))?;
                Ok(Bonds::Vo(vo, addrs.map_err(|e| failed(&e))?))
            }
            Proto::Nats if count > 1 => {
                let CertifiedKey { cert, signing_key } =
                    generate_simple_self_signed([Ipv4Addr::LOCALHOST.to_string()]).map_err(|e| failed(&e))?;
                let cert = save("cert.pem", &cert.pem())?;
                let key = save("key.pem", &signing_key.serialize_pem())?;
                let addrs = (0..count).map(|_| loopback(free_port())).collect::<Result<_, _>>()?;
                Ok(Bonds::Routes { addrs, cert, key })
            }
            Proto::Nats | Proto::Redis => Ok(Bonds::None),
        }
    }
}

fn loopback(port: io::Result<u16>) -> Result<SocketAddr, Failure> {
    let port = port.map_err(|e| failed(&format!("no free port on loopback: {e}")))?;
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

fn command(
    proto: Proto,
    dir: &Path,
    addr: SocketAddr,
    clients_max: usize,
    bonds: &Bonds,
    number: usize,
) -> Result<Command, Failure> {
    let program = find(proto).map_err(|missing| failed(&format!("there is no {}", missing.program)))?;
    let mut command = Command::new(program);
    let (ip, port) = (addr.ip().to_string(), addr.port().to_string());
    match bonds {
        Bonds::Vo(vo, binds) => {
            let config = agent_config(dir, addr, vo, binds, number)?;
            command.arg("agent").arg("--config").arg(config);
        }
        Bonds::Routes { addrs, cert, key } => {
            let config = dir.join("nats.conf");
            let text = nats_config(addr, addrs, number, cert, key);
            fs::write(&config, text).map_err(|e| failed(&format!("{}: {e}", config.display())))?;
            command.arg("-c").arg(config);
        }
        Bonds::None if proto == Proto::Nats => {
            command.args(["-a", &ip, "-p", &port]);
        }
        Bonds::None => {
            command.args(["--bind", &ip, "--port", &port, "--save", "", "--appendonly", "no"]);
            command.args(["--maxclients", &clients_max.to_string()]);
        }
    }
    Ok(command)
}

/// A node as an operator would make it: credential, file.
fn agent_config(
    dir: &Path,
    addr: SocketAddr,
    vo: &VoKey,
    binds: &[SocketAddr],
    number: usize,
) -> Result<PathBuf, Failure> {
    let in_dir = |e: io::Error| failed(&format!("{}: {e}", dir.display()));
    let name = format!("bench-{number}");
    let node = vo.issue_node(&name, DAYS).map_err(|e| failed(&e))?;
    node.save(&dir.join("node.pem")).map_err(in_dir)?;
    let config = dir.join("agent.toml");
    let (bind, first) = (binds[number], binds[0]);
    let join = if number == 0 { String::new() } else { format!("join = [\"{first}\"]\n") };
    let text = format!(
        "state_dir = \"state\"\nidentity = \"node.pem\"\nname = \"{name}\"\nbind = \"{bind}\"\n{join}\
         [pubsub]\nlisten = \"{addr}\"\nguests = [\"**\"]\n"
    );
    fs::write(&config, text).map_err(in_dir)?;
    Ok(config)
}

/// A route to each other server, sealed with TLS on which both sides show the certificate.
fn nats_config(addr: SocketAddr, routes: &[SocketAddr], number: usize, cert: &Path, key: &Path) -> String {
    let others = routes.iter().enumerate().filter(|(other, _)| *other != number);
    let others: Vec<String> = others.map(|(_, route)| format!("nats-route://{route}")).collect();
    let (cert, key) = (cert.display(), key.display());
    format!(
        "listen: \"{addr}\"\ncluster {{\n  name: bench\n  listen: \"{own}\"\n  routes: [{others}]\n  \
         tls {{ cert_file: \"{cert}\", key_file: \"{key}\", ca_file: \"{cert}\", verify: true, timeout: 10 }}\n}}\n",
        own = routes[number],
        others = others.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn agents_are_told_where_to_take_clients_and_where_the_first_is() {
        let home = tempfile::tempdir().expect("a directory");
        let vo = VoKey::create("bench").expect("a VO");
        let text = |number: usize| {
            let dir = home.path().join(number.to_string());
            fs::create_dir(&dir).expect("made");
            let config = agent_config(&dir, addr(4_711), &vo, &[addr(1), addr(2)], number).expect("written");
            assert!(dir.join("node.pem").exists());
            fs::read_to_string(config).expect("there")
        };
        let (first, second) = (text(0), text(1));
        assert!(first.contains("\nlisten = \"127.0.0.1:4711\"\n") && !first.contains("join"), "{first}");
        assert!(second.contains("\nbind = \"127.0.0.1:2\"\njoin = [\"127.0.0.1:1\"]\n"), "{second}");
    }

    #[test]
    fn routes_lead_to_the_others_only() {
        let text =
            nats_config(addr(9), &[addr(1), addr(2), addr(3)], 1, Path::new("/c.pem"), Path::new("/k.pem"));
        assert!(text.contains("listen: \"127.0.0.1:2\"") && text.contains("ca_file: \"/c.pem\""), "{text}");
        assert!(
            text.contains("routes: [nats-route://127.0.0.1:1, nats-route://127.0.0.1:3]"),
            "not to itself: {text}"
        );
    }
}
