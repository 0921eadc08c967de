//! The structures against an agent that answers as a test says.

mod fake;

use std::time::Duration;

use fake::FakeAgent;
use tokio::time::timeout;
use xtreem_client::ClientError;
use xtreem_client::api::{
    CollectionChange, CollectionReply, CollectionSpec, ErrorKind, Metric, Profile, RingWrite, TaskState,
};

const SOON: Duration = Duration::from_secs(20);

fn ranks(settled: bool) -> String {
    format!(
        r#"{{"name":"row","kind":"ranks","known":3,"later":1,
            "standing":{{"rank":2,"members":4,"numbering":"1-ab","settled":{settled}}}}}"#
    )
}

const RING: &str = r#"{"name":"store","kind":"ring","copies":2,"known":3}"#;
const FARM: &str = r#"{"name":"work","kind":"farm","copies":2,"lease_s":30,"attempts":4,"known":3}"#;
const MESH: &str = r#"{"name":"plate","kind":"mesh","shape":[2,4],"known":7,
    "standing":{"rank":5,"members":8,"numbering":"1-ab","settled":true},
    "place":{"at":[1,1],"neighbours":[{"dimension":0,"way":-1,"rank":1,"slot":1},
                                      {"dimension":1,"way":1,"rank":6}]}}"#;

