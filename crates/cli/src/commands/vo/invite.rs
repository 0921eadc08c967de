//! `xtreem vo invite` and `accept`: a new node's identity as one line, pasted where it is to be used.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use xtreem_agent::config::{DEFAULT_STATE_DIR, is_address};
use xtreem_net::{INVITATION_JOIN_MAX, INVITATION_MAX_BYTES, Identity, Invitation, Renewal, Roles, VoKey};

use super::{check_name, described, root_key, save};
use crate::exit::{Exit, Failure};
use crate::output;
use crate::places::AgentSocket;
use crate::runtime::block_on;

/// Where the printed line lets the invited agent keep its state: a place that every user may write.
const STATE_DIR: &str = "~/xtreem";

#[derive(Args, Debug)]
pub struct Invite {
    /// Name of the new node [default: node- and eight random characters]
    #[arg(long, value_name = "NODE")]
    name: Option<String>,
    /// Days until its credential expires; afterwards it needs a new one
    #[arg(long, default_value_t = 365)]
    days: u32,
    /// Address of a node of the grid, as HOST:PORT; may be given several times [default: this machine's
    /// agent]
    #[arg(long, value_name = "ADDR")]
    join: Vec<String>,
    /// Directory of the VO's root key [default: the only one under ~/.config/xtreem/vo]
    #[arg(long)]
    dir: Option<PathBuf>,
    #[command(flatten)]
    agent: AgentSocket,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub struct Accept {
    /// The invitation or renewal [default: read from standard input, which other users of the machine do
    /// not see]
    #[arg(value_name = "INVITATION")]
    pub(super) text: Option<String>,
    /// State directory of the agent that is to be the invited node
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub(super) state_dir: PathBuf,
    /// Write the identity to this new file instead, for `identity` in agent.toml; a renewal goes into the
    /// file that has its key
    #[arg(long, value_name = "FILE", conflicts_with = "state_dir")]
    pub(super) out: Option<PathBuf>,
}

pub fn invite(arguments: &Invite) -> Result<Exit, Failure> {
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None => format!("node-{:08x}", getrandom::u32().map_err(|e| Failure::new(Exit::Failed, e))?),
    };
    check_name(&name)?;
    let vo = root_key(arguments.dir.as_deref())?;
    let join =
        if arguments.join.is_empty() { vec![own_address(&arguments.agent, &vo)?] } else { given(arguments)? };
    let identity = vo.issue_node(&name, arguments.days).map_err(Failure::usage)?;
    let invitation = Invitation { identity, join };
    let text = invitation.to_text().map_err(Failure::usage)?;
    let line = format!(
        "echo {text} | xtreem vo accept --state-dir {STATE_DIR} && xtreem agent --state-dir {STATE_DIR}"
    );
    if arguments.json {
        let id = invitation.identity.id().to_string();
        let object = serde_json::json!({
            "vo": vo.root().id().to_string(), "name": name, "id": id, "join": invitation.join,
            "invitation": text, "line": line,
        });
        output::print_json(&object)?;
    } else {
        eprintln!(
            "Paste this line on the new machine, and on no other: it contains the private key of the new node\n\
             {name}, valid for {} days. It starts an agent that joins by {}. Where the agent has a configuration\n\
             file, use `… | xtreem vo accept --out /etc/xtreem/node.pem` instead, and name that file as `identity`.\n",
            arguments.days,
            invitation.join.join(", "),
        );
        output::print(&(line + "\n"))?;
    }
    Ok(Exit::Success)
}

fn given(arguments: &Invite) -> Result<Vec<String>, Failure> {
    if arguments.join.len() > INVITATION_JOIN_MAX {
        return Err(Failure::usage(format!("at most {INVITATION_JOIN_MAX} addresses fit an invitation")));
    }
    match arguments.join.iter().find(|address| !is_address(address)) {
        Some(bad) => Err(Failure::usage(format!("--join {bad}: expected HOST:PORT"))),
        None => Ok(arguments.join.clone()),
    }
}

/// The address of this machine's agent, if it is a node of this VO.
fn own_address(agent: &AgentSocket, vo: &VoKey) -> Result<String, Failure> {
    let hint = "say where the grid is: --join HOST:PORT";
    let client = agent.client().map_err(|failure| failure.with_hint(hint))?;
    let node = block_on(async { client.node().await.map_err(|e| Failure::from(e).with_hint(hint)) })?;
    let own = vo.root().id().to_string();
    if node.vo != own {
        let error =
            format!("this machine's agent belongs to another VO ({}) than the root key ({own})", node.vo);
        return Err(Failure::usage(error).with_hint(hint));
    }
    if node.address.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback()) {
        eprintln!("The agent's address, {}, can be reached from this machine only.", node.address);
    }
    Ok(node.address)
}

pub fn accept(arguments: &Accept) -> Result<Exit, Failure> {
    let text = match &arguments.text {
        Some(text) => text.clone(),
        None => from_standard_input()?,
    };
    let text = word(&text);
    if Renewal::is_meant(text) {
        return take_up(arguments, text);
    }
    if Renewal::is_asked_for(text) {
        return Err(Failure::usage("this is a credential that is to be renewed, and no renewal yet")
            .with_hint(
                "the VO's owner runs `xtreem vo renew LINE`, and accept takes the line which that prints",
            ));
    }
    let invitation = Invitation::parse(text).map_err(Failure::usage)?;
    let join = invitation.join.iter().map(|address| format!("{address:?}")).collect::<Vec<_>>().join(", ");
    let next = match &arguments.out {
        Some(file) => {
            save(file, |path| invitation.identity.save(path))?;
            format!("written: {}\nIn agent.toml: identity = {file:?} and join = [{join}]\n", file.display())
        }
        None => {
            let file = xtreem_agent::accept(&arguments.state_dir, &invitation).map_err(Failure::usage)?;
            format!("written: {}\nAn agent with this state directory joins by {join}.\n", file.display())
        }
    };
    output::print(&format!("{}{next}", described(&invitation.identity)))?;
    Ok(Exit::Success)
}

/// The line itself, where the command around it was pasted too (`echo LINE | xtreem vo accept …`).
fn word(text: &str) -> &str {
    let is_line = |word: &&str| {
        ["xtreem-invite-", "xtreem-renewal-", "xtreem-credential-"].iter().any(|form| word.starts_with(form))
    };
    text.split_whitespace().find(is_line).unwrap_or(text)
}

/// New dates for a key that is here.
fn take_up(arguments: &Accept, text: &str) -> Result<Exit, Failure> {
    let file = match &arguments.out {
        Some(file) => file.clone(),
        None => xtreem_agent::identity_file(&arguments.state_dir),
    };
    let old = Identity::load_timeless(&file)
        .map_err(|e| Failure::usage(e).with_hint("name the file of the credential: --out FILE"))?;
    let renewed = Renewal::parse(text).and_then(|renewal| old.take_up(renewal));
    let renewed = renewed.map_err(|e| Failure::usage(format!("{}: {e}", file.display())))?;
    save(&file, |path| renewed.replace(path))?;
    let next = if renewed.roles().has(Roles::NODE) { "Start its agent again.\n" } else { "" };
    output::print(&format!("{}replaced: {}\n{next}", described(&renewed), file.display()))?;
    Ok(Exit::Success)
}

fn from_standard_input() -> Result<String, Failure> {
    let mut text = String::new();
    // One byte more tells what is too long.
    let read = std::io::stdin().lock().take(INVITATION_MAX_BYTES as u64 + 1).read_to_string(&mut text);
    read.map_err(|e| Failure::usage(format!("standard input: {e}")))?;
    Ok(text)
}
