//! Commands beside slots: from a user's key, or that of another slot, by agents that pass on what is sealed,
//! to the holder.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, duplex};
use tokio::time::timeout;
use xtreem_agent::program::{ExecBy, Program};
use xtreem_allocation::{Application, Epoch, Exit};
use xtreem_base::{AppId, NodeId};
use xtreem_client::api::SlotCredential;
use xtreem_client::exec::ExecError;
use xtreem_client::{ClientError, SlotClient};
use xtreem_net::beside::{
    self, Authority, DATA_MAX_BYTES, FrameError, FromCaller, FromHolder, Gone, INPUT_ROOM_BYTES, NONCE_BYTES,
    NotStarted, Refusal, SealedByCaller, Warrant, Window, read, seal, sign_as_slot, sign_warrant, write,
};
use xtreem_net::{Identity, Roles, Service};

use crate::lab::{Lab, PATIENCE, until};
use crate::liar::Liar;
use crate::{all_run, holder, shell};

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A command line that has been offered something.
struct Caller {
    sealed: SealedByCaller<Box<dyn Stream>>,
    warrant: Warrant,
}

impl Caller {
    /// Asks by a stream to whomever it leads to.
    async fn by(
        stream: Box<dyn Stream>,
        user: &Identity,
        app: AppId,
        slot: u16,
        command: &[&str],
    ) -> Result<Caller, FromHolder> {
        let (mut sealed, holder) = beside::open(user, stream).await.expect("a node of the VO");
        write(&mut sealed, &FromCaller::Ask { app, slot }).await.expect("said");
        match read(&mut sealed).await.expect("an answer") {
            FromHolder::Offer { epoch, nonce } => {
                let command = command.iter().copied().map(str::to_owned).collect();
                let warrant = Warrant { app, slot, epoch, holder, nonce, command, terminal: None };
                Ok(Caller { sealed, warrant })
            }
            other => Err(other),
        }
    }

    /// Asks by an agent.
    async fn at(lab: &Lab, at: usize, app: AppId, command: &[&str]) -> Caller {
        let stream = lab.agents[at].client.exec(&app.to_string(), 0, false).await.expect("a way");
        Caller::by(Box::new(stream), lab.user(), app, 0, command).await.expect("an offer")
    }

    async fn say(&mut self, what: FromCaller) {
        write(&mut self.sealed, &what).await.expect("said");
    }

    async fn hear(&mut self) -> Result<FromHolder, FrameError> {
        read(&mut self.sealed).await
    }

    /// The holder's answer to a warrant and a signature.
    async fn show(mut self, warrant: Warrant, authority: Authority) -> (Caller, FromHolder) {
        self.say(FromCaller::Warrant { warrant: Box::new(warrant), authority, window: None }).await;
        let answer = self.hear().await.expect("an answer");
        (self, answer)
    }

    async fn signed_by(self, user: &Identity) -> (Caller, FromHolder) {
        let (warrant, authority) = (self.warrant.clone(), sign_warrant(user, &self.warrant));
        self.show(warrant, authority).await
    }

    /// With the command's start.
    async fn started(self, user: &Identity) -> Caller {
        let (caller, answer) = self.signed_by(user).await;
        assert_eq!(answer, FromHolder::Started);
        caller
    }

    /// Types it all, as far as there is room, and takes what is written meanwhile, to the end.
    async fn end(mut self, mut input: &[u8]) -> (Vec<u8>, Vec<u8>, Result<FromHolder, FrameError>) {
        let (mut output, mut errors, mut room, mut is_open) =
            (Vec::new(), Vec::new(), INPUT_ROOM_BYTES, true);
        loop {
            while room > 0 && !input.is_empty() {
                let len = input.len().min(room).min(DATA_MAX_BYTES);
                self.say(FromCaller::Input(input[..len].to_vec())).await;
                (input, room) = (&input[len..], room - len);
            }
            if std::mem::replace(&mut is_open, !input.is_empty()) && input.is_empty() {
                self.say(FromCaller::InputEnds).await;
            }
            match timeout(PATIENCE, self.hear()).await.expect("it is there") {
                Ok(FromHolder::Output(bytes)) => output.extend(bytes),
                Ok(FromHolder::Errors(bytes)) => errors.extend(bytes),
                Ok(FromHolder::Room(more)) => room += more as usize,
                Ok(FromHolder::Alive) => self.say(FromCaller::Alive).await,
                last => return (output, errors, last),
            }
        }
    }

