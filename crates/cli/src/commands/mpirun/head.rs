//! The head, in slot 0: runs Open MPI's `mpirun`, and has its daemons started beside the other slots.
//!
//! `mpirun` starts a launcher for each host, as it would start `ssh`: this binary again (`launcher`). That
//! tells the head by a socket in the slot's directory what is to be started where. The head cannot do that
//! itself, as it has no key; it asks the `xtreem mpirun` that started it, which has the user's.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use clap::Args;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use xtreem_net::beside::{DATA_MAX_BYTES, read};

use super::frame::{FromHead, Launch, ToHead, bytes, stream};
use super::{HOST_PREFIX, LAUNCHER_COMMAND, LAUNCHES_MAX};
use crate::commands::exec::talk::{PIECES_MAX, Piece, print, typed};
use crate::exit::{Exit, Failure};
use crate::runtime::block_on;

/// Names the head's socket to its launchers.
pub const SOCKET: &str = "XTREEM_MPIRUN";
/// After the end of `mpirun`, for its launchers to let go of its output.
const OUTPUT_END_MAX: Duration = Duration::from_secs(1);

#[derive(Args, Debug)]
pub struct Arguments {
    /// Slots of the application
    #[arg(long)]
    slots: u16,
    /// Ranks for which each has room
    #[arg(long)]
    each: u32,
    /// Arguments of `mpirun`
    #[arg(last = true, required = true)]
    words: Vec<String>,
}

/// A launcher's request, and where its answer goes.
type Request = (Launch, oneshot::Sender<u8>);

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    block_on(head(arguments))
}

async fn head(arguments: &Arguments) -> Result<Exit, Failure> {
    let place = Place::make(arguments)?;
    let mut mpirun = start(&place, &arguments.words)?;
    let (pieces, printing) = mpsc::channel(PIECES_MAX);
    let say = Say(pieces);
    let printed = print(printing)?;
    let (asking, mut asked) = mpsc::channel(PIECES_MAX);
    let (hearing, mut heard) = mpsc::channel(PIECES_MAX);
    let (feeding, fed) = mpsc::channel(1);
    tokio::spawn(serve(place.listener()?, asking));
    tokio::spawn(hear(stream(typed()?), hearing));
    tokio::spawn(feed(fed, mpirun.stdin.take(), say.clone()));
    let output = tokio::spawn(pass_on(mpirun.stdout.take(), say.clone()));
    let (mut under_way, mut next, mut feeding) = (BTreeMap::new(), 0u32, Some(feeding));
    let status = loop {
        tokio::select! {
            status = mpirun.wait() => break status,
            Some((launch, answer)) = asked.recv(), if under_way.len() < LAUNCHES_MAX => {
                next = next.wrapping_add(1);
                under_way.insert(next, answer);
                say.frame(&FromHead::Start { id: next, launch }).await;
            }
            Some(frame) = heard.recv() => match frame {
                ToHead::Input(input) => {
                    // There is room: one comes when the one before it was taken.
                    let _ = feeding.as_ref().map(|feeding| feeding.try_send(input));
                }
                ToHead::InputEnds => feeding = None,
                ToHead::Ended { id, code } => {
                    // A launcher that was ended meanwhile hears nothing.
                    let _ = under_way.remove(&id).map(|answer: oneshot::Sender<u8>| answer.send(code));
                }
            },
        }
    };
    // The launchers that are left end, and with them what they have of the output.
    drop(under_way);
    drop(asked);
    let _ = timeout(OUTPUT_END_MAX, output).await;
    drop((say, feeding));
    let _ = timeout(OUTPUT_END_MAX, printed).await;
    place.remove();
    status.map(|status| Exit::Command(code(status))).map_err(|error| failed("waiting for mpirun", &error))
}

fn failed(what: &str, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("the head in slot 0: {what}: {error}"))
}

/// As shells tell it.
fn code(status: ExitStatus) -> u8 {
    let signal = || 128 + status.signal().unwrap_or_default();
    u8::try_from(status.code().unwrap_or_else(signal)).unwrap_or(u8::MAX)
}

/// What the head has in the slot's temporary directory.
struct Place {
    hosts: PathBuf,
    socket: PathBuf,
}

impl Place {
    fn make(arguments: &Arguments) -> Result<Place, Failure> {
        let dir = env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
        let named = |what: &str| dir.join(format!("mpirun-{}.{what}", std::process::id()));
        let place = Place { hosts: named("hosts"), socket: named("sock") };
        let hosts: String = (0..arguments.slots)
            .map(|slot| format!("{HOST_PREFIX}{slot} slots={}\n", arguments.each))
            .collect();
        fs::write(&place.hosts, hosts).map_err(|error| failed("the file of hosts", &error))?;
        // Another head of the same number may have left one.
        let _ = fs::remove_file(&place.socket);
        Ok(place)
    }

