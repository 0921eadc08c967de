//! `xtreem vo policy`: the VO's rules, signed with its root key.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use xtreem_agent::complaint::Source;
use xtreem_allocation::policy::SignedPolicy;
use xtreem_client::api::PolicyView;

use super::root_key;
use crate::exit::{Exit, Failure};
use crate::places::AgentSocket;
use crate::runtime::block_on;
use crate::text::Table;
use crate::{output, policy_file, sign};

/// Longest file that is read: a policy has at most 16 KiB.
const FILE_MAX_BYTES: u64 = 256 << 10;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Sign a policy and put it in force
    #[command(after_help = HELP)]
    Set(Set),
    /// Show the policy in force at this machine's agent
    #[command(after_help = "Example:\n  xtreem vo policy show --json")]
    Show(Show),
}

const HELP: &str = "\
Examples:
  xtreem vo policy set policy.toml
  xtreem vo policy set policy.toml --out policy.signed   # where the root key is
  xtreem vo policy set policy.signed                     # on any node

A policy:
  version = 1                       # a higher one replaces it

  [[rule]]
  name = \"size\"                     # what refusals name
  nodes-per-application = 64

  [[rule]]
  name = \"students\"
  nodes-per-user = 20
  for = { users = [\"bob\"] }         # by the name in their credential; without `for`: everybody

  [[rule]]
  name = \"gpu-for-ml\"
  reserve = \"gpu.count >= 1\"        # a requirement, as for `xtreem nodes`
  for = { users = [\"alice\"], roles = [\"admin\"] }

  [[rule]]
  name = \"members\"
  submit = true                     # nobody but these may submit
  for = { roles = [\"submit\", \"admin\"] }";

#[derive(Args, Debug)]
struct Set {
    /// The policy: TOML, or signed already
    file: PathBuf,
    /// Directory of the VO's root key [default: the only one under ~/.config/xtreem/vo]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Write the signed policy to this new file, and ask no agent
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    agent: AgentSocket,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Show {
    #[command(flatten)]
    agent: AgentSocket,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Arguments) -> Result<Exit, Failure> {
    match arguments.command {
        Command::Set(arguments) => set(&arguments),
        Command::Show(arguments) => show(&arguments),
    }
}

fn set(arguments: &Set) -> Result<Exit, Failure> {
    let signed = signed(&arguments.file, arguments.dir.as_deref())?;
    let bytes = sign::encoded(&signed)?;
    if let Some(out) = &arguments.out {
        let failed = |e| Failure::new(Exit::Failed, format!("{}: {e}", out.display()));
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(out)
            .and_then(|mut file| std::io::Write::write_all(&mut file, &bytes))
            .map_err(failed)?;
        let (policy, _) = signed.open().map_err(Failure::usage)?;
        if arguments.json {
            output::print_json(&serde_json::json!({ "version": policy.version, "file": out }))?;
        } else {
            output::print(&format!("version {} signed: {}\n", policy.version, out.display()))?;
        }
        return Ok(Exit::Success);
    }
    let client = arguments.agent.client()?;
    let reply = block_on(async { client.set_policy(bytes).await.map_err(Failure::from) })?;
    print(reply.policy.as_ref(), arguments.json)?;
    Ok(Exit::Success)
}

/// Signs the policy in `file` unless it is signed already.
fn signed(file: &Path, dir: Option<&Path>) -> Result<SignedPolicy, Failure> {
    let wrong = |what: String| Failure::usage(format!("{}: {what}", file.display()));
    let len = fs::metadata(file).map_err(|e| wrong(e.to_string()))?.len();
    if len > FILE_MAX_BYTES {
        return Err(wrong(format!("{len} bytes are no policy")));
    }
    let bytes = fs::read(file).map_err(|e| wrong(e.to_string()))?;
    if let Ok(signed) = minicbor::decode::<SignedPolicy>(&bytes) {
        return Ok(signed);
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong("neither TOML nor a signed policy".to_owned()))?;
    let source = Source { name: &file.display().to_string(), text: &text };
    let policy = policy_file::parse(source).map_err(Failure::usage)?;
    root_key(dir)?.sign_policy(&policy).map_err(|e| wrong(e.to_string()))
}

fn show(arguments: &Show) -> Result<Exit, Failure> {
    let client = arguments.agent.client()?;
    let reply = block_on(async { client.policy().await.map_err(Failure::from) })?;
    print(reply.policy.as_ref(), arguments.json)?;
    Ok(Exit::Success)
}

fn print(policy: Option<&PolicyView>, json: bool) -> Result<(), Failure> {
    if json {
        return output::print_json(&serde_json::json!({ "policy": policy }));
    }
    let Some(policy) = policy else {
        return output::print("This agent knows of no policy: every member may do what its role allows.\n");
    };
    let mut table = Table::new(["RULE", "SAYS"]);
    for rule in &policy.rules {
        table.row([&rule.name, &rule.says]);
    }
    let conflict = policy.rival.as_ref().map(|rival| {
        format!(
            "CONFLICT: another policy of version {} was signed ({rival}); it is not in force. Sign the one that is \
             meant with version = {}.\n",
            policy.version,
            policy.version.saturating_add(1)
        )
    });
    let conflict = conflict.unwrap_or_default();
    output::print(&format!("version {} ({})\n{table}{conflict}", policy.version, policy.digest))
}