    /// All that is said up to that.
    async fn hears(&mut self, wanted: &str) -> String {
        let mut heard = String::new();
        while !heard.contains(wanted) {
            match timeout(PATIENCE, self.hear()).await.expect("it is there") {
                Ok(FromHolder::Output(bytes)) => heard.push_str(&String::from_utf8_lossy(&bytes)),
                Ok(FromHolder::Alive | FromHolder::Room(_)) => {}
                other => panic!("{other:?} after {heard:?}, without {wanted:?}"),
            }
        }
        heard
    }
}

async fn said(lab: &Lab, at: usize, app: AppId, script: &str) -> String {
    let caller = Caller::at(lab, at, app, &["sh", "-c", script]).await.started(lab.user()).await;
    let (output, errors, last) = caller.end(b"").await;
    let (output, errors) = (String::from_utf8_lossy(&output), String::from_utf8_lossy(&errors));
    assert!(matches!(last, Ok(FromHolder::Ended(Exit::Code(0)))), "{last:?} {output} {errors}");
    output.into_owned()
}

/// An application of one slot that runs, and the numbers of the agents that hold it and that do not.
async fn running(lab: &Lab, program: &Program) -> (Application, usize, usize) {
    let app = lab.application("neighbour", 1, program);
    lab.place(&app).await;
    let id = app.record.id.to_string();
    until("it runs", async || lab.agents[0].client.app(&id).await.is_ok_and(|shown| all_run(&shown))).await;
    let shown = lab.agents[0].client.app(&id).await.expect("it runs");
    let holds = lab.agents.iter().position(|agent| agent.id == holder(&shown, 0)).expect("one of them");
    (app, holds, usize::from(holds == 0))
}

pub async fn a_command_beside_a_slot_is_there_and_its_caller_seems_to_be() {
    let lab = Lab::of(3).await;
    let (app, holds, other) = running(&lab, &shell("echo here > mine; exec sleep 600")).await;
    let app = app.record.id;
    for at in [other, holds] {
        let cat = Caller::at(&lab, at, app, &["sh", "-c", "cat; echo oops >&2; exit 7"]).await;
        let (output, errors, last) = cat.started(lab.user()).await.end(b"through").await;
        assert_eq!((&output[..], &errors[..]), (&b"through"[..], &b"oops\n"[..]));
        assert!(matches!(last, Ok(FromHolder::Ended(Exit::Code(7)))), "{last:?}");
        let (_, _, last) = Caller::at(&lab, at, app, &["sh", "-c", "kill -ABRT $$"])
            .await
            .started(lab.user())
            .await
            .end(b"")
            .await;
        assert!(matches!(last, Ok(FromHolder::Ended(Exit::Signal(6)))), "{last:?}");
        let place =
            said(&lab, at, app, "cat mine; echo $XTREEM_SLOT $XTREEM_APP; tr '\\0' ' ' < /proc/2/cmdline")
                .await;
        assert_eq!(place, format!("here\n0 {app}\nsleep 600 "));
        let (_, answer) = Caller::at(&lab, at, app, &["no-such-command"]).await.signed_by(lab.user()).await;
        assert!(matches!(answer, FromHolder::NotStarted { why: NotStarted::NotFound, .. }), "{answer:?}");
    }
    // Much of both, by the agent that does not hold it.
    let flood = Caller::at(&lab, other, app, &["head", "-c", "20000000", "/dev/zero"]).await;
    let (output, _, last) = flood.started(lab.user()).await.end(b"").await;
    assert!(matches!(last, Ok(FromHolder::Ended(Exit::Code(0)))), "{last:?}");
    assert!(output.len() == 20_000_000 && output.iter().all(|byte| *byte == 0), "{}", output.len());
    let swallow = Caller::at(&lab, other, app, &["sh", "-c", "sleep 0.2; wc -c"]).await;
    let (output, ..) = swallow.started(lab.user()).await.end(&vec![7; 3_000_000]).await;
    assert_eq!(String::from_utf8_lossy(&output).trim(), "3000000");
    // One that reads nothing keeps nobody from hearing that its caller lives.
    let deaf = Caller::at(&lab, other, app, &["true"]).await;
    let (_, _, last) = deaf.started(lab.user()).await.end(&[7; 100_000]).await;
    assert!(matches!(last, Ok(FromHolder::Ended(Exit::Code(0)))), "{last:?}");
}

