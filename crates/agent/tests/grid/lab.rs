//! A few agents of one VO, each a process with a state directory of its own.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use xtreem_agent::program::{FileRef, Program};
use xtreem_agent::{Config, is_root_of_machine};
use xtreem_allocation::policy::{Policy, Rule};
use xtreem_allocation::{Application, Record, Resources, Restart, Spec, Wanted};
use xtreem_base::{AppId, Digest, NodeId};
use xtreem_client::api::{NodeStatus, ProgressLine, SearchRequest};
use xtreem_client::{ClientError, OperatorClient};
use xtreem_net::{Identity, Roles, VoKey, sign_record};

/// How long a condition may take to come true before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// Seconds.
const DAY: u64 = 86_400;

fn unix_now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970").as_secs()
}

/// Waits until `is_true` says so.
pub async fn until(what: &str, mut is_true: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_true().await {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        sleep(POLL).await;
    }
}

/// Runs an agent in this process.
pub fn be_agent(config: &str) -> ExitCode {
    let config = Config::load(Path::new(config)).expect("a configuration");
    let filter: Targets = config.log.parse().expect("a filter");
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines).with(filter).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime.expect("a runtime").block_on(xtreem_agent::run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

pub struct Agent {
    pub id: String,
    pub client: OperatorClient,
    dir: PathBuf,
    process: Child,
}

pub struct Lab {
    pub agents: Vec<Agent>,
    user: Identity,
    vo: VoKey,
    root: TempDir,
}

impl Agent {
    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// From now on its threads may run on these cores only.
    pub fn run_on(&self, cores: &CpuSet) {
        let threads = fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("its threads");
        for thread in threads.flatten() {
            let id = thread.file_name().to_string_lossy().parse().expect("a number");
            // A thread may have ended meanwhile.
            let _ = sched_setaffinity(Pid::from_raw(id), cores);
        }
    }
}

impl Agent {
    /// Its configuration and key lie here, and its state.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// A file on its disk, which only it has mounted.
    pub fn on_its_disk(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.pid()));
        let state = self.dir.join("state");
        root.join(state.strip_prefix("/").expect("an absolute path")).join(name)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for agent in &self.agents {
                eprintln!("=== {} {}\n{}", agent.dir.display(), agent.id, agent.log());
            }
        }
    }
}

impl Lab {
    /// Starts the agents and waits until they know each other. The first offers nothing to applications of
    /// [`Lab::application`] unless it is alone.
    pub async fn of(count: usize) -> Lab {
        Lab::with(count, |_| String::new()).await
    }

    /// The same, with more lines for the agent of each number.
    pub async fn with(count: usize, more: impl Fn(usize) -> String) -> Lab {
        let mut lab = Lab::stranger();
        let mut join = None;
        for number in 0..count {
            let role = if number == 0 && count > 1 { "submitter" } else { "worker" };
            let join_line =
                join.iter().map(|address| format!("join = [\"{address}\"]\n")).collect::<String>();
            let config = format!(
                "name = \"node{number}\"\nemulated = true\ncyclon_period = \"200ms\"\n{join_line}{}\n\
                 [attributes]\nrole = \"{role}\"\ncpu.cores = 4\nmem.total = \"8GiB\"\n",
                more(number)
            );
            let status = lab.start(number, &config).await;
            join.get_or_insert(status.address);
        }
        until("every agent finds all others", async || {
            for agent in &lab.agents {
                let request =
                    SearchRequest { limit: 100, timeout_ms: Some(2_000), ..SearchRequest::default() };
                if agent.client.search(&request).await.map_or(0, |reply| reply.matches.len()) < count {
                    return false;
                }
            }
            true
        })
        .await;
        lab
    }

    /// One agent that is this machine, declares its cores, and takes applications, of which one fills it.
    pub async fn honest(cores: usize) -> Lab {
        let mut lab = Lab::stranger();
        let config = format!("[attributes]\nrole = \"worker\"\ncpu.cores = {cores}\n[offer]\ncores = 1\n");
        lab.start(0, &config).await;
        lab
    }

