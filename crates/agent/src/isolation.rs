//! Whether programs can be shut in on this machine, tried at the start and said aloud, and what follows: a
//! node that cannot takes no slots, unless its operator allows it by name.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::unistd::{Uid, User, geteuid};
use tokio::sync::Notify;

use crate::agent::Agent;
use crate::config::Config;
use crate::exec::{self, Isolation, Plan, ProgramUser, StartError, Wanted};
use crate::lifecycle::State;

/// While the node takes no slots it tries again this often: an operator who allows namespaces (sysctl(8))
/// need not start the agent anew (our guess).
const RETRY: Duration = Duration::from_secs(60);

/// Whether this process is root of the machine, and not only of a user namespace: the kernel's own files
/// belong to the machine's root, under whatever number that has here.
///
/// The map of a namespace would not tell: the one within one shows the same numbers on both sides.
pub fn is_root_of_machine() -> bool {
    geteuid().is_root() && std::fs::metadata("/proc/version").map_or(true, |file| file.uid() == 0)
}

/// Why `run_as` cannot be followed. Nothing was started.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunAsError {
    #[error("`run_as` names {name:?}, and this machine has no such user: make it (useradd --system {name})")]
    NoSuchUser { name: String },
    #[error("`run_as` names {name:?}, which is root: name a user for programs alone")]
    IsRoot { name: String },
    #[error("`run_as` names {name:?}, but only an agent that is root can run programs as another user")]
    NotRoot { name: String },
}

/// Whom programs run as; nothing where that is the agent's own user.
pub(crate) fn program_user(config: &Config) -> Result<Option<ProgramUser>, RunAsError> {
    let Some(name) = config.run_as.clone() else { return Ok(None) };
    let found = match name.parse::<u32>() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(&name),
    };
    let Ok(Some(user)) = found else { return Err(RunAsError::NoSuchUser { name }) };
    match (user.uid.is_root() || user.gid.as_raw() == 0, is_root_of_machine()) {
        (true, _) => Err(RunAsError::IsRoot { name }),
        (false, true) => Ok(Some(ProgramUser { uid: user.uid.as_raw(), gid: user.gid.as_raw() })),
        (false, false) if user.uid == geteuid() => Ok(None),
        (false, false) => Err(RunAsError::NotRoot { name }),
    }
}

/// Why a node takes no slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WhyNot {
    NotTriedYet,
    AgentIsRoot,
    NoNamespaces { reason: String },
    NoProgramStarts { reason: String },
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WhyNot::NotTriedYet => f.write_str("whether programs can be isolated is not known yet"),
            WhyNot::AgentIsRoot => f.write_str(
                "the agent is root, and `run_as` in its agent.toml names no user to run programs as",
            ),
            WhyNot::NoNamespaces { reason } => write!(
                f,
                "programs cannot be isolated ({reason}); `isolation` in its agent.toml can allow that"
            ),
            WhyNot::NoProgramStarts { reason } => write!(f, "no program can be started ({reason})"),
        }
    }
}

/// What a trial came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A program ran behind this.
    Ran(Isolation),
    NoNamespaces {
        reason: String,
    },
    NoProgramStarts {
        reason: String,
    },
}

/// Whether a node may take slots: what was found on the machine against what its operator allows.
pub(crate) fn verdict(
    is_root: bool,
    runs_as_another: bool,
    wanted: Wanted,
    found: &Found,
) -> Result<(), WhyNot> {
    if is_root && !runs_as_another {
        return Err(WhyNot::AgentIsRoot);
    }
    match found {
        Found::Ran(isolation) => match (&isolation.namespaces, wanted) {
            (Ok(()), _) | (Err(_), Wanted::NamespacesIfPossible | Wanted::ProcessGroup) => Ok(()),
            (Err(reason), Wanted::Namespaces) => Err(WhyNot::NoNamespaces { reason: reason.clone() }),
        },
        Found::NoNamespaces { reason } => Err(WhyNot::NoNamespaces { reason: reason.clone() }),
        Found::NoProgramStarts { reason } => Err(WhyNot::NoProgramStarts { reason: reason.clone() }),
    }
}

/// What is known of it, for whoever asks.
#[derive(Debug)]
pub(crate) struct Standing {
    /// Whom programs run as, if not the agent's user.
    pub user: Option<ProgramUser>,
    now: Mutex<(String, Result<(), WhyNot>)>,
    /// Each trial has directories of its own: the last one's may still be on their way out.
    tries: AtomicU32,
    /// A slot found that programs cannot be isolated any more.
    doubted: Notify,
}

impl Standing {
    pub(crate) fn new(user: Option<ProgramUser>) -> Self {
        let now = Mutex::new(("not tried yet".to_owned(), Err(WhyNot::NotTriedYet)));
        Standing { user, now, tries: AtomicU32::new(0), doubted: Notify::new() }
    }

