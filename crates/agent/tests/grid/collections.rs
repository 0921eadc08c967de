//! Structured collections of an application, as its programs use them: at rest, when a node dies, and when
//! what they ask makes no sense.

mod door;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use xtreem_agent::program::{CollectionRef, Program};
use xtreem_client::api::{CollectionSpec, Metric};

use self::door::{Answer, Door, doors};
use crate::lab::{Lab, until};
use crate::{all_run, holder, shell};

const SLOTS: u16 = 4;

fn program() -> Program {
    let of = |name: &str, spec| CollectionRef { name: name.to_owned(), spec };
    let collections = vec![
        of("ring", CollectionSpec::Ring { copies: 2 }),
        of("chord", CollectionSpec::Chord { copies: 1 }),
        of("ranks", CollectionSpec::Ranks {}),
        of("mesh", CollectionSpec::Mesh { shape: vec![2, 2], joined: false }),
        of("farm", CollectionSpec::Farm { copies: 2, lease_s: 5, attempts: 3, timeout_s: None }),
        of("near", CollectionSpec::Nearest { metric: Metric::Number }),
    ];
    Program { collections, ..shell("exec sleep 600") }
}

/// Runs it, and waits until every slot's program is there.
async fn run(lab: &Lab, name: &str) -> (String, BTreeMap<u16, Door>) {
    let app = lab.application(name, SLOTS, &program());
    lab.place(&app).await;
    let id = app.record.id.to_string();
    until("all programs run", async || doors(&id).len() == usize::from(SLOTS)).await;
    let doors = doors(&id);
    (id, doors)
}

async fn is_settled(doors: &BTreeMap<u16, Door>, name: &str) -> bool {
    for door in doors.values() {
        let Some(answer) = door.try_ask("GET", &format!("/v1/self/collections/{name}"), b"").await else {
            return false;
        };
        let standing = answer.ok()["standing"].clone();
        if standing["settled"] != json!(true) || standing["members"] != json!(SLOTS) {
            return false;
        }
    }
    true
}

/// The slot of each rank.
async fn ranks(doors: &BTreeMap<u16, Door>, name: &str) -> BTreeMap<u64, u16> {
    let mut ranks = BTreeMap::new();
    for door in doors.values() {
        let rank = door.get(name).await.ok()["standing"]["rank"].as_u64().expect("a rank");
        assert_eq!(ranks.insert(rank, door.slot), None, "two slots have rank {rank}");
    }
    ranks
}

/// Does what it is given until it is dropped.
struct Worker(tokio::task::JoinHandle<()>);

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Each result is the input in capitals, after a while.
fn work(door: &Door, while_at_it: Duration) -> Worker {
    let door = door.clone();
    Worker(tokio::spawn(async move {
        loop {
            let asked = door.try_ask("GET", "/v1/self/collections/farm/work?wait_ms=2000", b"").await;
            let task = asked.map(|answer| answer.body["task"].clone()).unwrap_or_default();
            let (Some(id), Some(input)) = (task["id"].as_str(), task["input"].as_str()) else {
                // Of an agent that is gone nothing comes any more.
                sleep(Duration::from_millis(50)).await;
                continue;
            };
            sleep(while_at_it).await;
            // As text, which base64 leaves to be seen.
            let result = format!("{input} by {}", door.slot);
            let path = format!("/v1/self/collections/farm/work?id={id}");
            door.try_ask("PUT", &path, result.as_bytes()).await;
        }
    }))
}

async fn all_end(door: &Door, tasks: usize) {
    until("all tasks are done", async || {
        let answer = door.try_ask("GET", "/v1/self/collections/farm/progress", b"").await;
        answer.is_some_and(|it| it.status == 200 && it.body["done"] == json!(tasks))
    })
    .await;
}

