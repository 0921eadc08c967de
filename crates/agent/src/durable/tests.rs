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
        let (durable, found) = opened(dir.path());
        assert_eq!(values(&found), [b"role".to_vec()]);
        durable.close();
        fs::remove_file(dir.path().join("roles.damaged")).unwrap();
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
fn a_file_that_cannot_be_opened_now_stays_where_it_is_and_nothing_starts_without_it() {
    use std::os::unix::fs::PermissionsExt as _;
    if nix::unistd::geteuid().is_root() {
        println!("  root: every file can be opened");
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("roles.redb");
    let (durable, _) = opened(dir.path());
    durable.put(1, APP, Some(b"role".to_vec()));
    durable.close();
    let refused = |what: &str| {
        let error =
            Durable::open(dir.path(), Arc::new(Reserve::find(dir.path(), 0))).unwrap_err().to_string();
        assert!(error.contains("roles.redb") && error.contains(what), "{error}");
        assert!(!dir.path().join("roles.damaged").exists(), "{what}");
    };
    {
        let _another = Database::create(&file).unwrap();
        refused("already open");
    }
    if !nix::unistd::geteuid().is_root() {
        for mode in [0o000, 0o400] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            refused("ermission denied");
        }
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(values(&opened(dir.path()).1), [b"role".to_vec()]);
}

#[test]
fn what_keeps_a_file_from_being_opened_is_told_from_damage() {
    use std::io::Error;
    let io = |kind: ErrorKind| Trouble::from(redb::Error::Io(Error::from(kind)));
    let table = [
        (io(ErrorKind::StorageFull), false, true),
        (io(ErrorKind::QuotaExceeded), false, true),
        (io(ErrorKind::PermissionDenied), false, false),
        (io(ErrorKind::ReadOnlyFilesystem), false, false),
        (Trouble::from(redb::Error::Io(Error::from_raw_os_error(nix::libc::EMFILE))), false, false),
        (Trouble::from(redb::Error::Io(Error::from_raw_os_error(nix::libc::EIO))), false, false),
        (redb::Error::DatabaseAlreadyOpen.into(), false, false),
        (io(ErrorKind::InvalidData), true, false),
        (io(ErrorKind::UnexpectedEof), true, false),
        (redb::Error::Corrupted("here".to_owned()).into(), true, false),
        (redb::Error::UpgradeRequired(9).into(), true, false),
        (Damage("no format".to_owned()).into(), true, false),
    ];
    for (error, damage, full) in table {
        assert_eq!((is_damage(&error), is_full(&error)), (damage, full), "{error:?}");
    }
}

#[test]
fn what_a_node_had_is_shown_however_long_it_was_away_and_with_that() {
    let dir = tempfile::tempdir().unwrap();
    let (durable, _) = opened(dir.path());
    durable.put(1, APP, Some(b"role".to_vec()));
    durable.close();
    for days in [0, 29, 31] {
        let database = Database::create(dir.path().join("roles.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        let alive = unix_seconds() - days * 86_400;
        transaction.open_table(NODE).unwrap().insert("alive", alive.to_be_bytes().as_slice()).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let (durable, found) = opened(dir.path());
        assert_eq!((found.kept.len(), found.away.as_micros() / 86_400_000_000), (1, days));
        durable.close();
    }
}

#[test]
fn a_clock_that_was_never_set_does_not_tell_how_long_a_node_was_away() {
    const NOW: u64 = FIRST_SECOND + 1_000_000;
    let table = [
        ("a fresh file", None, NOW, 0),
        ("a minute", Some(NOW - 60), NOW, 60),
        ("forty days", Some(NOW), NOW + 40 * 86_400, 40 * 86_400),
        ("it ran before its clock was set", Some(300), NOW, AWAY_UNKNOWN),
        ("its clock is not set now", Some(NOW), 20, AWAY_UNKNOWN),
        ("it never was", Some(300), 20, AWAY_UNKNOWN),
        ("a correction", Some(NOW + 5), NOW, 0),
        ("a clock that ran in another year", Some(NOW + 400 * 86_400), NOW, AWAY_UNKNOWN),
    ];
    for (what, alive, now, expected) in table {
        assert_eq!(away(alive, now), expected, "{what}");
    }
}