    /// One agent of a user without rights on a machine whose kernel grants no namespaces.
    pub async fn without_namespaces(config: &str) -> Lab {
        let mut lab = Lab::stranger();
        let root = lab.root.path().to_owned();
        let binary = root.join("agent");
        fs::copy(std::env::current_exe().expect("known"), &binary).expect("copied");
        let dir = lab.prepare(0, &format!("{config}[attributes]\nrole = \"worker\"\n"));
        let mut command = Command::new("unshare");
        if geteuid().is_root() {
            for path in [&root, &binary, &dir, &dir.join("agent.toml"), &dir.join("node.pem")] {
                std::os::unix::fs::chown(path, Some(65_534), Some(65_534)).expect("given away");
            }
            command.uid(65_534).gid(65_534);
        }
        // In a user namespace that may have no further ones below it.
        let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" \"$@\"";
        command.args(["-Ur", "sh", "-c", script]).arg(binary);
        lab.add(dir, command).await;
        lab
    }

    /// One agent that is what this process is, and is told nothing of users.
    pub async fn unprepared() -> Lab {
        let mut lab = Lab::stranger();
        let dir = lab.prepare(0, "[attributes]\nrole = \"worker\"\n");
        lab.add(dir, Command::new("/proc/self/exe")).await;
        lab
    }

    /// Starts an agent; `config` is what is not the same for all.
    async fn start(&mut self, number: usize, config: &str) -> NodeStatus {
        // An agent that is root runs programs as somebody else, or none.
        let run_as = if is_root_of_machine() { "run_as = \"nobody\"\n" } else { "" };
        let dir = self.prepare(number, &format!("{run_as}{config}"));
        self.add(dir, Command::new("/proc/self/exe")).await
    }

    /// The directory of an agent, with what it needs.
    fn prepare(&self, number: usize, config: &str) -> PathBuf {
        let dir = self.root.path().join(number.to_string());
        fs::create_dir(&dir).expect("a directory");
        let identity = self.member(&format!("node{number}"));
        identity.save(&dir.join("node.pem")).expect("saved");
        let bind = if config.contains("bind = ") { "" } else { "bind = \"127.0.0.1:0\"\n" };
        let config = format!(
            "state_dir = \"state\"\nidentity = \"node.pem\"\n{bind}{config}\
             [log]\nfilter = \"info,xtreem_agent=debug\"\n"
        );
        fs::write(dir.join("agent.toml"), config).expect("written");
        dir
    }

    /// Starts one more worker, whose state lies on a disk of its own of so many MiB.
    pub async fn start_on_a_disk(&mut self, number: usize, mib: u32) {
        let run_as = if is_root_of_machine() { "run_as = \"nobody\"\n" } else { "" };
        let join = self.agents[0].client.node().await.expect("an answer").address;
        let dir = self.prepare(
            number,
            &format!(
                "{run_as}emulated = true\ncyclon_period = \"200ms\"\njoin = [\"{join}\"]\n[control]\n\
                 path = \"control.sock\"\n[attributes]\nrole = \"worker\"\ncpu.cores = 4\nmem.total = \"8GiB\"\n"
            ),
        );
        fs::create_dir(dir.join("state")).expect("a directory");
        let mut command = Command::new("unshare");
        command.arg(if geteuid().is_root() { "-m" } else { "-Urm" });
        let script = format!("mount -t tmpfs -o size={mib}m,mode=0755 disk \"$0\" && exec \"$AGENT\" \"$@\"");
        command.args(["sh", "-c", &script]).arg(dir.join("state"));
        command.env("AGENT", std::env::current_exe().expect("known"));
        let (process, status) = launch_at(&dir, command, &dir.join("control.sock")).await;
        let client = OperatorClient::new(dir.join("control.sock"));
        self.agents.push(Agent { id: status.id, client, dir, process });
    }

