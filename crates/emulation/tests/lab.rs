//! Labs of real processes. Without the usual harness, because this binary is also every process of the labs:
//! started with a role as its first argument it is an agent, a client or a caller that gets killed.

#[path = "lab/claims.rs"]
mod claims;
#[path = "lab/roles.rs"]
mod roles;
#[path = "lab/support.rs"]
mod support;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Instant;

use xtreem_emulation::{Lab, LabOptions, NetworkChoice, StartError, internal_main};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = internal_main(&args).or_else(|| roles::main(&args)) {
        return code;
    }
    let filter: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let kinds = match namespaces_are_forbidden() {
        None => vec![NetworkChoice::Namespaces, NetworkChoice::Loopback],
        Some(reason) => {
            println!("NAMESPACES ARE FORBIDDEN HERE, only the fallback is tested: {reason}");
            vec![NetworkChoice::Loopback]
        }
    };
    for kind in kinds {
        for claim in claims::of(kind) {
            if !filter.is_empty() && !filter.iter().any(|wanted| claim.name.contains(wanted.as_str())) {
                continue;
            }
            // A claim that does not hold panics, which ends the run with its message.
            let start = Instant::now();
            runtime().block_on((claim.check)(kind));
            println!("{kind:?}: {} … ok ({:?})", claim.name, start.elapsed());
        }
    }
    ExitCode::SUCCESS
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn namespaces_are_forbidden() -> Option<String> {
    let dir = tempfile::tempdir().expect("a directory");
    let options =
        LabOptions { state_dir: dir.path().to_owned(), network: NetworkChoice::Namespaces, user: None };
    match runtime().block_on(Lab::start(options)) {
        Ok(_) => None,
        Err(StartError::NoNamespaces { reason }) => Some(reason),
        Err(error) => panic!("neither namespaces nor a reason against them: {error}"),
    }
}
