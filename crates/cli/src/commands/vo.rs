//! `xtreem vo`: the root key of a VO, and credentials signed with it.

mod invite;
mod policy;

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use xtreem_net::{Identity, LoadError, Renewal, VoKey};
use xtreem_wire::Roles;

use crate::exit::{Exit, Failure};
use crate::places::config_dir;
use crate::text::{Table, now_unix, validity};
use crate::{output, places};

/// The root key in a VO's directory.
const ROOT: &str = "root.pem";
/// Longest name of a VO. It becomes a directory.
const NAME_MAX_BYTES: usize = 48;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make a VO: a new root key, to be kept by its owner
    #[command(after_help = "Example:\n  xtreem vo create physics.example")]
    Create(Create),
    /// Issue a credential to a node or a user
    #[command(
        after_help = "Examples:\n  xtreem vo issue --name node7 --role node --days 365\n  xtreem vo issue --user alice \
                      --role submit --out alice.pem"
    )]
    Issue(Issue),
    /// Make a credential valid for longer, also one that has expired: key, id, name and roles stay
    #[command(
        after_help = "Examples:\n  xtreem vo renew node7.pem\n  xtreem vo renew alice.pem --days 30 --out alice-new.pem\n\n\
                      Bring the file back to where it is used; the agent of a node is started again.\n\nWithout moving the \
                      key: `xtreem vo show --public FILE` where it is, `xtreem vo renew` of the line that this prints, and \
                      `xtreem vo accept` of the line that that prints."
    )]
    Renew(Renew),
    /// Invite a machine: print one line to paste there, with a new node's identity and where the grid is
    #[command(
        after_help = "Examples:\n  xtreem vo invite\n  xtreem vo invite --name node7 --days 30 --join \
                      node1.physics.example:7227\n\nThe line contains a private key: paste it on one machine."
    )]
    Invite(invite::Invite),
    /// Become the invited node, or take up new dates: what the lines of `vo invite` and `vo renew` run
    #[command(
        after_help = "Examples:\n  echo INVITATION | xtreem vo accept --state-dir ~/xtreem\n  echo INVITATION | xtreem \
                      vo accept --out /etc/xtreem/node.pem"
    )]
    Accept(invite::Accept),
    /// Show whose a credential is and how long it is valid
    #[command(
        after_help = "Examples:\n  xtreem vo show\n  xtreem vo show node7.pem\n  xtreem vo show --public node7.pem"
    )]
    Show(Show),
    /// The rules of a VO: who may submit, how many nodes, what is reserved for whom
    Policy(policy::Arguments),
}

#[derive(Args, Debug)]
struct Create {
    /// Name of the VO, such as a domain name
    name: String,
    /// Directory for the root key [default: ~/.config/xtreem/vo/NAME]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("whose").required(true).args(["name", "user"]))]
struct Issue {
    /// Name of the node
    #[arg(long, value_name = "NODE")]
    name: Option<String>,
    /// Name of the user
    #[arg(long)]
    user: Option<String>,
    /// What the credential is good for [default: node with --name, submit with --user]
    #[arg(long)]
    role: Option<Role>,
    /// Days of validity
    #[arg(long, default_value_t = 365)]
    days: u32,
    /// Directory of the VO's root key [default: the only one under ~/.config/xtreem/vo]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// New file for key and credential [default: NAME.pem here]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Renew {
    /// Credential of a node or user: its file, or the line of `xtreem vo show --public`
    file: PathBuf,
    /// Days of validity from now on
    #[arg(long, default_value_t = 365)]
    days: u32,
    /// Directory of the VO's root key [default: the only one under ~/.config/xtreem/vo]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// New file for key and credential [default: in the place of FILE; a line is answered by a line]
    #[arg(long, value_name = "NEW")]
    out: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Show {
    /// Credential of a node or user, or root key of a VO [default: ~/.config/xtreem/user.pem]
    #[arg(env = "XTREEM_CREDENTIAL", value_parser = places::path_or_empty())]
    file: Option<PathBuf>,
    /// Print the credential without its key, as one line for `xtreem vo renew`
    #[arg(long, conflicts_with = "json")]
    public: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Be a node of the grid
    Node,
    /// Submit applications and stop the own ones
    Submit,
    /// Stop everybody's applications
    Admin,
}

pub fn run(arguments: Arguments) -> Result<Exit, Failure> {
    match arguments.command {
        Command::Create(arguments) => create(&arguments),
        Command::Issue(arguments) => issue(&arguments),
        Command::Renew(arguments) => renew(&arguments),
        Command::Invite(arguments) => invite::invite(&arguments),
        Command::Accept(arguments) => invite::accept(&arguments),
        Command::Show(arguments) => show(&arguments),
        Command::Policy(arguments) => policy::run(arguments),
    }
}

#[derive(Serialize)]
struct Made<'a> {
    vo: String,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    file: &'a Path,
}

fn create(arguments: &Create) -> Result<Exit, Failure> {
    check_name(&arguments.name)?;
    let directory = match &arguments.dir {
        Some(directory) => directory.clone(),
        None => config_dir()?.join("vo").join(&arguments.name),
    };
    let vo = VoKey::create(&arguments.name).map_err(|e| Failure::new(Exit::Failed, e))?;
    let written = |e| Failure::new(Exit::Failed, format!("{}: {e}", directory.display()));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(written)?;
    let root = directory.join(ROOT);
    save(&root, |path| vo.save(path))?;
    let id = vo.root().id().to_string();
    if arguments.json {
        output::print_json(&Made { vo: id, name: &arguments.name, id: None, file: &root })?;
    } else {
        output::print(&format!(
            "VO {} ({id})\nroot key: {}\nWhoever has this file is the VO: keep it safe, and off the nodes.\n\
             Next: xtreem vo issue{dir} --name NODE; xtreem vo issue{dir} --user USER\n",
            arguments.name,
            root.display(),
            dir = arguments.dir.as_deref().map(|dir| format!(" --dir {}", dir.display())).unwrap_or_default()
        ))?;
    }
    Ok(Exit::Success)
}

fn check_name(name: &str) -> Result<(), Failure> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_good = !name.is_empty() && name.len() <= NAME_MAX_BYTES && !name.starts_with(['.', '-']);
    if is_good && name.chars().all(is_allowed) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "`{name}` is no name: it has 1 to {NAME_MAX_BYTES} letters, digits, `-`, `_` and `.`, and begins with none of \
         `.` and `-`"
    )))
}