pub async fn members_of_all_kinds_find_each_other() {
    let lab = Lab::of(5).await;
    let (id, doors) = run(&lab, "kinds").await;
    let begin = Instant::now();
    until("ranks are settled", async || is_settled(&doors, "ranks").await).await;
    println!("  ranks are settled after {:?}", begin.elapsed());
    until("the mesh is settled", async || is_settled(&doors, "mesh").await).await;
    let by_rank = ranks(&doors, "ranks").await;
    assert_eq!(by_rank.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3]);
    let one = &doors[&0];
    for (rank, slot) in &by_rank {
        let found = one.get(&format!("ranks/ranks/{rank}")).await.ok();
        assert_eq!((&found["slot"], &found["settled"]), (&json!(slot), &json!(true)), "{found}");
    }
    check_mesh(&doors).await;
    until("a ring is there", async || one.put("ring/items?key=first", "1").await.status == 200).await;
    println!("  the ring takes items after {:?}", begin.elapsed());
    check_items(&doors).await;
    check_farm(&doors, begin).await;
    check_nearest(&doors).await;
    check_messages(&doors, &by_rank).await;
    // By an agent that runs nothing of it.
    let told = lab.agents[0].client.app_collections(&id).await.expect("an answer");
    assert_eq!((told.slots.len(), told.known), (usize::from(SLOTS), SLOTS), "{told:?}");
    for of_slot in &told.slots {
        let names: Vec<&str> = of_slot.collections.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["chord", "farm", "mesh", "near", "ranks", "ring"]);
        let rank = of_slot.collections[4].standing.as_ref().and_then(|standing| standing.rank);
        assert_eq!(rank.map(u64::from).and_then(|rank| by_rank.get(&rank)), Some(&of_slot.slot));
    }
}

async fn check_mesh(doors: &BTreeMap<u16, Door>) {
    let by_rank = ranks(doors, "mesh").await;
    for (rank, slot) in &by_rank {
        let shown = doors[slot].get("mesh").await.ok();
        let at = [rank / 2, rank % 2];
        assert_eq!(shown["place"]["at"], json!(at), "{shown}");
        let beside = shown["place"]["neighbours"].as_array().expect("neighbours");
        assert_eq!(beside.len(), 2, "{shown}");
        for neighbour in beside {
            let rank = neighbour["rank"].as_u64().expect("a rank");
            assert_eq!(neighbour["slot"], json!(by_rank[&rank]), "{shown}");
        }
        let found = doors[&0].get(&format!("mesh/places?at={},{}", at[0], at[1])).await.ok();
        assert_eq!((&found["slot"], &found["rank"]), (&json!(slot), &json!(rank)));
    }
}

async fn check_items(doors: &BTreeMap<u16, Door>) {
    for (slot, door) in doors {
        for number in 0..5 {
            for name in ["ring", "chord"] {
                let path = format!("{name}/items?key=item/{slot}/{number}");
                until("it is written", async || door.put(&path, &format!("{slot}")).await.status == 200)
                    .await;
            }
        }
    }
    for (slot, door) in doors {
        let other = (slot + 1) % SLOTS;
        for name in ["ring", "chord"] {
            let item = door.get(&format!("{name}/items?key=item/{other}/3")).await.ok();
            assert_eq!(
                (&item["writer"], &item["key"]),
                (&json!(other.to_string()), &json!(format!("item/{other}/3")))
            );
        }
        let items = door.get("ring/scan?prefix=item/&limit=100").await.ok();
        let keys: Vec<&str> =
            items["items"].as_array().expect("items").iter().filter_map(|it| it["key"].as_str()).collect();
        assert!(keys.len() == 20 && keys.is_sorted(), "{keys:?}");
        let part = door.get("ring/scan?prefix=item/&from=item/1&to=item/2").await.ok();
        assert_eq!(part["items"].as_array().map(Vec::len), Some(5), "{part}");
    }
    let mut owners = Vec::new();
    for door in doors.values() {
        owners.push(door.get("ring/owner?key=item/2/2").await.ok()["slot"].clone());
    }
    assert!(owners.windows(2).all(|pair| pair[0] == pair[1]), "{owners:?}");
    let version = doors[&0].put("ring/items?key=only&expected=none", "a").await.ok()["version"].clone();
    let taken = doors[&1].put("ring/items?key=only&expected=none", "b").await.error(409);
    assert!(taken.starts_with("definite"), "{taken}");
    let version = version.as_str().expect("a version");
    let path = format!("ring/items?key=only&expected={version}");
    let others = doors[&1].of("DELETE", &path, b"").await.error(409);
    assert!(others.contains("slot 0 wrote this key"), "{others}");
    doors[&0].of("DELETE", &path, b"").await.ok();
    let gone = doors[&2].get("ring/items?key=only").await.error(404);
    assert!(gone.contains("nothing lies at only"), "{gone}");
}

