//! What is to be run, and the checks that make a clear error before anything happens.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::order::{Kernel, Mode, ORDER_MAX_BYTES, Order, Part, ProgramUser};

/// Bytes of log kept for a slot unless the plan says otherwise. Our guess: some 40,000 lines.
pub const LOG_MAX_BYTES: u64 = 4 << 20;
/// Where commands are looked for unless the plan's environment names a `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";
/// Name of the directory for temporary files inside the slot's own directory. No file of a program has it.
pub const TEMPORARY: &str = ".xtreem-tmp";

/// Hidden in any case: sockets by which a program would have a service of the agent's user start something
/// outside (systemd --user, D-Bus, screen).
const ALWAYS_HIDDEN: [&str; 2] = ["/run/user", "/run/screen"];

/// Whether a program needs namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Namespaces, or it does not start.
    Namespaces,
    /// Namespaces; a process group where the kernel has none.
    NamespacesIfPossible,
    /// A process group in any case.
    ProcessGroup,
}

/// One program for one slot.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Program and arguments. A name without `/` is looked for in `PATH`; a relative path starts at `dir`.
    pub command: Vec<String>,
    /// The slot's own directory, holding its files already; the program starts in it.
    pub dir: PathBuf,
    /// The whole environment, besides defaults for `PATH`, `HOME` (`dir`) and `TMPDIR` (in `dir`).
    pub env: Vec<(String, String)>,
    /// Directory of the log; made when missing. Must not lie in `dir`, where the program could change it.
    pub log_dir: PathBuf,
    /// Bytes of output kept on disk: the newest, at least half of this ([`super::Log`]).
    pub log_max_bytes: u64,
    /// Directories and files the program must not see: the agent's key, store, and slots. Those that do not
    /// exist, and those inside `dir`, are passed over.
    pub hidden: Vec<PathBuf>,
    /// Files and directories under a hidden one that stay visible, such as the local API's socket.
    pub visible: Vec<PathBuf>,
    pub isolation: Wanted,
    /// Whom the program runs as, other than the agent's user: needs an agent that is root. `dir` and all in
    /// it must be that user's already.
    pub user: Option<ProgramUser>,
    pub kernel: Kernel,
}

/// A plan that cannot be run as it stands. Nothing was started, no state was touched.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    #[error("no command given: `command` needs at least the program's name")]
    NoCommand,
    #[error("{what} cannot be passed to a program: it is empty, or holds a zero byte or a misplaced `=`")]
    BadText { what: String },
    #[error("the slot's directory {dir} cannot be entered: {reason}")]
    NoDirectory { dir: PathBuf, reason: String },
    #[error("command `{name}` not found in PATH ({path}){hint}")]
    NotFound { name: String, path: String, hint: String },
    #[error("there is no file {file} to execute")]
    Missing {
        file: PathBuf,
        /// It was to come with the program.
        is_own: bool,
    },
    #[error("{file} is not executable: mark it executable (chmod +x) or name its interpreter first")]
    NotExecutable { file: PathBuf },
    #[error("{path} cannot be hidden: the program needs it")]
    BadHidden { path: PathBuf },
    #[error("the log directory {dir} lies in the slot's own directory, where the program could change it")]
    LogInSlot { dir: PathBuf },
    #[error("command and environment take {len} bytes; at most {ORDER_MAX_BYTES} are allowed")]
    TooLarge { len: usize },
    #[error("a path of the plan is not UTF-8")]
    NotUtf8,
}

impl Plan {
    /// A plan with the default log size, nothing hidden, and namespaces wanted.
    pub fn new(command: Vec<String>, dir: PathBuf, log_dir: PathBuf) -> Self {
        Plan {
            command,
            dir,
            env: Vec::new(),
            log_dir,
            log_max_bytes: LOG_MAX_BYTES,
            hidden: Vec::new(),
            visible: Vec::new(),
            isolation: Wanted::Namespaces,
            user: None,
            kernel: Kernel::AsItIs,
        }
    }