pub async fn a_command_beside_a_slot_may_have_a_terminal() {
    let lab = Lab::of(2).await;
    let (app, _, other) = running(&lab, &shell("exec sleep 600")).await;
    let script = "tty; stty size; trap 'stty size' WINCH; echo $TERM; until read word; do :; done; echo got $word; read word";
    let mut caller = Caller::at(&lab, other, app.record.id, &["sh", "-c", script]).await;
    caller.warrant.terminal = Some("xterm".into());
    let (warrant, authority) = (caller.warrant.clone(), sign_warrant(lab.user(), &caller.warrant));
    let window = |rows, columns| Window { rows, columns };
    let warrant = Box::new(warrant);
    caller.say(FromCaller::Warrant { warrant, authority, window: Some(window(40, 120)) }).await;
    assert_eq!(caller.hear().await.expect("an answer"), FromHolder::Started);
    // It may come in one piece or in several.
    let heard = caller.hears("xterm").await;
    assert!(heard.contains("/dev/pts/") && heard.contains("40 120"), "{heard:?}");
    caller.say(FromCaller::Window(window(30, 90))).await;
    caller.hears("30 90").await;
    caller.say(FromCaller::Input(b"hello\n".to_vec())).await;
    caller.hears("got hello").await;
    // Ctrl-C.
    caller.say(FromCaller::Input(vec![3])).await;
    let (_, _, last) = caller.end(b"").await;
    assert!(matches!(last, Ok(FromHolder::Ended(Exit::Signal(2)))), "{last:?}");
}

/// An argument of `sleep` that no other process has.
fn marker(number: u32) -> String {
    format!("2000000.{}{number:03}", std::process::id())
}

fn sleepers(marker: &str) -> usize {
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let sleeper = format!("sleep\0{marker}\0");
    // A command has the path by which it was found before its name.
    lines.filter(|line| line.ends_with(sleeper.as_bytes())).count()
}