async fn check_farm(doors: &BTreeMap<u16, Door>, begin: Instant) {
    let asker = &doors[&2];
    until("the farm takes tasks", async || asker.put("farm/tasks?id=t0", "task 0").await.status == 200).await;
    println!("  the farm takes tasks after {:?}", begin.elapsed());
    for number in 1..20 {
        asker.put(&format!("farm/tasks?id=t{number}"), &format!("task {number}")).await.ok();
    }
    let open = doors[&1].get("farm/tasks?id=t7").await.ok();
    assert_eq!(open, json!({"id": "t7", "state": "open"}), "nobody asks for work");
    let _workers: Vec<Worker> = doors.values().map(|door| work(door, Duration::ZERO)).collect();
    let done = doors[&3].get("farm/tasks?id=t7&wait_ms=30000").await.ok();
    assert_eq!(done["state"], json!("done"), "{done}");
    all_end(asker, 20).await;
    println!("  all tasks are done after {:?}", begin.elapsed());
    // They are told once they are stored.
    until("all outcomes are told", async || {
        let outcomes = asker.get("farm/outcomes?wait_ms=1000").await.ok();
        outcomes["ids"].as_array().is_some_and(|ids| ids.len() == 20)
    })
    .await;
    let collected = asker.of("DELETE", "farm/tasks?id=t7", b"").await.ok();
    assert_eq!(collected["state"], json!("collected"));
    assert_eq!(collected["result"], done["result"]);
    assert_eq!(doors[&0].get("farm/tasks?id=t7").await.ok()["state"], json!("collected"));
}

async fn check_nearest(doors: &BTreeMap<u16, Door>) {
    let numbers = [100, 900, 130, 1_000];
    for (slot, door) in doors {
        let number = numbers[usize::from(*slot)];
        door.put("near/profile", &json!({ "number": number }).to_string()).await.ok();
    }
    for (slot, nearest) in [(0, 2), (1, 3), (2, 0), (3, 1)] {
        let mut seen = Value::Null;
        until("it knows who is nearest", async || {
            seen = doors[&slot].get("near").await.ok()["nearest"].clone();
            seen[0]["slot"] == json!(nearest) && seen.as_array().is_some_and(|all| all.len() == 3)
        })
        .await;
    }
}

async fn check_messages(doors: &BTreeMap<u16, Door>, by_rank: &BTreeMap<u64, u16>) {
    // One reads at a time.
    let mut messages = BTreeMap::new();
    for (slot, door) in doors {
        messages.insert(*slot, door.events("/v1/self/messages", "message").await);
    }
    let numbering = |shown: Answer| shown.ok()["standing"]["numbering"].clone();
    let of_ranks = numbering(doors[&0].get("ranks").await);
    let of_mesh = numbering(doors[&0].get("mesh").await);
    let owner = doors[&0].get("ring/owner?key=sky").await.ok()["slot"].as_u64().expect("an owner") as u16;
    for (query, to, address) in [
        (
            "collection=ranks&rank=3",
            by_rank[&3],
            json!({"collection": "ranks", "rank": 3, "numbering": of_ranks}),
        ),
        (
            "collection=mesh&at=0,1",
            ranks(doors, "mesh").await[&1],
            json!({"collection": "mesh", "at": [0, 1], "numbering": of_mesh}),
        ),
        ("collection=ring&key=sky", owner, json!({"collection": "ring", "key": "sky"})),
        ("slot=1", 1, Value::Null),
    ] {
        let from = &doors[&((to + 1) % SLOTS)];
        from.ask("POST", &format!("/v1/self/send?{query}"), b"hello").await.ok();
        let to = messages.get_mut(&to).expect("a member");
        let message = to.recv().await.expect("a message");
        assert_eq!((&message["slot"], &message["body"]), (&json!(from.slot), &json!("aGVsbG8=")), "{query}");
        assert_eq!(message["to"], address, "{query}");
    }
}