    /// The checked order for the helper.
    pub(super) fn order(&self, mode: Mode) -> Result<Order, PlanError> {
        let (name, arguments) = checked(&self.command)?;
        for (key, value) in &self.env {
            check_text(&format!("environment variable {key:?}"), key, "\0=")?;
            if value.contains('\0') {
                return Err(PlanError::BadText { what: format!("the value of {key}") });
            }
        }
        let dir = self.dir.canonicalize().map_err(|error| self.no_directory(error.to_string()))?;
        if !dir.is_dir() {
            return Err(self.no_directory("not a directory".into()));
        }
        let log_dir = self.log_dir.canonicalize().unwrap_or_else(|_| self.log_dir.clone());
        if log_dir.starts_with(&dir) {
            return Err(PlanError::LogInSlot { dir: log_dir });
        }
        let env = self.environment(&dir)?;
        Ok(Order {
            part: Part::Program,
            mode,
            kernel: self.kernel,
            user: self.user,
            program: find_program(name, &dir, &env)?,
            arguments: arguments.to_vec(),
            env,
            hidden: self.hidden_paths(&dir)?,
            visible: self.visible.iter().filter_map(|path| path.canonicalize().ok()).collect(),
            dir,
        })
    }

    fn no_directory(&self, reason: String) -> PlanError {
        PlanError::NoDirectory { dir: self.dir.clone(), reason }
    }

    fn environment(&self, dir: &Path) -> Result<Vec<(String, String)>, PlanError> {
        let text = |path: PathBuf| path.into_os_string().into_string().map_err(|_| PlanError::NotUtf8);
        let defaults = [
            ("PATH", DEFAULT_PATH.to_owned()),
            ("HOME", text(dir.to_path_buf())?),
            ("TMPDIR", text(dir.join(TEMPORARY))?),
        ];
        let mut env = self.env.clone();
        for (key, value) in defaults {
            if !env.iter().any(|(given, _)| given == key) {
                env.push((key.to_owned(), value));
            }
        }
        Ok(env)
    }

    /// Existing hidden paths, parents before children, nothing twice.
    fn hidden_paths(&self, dir: &Path) -> Result<Vec<PathBuf>, PlanError> {
        let all = self.hidden.iter().map(PathBuf::as_path).chain(ALWAYS_HIDDEN.map(Path::new));
        let mut hidden: Vec<PathBuf> = all.filter_map(|path| path.canonicalize().ok()).collect();
        hidden.retain(|path| !path.starts_with(dir));
        hidden.sort();
        hidden.dedup_by(|later, earlier| later.starts_with(earlier));
        match hidden.iter().find(|path| path.parent().is_none()) {
            Some(root) => Err(PlanError::BadHidden { path: root.clone() }),
            None => Ok(hidden),
        }
    }
}

/// The name of a program and its arguments, which have no zero bytes.
pub(super) fn checked(command: &[String]) -> Result<(&str, &[String]), PlanError> {
    let (name, arguments) = command.split_first().ok_or(PlanError::NoCommand)?;
    check_text("the command", name, "\0")?;
    match arguments.iter().find(|argument| argument.contains('\0')) {
        Some(argument) => Err(PlanError::BadText { what: format!("argument {argument:?}") }),
        None => Ok((name, arguments)),
    }
}

fn check_text(what: &str, text: &str, forbidden: &str) -> Result<(), PlanError> {
    if text.is_empty() || text.contains(|c| forbidden.contains(c)) {
        return Err(PlanError::BadText { what: what.to_owned() });
    }
    Ok(())
}

/// Where the program's file is, by the rules of a shell.
pub(super) fn find_program(name: &str, dir: &Path, env: &[(String, String)]) -> Result<PathBuf, PlanError> {
    if name.contains('/') {
        let file = dir.join(name);
        return match is_executable(&file) {
            Some(true) => Ok(file),
            Some(false) => Err(PlanError::NotExecutable { file }),
            None => Err(PlanError::Missing { is_own: !name.starts_with('/'), file }),
        };
    }
    let path = env.iter().find(|(key, _)| key == "PATH").map_or("", |(_, value)| value);
    let found =
        path.split(':').map(|place| dir.join(place).join(name)).find(|f| is_executable(f) == Some(true));
    found.ok_or_else(|| PlanError::NotFound {
        name: name.to_owned(),
        path: path.to_owned(),
        hint: match is_executable(&dir.join(name)) {
            Some(_) => format!("; the slot's directory has a file of that name: write `./{name}`"),
            None => String::new(),
        },
    })
}

/// `None` when there is no such file.
fn is_executable(file: &Path) -> Option<bool> {
    let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    Some(metadata.permissions().mode() & 0o111 != 0)
}