pub async fn a_command_beside_a_slot_ends_with_its_caller_and_with_the_slot() {
    let mut lab = Lab::of(3).await;
    let (app, _, other) = running(&lab, &shell("exec sleep 600")).await;
    let id = app.record.id;
    let calls = async |lab: &Lab, number: u32| {
        let marker = marker(number);
        let script =
            format!("setsid sleep {marker} & (setsid sh -c 'sleep {marker} & exit' &); trap '' TERM; wait");
        let caller = Caller::at(lab, other, id, &["sh", "-c", &script]).await.started(lab.user()).await;
        until("it runs", async || sleepers(&marker) == 2).await;
        (caller, marker)
    };
    let (caller, its) = calls(&lab, 1).await;
    drop(caller);
    until("nothing is left when the caller is gone", async || sleepers(&its) == 0).await;

    // Whoever sends more than there is room for is taken for gone, here twice as much.
    let (mut caller, its) = calls(&lab, 2).await;
    for _ in 0..2 * INPUT_ROOM_BYTES / DATA_MAX_BYTES {
        // It may be refused already.
        let _ = write(&mut caller.sealed, &FromCaller::Input(vec![7; DATA_MAX_BYTES])).await;
    }
    until("nothing is left of it", async || sleepers(&its) == 0).await;

    let (caller, its) = calls(&lab, 3).await;
    lab.agents[0].client.publish(&id.to_string(), lab.stopped(&app)).await.expect("taken");
    let (_, _, last) = caller.end(b"").await;
    assert!(matches!(last, Ok(FromHolder::Gone(Gone::Moved))), "{last:?}");
    assert_eq!(sleepers(&its), 0);
    let refused = lab.agents[other].client.exec(&id.to_string(), 0, true).await.map(drop);
    assert!(matches!(refused, Err(ClientError::Refused { status: 404, .. })), "{refused:?}");

    // Its program ends by itself.
    let (app, _, other) = running(&lab, &shell("while ! [ -e go ]; do sleep 0.05; done")).await;
    let id = app.record.id;
    let caller = Caller::at(&lab, other, id, &["sleep", "600"]).await.started(lab.user()).await;
    // The program may have ended before this command could say that it has.
    let _ = Caller::at(&lab, other, id, &["touch", "go"]).await.started(lab.user()).await.end(b"").await;
    let (_, _, last) = caller.end(b"").await;
    assert!(matches!(last, Ok(FromHolder::Gone(Gone::Ended))), "{last:?}");

    // Its node dies.
    let (app, holds, other) = running(&lab, &shell("exec sleep 600")).await;
    let marker = marker(4);
    let caller = Caller::at(&lab, other, app.record.id, &["sleep", &marker]).await.started(lab.user()).await;
    until("it runs", async || sleepers(&marker) == 1).await;
    let held_by = lab.agents[holds].id.clone();
    lab.kill(&held_by);
    let (_, _, last) = caller.end(b"").await;
    assert!(last.is_err(), "{last:?}");
    until("nothing is left on it", async || sleepers(&marker) == 0).await;
    // The slot runs elsewhere, and is found there.
    until("it is found", async || {
        lab.agents[other]
            .client
            .app(&app.record.id.to_string())
            .await
            .is_ok_and(|shown| all_run(&shown) && holder(&shown, 0) != held_by)
    })
    .await;
    let way = lab.agents[other].client.exec(&app.record.id.to_string(), 0, true).await.expect("a way");
    let caller = Caller::by(Box::new(way), lab.user(), app.record.id, 0, &["true"]).await.expect("an offer");
    let (_, _, last) = caller.started(lab.user()).await.end(b"").await;
    assert!(matches!(last, Ok(FromHolder::Ended(Exit::Code(0)))), "{last:?}");
}