#[tokio::test]
async fn a_collection_is_opened_as_what_it_is() {
    let agent = FakeAgent::start();
    agent.says("GET /v1/self/collections/store", 200, RING);
    let error = agent.client().farm("store").await.expect_err("it is a ring");
    assert_eq!(error.to_string(), r#"collection "store" is of kind ring, not farm"#);
    assert_eq!(error.kind(), ErrorKind::Definite);
    agent.says("GET /v1/self/collections/plate", 200, MESH);
    agent.client().ranks("plate").await.expect("a mesh has ranks");
    let none = r#"{"error":"no collection \"x\"","kind":"definite","hint":"join it"}"#;
    agent.says("GET /v1/self/collections/x", 404, none);
    let error = agent.client().ring("x").await.expect_err("there is none");
    assert_eq!((error.status(), error.hint()), (Some(404), Some("join it")));
}

#[tokio::test]
async fn a_collection_is_joined_left_and_listed() {
    let agent = FakeAgent::start();
    agent.says("PUT /v1/self/collections/a%20b", 200, RING);
    let spec = CollectionSpec::Mesh { shape: vec![2, 4], joined: true };
    agent.client().join("a b", &spec).await.expect("joined");
    agent.was_told("PUT /v1/self/collections/a%20b", r#"{"kind":"mesh","shape":[2,4],"joined":true}"#);
    agent.says("GET /v1/self/collections", 200, &format!(r#"{{"collections":[{RING},{MESH}]}}"#));
    assert_eq!(agent.client().collections().await.expect("two").len(), 2);
    agent.says("GET /v1/self/collections/store", 200, RING);
    agent.says("DELETE /v1/self/collections/store", 200, "null");
    let ring = agent.client().collection("store").await.expect("there");
    ring.leave().await.expect("left");
}

#[tokio::test]
async fn settled_waits_for_a_change() {
    let agent = FakeAgent::start();
    agent.says("GET /v1/self/collections/row", 200, &ranks(false));
    let row = agent.client().ranks("row").await.expect("open");
    let waiting = tokio::spawn(async move { row.settled(SOON).await });
    agent.is_followed().await;
    agent.says("GET /v1/self/collections/row", 200, &ranks(true));
    agent.tells("collection", r#"{"name":"row","change":"standing"}"#);
    let standing = waiting.await.expect("no panic").expect("settled");
    assert_eq!((standing.rank, standing.members), (Some(2), 4));
}

#[tokio::test]
async fn settled_gives_up_in_time_and_says_what_is_wrong() {
    let agent = FakeAgent::start();
    agent.says("GET /v1/self/collections/row", 200, &ranks(false));
    let row = agent.client().ranks("row").await.expect("open");
    let error = row.settled(Duration::from_millis(50)).await.expect_err("never settled");
    assert!(matches!(error, ClientError::NotSettled { .. }), "{error:?}");
    assert_eq!((error.kind(), error.hint().is_some()), (ErrorKind::Definite, true));
    let trouble = MESH.replacen(r#""known":7"#, r#""known":7,"trouble":"9 members do not fit""#, 1);
    agent.says("GET /v1/self/collections/plate", 200, &trouble);
    let plate = agent.client().mesh("plate").await.expect("open");
    let error = plate.settled(Duration::from_millis(50)).await.expect_err("it does not fit");
    assert!(error.to_string().ends_with(": 9 members do not fit"), "{error}");
}

#[tokio::test]
async fn changes_are_those_of_the_collection() {
    let agent = FakeAgent::start();
    agent.says("GET /v1/self/collections/row", 200, &ranks(true));
    let row = agent.client().ranks("row").await.expect("open");
    let mut changes = row.changes().await.expect("a stream");
    agent.is_followed().await;
    agent.tells("slot", r#"{"slot":2,"state":"running"}"#);
    agent.tells("collection", r#"{"name":"another","change":"standing"}"#);
    agent.tells("collection", r#"{"name":"row","change":"neighbours"}"#);
    let change = timeout(SOON, changes.next()).await.expect("in time").expect("well");
    assert_eq!(change, Some(CollectionChange::Neighbours));
}

#[tokio::test]
async fn ranks_and_places_lead_to_slots() {
    let agent = FakeAgent::start();
    agent.says("GET /v1/self/collections/plate", 200, MESH);
    let holder = r#"{"rank":5,"slot":7,"numbering":"1-ab","settled":true}"#;
    agent.says("GET /v1/self/collections/plate/ranks/5", 200, holder);
    agent.says("GET /v1/self/collections/plate/places?at=1%2C1", 200, holder);
    agent.says(
        "POST /v1/self/collections/plate/renumber",
        200,
        r#"{"members":7,"numbering":"2-cd","settled":false}"#,
    );
    let plate = agent.client().mesh("plate").await.expect("open");
    assert_eq!(plate.at().await.expect("a place"), Some(vec![1, 1]));
    let beside = plate.neighbours().await.expect("two");
    assert_eq!((beside[0].slot, beside[1].slot, beside[1].rank), (Some(1), None, 6));
    assert_eq!(plate.holder(5).await.expect("somebody").slot, 7);
    assert_eq!(plate.place(&[1, 1]).await.expect("somebody").slot, 7);
    assert_eq!(plate.renumber().await.expect("done").members, 7);
}

#[tokio::test]
async fn items_are_written_read_and_removed() {
    let agent = FakeAgent::start();
    agent.says("GET /v1/self/collections/store", 200, RING);
    let ring = agent.client().ring("store").await.expect("open");
    let items = "/v1/self/collections/store/items?key=a%2Fb";
    agent.says(&format!("PUT {items}"), 200, r#"{"version":"3.1"}"#);
    assert_eq!(ring.put("a/b", "blue").await.expect("written").version, "3.1");
    agent.was_told(&format!("PUT {items}"), "blue");
    let wanted = format!("PUT {items}&copies=1&lease_s=60&expected=3.1");
    let conflict = r#"{"error":"another version lies there","kind":"definite"}"#;
    agent.says(&wanted, 409, conflict);
    let write = RingWrite { copies: Some(1), lease_s: Some(60), expected: Some("3.1".to_owned()) };
    let error = ring.put_with("a/b", "grey", &write).await.expect_err("another version");
    assert_eq!((error.status(), error.kind(), error.is_passing()), (Some(409), ErrorKind::Definite, false));
    let item = r#"{"key":"a/b","value":"Ymx1ZQ==","writer":"3","version":"3.1","left_s":9}"#;
    agent.says(&format!("GET {items}"), 200, item);
    assert_eq!(ring.get("a/b").await.expect("read").expect("there").value.0, b"blue");
    agent.says(&format!("GET {items}"), 404, r#"{"error":"nothing lies there","kind":"definite"}"#);
    assert_eq!(ring.get("a/b").await.expect("read"), None);
    agent.says(&format!("GET {items}"), 503, r#"{"error":"no owner","kind":"definite"}"#);
    assert!(ring.get("a/b").await.expect_err("not now").is_passing());
    agent.says(&format!("DELETE {items}"), 200, r#"{"version":"3.2"}"#);
    ring.remove("a/b").await.expect("removed");
    let owner = "GET /v1/self/collections/store/owner?key=a%2Fb";
    agent.says(owner, 200, r#"{"slot":4,"epoch":3,"hops":1}"#);
    assert_eq!(ring.owner("a/b").await.expect("an owner").slot, 4);
}

#[tokio::test]
async fn a_write_that_may_have_happened_is_indefinite() {
    let agent = FakeAgent::start();
    agent.says("GET /v1/self/collections/store", 200, RING);
    let ring = agent.client().ring("store").await.expect("open");
    let asked = "PUT /v1/self/collections/store/items?key=k";
    agent.says(asked, 504, r#"{"error":"it may yet be done","kind":"indefinite"}"#);
    assert_eq!(ring.put("k", "v").await.expect_err("no answer").kind(), ErrorKind::Indefinite);
}

#[tokio::test]
async fn a_bulk_load_says_what_was_not_written_and_of_what_nobody_knows() {
    let agent = FakeAgent::start();
    agent.says("GET /v1/self/collections/store", 200, RING);
    let ring = agent.client().ring("store").await.expect("open");
    let load = "POST /v1/self/collections/store/load";
    agent.says(load, 200, r#"{"written":2}"#);
    let loaded = ring.load([("a", "1"), ("b", "2")]).await.expect("loaded");
    assert_eq!((loaded.written, loaded.failed.len()), (2, 0));
    agent.was_told(load, r#"{"items":[{"key":"a","value":"MQ=="},{"key":"b","value":"Mg=="}]}"#);
    let failed = r#"{"written":0,"failed":[
        {"key":"a","error":"slot 3 wrote this key","kind":"definite"},
        {"key":"b","error":"it may yet be done","kind":"indefinite"}]}"#;
    agent.says(load, 200, failed);
    let write = RingWrite { copies: Some(1), ..RingWrite::default() };
    let loaded = ring.load_with([("a", "1"), ("b", "2")], &write).await.expect("an answer");
    let kinds: Vec<ErrorKind> = loaded.failed.iter().map(|it| it.kind).collect();
    assert_eq!(kinds, [ErrorKind::Definite, ErrorKind::Indefinite]);
    agent.says(load, 413, r#"{"error":"1025 items: a bulk load has 1024 at most","kind":"definite"}"#);
    let error = ring.load([("a", "1")]).await.expect_err("too many");
    assert_eq!((error.status(), error.is_passing()), (Some(413), false));
}

#[tokio::test]
async fn the_owners_of_some_keys_are_told() {
    let agent = FakeAgent::start();
    agent.says("GET /v1/self/collections/store", 200, RING);
    let ring = agent.client().ring("store").await.expect("open");
    let tell = "POST /v1/self/collections/store/broadcast?from=a%2F1&to=a%2F9";
    agent.says(tell, 200, "null");
    ring.broadcast_to("a/1", "a/9", "count").await.expect("told");
    agent.was_told(tell, "count");
    agent.says(tell, 504, r#"{"error":"no owner took it in time","kind":"indefinite"}"#);
    let error = ring.broadcast_to("a/1", "a/9", "count").await.expect_err("nobody");
    assert_eq!(error.kind(), ErrorKind::Indefinite);
}

#[tokio::test]
async fn a_scan_goes_over_all_pages() {
    let agent = FakeAgent::start();
    agent.says("GET /v1/self/collections/store", 200, RING);
    let ring = agent.client().ring("store").await.expect("open");
    let item = |key: &str| format!(r#"{{"key":"{key}","value":"","writer":"3","version":"3.1","left_s":9}}"#);
    let first = format!(r#"{{"items":[{},{}],"next":"a/3"}}"#, item("a/1"), item("a/2"));
    agent.says("GET /v1/self/collections/store/scan?prefix=a%2F", 200, &first);
    // A part of the ring without items is no end.
    let page = "GET /v1/self/collections/store/scan?from=a%2F3&prefix=a%2F";
    agent.says(page, 200, r#"{"items":[],"next":"a/4"}"#);
    let page = "GET /v1/self/collections/store/scan?from=a%2F4&prefix=a%2F";
    agent.says(page, 200, &format!(r#"{{"items":[{}]}}"#, item("a/5")));
    let (mut scan, mut keys) = (ring.scan("a/"), Vec::new());
    while let Some(item) = scan.next().await.expect("a page") {
        keys.push(item.key);
    }
    assert_eq!(keys, ["a/1", "a/2", "a/5"]);
    let range = "GET /v1/self/collections/store/scan?from=b&to=c";
    agent.says(range, 200, r#"{"items":[]}"#);
    assert_eq!(ring.range("b", "c").next().await.expect("a page"), None);
}

#[tokio::test]
async fn tasks_are_added_watched_and_collected() {
    let agent = FakeAgent::start();
    agent.says("GET /v1/self/collections/work", 200, FARM);
    let farm = agent.client().farm("work").await.expect("open");
    let tasks = "/v1/self/collections/work/tasks?id=t%201";
    agent.says(&format!("PUT {tasks}"), 200, r#"{"id":"t 1","state":"open"}"#);
    farm.add("t 1", "input").await.expect("added");
    agent.was_told(&format!("PUT {tasks}"), "input");
    let done = r#"{"id":"t 1","state":"done","result":"NDI="}"#;
    agent.says(&format!("GET {tasks}&wait_ms=0"), 200, done);
    let outcome = farm.outcome("t 1", Duration::ZERO).await.expect("done");
    assert_eq!((outcome.state, outcome.result.expect("a result").0), (TaskState::Done, b"42".to_vec()));
    let outcomes = "GET /v1/self/collections/work/outcomes?wait_ms=0";
    agent.says(outcomes, 200, r#"{"ids":["t 1"],"open":3}"#);
    assert_eq!(farm.outcomes(Duration::ZERO).await.expect("one").ids, ["t 1"]);
    agent.says(&format!("DELETE {tasks}"), 200, r#"{"id":"t 1","state":"collected"}"#);
    assert_eq!(farm.collect("t 1").await.expect("taken").state, TaskState::Collected);
    let progress = r#"{"open":3,"in_hand":2,"done":0,"given_up":0,"collected":1,"duplicates":0}"#;
    agent.says("GET /v1/self/collections/work/progress", 200, progress);
    assert_eq!(farm.progress().await.expect("counts").open, 3);
}

#[tokio::test]
async fn a_worker_does_tasks_and_survives_what_passes() {
    let agent = FakeAgent::start();
    agent.says("GET /v1/self/collections/work", 200, FARM);
    let farm = agent.client().farm("work").await.expect("open");
    let work = "GET /v1/self/collections/work/work?wait_ms=*";
    agent.says_next(work, 503, r#"{"error":"no farmer is known","kind":"definite"}"#);
    agent.says_next(work, 200, r#"{"task":{"id":"a","input":"Ng=="}}"#);
    agent.says_next(work, 200, r#"{"task":{"id":"b","input":"eA=="}}"#);
    agent.says_next(work, 410, r#"{"error":"this slot runs elsewhere","kind":"definite"}"#);
    let (done, failed) = ("/v1/self/collections/work/work?id=a", "/v1/self/collections/work/work?id=b*");
    agent.says_next(&format!("PUT {done}"), 503, r#"{"error":"busy","kind":"definite"}"#);
    agent.says_next(&format!("PUT {done}"), 200, "null");
    agent.says(&format!("DELETE {failed}"), 200, "null");
    let ended = timeout(
        SOON,
        farm.run(async |task| {
            let number: u64 = String::from_utf8_lossy(&task.input.0).parse()?;
            Ok::<_, std::num::ParseIntError>((number * 7).to_string())
        }),
    );
    assert_eq!(ended.await.expect("in time").status(), Some(410));
    agent.was_told(&format!("PUT {done}"), "42");
    agent.was_told("DELETE /v1/self/collections/work/work?id=b&why=invalid%20digit*", "");
}

#[tokio::test]
async fn a_result_that_is_refused_is_a_failure_and_long_reasons_are_cut() {
    let agent = FakeAgent::start();
    agent.says("GET /v1/self/collections/work", 200, FARM);
    let farm = agent.client().farm("work").await.expect("open");
    let work = "GET /v1/self/collections/work/work?wait_ms=*";
    agent.says_next(work, 200, r#"{"task":{"id":"a","input":""}}"#);
    agent.says_next(work, 410, r#"{"error":"this slot runs elsewhere","kind":"definite"}"#);
    let done = "PUT /v1/self/collections/work/work?id=a";
    // Three bytes each: the last one that would be cut in two is left out.
    let why = "\u{20ac}".repeat(1_000);
    agent.says(done, 413, &format!(r#"{{"error":"{why}","kind":"definite"}}"#));
    let failed = format!("DELETE /v1/self/collections/work/work?id=a&why={}", "%E2%82%AC".repeat(85));
    agent.says(&failed, 200, "null");
    let error = farm.run(async |_| Ok::<_, String>("long")).await;
    assert_eq!(error.status(), Some(410), "{error}");
    assert_eq!(agent.times_asked(&failed), 1);
}

#[tokio::test]
async fn a_job_that_panics_is_a_failure_and_the_worker_goes_on() {
    let agent = FakeAgent::start();
    agent.says("GET /v1/self/collections/work", 200, FARM);
    let farm = agent.client().farm("work").await.expect("open");
    let work = "GET /v1/self/collections/work/work?wait_ms=*";
    let whys = [("a", "at%20once%20of%20a"), ("b", "later"), ("c", "it%20did%20not%20say%20why")];
    let failed = |id, why| format!("DELETE /v1/self/collections/work/work?id={id}&why=panicked%3A%20{why}");
    for (id, why) in whys {
        agent.says_next(work, 200, &format!(r#"{{"task":{{"id":"{id}","input":""}}}}"#));
        agent.says(&failed(id, why), 200, "null");
    }
    agent.says_next(work, 410, r#"{"error":"this slot runs elsewhere","kind":"definite"}"#);
    let run = farm.run(|task| {
        // Before there is anything to be polled.
        assert!(task.id != "a", "at once of {}", task.id);
        async move {
            tokio::task::yield_now().await;
            if task.id == "b" {
                panic!("later");
            }
            std::panic::panic_any(7);
            #[expect(unreachable_code, reason = "it says what the job would return")]
            Ok::<Vec<u8>, String>(Vec::new())
        }
    });
    assert_eq!(timeout(SOON, run).await.expect("in time").status(), Some(410));
    for (id, why) in whys {
        assert_eq!(agent.times_asked(&failed(id, why)), 1, "{id}");
    }
}

#[tokio::test]
async fn a_job_that_is_not_wanted_any_more_is_dropped() {
    let agent = FakeAgent::start();
    agent.says("GET /v1/self/collections/work", 200, FARM);
    let farm = agent.client().farm("work").await.expect("open");
    let work = "GET /v1/self/collections/work/work?wait_ms=*";
    // The second time it is asked after the first word, which was about another task.
    agent.says_next(work, 200, r#"{"task":{"id":"a","input":""}}"#);
    agent.says_next(work, 200, r#"{"task":{"id":"a","input":""}}"#);
    // Its time was over: it is open, and another's.
    agent.says_next(work, 200, "{}");
    agent.says_next(work, 410, r#"{"error":"this slot runs elsewhere","kind":"definite"}"#);
    let (begun_in, mut begun) = tokio::sync::mpsc::channel(1);
    let run = tokio::spawn(async move {
        farm.run(async |_| {
            begun_in.send(()).await.expect("heard");
            // Never done by itself.
            std::future::pending::<Result<Vec<u8>, String>>().await
        })
        .await
    });
    begun.recv().await.expect("a job");
    agent.tells("collection", r#"{"name":"work","change":"stop"}"#);
    agent.tells("collection", r#"{"name":"work","change":"stop"}"#);
    let error = timeout(SOON, run).await.expect("in time").expect("no panic");
    assert_eq!(error.status(), Some(410));
}

#[tokio::test]
async fn profiles_are_given_and_the_nearest_are_told() {
    let agent = FakeAgent::start();
    let shown = r#"{"name":"taste","kind":"nearest","metric":"items","known":3,
        "nearest":[{"slot":4,"profile":{"items":[1,2]}}]}"#;
    agent.says("GET /v1/self/collections/taste", 200, shown);
    agent.says("PUT /v1/self/collections/taste/profile", 200, "null");
    let taste = agent.client().nearest("taste").await.expect("open");
    taste.set_profile(&Profile::Items(vec![1, 2, 3])).await.expect("given");
    agent.was_told("PUT /v1/self/collections/taste/profile", r#"{"items":[1,2,3]}"#);
    assert_eq!(taste.nearest().await.expect("one")[0].slot, 4);
}

#[test]
fn a_reply_may_have_more_than_this_version_knows() {
    let specs = [
        (CollectionSpec::Ring { copies: 1 }, "ring"),
        (CollectionSpec::Chord { copies: 0 }, "chord"),
        (CollectionSpec::Ranks {}, "ranks"),
        (CollectionSpec::Mesh { shape: vec![2, 2], joined: true }, "mesh"),
        (CollectionSpec::Farm { copies: 1, lease_s: 5, attempts: 9, timeout_s: Some(7) }, "farm"),
        (CollectionSpec::Nearest { metric: Metric::Number }, "nearest"),
    ];
    for (spec, kind) in specs {
        let mut told = serde_json::to_value(&spec).expect("JSON");
        assert_eq!((spec.kind(), &told["kind"]), (kind, &serde_json::Value::from(kind)));
        let more = [("name", "a".into()), ("known", 3.into()), ("later", 1.into())];
        told.as_object_mut().expect("fields").extend(more.map(|(name, value)| (name.to_owned(), value)));
        assert_eq!(serde_json::from_value::<CollectionReply>(told.clone()).expect("a reply").spec, spec);
        assert!(serde_json::from_value::<CollectionSpec>(told).is_err(), "what is asked has no such fields");
    }
}

#[tokio::test]
async fn where_too_many_requests_wait_a_worker_looks_without_waiting() {
    let agent = FakeAgent::start();
    agent.says("GET /v1/self/collections/work", 200, FARM);
    let farm = agent.client().farm("work").await.expect("open");
    let work = "GET /v1/self/collections/work/work?wait_ms=";
    agent.says_next(&format!("{work}*"), 429, r#"{"error":"POLLS_MAX","kind":"definite"}"#);
    agent.says_next(&format!("{work}*"), 200, r#"{"task":{"id":"a","input":""}}"#);
    let task = timeout(SOON, farm.work(SOON)).await.expect("in time").expect("a task");
    assert_eq!(task.map(|task| task.id).as_deref(), Some("a"));
    assert_eq!((agent.times_asked(&format!("{work}0")), agent.times_asked(&format!("{work}*"))), (1, 2));
}