pub async fn a_replacement_is_the_member_that_was_before_it() {
    let mut lab = Lab::of(6).await;
    let (id, before) = run(&lab, "replaced").await;
    until("ranks are settled", async || is_settled(&before, "ranks").await).await;
    until("the farm knows who there is", async || is_settled(&before, "farm").await).await;
    // The farmer, who has the lowest rank, also owns items.
    let (ranks_before, dead) = (ranks(&before, "ranks").await, ranks(&before, "farm").await[&0]);
    let writer = &before[&((dead + 1) % SLOTS)];
    for number in 0..20 {
        let path = format!("ring/items?key=item/{number:02}");
        until("it is written", async || writer.put(&path, "kept").await.status == 200).await;
    }
    let mut workers: Vec<Worker> =
        before.values().map(|door| work(door, Duration::from_millis(200))).collect();
    for number in 0..40 {
        let path = format!("farm/tasks?id=t{number}");
        until("it is added", async || writer.put(&path, "task").await.status == 200).await;
    }
    let mut changes = writer.events("/v1/self/events", "collection").await;
    let shown = lab.agents[0].client.app(&id).await.expect("it runs");
    let node = holder(&shown, usize::from(dead));
    lab.kill(&node);
    let begin = Instant::now();
    until("the slot runs elsewhere", async || {
        let shown = lab.agents[0].client.app(&id).await;
        shown.is_ok_and(|shown| all_run(&shown) && holder(&shown, usize::from(dead)) != node)
    })
    .await;
    println!("  the slot runs elsewhere after {:?}", begin.elapsed());
    until("its program is there", async || {
        doors(&id).get(&dead).is_some_and(|door| door.epoch > before[&dead].epoch)
    })
    .await;
    let after = doors(&id);
    until("ranks are settled", async || is_settled(&after, "ranks").await).await;
    println!("  ranks are settled again after {:?}", begin.elapsed());
    assert_eq!(ranks(&after, "ranks").await, ranks_before);
    workers.push(work(&after[&dead], Duration::from_millis(200)));
    let rank =
        ranks_before.iter().find(|(_, slot)| **slot == dead).map(|(rank, _)| *rank).expect("it has one");
    let mut messages = after[&dead].events("/v1/self/messages", "message").await;
    writer.ask("POST", &format!("/v1/self/send?collection=ranks&rank={rank}"), b"hello").await.ok();
    assert_eq!(messages.recv().await.expect("a message")["slot"], json!(writer.slot));
    for door in after.values() {
        let mut items = Value::Null;
        until("all items are there", async || {
            let answer = door.get("ring/scan?prefix=item/").await;
            items = answer.body;
            answer.status == 200 && items["items"].as_array().is_some_and(|items| items.len() == 20)
        })
        .await;
    }
    println!("  all items are seen after {:?}", begin.elapsed());
    all_end(writer, 40).await;
    println!("  all tasks are done after {:?}", begin.elapsed());
    let mut kinds = Vec::new();
    while let Ok(change) = changes.try_recv() {
        kinds.push(format!("{} {}", change["name"], change["change"]));
    }
    assert!(kinds.iter().any(|it| it == "\"farm\" \"farmer\""), "{kinds:?}");
}

pub async fn a_program_that_is_started_again_is_the_member_that_it_was() {
    let lab = Lab::of(5).await;
    let (id, before) = run(&lab, "again").await;
    until("ranks are settled", async || is_settled(&before, "ranks").await).await;
    let ranks_before = ranks(&before, "ranks").await;
    let (one, other) = (&before[&1], &before[&2]);
    until("it is written", async || one.put("ring/items?key=own", "1").await.status == 200).await;
    one.kill();
    until("its program runs again", async || doors(&id).get(&1).is_some_and(|door| door.is_another(one)))
        .await;
    let after = doors(&id);
    assert_eq!(after[&1].epoch, one.epoch, "the same run of the slot");
    until("ranks are settled", async || is_settled(&after, "ranks").await).await;
    assert_eq!(ranks(&after, "ranks").await, ranks_before);
    until("what it wrote is its own", async || after[&1].put("ring/items?key=own", "2").await.status == 200)
        .await;
    assert_eq!(other.get("ring/items?key=own").await.ok()["value"], json!("Mg=="));
}

pub async fn a_task_that_ends_programs_is_given_up_with_the_reason() {
    let lab = Lab::of(5).await;
    let (_, doors) = run(&lab, "killer").await;
    until("the farm knows who there is", async || is_settled(&doors, "farm").await).await;
    let farmer = ranks(&doors, "farm").await[&0];
    let farm = &doors[&farmer];
    until("the farm takes tasks", async || farm.put("farm/tasks?id=killer", "").await.status == 200).await;
    let begin = Instant::now();
    for door in doors.values().filter(|door| door.slot != farmer) {
        until("it is handed out", async || {
            door.get("farm/work?wait_ms=1000").await.ok()["task"]["id"] == json!("killer")
        })
        .await;
        door.kill();
    }
    // Three attempts that failed, as often as this farm allows: as lost ones they would not be enough.
    let told = farm.get("farm/tasks?id=killer&wait_ms=30000").await.ok();
    println!("  it is given up after {:?}", begin.elapsed());
    assert_eq!(
        (&told["state"], &told["why"]),
        (&json!("given_up"), &json!("the program ended with signal 9"))
    );
}

