//! What Open MPI starts where it would start `ssh HOST COMMAND...`: tells the head, and stays until the
//! command has ended.

use std::io;
use std::path::Path;

use clap::Args;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use xtreem_net::beside::write;

use super::frame::Launch;
use super::head::{SOCKET, go_to};
use super::{HOST_PREFIX, LAUNCH_MAX_BYTES};
use crate::exit::{Exit, Failure};
use crate::runtime::block_on;

#[derive(Args, Debug)]
pub struct Arguments {
    host: String,
    /// Pieces of a line for a shell
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    words: Vec<String>,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let slot = slot_of(&arguments.host)?;
    let socket = std::env::var_os(SOCKET)
        .ok_or_else(|| Failure::usage("this is started by `mpirun` under `xtreem mpirun` only"))?;
    let lost = |error| Failure::new(Exit::Failed, format!("the head in slot 0 is not reached: {error}"));
    let launch = Launch { slot, command: arguments.words.join(" ") };
    if launch.command.len() > LAUNCH_MAX_BYTES {
        return Err(Failure::usage(format!("a command for {} is too long to be started", arguments.host)));
    }
    block_on(async {
        let talk = async {
            let mut stream = UnixStream::connect(go_to(Path::new(&socket))?).await?;
            write(&mut stream, &launch).await?;
            stream.read_u8().await
        };
        match talk.await {
            Ok(code) => Ok(Exit::Command(code)),
            // `mpirun` has ended, and nobody waits for this any more.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Exit::Failed),
            Err(error) => Err(lost(error)),
        }
    })
}

fn slot_of(host: &str) -> Result<u16, Failure> {
    host.strip_prefix(HOST_PREFIX).and_then(|number| number.parse().ok()).ok_or_else(|| {
        Failure::usage(format!("`{host}` is no slot of the application"))
            .with_hint("hosts of `mpirun` are named slot0, slot1, …")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_slots_and_nothing_else() {
        let slot = |host| slot_of(host).map_err(|failure| failure.exit);
        assert_eq!(slot("slot0"), Ok(0));
        assert_eq!(slot("slot254"), Ok(254));
        for host in ["host07", "slot", "slot-1", "slot70000", "user@slot1"] {
            assert_eq!(slot(host), Err(Exit::Usage), "{host}");
        }
    }
}