    /// The same application with a specification that is changed.
    pub fn changed(&self, mut app: Application, change: impl FnOnce(&mut Spec)) -> Application {
        let mut spec = (*app.spec).clone();
        change(&mut spec);
        let encoded = minicbor::to_vec(&spec).expect("encoded");
        app.record.spec_digest = Digest::from_bytes(*blake3::hash(&encoded).as_bytes());
        app.spec = Arc::new(spec);
        sign_record(&self.user, &mut app.record);
        app
    }

    async fn add(&mut self, dir: PathBuf, command: Command) -> NodeStatus {
        let (process, status) = launch(&dir, command).await;
        let client = OperatorClient::new(dir.join("state/control.sock"));
        self.agents.push(Agent { id: status.id.clone(), client, dir, process });
        status
    }

    /// Starts one more agent with a policy of its own, that joins by the first one.
    pub async fn start_with_policy(&mut self, number: usize, signed: &[u8]) {
        let file = self.root.path().join(format!("policy{number}"));
        fs::write(&file, signed).expect("written");
        let mut config = format!("emulated = true\ncyclon_period = \"200ms\"\npolicy = {file:?}\n");
        if let Some(first) = self.agents.first() {
            let join = first.client.node().await.expect("an answer").address;
            config.push_str(&format!("join = [\"{join}\"]\n"));
        }
        self.start(number, &config).await;
    }

    /// The user's credential ends in so many seconds, but for what was signed before.
    pub fn user_has(&mut self, seconds: u64) {
        self.user = self.vo.renew_at(&self.user, unix_now() + seconds - DAY, 1).expect("a credential");
    }

    pub fn is_user_over(&self) -> bool {
        unix_now() > self.user.member().not_after()
    }

    /// As `xtreem vo renew` does.
    pub fn renew_user(&mut self) {
        self.user = self.vo.renew(&self.user, 1).expect("a credential");
    }

    /// From its next start on this node's credential ends in so many seconds, counted from now.
    pub fn node_has(&mut self, id: &str, seconds: u64) {
        let file = self.agent(id).dir.join("node.pem");
        let old = Identity::load_timeless(&file).expect("its credential");
        let new = self.vo.renew_at(&old, unix_now() + seconds - DAY, 1).expect("a credential");
        new.replace(&file).expect("written");
    }

    /// A credential of one more node of this VO.
    pub fn member(&self, name: &str) -> Identity {
        self.vo.issue_node(name, 1).expect("an identity")
    }

    /// The key and credential of an agent.
    pub fn identity(&self, id: &str) -> Identity {
        let agent = self.agents.iter().find(|agent| agent.id == id).expect("an agent of this lab");
        Identity::load(&agent.dir.join("node.pem")).expect("its credential")
    }

    /// Whose applications are run here.
    pub fn user(&self) -> &Identity {
        &self.user
    }

    pub fn vo(&self) -> &VoKey {
        &self.vo
    }

    /// A VO without agents.
    pub fn stranger() -> Lab {
        let vo = VoKey::create("test").expect("a VO");
        let user = vo.issue_user("alice", Roles::SUBMIT, 1).expect("a user");
        Lab { agents: Vec::new(), user, vo, root: tempfile::tempdir().expect("a temporary directory") }
    }

    /// A signed application of so many slots on workers.
    pub fn application(&self, name: &str, slots: u16, program: &Program) -> Application {
        self.placed(name, slots, program, "")
    }

    /// The same with a placement.
    pub fn placed(&self, name: &str, slots: u16, program: &Program, placement: &str) -> Application {
        let spec = Spec {
            requirement: "role == \"worker\"".parse().expect("a requirement"),
            resources: Resources { cores_milli: 1_000, memory_bytes: 64 << 20, disk_bytes: 0 },
            colocate: false,
            restart: Restart::OnFailure,
            payload: program.to_payload().expect("a program").into(),
            placement: placement.into(),
            ports: program.fixed_ports(),
        };
        let encoded = minicbor::to_vec(&spec).expect("encoded");
        let mut id = [0; 16];
        getrandom::fill(&mut id).expect("random bytes");
        let mut record = Record {
            id: AppId::from_bytes(id),
            owner: self.user.id(),
            name: name.into(),
            spec_digest: Digest::from_bytes(*blake3::hash(&encoded).as_bytes()),
            slots,
            generation: 1,
            wanted: Wanted::Running,
            proof: [].into(),
            submitter: self.submitter(0),
        };
        sign_record(&self.user, &mut record);
        Application { record, spec: Arc::new(spec) }
    }

