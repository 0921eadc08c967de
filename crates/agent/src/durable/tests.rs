use std::net::SocketAddr;

use xtreem_base::NodeId;

use super::*;

const APP: AppId = AppId::from_bytes([7; 16]);
const OTHER: AppId = AppId::from_bytes([8; 16]);

fn opened(dir: &Path) -> (Durable, Found) {
    Durable::open(dir, Arc::new(Reserve::find(dir, 0))).unwrap()
}

fn values(found: &Found) -> Vec<Vec<u8>> {
    found.kept.iter().map(|(value, _)| value.clone()).collect()
}

/// Starts of the agent and writes of other values change nothing of it.
#[test]
fn the_time_since_a_value_was_written_is_known_after_every_start() {
    let dir = tempfile::tempdir().unwrap();
    let (durable, _) = opened(dir.path());
    durable.put(1, APP, Some(b"ended".to_vec()));
    durable.close();
    let set_written = |seconds: Option<u64>| {
        let database = Database::create(dir.path().join("roles.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        {
            let mut written = transaction.open_table(WRITTEN).unwrap();
            match seconds {
                Some(seconds) => {
                    written.insert(APP.as_bytes().as_slice(), seconds.to_be_bytes().as_slice()).unwrap();
                }
                None => drop(written.remove(APP.as_bytes().as_slice()).unwrap()),
            }
        }
        transaction.commit().unwrap();
    };
    let ages = || {
        let (durable, found) = opened(dir.path());
        durable.put(1, OTHER, Some(b"other".to_vec()));
        durable.close();
        found.kept.iter().map(|(_, age)| age.as_secs() / 3_600).collect::<Vec<_>>()
    };
    set_written(Some(unix_seconds() - 7 * 3_600 - 60));
    assert_eq!(ages(), [7]);
    assert_eq!(ages(), [7, 0]);
    set_written(Some(unix_seconds() + 3_600));
    assert_eq!(ages(), [0, 0], "the clock was set back");
    set_written(None);
    assert_eq!(ages(), [0, 0], "a file of before: from now on");
}

#[tokio::test]
async fn what_was_said_to_be_stored_is_found_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let (durable, found) = opened(dir.path());
    assert!(found.kept.is_empty() && found.reference.is_empty());
    let addr: SocketAddr = "127.0.0.1:7227".parse().unwrap();
    let contact = Contact { id: NodeId::from_bytes([1; 16]), addr, incarnation: 3 };
    durable.put(1, APP, Some(b"first".to_vec()));
    durable.put(2, OTHER, Some(b"other".to_vec()));
    durable.put_reference(&[contact]);
    durable.put(3, APP, Some(b"second".to_vec()));
    durable.put(4, OTHER, None);
    let mut stored = durable.stored.clone();
    assert_eq!(*stored.wait_for(|number| *number >= 4).await.unwrap(), 4);
    durable.freeze();
    durable.put(5, APP, None);
    durable.close();
    let (_, found) = opened(dir.path());
    assert_eq!((values(&found), found.reference), (vec![b"second".to_vec()], vec![contact]));
}

#[test]
fn a_write_that_waits_for_long_is_a_trouble_until_it_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let (durable, _) = opened(dir.path());
    assert_eq!(durable.trouble(), None);
    durable.shared.queue().since = Some(Instant::now() - SLOW * 2);
    assert!(
        durable.trouble().is_some_and(|words| words.contains("roles.redb") && words.contains("no holds"))
    );
    durable.put(1, APP, Some(b"role".to_vec()));
    durable.close();
    assert_eq!(durable.trouble(), None);
}

#[test]
fn a_damaged_file_is_moved_aside_and_the_node_starts_without_roles() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("roles.redb");
    for damage in [b"".as_slice(), b"this is no database", &[0; 8_192]] {
        let (durable, _) = opened(dir.path());
        durable.put(1, APP, Some(b"role".to_vec()));
        durable.close();
        let mut bytes = fs::read(&file).unwrap();
        match damage {
            [] => bytes.truncate(bytes.len() / 2),
            damage => bytes[..damage.len()].copy_from_slice(damage),
        }
        fs::write(&file, bytes).unwrap();
        let (durable, found) = opened(dir.path());
        assert!(found.kept.is_empty(), "{damage:?}");
        assert!(dir.path().join("roles.damaged").exists(), "{damage:?}");
        durable.put(1, APP, Some(b"role".to_vec()));
        durable.close();
        assert_eq!(values(&opened(dir.path()).1), [b"role".to_vec()]);
    }
}

#[test]
fn a_file_of_another_format_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let (durable, _) = opened(dir.path());
    durable.put(1, APP, Some(b"role".to_vec()));
    durable.close();
    let database = Database::create(dir.path().join("roles.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(NODE).unwrap().insert("format", [FORMAT + 1].as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(opened(dir.path()).1.kept.is_empty());
}

#[test]
fn a_node_that_was_away_for_a_month_has_no_roles() {
    let dir = tempfile::tempdir().unwrap();
    let (durable, _) = opened(dir.path());
    durable.put(1, APP, Some(b"role".to_vec()));
    durable.close();
    for (days, roles) in [(29, 1), (31, 0)] {
        let database = Database::create(dir.path().join("roles.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        let alive = unix_seconds() - days * 86_400;
        transaction.open_table(NODE).unwrap().insert("alive", alive.to_be_bytes().as_slice()).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let (durable, found) = opened(dir.path());
        assert_eq!(found.kept.len(), roles, "{days} days");
        durable.close();
    }
}