pub async fn nobody_but_the_owner_and_administrators_may() {
    let lab = Lab::of(2).await;
    let (app, holds, other) = running(&lab, &shell("exec sleep 600")).await;
    let app = app.record.id;
    let asks = async || Caller::at(&lab, other, app, &["touch", "trace"]).await;
    let refused = |answer: &FromHolder, refusal: Refusal| assert_eq!(*answer, FromHolder::Refused(refusal));

    let user = |name: &str, roles| lab.vo().issue_user(name, roles, 1).expect("a user");
    let (bob, root) = (user("bob", Roles::SUBMIT), user("root", Roles::ADMIN));
    refused(&asks().await.signed_by(&bob).await.1, Refusal::WrongSigner);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock").as_secs();
    let expired = lab.vo().renew_at(lab.user(), now - 3 * 86_400, 1).expect("a credential");
    refused(&asks().await.signed_by(&expired).await.1, Refusal::Expired);
    let stranger = Lab::stranger();
    refused(&asks().await.signed_by(stranger.user()).await.1, Refusal::NotSigned);

    // What was signed once counts once, for what it was signed for.
    let first = asks().await;
    let (old, signed) = (first.warrant.clone(), sign_warrant(lab.user(), &first.warrant));
    refused(&asks().await.show(old.clone(), signed.clone()).await.1, Refusal::OtherNonce);
    let second = asks().await;
    let swapped = Warrant { command: vec!["reboot".into()], ..second.warrant.clone() };
    let signed_for_another = sign_warrant(lab.user(), &second.warrant);
    refused(&second.show(swapped, signed_for_another).await.1, Refusal::NotSigned);
    let changed = async |change: fn(&mut Warrant)| {
        let mut caller = asks().await;
        change(&mut caller.warrant);
        caller.signed_by(lab.user()).await.1
    };
    refused(&changed(|warrant| warrant.epoch = Epoch::NONE).await, Refusal::OtherEpoch);
    refused(&changed(|warrant| warrant.slot = 1).await, Refusal::OtherSlot);
    refused(&changed(|warrant| warrant.holder = NodeId::from_bytes([9; 16])).await, Refusal::OtherHolder);
    refused(&changed(|warrant| warrant.nonce = [0; NONCE_BYTES]).await, Refusal::OtherNonce);
    refused(&changed(|warrant| warrant.command.clear()).await, Refusal::BadCommand);

    // Nothing of all this left a trace, and whoever may, may.
    let look = async |user: &Identity| {
        let caller = Caller::at(&lab, other, app, &["ls"]).await.started(user).await;
        String::from_utf8_lossy(&caller.end(b"").await.0).into_owned()
    };
    assert_eq!((look(lab.user()).await, look(&root).await), (String::new(), String::new()));
    // The first conversation still waits for its warrant.
    let (caller, answer) = first.show(old, signed).await;
    assert_eq!(answer, FromHolder::Started);
    let _ = caller.end(b"").await;
    assert_eq!(look(lab.user()).await, "trace\n");

    // Beside what nobody here runs nothing is started.
    let way = lab.agents[holds].client.exec(&app.to_string(), 0, false).await.expect("a way");
    let elsewhere = Caller::by(Box::new(way), lab.user(), app, 7, &["true"]).await.map(drop);
    assert_eq!(elsewhere, Err(FromHolder::Refused(Refusal::NotHere)));
    let none = lab.agents[other].client.exec(&"00".repeat(16), 0, false).await.map(drop);
    assert!(matches!(none, Err(ClientError::Refused { status: 404, .. })), "{none:?}");
    let none = lab.agents[other].client.exec(&app.to_string(), 9, false).await.map(drop);
    assert!(matches!(none, Err(ClientError::Refused { status: 404, .. })), "{none:?}");
}

/// The liar answers in the holder's place, and passes on what the holder says, and what the user signs.
pub async fn a_member_that_says_that_it_holds_the_slot_gets_no_command_started() {
    let lab = Lab::of(2).await;
    let (app, holds, _) = running(&lab, &shell("exec sleep 600")).await;
    let app = app.record.id;
    let liar = Liar::joins(&lab).await;
    let seal = seal(liar.identity()).expect("a node");
    let (near, far) = duplex(1 << 16);
    let (send, receive) = liar.net().open(liar.victim(holds), Service::BESIDE).await.expect("a stream");
    let between = async {
        let mut caught = seal.accept(far).await.expect("a caller");
        let to_holder: Box<dyn Stream> = Box::new(tokio::io::join(receive, send));
        let (mut holder, _) = beside::open(lab.user(), to_holder).await.expect("the holder");
        for _ in 0..2 {
            let said: FromCaller = read(&mut caught).await.expect("a word");
            write(&mut holder, &said).await.expect("passed on");
            let answer: FromHolder = read(&mut holder).await.expect("an answer");
            write(&mut caught, &answer).await.expect("passed back");
        }
        caught
    };
    let calls = async {
        let caller =
            Caller::by(Box::new(near), lab.user(), app, 0, &["touch", "trace"]).await.expect("an offer");
        // The user knows whom it speaks to.
        assert_eq!(caller.warrant.holder, liar.identity().id());
        caller.signed_by(lab.user()).await.1
    };
    let (_caught, answer) = tokio::join!(between, calls);
    assert_eq!(answer, FromHolder::Refused(Refusal::OtherHolder));
    assert_eq!(said(&lab, holds, app, "ls").await, "");
}

