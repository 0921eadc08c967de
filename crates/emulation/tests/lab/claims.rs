//! What labs promise.

use std::future::Future;
use std::io::{BufRead, BufReader};
use std::pin::Pin;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use xtreem_emulation::{
    AgentState, ChildSpec, DISK, Exit, Host, HostSpec, LabError, Network, NetworkChoice, this_program,
};

use crate::roles::FAILED;
use crate::support::{
    MARK, all_reach, ask, marked, marked_with, reaches, spawn, spec, start, states, tell, until,
};

pub struct Claim {
    pub name: &'static str,
    pub check: fn(NetworkChoice) -> Pin<Box<dyn Future<Output = ()>>>,
}

macro_rules! claims {
    ($($name:ident),* $(,)?) => {
        vec![$(Claim { name: stringify!($name), check: |kind| Box::pin($name(kind)) }),*]
    };
}

/// What is to hold for this kind of network.
pub fn of(kind: NetworkChoice) -> Vec<Claim> {
    let mut claims = claims![
        hosts_reach_each_other_and_the_lab_reaches_them,
        a_killed_host_leaves_no_process_and_its_index_can_be_used_again,
        a_killed_agent_leaves_its_host_and_can_be_restarted,
        an_agent_that_is_asked_to_end_ends,
        a_paused_host_stands_still_until_resumed,
        a_killed_caller_leaves_no_process,
        a_stopped_lab_leaves_no_process,
        a_killed_lab_is_noticed_and_leaves_no_process,
        bad_orders_are_refused_and_change_nothing,
        a_child_of_the_lab_reports_its_end,
    ];
    claims.extend(match kind {
        NetworkChoice::Loopback => claims![
            a_cut_is_written_to_the_fault_switch,
            a_split_and_a_disk_are_refused,
            a_lab_falls_back_and_says_why_where_namespaces_are_forbidden,
        ],
        _ => claims![
            hosts_have_names_of_their_own,
            a_disk_fills_up_outlives_its_host_and_can_be_freed,
            a_cut_blocks_and_heal_restores,
            a_split_separates_groups_and_merge_joins_them,
            an_agent_can_make_namespaces_for_its_programs,
            fifty_hosts_start_in_one_request_and_all_speak_to_all,
        ],
    });
    claims
}

async fn hosts_reach_each_other_and_the_lab_reaches_them(kind: NetworkChoice) {
    let (lab, _dir) = start(kind).await;
    assert_eq!(matches!(lab.network(), Network::Namespaces), kind == NetworkChoice::Namespaces);
    let (one, two) = (spawn(&lab, 1).await, spawn(&lab, 2).await);
    all_reach(&[(&one, &two), (&two, &one), (&one, &one)]).await;

    let command = vec![this_program().into(), "role-client".into(), "hello".into()];
    let mut client = lab.exec_in_lab(ChildSpec { command, env: vec![] }).await.expect("a client");
    let mut stream = tokio::io::BufReader::new(client.stdio());
    let mut line = String::new();
    stream.read_line(&mut line).await.expect("read");
    assert_eq!(line, "hello\n");
    for host in [&one, &two] {
        until("the lab reaches a host", async || {
            stream.write_all(format!("{}\n", host.address).as_bytes()).await.expect("written");
            line.clear();
            assert_ne!(stream.read_line(&mut line).await.expect("read"), 0, "the client has ended");
            !line.starts_with(FAILED)
        })
        .await;
    }
    lab.stop().await;
}

async fn hosts_have_names_of_their_own(kind: NetworkChoice) {
    let (lab, _dir) = start(kind).await;
    let (one, two) = (spawn(&lab, 1).await, spawn(&lab, 2).await);
    for (from, to, name) in [(&one, &two, "node2"), (&two, &one, "node1")] {
        let order = format!("reach {}", to.address);
        until("a host tells its name", async || tell(from, &order).await == name).await;
    }
    let outside = nix::unistd::gethostname().expect("a name");
    assert!(outside != "node1" && outside != "node2");
}

async fn a_killed_host_leaves_no_process_and_its_index_can_be_used_again(kind: NetworkChoice) {
    let (lab, _dir) = start(kind).await;
    let (one, two) = (spawn(&lab, 1).await, spawn(&lab, 2).await);
    let others = marked(&lab).len();
    let busy = spawn(&lab, 3).await;
    tell(&busy, "sleeper").await;
    tell(&busy, "sleeper").await;
    assert!(marked(&lab).len() >= others + 3, "the agent and two that left its session");
    lab.kill_host(3).await.expect("killed");
    assert_eq!(marked(&lab).len(), others, "processes after the kill");
    assert_eq!(lab.kill_host(3).await, Err(LabError::NoSuchHost(3)));
    assert!(!reaches(&one, &busy).await);
    all_reach(&[(&one, &two)]).await;

    let again = spawn(&lab, 3).await;
    all_reach(&[(&one, &again), (&again, &two)]).await;
}