    /// How programs are shut in here, in words.
    pub(crate) fn words(&self) -> String {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    pub(crate) fn may_take_slots(&self) -> Result<(), WhyNot> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// A program could not be isolated: it is tried again at once.
    pub(crate) fn doubt(&self) {
        self.doubted.notify_one();
    }

    fn set(&self, words: String, verdict: Result<(), WhyNot>) -> bool {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = *now != (words.clone(), verdict.clone());
        *now = (words, verdict);
        is_news
    }
}

/// Tries once, and tells the node.
pub(crate) async fn look(agent: &Agent) {
    let found = attempt(agent).await;
    let verdict =
        verdict(is_root_of_machine(), agent.standing.user.is_some(), agent.config.isolation, &found);
    let words = match &found {
        Found::Ran(isolation) => isolation.to_string(),
        Found::NoNamespaces { reason } => format!("no namespaces ({reason})"),
        Found::NoProgramStarts { reason } => format!("no program can be started ({reason})"),
    };
    let takes_slots = verdict.is_ok();
    if agent.standing.set(words.clone(), verdict.clone()) {
        say(&found, &words, &verdict);
    }
    agent.tell(move |node, _, _| node.set_isolates(takes_slots)).await;
}

/// Tries again for as long as the agent runs: when a slot doubts, and while the node takes no slots.
pub(crate) async fn watch(agent: Arc<Agent>) {
    loop {
        let takes_slots = agent.standing.may_take_slots().is_ok();
        tokio::select! {
            () = agent.standing.doubted.notified() => {}
            () = tokio::time::sleep(RETRY), if !takes_slots => {}
        }
        look(&agent).await;
    }
}

fn say(found: &Found, isolation: &str, verdict: &Result<(), WhyNot>) {
    match (found, verdict) {
        (_, Err(why)) => tracing::error!(%why, "this node takes no slots"),
        (Found::Ran(seen), Ok(())) if !seen.has_namespaces() => {
            tracing::warn!(
                isolation,
                "programs are NOT isolated, as agent.toml allows: run only trusted ones"
            )
        }
        (Found::Ran(Isolation { landlock: exec::Landlock::Missing { .. }, .. }), Ok(())) => {
            tracing::warn!(isolation, "programs are isolated by namespaces alone")
        }
        (_, Ok(())) => tracing::info!(isolation, "programs are isolated"),
    }
}

/// Starts a program that ends at once, in the way in which slots are started.
async fn attempt(agent: &Agent) -> Found {
    let name =
        agent.state.name_of(format_args!("probe{}", agent.standing.tries.fetch_add(1, Ordering::Relaxed)));
    let (dir, log_dir) = (agent.state.slots_dir().join(&name), agent.state.logs_dir().join(&name));
    let found = match make(&dir, agent.standing.user) {
        Ok(()) => {
            let plan = Plan {
                hidden: agent.hidden(),
                isolation: agent.config.isolation,
                user: agent.standing.user,
                ..Plan::new(vec!["true".into()], dir.clone(), log_dir.clone())
            };
            match exec::start(plan, Path::new(crate::SELF_EXE)).await {
                Ok(mut running) => {
                    running.wait().await;
                    Found::Ran(running.isolation().clone())
                }
                Err(StartError::NotIsolated { reason }) => Found::NoNamespaces { reason },
                Err(error) => Found::NoProgramStarts { reason: error.to_string() },
            }
        }
        Err(error) => Found::NoProgramStarts { reason: error.to_string() },
    };
    agent.trash.discard(dir);
    agent.trash.discard(log_dir);
    found
}

fn make(dir: &Path, user: Option<ProgramUser>) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    user.map_or(Ok(()), |user| exec::give(dir, user))
}

/// Lets programs of another user reach their own directory and socket below the state directory, where no
/// namespace shows them the way: it may be crossed, and still not be listed.
pub(crate) fn open_the_way(config: &Config, state: &State, user: Option<ProgramUser>) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if user.is_none() || config.isolation == Wanted::Namespaces {
        return Ok(());
    }
    for dir in [state.dir().to_owned(), state.slots_dir(), state.sockets_dir()] {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o711))?;
    }
    Ok(())
}

/// What programs must not see of their agent: its keys, its files, its configuration, its user's home.
///
/// Files are hidden with their directory where that is the agent's own: a new file in the place of a hidden
/// one (a renewed key) would not be hidden.
pub(crate) fn hidden(config: &Config, state_dir: &Path, identity: &Path) -> Vec<PathBuf> {
    let mut hidden = vec![state_dir.to_owned()];
    let files =
        [Some(identity), Some(&*config.control.path), config.policy.as_deref(), config.file.as_deref()];
    for file in files.into_iter().flatten() {
        // A relative path, as it was given, starts where the agent was started.
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        match file.parent() {
            Some(dir) if is_own(dir) => hidden.push(dir.to_owned()),
            _ => hidden.push(file),
        }
    }
    let homes = [std::env::var_os("HOME").map(PathBuf::from), home_in_the_list_of_users()];
    hidden.extend(homes.into_iter().flatten().filter(|home| !is_of_the_system(home)));
    hidden
}