/// Each conversation is opened and goes no further than its first word.
pub async fn a_member_that_begins_commands_without_end_keeps_nobody_from_theirs() {
    let lab = Lab::of(2).await;
    let (app, holds, other) = running(&lab, &shell("exec sleep 600")).await;
    let app = app.record.id;
    let liar = Liar::joins(&lab).await;
    let mut begun = Vec::new();
    for _ in 0..90 {
        let opened = liar.net().open(liar.victim(holds), Service::BESIDE);
        begun.push(timeout(Duration::from_secs(1), opened).await);
    }
    // They are let go of after a while, and meanwhile most of them were refused.
    until("somebody else's command runs", async || {
        let Ok(way) = lab.agents[other].client.exec(&app.to_string(), 0, false).await else { return false };
        let Ok((mut sealed, _)) = beside::open(lab.user(), way).await else { return false };
        write(&mut sealed, &FromCaller::Ask { app, slot: 0 }).await.is_ok()
            && matches!(read(&mut sealed).await, Ok(FromHolder::Offer { .. }))
    })
    .await;
    drop(begun);
}

pub async fn dozens_of_commands_run_beside_a_slot_at_once() {
    let lab = Lab::of(2).await;
    let (app, _, other) = running(&lab, &shell("exec sleep 600")).await;
    let app = app.record.id;
    let mut callers = Vec::new();
    let begun = std::time::Instant::now();
    for _ in 0..48 {
        callers.push(Caller::at(&lab, other, app, &["cat"]).await.started(lab.user()).await);
    }
    println!("  48 commands, one after the other: {} ms", begun.elapsed().as_millis());
    for (number, caller) in callers.into_iter().enumerate() {
        let text = number.to_string();
        assert_eq!(caller.end(text.as_bytes()).await.0, text.as_bytes());
    }
    // The operator's socket still has room for everybody.
    lab.agents[other].client.node().await.expect("an answer");
}

/// The door of a slot here, as its program has it.
async fn door(lab: &Lab, at: usize, app: AppId, slot: u16) -> SlotClient {
    let way = lab.agents[at].client.exec(&app.to_string(), slot, false).await.expect("a way");
    let script = "echo $XTREEM_SOCKET; echo $XTREEM_TOKEN";
    let caller = Caller::by(Box::new(way), lab.user(), app, slot, &["sh", "-c", script]).await;
    let (output, ..) = caller.expect("an offer").started(lab.user()).await.end(b"").await;
    let told = String::from_utf8_lossy(&output).into_owned();
    let (socket, token) = told.split_once('\n').expect("two lines");
    SlotClient::new(socket, token.trim().to_owned())
}

/// An application of so many slots that all run.
async fn members(lab: &Lab, name: &str, slots: u16, exec: ExecBy) -> AppId {
    let app = lab.application(name, slots, &Program { exec, ..shell("exec sleep 600") });
    lab.place(&app).await;
    let id = app.record.id.to_string();
    until("it runs", async || lab.agents[0].client.app(&id).await.is_ok_and(|shown| all_run(&shown))).await;
    app.record.id
}

/// What the holder of a slot makes of a credential, whoever shows it.
async fn shown(lab: &Lab, at: usize, app: AppId, slot: u16, own: &SlotCredential) -> FromHolder {
    let way = lab.agents[at].client.exec(&app.to_string(), slot, true).await.expect("a way");
    let caller = Caller::by(Box::new(way), lab.user(), app, slot, &["touch", "trace"]).await;
    let caller = caller.expect("an offer");
    let seed = own.key.0.clone().try_into().expect("a key");
    let authority = sign_as_slot(seed, &own.credential.0, &caller.warrant);
    let warrant = caller.warrant.clone();
    caller.show(warrant, authority).await.1
}

