//! What this binary is when a lab, or a test, starts it: an agent, a nested program, a client, a caller.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid, gethostname, getpid, setsid};
use xtreem_emulation::{NetworkChoice, this_program};

use crate::support;

/// Where agents listen on their own address.
pub const PORT: u16 = 7000;
/// An agent's Unix socket, in its host's directory.
pub const SOCKET: &str = "ctl.sock";
/// How answers begin that are none.
pub const FAILED: &str = "failed:";
/// How long a peer may take to accept and answer before it counts as out of reach.
const REACH: Duration = Duration::from_millis(700);

pub fn main(args: &[OsString]) -> Option<ExitCode> {
    let arg = |at: usize| args.get(at).and_then(|arg| arg.to_str()).unwrap_or_default();
    let result = match arg(1) {
        "role-agent" => agent(arg(2)),
        "role-sleeper" => sleeper(),
        "role-nested" => nested(),
        "role-nested-init" => nested_init(),
        "role-client" => client(arg(2)),
        "role-confined" => confined(arg(2)),
        "role-caller" => caller(arg(2), arg(3)),
        _ => return None,
    };
    match result {
        Ok(()) => Some(ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("{}: {error}", arg(1));
            Some(ExitCode::FAILURE)
        }
    }
}

/// Tells its host's name to whoever connects, and does what its Unix socket says.
fn agent(address: &str) -> io::Result<()> {
    let address: IpAddr = address.parse().map_err(io::Error::other)?;
    let listener = TcpListener::bind(SocketAddr::new(address, PORT))?;
    std::thread::spawn(move || {
        let name = gethostname().unwrap_or_default().into_encoded_bytes();
        for stream in listener.incoming().flatten() {
            let _ = (&stream).write_all(&name);
        }
    });
    let _ = fs::remove_file(SOCKET);
    for stream in UnixListener::bind(SOCKET)?.incoming() {
        let mut stream = stream?;
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line)?;
        let (order, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let answer = match order {
            "reach" => reach(rest),
            "greet" => greet(rest),
            "write" => write_to(rest),
            "sleeper" => run("role-sleeper"),
            "nested" => run("role-nested"),
            _ => "what?".to_owned(),
        };
        stream.write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// The name of the host at an address, or that it failed and why.
fn reach(address: &str) -> String {
    let reached = || {
        let address = SocketAddr::new(address.parse().map_err(io::Error::other)?, PORT);
        let mut stream = TcpStream::connect_timeout(&address, REACH)?;
        stream.set_read_timeout(Some(REACH))?;
        let mut name = String::new();
        stream.read_to_string(&mut name)?;
        io::Result::Ok(name)
    };
    reached().unwrap_or_else(|error| format!("{FAILED} {error}"))
}

/// Sends a datagram to each address.
fn greet(addresses: &str) -> String {
    let greeted = || {
        let socket = UdpSocket::bind("[::]:0")?;
        let mut count = 0;
        for address in addresses.split(' ') {
            socket.send_to(b"hello", SocketAddr::new(address.parse().map_err(io::Error::other)?, PORT))?;
            count += 1;
        }
        io::Result::Ok(count)
    };
    greeted().map_or_else(|error| format!("{FAILED} {error}"), |count: u16| format!("{count} greeted"))
}

/// Writes 64 KiB to a file, or says that there is no room.
fn write_to(path: &str) -> String {
    match fs::write(path, vec![1; 64 << 10]) {
        Ok(()) => "written".to_owned(),
        Err(error) => format!("{FAILED} {error}"),
    }
}

fn run(role: &str) -> String {
    let output = Command::new(this_program()).arg(role).stderr(Stdio::inherit()).output();
    match output {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Err(error) => format!("{FAILED} {error}"),
    }
}

/// Leaves behind a grandchild in a session of its own that nothing but a signal ends.
fn sleeper() -> io::Result<()> {
    if std::env::args().nth(2).is_none() {
        Command::new(this_program())
            .args(["role-sleeper", "deep"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()?;
        return Ok(());
    }
    let _ = setsid();
    loop {
        std::thread::park();
    }
}

/// Becomes root of a new user namespace, as anybody may.
fn unshare_with_user(flags: CloneFlags) -> io::Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | flags)?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// As an agent starts a program: new user, PID and mount namespaces without privilege.
fn nested() -> io::Result<()> {
    unshare_with_user(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS)?;
    let status = Command::new(this_program()).arg("role-nested-init").status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(status.to_string())) }
}

fn nested_init() -> io::Result<()> {
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), None::<&str>)?;
    println!("pid {} of {}", getpid(), fs::read_link("/proc/self")?.display());
    Ok(())
}

/// Reaches each address it reads.
fn client(greeting: &str) -> io::Result<()> {
    println!("{greeting}");
    for line in io::stdin().lines() {
        println!("{}", reach(line?.trim()));
    }
    Ok(())
}

/// Starts a lab with busy hosts, says so, and waits to be killed.
fn caller(kind: &str, state_dir: &str) -> io::Result<()> {
    let kind = if kind == "Loopback" { NetworkChoice::Loopback } else { NetworkChoice::Namespaces };
    crate::runtime().block_on(async {
        let lab = support::start_in(kind, PathBuf::from(state_dir)).await;
        for index in 1..=3 {
            let host = support::spawn(&lab, index).await;
            support::tell(&host, "sleeper").await;
        }
        println!("ready");
        std::future::pending::<io::Result<()>>().await
    })
}

/// Starts a lab of any kind where user namespaces have run out.
fn confined(state_dir: &str) -> io::Result<()> {
    // A machine that forbids user namespaces altogether needs no help to be such a place.
    if unshare_with_user(CloneFlags::empty()).is_ok() {
        fs::write("/proc/sys/user/max_user_namespaces", "0")?;
    }
    crate::runtime().block_on(async {
        let lab = support::start_in(NetworkChoice::Auto, PathBuf::from(state_dir)).await;
        println!("{}", lab.network());
        support::spawn(&lab, 1).await;
        println!("host 1 answers");
        lab.stop().await;
    });
    Ok(())
}