async fn a_killed_agent_leaves_its_host_and_can_be_restarted(kind: NetworkChoice) {
    let (lab, _dir) = start(kind).await;
    let host = spawn(&lab, 7).await;
    tell(&host, "sleeper").await;
    lab.kill_agent(7).await.expect("killed");
    assert_eq!(ask(&host, "?").await, None);
    let status = lab.status().await.expect("a status");
    let killed = Some(AgentState::Ended(Exit::Signal(Signal::SIGKILL as i32)));
    assert_eq!(status.iter().map(|host| (host.index, host.agent)).collect::<Vec<_>>(), [(7, killed)]);
    assert_eq!(marked(&lab).len(), 1, "what the agent has started is not the lab's to kill");

    lab.restart_agent(7).await.expect("restarted");
    until("the agent answers again", async || ask(&host, "?").await.is_some()).await;
    let status = lab.status().await.expect("a status");
    assert_eq!(status.first().and_then(|host| host.agent), Some(AgentState::Running));
}

async fn a_paused_host_stands_still_until_resumed(kind: NetworkChoice) {
    let (lab, _dir) = start(kind).await;
    let host = spawn(&lab, 1).await;
    tell(&host, "sleeper").await;
    lab.pause_host(1).await.expect("paused");
    assert_eq!(states(&marked(&lab)), "T");
    assert_eq!(lab.kill_agent(1).await, Err(LabError::Paused(1)));
    let status = lab.status().await.expect("a status");
    assert_eq!(status.iter().map(|host| (host.paused, host.agent)).collect::<Vec<_>>(), [(true, None)]);
    lab.resume_host(1).await.expect("resumed");
    assert!(ask(&host, "?").await.is_some());
    assert!(!states(&marked(&lab)).contains('T'));

    lab.pause_host(1).await.expect("paused");
    lab.kill_host(1).await.expect("a paused host dies too");
    assert_eq!(marked(&lab).len(), 0);
}

async fn a_killed_caller_leaves_no_process(kind: NetworkChoice) {
    let dir = tempfile::tempdir().expect("a directory");
    let mark = dir.path().canonicalize().expect("a path").join("hosts/x");
    let mut caller = Command::new(this_program())
        .args(["role-caller", &format!("{kind:?}")])
        .arg(dir.path())
        .env(MARK, &mark)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a caller");
    let mut line = String::new();
    BufReader::new(caller.stdout.take().expect("its output")).read_line(&mut line).expect("read");
    assert_eq!(line, "ready\n");
    assert!(marked_with(&mark).len() >= 11, "caller, lab, three inits, three agents, three programs");
    // SIGKILL to that process alone, as `kill -9` does.
    caller.kill().expect("killed");
    caller.wait().expect("reaped");
    until("nothing of the lab is left", async || marked_with(&mark).is_empty()).await;
}

async fn a_stopped_lab_leaves_no_process(kind: NetworkChoice) {
    let (lab, dir) = start(kind).await;
    let mark = lab.host_dir("x");
    for index in 1..=3 {
        tell(&spawn(&lab, index).await, "sleeper").await;
    }
    lab.pause_host(2).await.expect("paused");
    assert!(marked_with(&mark).len() >= 6);
    lab.stop().await;
    assert_eq!(marked_with(&mark).len(), 0);
    drop(dir);
}

async fn a_killed_lab_is_noticed_and_leaves_no_process(kind: NetworkChoice) {
    let (lab, _dir) = start(kind).await;
    let host = spawn(&lab, 1).await;
    tell(&host, "sleeper").await;
    // The lab, or with namespaces its launcher, is the child of this process.
    let children = std::fs::read_dir("/proc/self/task").expect("threads").flatten();
    let children: String = children
        .map(|thread| std::fs::read_to_string(thread.path().join("children")).expect("children"))
        .collect();
    let children: Vec<i32> = children.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect();
    let [launcher] = children.as_slice() else { panic!("one child expected, not {children:?}") };
    kill(Pid::from_raw(*launcher), Signal::SIGKILL).expect("killed");
    until("nothing of the lab is left", async || marked(&lab).is_empty()).await;
    until("the caller knows", async || lab.status().await == Err(LabError::Gone)).await;
    lab.stop().await;
}

type Expected = fn(&LabError) -> bool;