    /// The node of this agent; nobody in a VO without agents.
    pub fn submitter(&self, at: usize) -> NodeId {
        let id = self.agents.get(at).map(|agent| agent.id.parse().expect("an id"));
        id.unwrap_or(NodeId::from_bytes([0; 16]))
    }

    /// The same application, submitted through another agent.
    pub fn through(&self, at: usize, mut app: Application) -> Application {
        app.record.submitter = self.submitter(at);
        sign_record(&self.user, &mut app.record);
        app
    }

    /// A policy signed by the VO's root, encoded.
    pub fn policy(&self, version: u64, rules: Vec<Rule>) -> Vec<u8> {
        let signed = self.vo.sign_policy(&Policy { version, rules }).expect("a good policy");
        minicbor::to_vec(&signed).expect("encoded")
    }

    /// The encoded record that stops an application.
    pub fn stopped(&self, app: &Application) -> Vec<u8> {
        let mut record = Record { generation: 2, wanted: Wanted::Stopped, ..app.record.clone() };
        sign_record(&self.user, &mut record);
        minicbor::to_vec(&record).expect("encoded")
    }

    pub async fn upload(&self, content: &[u8]) -> FileRef {
        let digest = blake3::hash(content);
        let path = self.root.path().join("upload");
        fs::write(&path, content).expect("written");
        let client = &self.agents[0].client;
        let hex = digest.to_hex();
        assert!(!client.has_file(&hex).await.expect("an answer"));
        client.put_file(&hex, &path).await.expect("stored");
        assert!(client.has_file(&hex).await.expect("an answer"));
        let digest = Digest::from_bytes(*digest.as_bytes());
        FileRef { path: "file".into(), digest, len: content.len() as u64, executable: false }
    }

    /// Submits to the first agent and takes all lines.
    pub async fn submit(&self, app: &Application) -> Vec<ProgressLine> {
        self.try_submit(app).await.expect("submitted")
    }

    /// Submits to the first agent until there are nodes for it: on a busy machine a search may meet nobody in
    /// time.
    pub async fn place(&self, app: &Application) -> Vec<ProgressLine> {
        self.place_at(0, app).await
    }

    /// The same by the agent of that number.
    pub async fn place_at(&self, at: usize, app: &Application) -> Vec<ProgressLine> {
        let lines = self.try_submit_to(at, app, Some(PATIENCE)).await.expect("submitted");
        let is_accepted = |line: &ProgressLine| matches!(line, ProgressLine::Accepted { .. });
        assert!(lines.iter().any(is_accepted), "{lines:?}");
        lines
    }

    pub async fn try_submit(&self, app: &Application) -> Result<Vec<ProgressLine>, ClientError> {
        self.try_submit_to(0, app, None).await
    }

    pub async fn try_submit_to(
        &self,
        at: usize,
        app: &Application,
        wait: Option<Duration>,
    ) -> Result<Vec<ProgressLine>, ClientError> {
        let encoded = minicbor::to_vec(app).expect("encoded");
        let mut stream = self.agents[at].client.submit_within(encoded, wait).await?;
        let mut lines = Vec::new();
        while let Some(line) = stream.next().await? {
            lines.push(line);
        }
        Ok(lines)
    }

    /// What the slot wrote, as far as it can be had.
    pub async fn log(&self, id: &str, slot: u16) -> String {
        let Ok(mut chunks) = self.agents[0].client.logs(id, slot, 100).await else { return String::new() };
        let mut log = Vec::new();
        while let Ok(Some(chunk)) = chunks.next().await {
            log.extend_from_slice(&chunk);
        }
        String::from_utf8_lossy(&log).into_owned()
    }