fn home_in_the_list_of_users() -> Option<PathBuf> {
    User::from_uid(geteuid()).ok().flatten().map(|user| user.dir)
}

/// Whether a directory is the agent's and holds nothing that programs need.
fn is_own(dir: &Path) -> bool {
    let is_named = dir.file_name().is_some_and(|name| name == "xtreem");
    // Root owns what is everybody's.
    let is_owned = || {
        let owner = std::fs::metadata(dir).map(|found| found.uid());
        !is_root_of_machine() && owner.is_ok_and(|owner| owner == geteuid().as_raw())
    };
    !is_of_the_system(dir) && (is_named || is_owned())
}

/// Directories that programs need, or that are no one's: they are the homes of some users of the system.
fn is_of_the_system(dir: &Path) -> bool {
    const WHOLE: [&str; 8] = ["/", "/home", "/mnt", "/opt", "/run", "/srv", "/tmp", "/var"];
    const TREES: [&str; 10] =
        ["/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr"];
    let is_named = dir.file_name().is_some_and(|name| name == "xtreem");
    !dir.is_absolute()
        || WHOLE.iter().any(|whole| dir == Path::new(whole))
        || (TREES.iter().any(|tree| dir.starts_with(tree)) && !is_named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::Landlock;

    #[test]
    fn a_node_takes_slots_only_where_programs_are_isolated_or_its_operator_says_so() {
        use Wanted::{Namespaces, NamespacesIfPossible, ProcessGroup};
        let landlock = || Landlock::Version(6);
        let none = || Landlock::Missing { reason: "old".into() };
        let both = Found::Ran(Isolation { namespaces: Ok(()), landlock: landlock() });
        let mounts = Found::Ran(Isolation { namespaces: Ok(()), landlock: none() });
        let fence = Found::Ran(Isolation { namespaces: Err("EPERM".into()), landlock: landlock() });
        let plain = Found::Ran(Isolation { namespaces: Err("EPERM".into()), landlock: none() });
        let refused = Found::NoNamespaces { reason: "EPERM".into() };
        let nothing = Found::NoProgramStarts { reason: "no disk".into() };
        let takes = Ok(());
        let no_namespaces = || Err(WhyNot::NoNamespaces { reason: "EPERM".into() });
        let no_program = || Err(WhyNot::NoProgramStarts { reason: "no disk".into() });
        let table = [
            (Namespaces, &both, takes.clone()),
            (Namespaces, &mounts, takes.clone()),
            (Namespaces, &fence, no_namespaces()),
            (Namespaces, &plain, no_namespaces()),
            (Namespaces, &refused, no_namespaces()),
            (Namespaces, &nothing, no_program()),
            (NamespacesIfPossible, &both, takes.clone()),
            (NamespacesIfPossible, &fence, takes.clone()),
            (NamespacesIfPossible, &plain, takes.clone()),
            (NamespacesIfPossible, &nothing, no_program()),
            (ProcessGroup, &fence, takes.clone()),
            (ProcessGroup, &plain, takes),
            (ProcessGroup, &nothing, no_program()),
        ];
        for (wanted, found, expected) in table {
            for (is_root, runs_as_another) in [(false, false), (false, true), (true, true)] {
                assert_eq!(
                    verdict(is_root, runs_as_another, wanted, found),
                    expected,
                    "{wanted:?} {found:?}"
                );
            }
            // Nothing that an operator says of isolation lets programs be root of the machine.
            assert_eq!(verdict(true, false, wanted, found), Err(WhyNot::AgentIsRoot), "{wanted:?} {found:?}");
        }
    }

    #[test]
    fn no_directory_that_programs_need_is_hidden() {
        let table = [
            ("/", true),
            ("/etc", true),
            ("/etc/ssl/private", true),
            ("/etc/xtreem", false),
            ("/usr/sbin", true),
            ("/tmp", true),
            ("/var", true),
            ("/var/lib/xtreem", false),
            ("/home", true),
            ("/home/alice", false),
            ("/root", false),
            ("relative", true),
        ];
        for (dir, expected) in table {
            assert_eq!(is_of_the_system(Path::new(dir)), expected, "{dir}");
        }
    }

    #[test]
    fn run_as_takes_a_user_that_is_there_and_not_root() {
        let with = |name: &str| {
            let config = Config { run_as: Some(name.to_owned()), ..Config::new("/state".into()) };
            program_user(&config)
        };
        assert!(matches!(with("no-such-user-here"), Err(RunAsError::NoSuchUser { .. })));
        assert!(matches!(with("root"), Err(RunAsError::IsRoot { .. })));
        match with("nobody") {
            Ok(Some(user)) => assert!(is_root_of_machine() && user.uid != 0),
            other => assert!(!is_root_of_machine(), "{other:?}"),
        }
    }
}
