//! The hidden sub-commands by which the caller's program starts itself again as launcher, lab and init.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::dup2_stdin;

use crate::control::{Greeting, send};
use crate::lab_process::{Kind, prepare, serve};
use crate::namespaces::{die_with_parent, lab_flags, spawn};
use crate::{host_init, spec::Exit};

pub(crate) const COMMAND: &str = "internal-emulation";
pub(crate) const LAUNCHER: &str = "launcher";
pub(crate) const LAB: &str = "lab";
pub(crate) const LOOPBACK_LAB: &str = "loopback-lab";
pub(crate) const HOST: &str = "host";

/// Takes over when this process was started by a lab, else returns `None`. `args` are those of the process,
/// its name included. To be called first in `main`, while the process has one thread.
pub fn internal_main(args: &[OsString]) -> Option<ExitCode> {
    if args.get(1)? != COMMAND {
        return None;
    }
    let role = args.get(2).and_then(|role| role.to_str()).unwrap_or_default();
    let result = match role {
        LAUNCHER => launch(),
        LAB => prepare().and_then(|()| in_runtime(async |control| serve(control, Kind::Namespaces).await)),
        LOOPBACK_LAB => in_runtime(async |control| serve(control, Kind::Loopback).await),
        HOST => in_runtime(host_init::run),
        _ => Err(io::Error::other("not to be called by hand")),
    };
    Some(result.unwrap_or_else(|error| {
        eprintln!("{COMMAND} {role}: {error}");
        ExitCode::FAILURE
    }))
}

/// This program, also after its file has been replaced, inside hosts too: what to run as an agent or a
/// client.
pub fn this_program() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// Starts the lab in its namespaces and waits for its end, so that the caller has one process to wait for.
fn launch() -> io::Result<ExitCode> {
    die_with_parent()?;
    let lab = match spawn(lab_flags(), &[COMMAND, LAB], None) {
        Ok(lab) => lab,
        Err(error) => {
            let reason = format!("making namespaces: {error}");
            return in_runtime(async move |mut control| {
                send(&mut control, &Greeting::Refused { reason }).await?;
                Ok(ExitCode::FAILURE)
            });
        }
    };
    // The lab alone shall hold the control socket, so that the caller sees it close.
    dup2_stdin(File::open("/dev/null")?)?;
    let exit = loop {
        match waitpid(lab, None) {
            Err(Errno::EINTR) => {}
            Ok(WaitStatus::Exited(_, code)) => break Exit::Code(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => break Exit::Signal(signal as i32),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
    };
    Ok(if exit == Exit::Code(0) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs `body` with the socket that this process got as its stdin, on one thread.
fn in_runtime<F: Future<Output = io::Result<ExitCode>>>(
    body: impl FnOnce(tokio::net::UnixStream) -> F,
) -> io::Result<ExitCode> {
    let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // What this process starts shall not inherit the conversation.
    dup2_stdin(File::open("/dev/null")?)?;
    control.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { body(tokio::net::UnixStream::from_std(control)?).await })
}