    fn agent(&mut self, id: &str) -> &mut Agent {
        self.agents.iter_mut().find(|agent| agent.id == id).expect("an agent of this lab")
    }

    /// Starts one more agent, whose credential is of another VO, that asks to join by the first agent.
    pub async fn intruder(&self) -> Agent {
        let dir = self.root.path().join("intruder");
        fs::create_dir(&dir).expect("a directory");
        let identity = VoKey::create("test").and_then(|vo| vo.issue_node("node1", 1)).expect("an identity");
        identity.save(&dir.join("node.pem")).expect("saved");
        let join = self.agents[0].client.node().await.expect("an answer").address;
        let config = format!(
            "state_dir = \"state\"\nidentity = \"node.pem\"\nbind = \"127.0.0.1:0\"\nemulated = true\n\
             cyclon_period = \"200ms\"\njoin = [\"{join}\"]\n[attributes]\nrole = \"worker\"\n"
        );
        fs::write(dir.join("agent.toml"), config).expect("written");
        let (process, status) = launch(&dir, Command::new("/proc/self/exe")).await;
        let client = OperatorClient::new(dir.join("state/control.sock"));
        Agent { id: status.id, client, dir, process }
    }

    /// The sockets of all agents and of all slots that run.
    pub fn sockets(&self) -> Vec<PathBuf> {
        let states = self.agents.iter().map(|agent| agent.dir.join("state"));
        let of_slots = |state: &Path| fs::read_dir(state.join("s")).into_iter().flatten().flatten();
        states
            .flat_map(|state| {
                let slots: Vec<_> = of_slots(&state).map(|entry| entry.path()).collect();
                [state.join("control.sock")].into_iter().chain(slots)
            })
            .collect()
    }