fn issue(arguments: &Issue) -> Result<Exit, Failure> {
    // clap has seen to it that one of them is there.
    let name = arguments.name.as_deref().or(arguments.user.as_deref()).unwrap_or_default();
    check_name(name)?;
    let roles = roles(arguments.user.is_some(), arguments.role)?;
    let vo = root_key(arguments.dir.as_deref())?;
    let made = match roles {
        None => vo.issue_node(name, arguments.days),
        Some(roles) => vo.issue_user(name, roles, arguments.days),
    };
    let identity = made.map_err(Failure::usage)?;
    let out = arguments.out.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.pem")));
    save(&out, |path| identity.save(path))?;
    if arguments.json {
        let id = Some(identity.id().to_string());
        output::print_json(&Made { vo: vo.root().id().to_string(), name, id, file: &out })?;
    } else {
        let place = match roles {
            None => "Move it to the node; its agent's configuration names it (`identity = …`).",
            Some(_) => "Move it to the user's ~/.config/xtreem/user.pem.",
        };
        output::print(&format!("{}written: {}\n{place}\n", described(&identity), out.display()))?;
    }
    Ok(Exit::Success)
}

fn renew(arguments: &Renew) -> Result<Exit, Failure> {
    if let Some(text) = arguments.file.to_str().filter(|text| Renewal::is_asked_for(text)) {
        return renew_text(arguments, text);
    }
    if arguments.file.to_str().is_some_and(Renewal::is_meant) {
        return Err(Failure::usage("this is a renewal already, which `xtreem vo renew` printed")
            .with_hint("take it up where the credential is: echo LINE | xtreem vo accept --out FILE"));
    }
    let old = Identity::load_timeless(&arguments.file).map_err(Failure::usage)?;
    let vo = root_key(arguments.dir.as_deref())?;
    let failed = |error| Failure::usage(format!("{}: {error}", arguments.file.display()));
    let identity = vo.renew(&old, arguments.days).map_err(failed)?;
    let shorter = |error| Failure::usage(format!("{}: {error}", arguments.file.display()));
    identity.check_lengthens(&old).map_err(shorter)?;
    let out = arguments.out.as_deref().unwrap_or(&arguments.file);
    save(out, |path| if arguments.out.is_some() { identity.save(path) } else { identity.replace(path) })?;
    if arguments.json {
        let id = Some(identity.id().to_string());
        output::print_json(&Made { vo: vo.root().id().to_string(), name: identity.name(), id, file: out })?;
    } else {
        let next = if identity.roles().has(Roles::NODE) {
            "Bring it to its node and start the agent there again: it keeps its id, and what it runs.\n"
        } else {
            "Bring it to the user's ~/.config/xtreem/user.pem.\n"
        };
        let done = if arguments.out.is_some() { "written" } else { "replaced" };
        output::print(&format!("{}{done}: {}\n{next}", described(&identity), out.display()))?;
    }
    Ok(Exit::Success)
}

/// Answers a line by a line: the key is elsewhere.
fn renew_text(arguments: &Renew, text: &str) -> Result<Exit, Failure> {
    if arguments.out.is_some() {
        return Err(Failure::usage("--out is for a credential with its key: a line is answered by a line"));
    }
    let renewal = root_key(arguments.dir.as_deref())?.renew_text(text, arguments.days);
    let text = renewal.map_err(Failure::usage)?.to_text();
    if arguments.json {
        output::print_json(&serde_json::json!({ "renewal": text }))?;
    } else {
        eprintln!(
            "Paste this line where the credential is, with the name of its file. It contains nothing secret; the\n\
             agent of a node is started again afterwards.\n"
        );
        output::print(&format!("echo {text} | xtreem vo accept --out FILE\n"))?;
    }
    Ok(Exit::Success)
}