    fn listener(&self) -> Result<UnixListener, Failure> {
        let bound = go_to(&self.socket).and_then(|name| UnixListener::bind(name));
        bound.map_err(|error| failed("the socket", &error))
    }

    fn remove(&self) {
        // The slot's directory goes with the slot anyway.
        let _ = fs::remove_file(&self.hosts);
        let _ = fs::remove_file(&self.socket);
    }
}

/// Makes a file's directory the current one and returns its name: the path itself may be too long for a
/// socket.
pub fn go_to(path: &Path) -> io::Result<&Path> {
    let wrong = || io::Error::from(io::ErrorKind::InvalidInput);
    let (dir, name) = (path.parent().ok_or_else(wrong)?, path.file_name().ok_or_else(wrong)?);
    env::set_current_dir(dir)?;
    Ok(Path::new(name))
}

/// What is set here can be set otherwise by options of `mpirun`, which go before variables.
fn start(place: &Place, words: &[String]) -> Result<Child, Failure> {
    // By its number it can be found also where its path is hidden. The daemons, too, look for the first word.
    let launcher = format!("env /proc/{}/exe {LAUNCHER_COMMAND}", std::process::id());
    let mut command = Command::new("mpirun");
    command
        .args(words)
        // Each slot has a directory of its own; this one is everywhere.
        .current_dir("/")
        .env("PWD", "/")
        // It looks the launcher's shell up with the user, who may have none.
        .env("SHELL", "/bin/sh")
        .env(SOCKET, &place.socket)
        .env("OMPI_MCA_plm", "rsh")
        .env("OMPI_MCA_plm_rsh_agent", launcher)
        // Daemons that start others would need a key.
        .env("OMPI_MCA_plm_rsh_no_tree_spawn", "1")
        // One that goes to the background would end.
        .env("OMPI_MCA_orte_leave_session_attached", "1")
        .env("OMPI_MCA_orte_default_hostfile", &place.hosts)
        // Of a node's cores nobody knows here which are free.
        .env("OMPI_MCA_hwloc_base_binding_policy", "none")
        // Other ways need devices that slots do not have.
        .env("OMPI_MCA_pml", "ob1")
        .env("OMPI_MCA_btl", "self,vader,tcp")
        // The fence is there whoever the user is.
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command.spawn().map_err(|error| failed("starting mpirun", &error))
}

/// The way to `xtreem mpirun`.
#[derive(Clone)]
struct Say(mpsc::Sender<Piece>);

impl Say {
    async fn frame(&self, frame: &FromHead) {
        // When nobody hears it the head is about to be ended.
        let _ = self.0.send(Piece::Output(bytes(frame).await)).await;
    }
}

/// Takes launchers in.
async fn serve(listener: UnixListener, asking: mpsc::Sender<Request>) {
    while let Ok((stream, _)) = listener.accept().await {
        let asking = asking.clone();
        tokio::spawn(async move {
            // One that goes, or says something else, is a launcher that `mpirun` ended.
            let _ = answer(stream, &asking).await;
        });
    }
}

async fn answer(mut stream: UnixStream, asking: &mpsc::Sender<Request>) -> io::Result<()> {
    let launch = read(&mut stream).await.map_err(io::Error::other)?;
    let (answer, code) = oneshot::channel();
    asking.send((launch, answer)).await.map_err(io::Error::other)?;
    stream.write_u8(code.await.map_err(io::Error::other)?).await
}

/// Ends with the first thing that is no frame, as the end of the input.
async fn hear(mut said: impl tokio::io::AsyncRead + Unpin, hearing: mpsc::Sender<ToHead>) {
    while let Ok(frame) = read(&mut said).await {
        if hearing.send(frame).await.is_err() {
            return;
        }
    }
}

/// Input goes to `mpirun` until it takes no more, and from then on nowhere.
async fn feed(mut fed: mpsc::Receiver<Vec<u8>>, mut stdin: Option<ChildStdin>, say: Say) {
    while let Some(input) = fed.recv().await {
        if let Some(open) = &mut stdin
            && open.write_all(&input).await.is_err()
        {
            stdin = None;
        }
        say.frame(&FromHead::Took).await;
    }
}

async fn pass_on(stdout: Option<ChildStdout>, say: Say) {
    let Some(mut stdout) = stdout else { return };
    let mut buffer = vec![0; DATA_MAX_BYTES];
    loop {
        match stdout.read(&mut buffer).await {
            Ok(len) if len > 0 => say.frame(&FromHead::Output(buffer[..len].to_vec())).await,
            _ => return,
        }
    }
}