    /// What is in the directories of slots without being the home of a program that runs.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        let processes = fs::read_dir("/proc").expect("processes").flatten();
        let homes: Vec<PathBuf> = processes
            .filter_map(|process| {
                let environment = fs::read(process.path().join("environ")).ok()?;
                let environment = String::from_utf8_lossy(&environment).into_owned();
                environment.split('\0').find_map(|variable| variable.strip_prefix("HOME=")).map(PathBuf::from)
            })
            .collect();
        let of = |agent: &Agent| fs::read_dir(agent.dir.join("state/slots")).into_iter().flatten().flatten();
        let paths = self.agents.iter().flat_map(of).map(|entry| entry.path());
        paths.filter(|path| !homes.contains(path)).collect()
    }

    /// What the agent wrote into its log.
    pub fn agent_log(&self, id: &str) -> String {
        let agent = self.agents.iter().find(|agent| agent.id == id).expect("an agent of this lab");
        fs::read_to_string(agent.dir.join("log")).unwrap_or_default()
    }

    /// Cores, memory and holds are all given back.
    pub async fn uses_nothing(&self) -> bool {
        for agent in &self.agents {
            let used = agent.client.node().await.map(|node| node.used);
            if used.is_ok_and(|used| (used.cores_milli, used.memory_bytes, used.disk_bytes) != (0, 0, 0)) {
                return false;
            }
        }
        true
    }

    pub fn kill(&mut self, id: &str) {
        let agent = self.agent(id);
        agent.process.kill().expect("killed");
        agent.process.wait().expect("dead");
    }

    /// SIGTERM; returns when it is gone.
    pub async fn terminate(&mut self, id: &str) -> ExitStatus {
        let agent = self.agent(id);
        let pid = Pid::from_raw(agent.process.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("sent");
        let mut status = None;
        until("the agent has ended", async || {
            status = agent.process.try_wait().expect("a status");
            status.is_some()
        })
        .await;
        status.expect("it has ended")
    }

    pub async fn status(&self, id: &str) -> NodeStatus {
        let agent = self.agents.iter().find(|agent| agent.id == id).expect("an agent of this lab");
        agent.client.node().await.expect("an answer")
    }

    /// Starts a second agent with a copy of all that one keeps, as a cloned machine would.
    pub async fn clone_of(&mut self, id: &str) -> Agent {
        let from = self.agent(id).dir.clone();
        let dir = self.root.path().join("clone");
        let copied = Command::new("cp").arg("-a").args([&from, &dir]).status().expect("cp runs");
        assert!(copied.success());
        let _ = fs::remove_file(dir.join("log"));
        let (process, status) = launch(&dir, Command::new("/proc/self/exe")).await;
        let client = OperatorClient::new(dir.join("state/control.sock"));
        Agent { id: status.id, client, dir, process }
    }

    /// Its `join` leads nowhere from its next start on.
    pub fn join_nobody(&mut self, id: &str) {
        let file = self.agent(id).dir.join("agent.toml");
        let before = fs::read_to_string(&file).expect("its configuration");
        let kept = before.lines().filter(|line| !line.starts_with("join"));
        let nowhere = "join = [\"no-such-name.invalid:7227\", \"127.0.0.1:9\"]";
        let after: Vec<&str> = std::iter::once(nowhere).chain(kept).collect();
        fs::write(&file, after.join("\n")).expect("written");
    }

    /// What it thinks was the number of its last start.
    pub fn set_last_incarnation(&mut self, id: &str, number: u32) {
        fs::write(self.agent(id).dir.join("state/incarnation"), format!("{number}\n")).expect("written");
    }

    /// Removes all that it keeps but its credential.
    pub fn lose_state(&mut self, id: &str) {
        fs::remove_dir_all(self.agent(id).dir.join("state")).expect("removed");
    }

    pub async fn restart(&mut self, id: &str) -> NodeStatus {
        let agent = self.agent(id);
        let (process, status) = launch(&agent.dir, Command::new("/proc/self/exe")).await;
        agent.process = process;
        status
    }

    /// Kills all agents in one moment, and starts them again where they were: a machine keeps its address.
    pub async fn cut_power(&mut self) {
        for agent in &self.agents {
            let address = agent.client.node().await.expect("an answer").address;
            let file = agent.dir.join("agent.toml");
            let config = fs::read_to_string(&file).expect("a configuration");
            fs::write(&file, config.replace("127.0.0.1:0", &address)).expect("written");
        }
        self.agents.iter_mut().for_each(|agent| agent.process.kill().expect("killed"));
        for agent in &mut self.agents {
            agent.process.wait().expect("dead");
        }
        for id in self.agents.iter().map(|agent| agent.id.clone()).collect::<Vec<_>>() {
            self.restart(&id).await;
        }
    }

    /// Processes that run in a slot's directory of this lab.
    pub fn programs(&self) -> Vec<String> {
        let processes = fs::read_dir("/proc").expect("processes").flatten();
        let places = processes.filter_map(|process| {
            let path = process.path();
            let environment = fs::read(path.join("environ")).unwrap_or_default();
            let environment = String::from_utf8_lossy(&environment).into_owned();
            let is_here = environment.split('\0').any(|variable| {
                variable
                    .strip_prefix("XTREEM_SOCKET=")
                    .is_some_and(|at| Path::new(at).starts_with(self.root.path()))
            });
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
            // Short-lived children of a shell are not the program.
            (is_here && name.trim() != "sleep").then(|| format!("{} {}", path.display(), name.trim()))
        });
        places.collect()
    }
}

async fn launch(dir: &Path, command: Command) -> (Child, NodeStatus) {
    launch_at(dir, command, &dir.join("state/control.sock")).await
}

async fn launch_at(dir: &Path, mut command: Command, control: &Path) -> (Child, NodeStatus) {
    let log = fs::File::options().create(true).append(true).open(dir.join("log")).expect("a log");
    let process = command
        .args([super::BE_AGENT, &dir.join("agent.toml").display().to_string()])
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("started");
    let client = OperatorClient::new(control.to_owned());
    let mut status = None;
    until("the agent answers", async || {
        status = client.node().await.ok();
        status.is_some()
    })
    .await;
    (process, status.expect("it has answered"))
}