fn refusal(verdict: Result<xtreem_client::exec::Running, ExecError>) -> Refusal {
    match verdict.map(drop) {
        Err(ExecError::Refused { refusal, .. }) => refusal,
        other => panic!("{other:?}"),
    }
}

pub async fn slots_start_commands_beside_each_other_where_their_file_allows_it() {
    let lab = Lab::of(3).await;
    let open = members(&lab, "open", 2, ExecBy::Slots).await;
    let closed = members(&lab, "closed", 2, ExecBy::Owner).await;
    let slot = door(&lab, 0, open, 0).await;
    let mut cat = slot.exec(1, ["sh", "-c", "cat; echo $XTREEM_SLOT >&2; exit 7"]).await.expect("it may");
    let mut stdin = cat.stdin.take().expect("it was not taken");
    tokio::io::AsyncWriteExt::write_all(&mut stdin, b"through").await.expect("taken");
    drop(stdin);
    let output = timeout(PATIENCE, cat.output()).await.expect("it ends").expect("its end is heard");
    assert_eq!(
        (output.exit, &output.stdout[..], &output.stderr[..]),
        (Exit::Code(7), &b"through"[..], &b"1\n"[..])
    );
    // More than there is room for on the way, that nobody wants.
    let flood = slot.exec(1, ["head", "-c", "3000000", "/dev/zero"]).await.expect("it may");
    assert_eq!(timeout(PATIENCE, flood.wait()).await.expect("it ends").expect("heard"), Exit::Code(0));
    // It ends with its caller.
    let its = marker(5);
    let sleeper = slot.exec(1, ["sleep", its.as_str()]).await.expect("it may");
    until("it runs", async || sleepers(&its) == 1).await;
    drop(sleeper);
    until("nothing is left when the caller is gone", async || sleepers(&its) == 0).await;

    let other = door(&lab, 0, closed, 0).await;
    assert_eq!(refusal(other.exec(1, ["touch", "trace"]).await), Refusal::SlotsMayNot);
    // A slot of another application, and one whose application's file says nothing of it.
    let (of_open, of_closed) =
        (slot.credential().await.expect("told"), other.credential().await.expect("told"));
    let refused = |refusal| FromHolder::Refused(refusal);
    assert_eq!(shown(&lab, 1, open, 1, &of_closed).await, refused(Refusal::OtherApplication));
    assert_eq!(shown(&lab, 1, closed, 1, &of_open).await, refused(Refusal::SlotsMayNot));
    // A credential without its key.
    let stolen = SlotCredential { key: of_closed.key.clone(), ..of_open.clone() };
    assert_eq!(shown(&lab, 1, open, 1, &stolen).await, refused(Refusal::NotSigned));
    assert_eq!(shown(&lab, 1, open, 1, &of_open).await, FromHolder::Started);
}

pub async fn a_slot_that_was_replaced_starts_nothing_any_more() {
    let mut lab = Lab::of(4).await;
    let app = members(&lab, "open", 2, ExecBy::Slots).await;
    let id = app.to_string();
    let old = door(&lab, 0, app, 1).await.credential().await.expect("told");
    assert_eq!(shown(&lab, 0, app, 0, &old).await, FromHolder::Started);
    let before = lab.agents[0].client.app(&id).await.expect("it runs");
    let lost = holder(&before, 1);
    lab.kill(&lost);
    until("it runs elsewhere", async || {
        let at = &lab.agents[0].client;
        at.app(&id).await.is_ok_and(|shown| all_run(&shown) && holder(&shown, 1) != lost)
    })
    .await;
    until("its credential is refused", async || {
        shown(&lab, 0, app, 0, &old).await == FromHolder::Refused(Refusal::OlderEpoch)
    })
    .await;
    // Its replacement may.
    let new = door(&lab, 0, app, 1).await;
    let output = new.exec(0, ["sh", "-c", "echo $XTREEM_SLOT"]).await.expect("it may").output().await;
    assert_eq!(output.expect("its end is heard").stdout, b"0\n");
}