async fn bad_orders_are_refused_and_change_nothing(kind: NetworkChoice) {
    let (lab, _dir) = start(kind).await;
    spawn(&lab, 1).await;
    let good = spec(&lab, 2);
    let cases: [(HostSpec, Expected); 8] = [
        (HostSpec { index: 0, ..good.clone() }, |error| *error == LabError::BadIndex(0)),
        (HostSpec { index: 1001, ..good.clone() }, |error| *error == LabError::BadIndex(1001)),
        (HostSpec { index: 1, ..good.clone() }, |error| *error == LabError::HostExists(1)),
        (HostSpec { name: "node1".into(), ..good.clone() }, |error| *error == LabError::HostExists(2)),
        (HostSpec { name: "../up".into(), ..good.clone() }, |error| matches!(error, LabError::BadName(_))),
        (HostSpec { name: String::new(), ..good.clone() }, |error| matches!(error, LabError::BadName(_))),
        (HostSpec { command: vec![], ..good.clone() }, |error| *error == LabError::EmptyCommand),
        (HostSpec { command: vec!["/nowhere".into()], ..good.clone() }, |error| {
            error.to_string().contains("/nowhere: No such file")
        }),
    ];
    for (bad, expected) in cases {
        let shown = format!("{bad:?}");
        let error = lab.spawn_hosts(vec![spec(&lab, 3), bad]).await.expect_err(&shown);
        assert!(expected(&error), "{shown}: {error}");
        assert_eq!(lab.status().await.expect("a status").len(), 1, "{shown}: only the first host is there");
        assert_eq!(marked(&lab).len(), 1, "{shown}: nothing is left of the other host");
    }
    for result in
        [lab.kill_host(9).await, lab.cut(9).await, lab.pause_host(9).await, lab.restart_agent(9).await]
    {
        assert_eq!(result, Err(LabError::NoSuchHost(9)));
    }
    spawn(&lab, 3).await;
}

async fn a_child_of_the_lab_reports_its_end(kind: NetworkChoice) {
    let (lab, _dir) = start(kind).await;
    let run = async |args: &[&str]| {
        let mut command = vec![this_program().into_os_string()];
        command.extend(args.iter().map(Into::into));
        lab.exec_in_lab(ChildSpec { command, env: vec![] }).await.expect("a child")
    };
    let mut quick = run(&["role-client"]).await;
    quick.stdio().shutdown().await.expect("end of its input");
    assert_eq!(quick.wait().await, Ok(Exit::Code(0)));
    assert_eq!(run(&["role-agent", "no address"]).await.wait().await, Ok(Exit::Code(1)));
    let endless = run(&["role-sleeper", "deep"]).await;
    endless.kill().await.expect("killed");
    assert_eq!(endless.wait().await, Ok(Exit::Signal(Signal::SIGKILL as i32)));
    let missing = ChildSpec { command: vec!["/nowhere".into()], env: vec![] };
    assert!(lab.exec_in_lab(missing).await.is_err());
}

async fn a_cut_blocks_and_heal_restores(kind: NetworkChoice) {
    let (lab, _dir) = start(kind).await;
    let (one, two, three) = (spawn(&lab, 1).await, spawn(&lab, 2).await, spawn(&lab, 3).await);
    all_reach(&[(&one, &two)]).await;
    lab.cut(2).await.expect("cut");
    assert!(!reaches(&one, &two).await && !reaches(&two, &one).await);
    all_reach(&[(&two, &two), (&one, &three)]).await;
    assert_eq!(lab.status().await.expect("a status").iter().filter(|host| host.cut).count(), 1);
    lab.heal(2).await.expect("healed");
    all_reach(&[(&one, &two), (&two, &one)]).await;
}

async fn a_split_separates_groups_and_merge_joins_them(kind: NetworkChoice) {
    let (lab, _dir) = start(kind).await;
    let mut hosts = Vec::new();
    for index in 1..=4 {
        hosts.push(spawn(&lab, index).await);
    }
    let reach = async |from: usize, to: usize| reaches(&hosts[from - 1], &hosts[to - 1]).await;
    lab.split(&[3, 4]).await.expect("split");
    until("the groups hold together", async || reach(1, 2).await && reach(4, 3).await).await;
    assert!(!reach(1, 3).await && !reach(4, 2).await);
    lab.split(&[1, 4]).await.expect("split otherwise");
    until("the new groups hold together", async || reach(4, 1).await && reach(2, 3).await).await;
    assert!(!reach(4, 3).await && !reach(1, 2).await);
    assert_eq!(lab.split(&[9]).await, Err(LabError::NoSuchHost(9)));
    lab.merge().await.expect("merged");
    until("all are joined", async || reach(1, 2).await && reach(3, 1).await && reach(2, 4).await).await;
}