/// The roles of a user; `None` for a node.
fn roles(is_user: bool, role: Option<Role>) -> Result<Option<Roles>, Failure> {
    match (is_user, role) {
        (false, None | Some(Role::Node)) => Ok(None),
        (true, None | Some(Role::Submit)) => Ok(Some(Roles::SUBMIT)),
        (true, Some(Role::Admin)) => Ok(Some(Roles::SUBMIT | Roles::ADMIN)),
        (false, Some(_)) => Err(Failure::usage("a node has the role node; use --user for submit and admin")),
        (true, Some(Role::Node)) => {
            Err(Failure::usage("a user has the role submit or admin; use --name for a node"))
        }
    }
}

/// The root key in this directory, or of the only VO that there is.
fn root_key(dir: Option<&Path>) -> Result<VoKey, Failure> {
    let root = match dir {
        Some(directory) => directory.join(ROOT),
        None => only_vo(&config_dir()?.join("vo"))?.join(ROOT),
    };
    VoKey::load(&root).map_err(|e| {
        Failure::usage(e)
            .with_hint("make a VO with `xtreem vo create NAME`, or name its directory with --dir")
    })
}

/// The directory of the only VO whose root key is there.
fn only_vo(all: &Path) -> Result<PathBuf, Failure> {
    let entries = fs::read_dir(all).map(|entries| entries.flatten().map(|entry| entry.path()).collect());
    let mut vos: Vec<PathBuf> = entries.unwrap_or_default();
    vos.retain(|directory| directory.join(ROOT).is_file());
    vos.sort();
    match &vos[..] {
        [directory] => Ok(directory.clone()),
        [] => Err(Failure::usage(format!("there is no VO under {}", all.display()))
            .with_hint("make one with `xtreem vo create NAME`, or name its directory with --dir: an agent without `identity` has \
                        one in STATE_DIR/development")),
        _ => {
            let choices: String = vos.iter().map(|vo| format!("\n  --dir {}", vo.display())).collect();
            Err(Failure::usage(format!("there are several VOs; name one:{choices}")))
        }
    }
}

fn save(path: &Path, write: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<(), Failure> {
    write(path).map_err(|e| {
        let failure = Failure::new(Exit::Failed, format!("{}: {e}", path.display()));
        if e.kind() == std::io::ErrorKind::AlreadyExists {
            return Failure { exit: Exit::Usage, ..failure }
                .with_hint("keys are never overwritten: name another file, or move this one away");
        }
        failure
    })
}

#[derive(Serialize)]
struct Shown {
    vo: String,
    id: String,
    name: String,
    roles: Vec<&'static str>,
    /// Unix seconds.
    not_after: u64,
}

fn show(arguments: &Show) -> Result<Exit, Failure> {
    let path = places::credential(places::named(&arguments.file))?;
    // Also one that has expired, whose days are to be seen.
    let identity = match Identity::load_timeless(&path) {
        Ok(identity) => identity,
        // A root key is no identity, but worth knowing.
        Err(LoadError::Content { .. }) if VoKey::load(&path).is_ok() => {
            return show_root(&path, arguments.json);
        }
        Err(e) => return Err(Failure::usage(e)),
    };
    if arguments.public {
        output::print(&format!("{}\n", identity.public_text()))?;
    } else if arguments.json {
        output::print_json(&Shown {
            vo: identity.root().id().to_string(),
            id: identity.id().to_string(),
            name: identity.name().to_owned(),
            roles: role_names(identity.roles()),
            not_after: identity.member().not_after(),
        })?;
    } else {
        output::print(&described(&identity))?;
    }
    Ok(Exit::Success)
}

fn show_root(path: &Path, json: bool) -> Result<Exit, Failure> {
    let vo = VoKey::load(path).map_err(Failure::usage)?.root().id().to_string();
    if json {
        output::print_json(&serde_json::json!({ "vo": vo, "root": true }))?;
    } else {
        output::print(&format!("root key of VO {vo}\n"))?;
    }
    Ok(Exit::Success)
}

fn described(identity: &Identity) -> String {
    let mut table = Table::new(["name", identity.name()]);
    table.row(["id", &identity.id().to_string()]);
    table.row(["roles", &role_names(identity.roles()).join(", ")]);
    table.row(["VO", &identity.root().id().to_string()]);
    table.row(["valid", &validity(identity.member().not_after(), now_unix())]);
    table.to_string()
}

fn role_names(roles: Roles) -> Vec<&'static str> {
    let all = [(Roles::NODE, "node"), (Roles::SUBMIT, "submit"), (Roles::ADMIN, "admin")];
    all.into_iter().filter(|(role, _)| roles.has(*role)).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests;