pub async fn slots_that_share_a_node_are_members_of_their_own() {
    let lab = Lab::of(3).await;
    let app = lab.application("shared", SLOTS, &program());
    let app = lab.changed(app, |spec| spec.colocate = true);
    lab.place(&app).await;
    let id = app.record.id.to_string();
    until("all programs run", async || doors(&id).len() == usize::from(SLOTS)).await;
    let doors = doors(&id);
    until("ranks are settled", async || is_settled(&doors, "ranks").await).await;
    assert_eq!(ranks(&doors, "ranks").await.len(), usize::from(SLOTS));
    until("the mesh is settled", async || is_settled(&doors, "mesh").await).await;
    check_mesh(&doors).await;
    until("a ring is there", async || doors[&0].put("ring/items?key=a", "1").await.status == 200).await;
    for door in doors.values() {
        assert_eq!(door.get("ring/items?key=a").await.ok()["writer"], json!("0"));
    }
}

pub async fn what_makes_no_sense_is_refused_with_the_reason() {
    let lab = Lab::of(5).await;
    let misfit = CollectionSpec::Mesh { shape: vec![2, 3], joined: false };
    let collections = vec![CollectionRef { name: "world".to_owned(), spec: misfit }];
    let app = lab.application("misfit", SLOTS, &Program { collections, ..shell("true") });
    let error = lab.try_submit(&app).await.expect_err("six places for four").to_string();
    assert!(error.contains("near it and possible: 2 x 2"), "{error}");

    let (_, doors) = run(&lab, "wrong").await;
    let door = Arc::new(doors[&0].clone());
    let unknown = door.get("no-such").await.error(404);
    assert!(unknown.contains("it is one of chord, farm, mesh, near, ranks, ring"), "{unknown}");
    let say = async |path: &str, body: &str, status, words: &str| {
        let error = door.put(path, body).await.error(status);
        assert!(error.starts_with("definite") && error.contains(words), "{path}: {error}");
    };
    say("ring", r#"{"kind":"ring","copies":3}"#, 409, "said to be").await;
    say("new", r#"{"kind":"tree"}"#, 400, "unknown variant").await;
    say("new", r#"{"kind":"ring","copies":8}"#, 400, "7 are possible").await;
    say("new", r#"{"kind":"mesh","shape":[0]}"#, 400, "every side is at least 1").await;
    say("a%20b", r#"{"kind":"ranks"}"#, 400, "letters, digits").await;
    say(&format!("ring/items?key={}", "x".repeat(600)), "", 400, "x…").await;
    say("ranks/items?key=a", "", 409, "no ring for items").await;
    say("ring/items?key=a&copies=8", "", 409, "").await;
    say("ring/tasks?id=a", "", 409, "no tasks").await;
    say(&format!("farm/tasks?id={}", "x".repeat(65)), "", 400, "1 to 64").await;
    say("farm/tasks?id=", "", 400, "1 to 64").await;
    say("farm/work?id=a", "", 409, "not the task at hand").await;
    say("near/profile", r#"{"items":[1]}"#, 409, "items as profiles").await;
    let ask = async |path: &str, status, words: &str| {
        let error = door.get(path).await.error(status);
        assert!(error.contains(words), "{path}: {error}");
    };
    until("ranks are settled", async || is_settled(&doors, "ranks").await).await;
    ask("ranks/ranks/4", 404, "nobody has this rank").await;
    ask("ranks/ranks/-1", 400, "no rank").await;
    ask("ring/ranks/0", 409, "no ranks").await;
    ask("mesh/places?at=2,0", 404, "its shape is [2, 2]").await;
    ask("mesh/places?at=x", 400, "by its coordinates").await;
    ask("chord/scan", 409, "order of its keys").await;
    ask("ring/scan?limit=0", 400, "want 1 to").await;
    ask("farm/outcomes?wait_ms=999999999", 400, "at most").await;
    ask("farm/tasks?id=unknown", 404, "no such task").await;
    for query in ["", "?slot=1&rank=2", "?collection=ranks", "?rank=1"] {
        let error = door.ask("POST", &format!("/v1/self/send{query}"), b"").await.error(400);
        assert!(error.contains("to whom?"), "{query}: {error}");
    }
    for (path, words) in
        [("ring/items?key=a", "more than 65536"), ("farm/tasks?id=a", "more than"), ("new", "the body")]
    {
        let answer = door.flood("PUT", &format!("/v1/self/collections/{path}"), 1 << 30).await;
        let error = answer.error(413);
        assert!(error.contains(words), "{path}: {error}");
    }
    // What is joined by the API is there, and is left again.
    for door in doors.values() {
        door.put("new", r#"{"kind":"ranks"}"#).await.ok();
    }
    until("the new one is settled", async || is_settled(&doors, "new").await).await;
    door.of("DELETE", "new", b"").await.ok();
    ask("new", 404, "no member of a collection").await;
}