async fn an_agent_can_make_namespaces_for_its_programs(kind: NetworkChoice) {
    let (lab, _dir) = start(kind).await;
    let host = spawn(&lab, 1).await;
    assert_eq!(tell(&host, "nested").await, "pid 1 of 1");
}

async fn fifty_hosts_start_in_one_request_and_all_speak_to_all(kind: NetworkChoice) {
    let (lab, _dir) = start(kind).await;
    let start = std::time::Instant::now();
    let hosts =
        lab.spawn_hosts((1..=50).map(|index| spec(&lab, index)).collect()).await.expect("fifty hosts");
    println!("fifty hosts in {:?}", start.elapsed());
    let (first, last) = (&hosts[0], &hosts[49]);
    until("the agents answer", async || ask(first, "?").await.is_some() && ask(last, "?").await.is_some())
        .await;
    all_reach(&[(first, last)]).await;
    assert_eq!(lab.status().await.expect("a status").len(), 50);
    // More pairs than one machine's kernel keeps found neighbours.
    let everybody: Vec<String> = hosts.iter().map(|host| host.address.to_string()).collect();
    let order = format!("greet {}", everybody.join(" "));
    for host in &hosts {
        until("the agent answers", async || ask(host, "?").await.is_some()).await;
        assert_eq!(tell(host, &order).await, "50 greeted");
    }
    for host in &hosts {
        all_reach(&[(host, first), (last, host)]).await;
    }
    lab.stop().await;
}

async fn a_cut_is_written_to_the_fault_switch(kind: NetworkChoice) {
    let (lab, _dir) = start(kind).await;
    let host = spawn(&lab, 1).await;
    let read = || {
        let text = std::fs::read(host.dir.join("faults")).expect("the switch");
        serde_json::from_slice::<xtreem_emulation::FaultSwitch>(&text).expect("its JSON").cut
    };
    assert!(!read());
    lab.cut(1).await.expect("cut");
    assert!(read());
    lab.heal(1).await.expect("healed");
    assert!(!read());
}

async fn a_split_and_a_disk_are_refused(kind: NetworkChoice) {
    let (lab, _dir) = start(kind).await;
    spawn(&lab, 1).await;
    assert!(matches!(lab.split(&[1]).await, Err(LabError::NeedsNamespaces(_))));
    let with_disk = HostSpec { disk_bytes: Some(1 << 20), ..spec(&lab, 2) };
    assert!(matches!(lab.spawn_host(with_disk).await, Err(LabError::NeedsNamespaces(_))));
    assert_eq!(lab.fill_disk(1).await, Err(LabError::NoDisk(1)));
}

async fn an_agent_that_is_asked_to_end_ends(kind: NetworkChoice) {
    let (lab, _dir) = start(kind).await;
    spawn(&lab, 1).await;
    lab.terminate_agent(1).await.expect("asked");
    let ended = AgentState::Ended(Exit::Signal(Signal::SIGTERM as i32));
    until("the agent has ended", async || lab.status().await.expect("a status")[0].agent == Some(ended))
        .await;
    lab.terminate_agent(1).await.expect("one that has ended needs nothing");
    lab.restart_agent(1).await.expect("restarted");
}

async fn a_disk_fills_up_outlives_its_host_and_can_be_freed(kind: NetworkChoice) {
    let (lab, _dir) = start(kind).await;
    let start = async || {
        let spec = HostSpec { disk_bytes: Some(4 << 20), ..spec(&lab, 1) };
        let host = lab.spawn_host(spec).await.expect("a host");
        until("the agent answers", async || ask(&host, "?").await.is_some()).await;
        host
    };
    let write = async |host: &Host, name: &str| tell(host, &format!("write {DISK}/{name}")).await;
    let host = start().await;
    assert_eq!(write(&host, "kept").await, "written");
    lab.fill_disk(1).await.expect("filled");
    assert!(write(&host, "more").await.starts_with(FAILED));
    lab.kill_host(1).await.expect("killed");
    let host = start().await;
    assert!(write(&host, "more").await.starts_with(FAILED), "full after the power cut, too");
    lab.free_disk(1).await.expect("freed");
    assert_eq!(write(&host, "more").await, "written");
}

async fn a_lab_falls_back_and_says_why_where_namespaces_are_forbidden(_: NetworkChoice) {
    let dir = tempfile::tempdir().expect("a directory");
    let output = Command::new(this_program()).arg("role-confined").arg(dir.path()).output().expect("a run");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("loopback addresses (making namespaces: "), "{said}{output:?}");
    assert!(said.ends_with("host 1 answers\n"), "{said}{output:?}");
}
