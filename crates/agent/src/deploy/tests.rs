use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex, split};
use xtreem_base::{Digest, NodeId, Rng};
use xtreem_net::Contact;

use super::fetch::{Missing, Peers, Reader, Writer, fetch_all};
use crate::program::FileRef;
use crate::store::{PIECE_BYTES, Store};

/// How a source behaves.
#[derive(Clone)]
enum Source {
    Honest(Store),
    /// Answers every request with these bytes.
    Garbage(Vec<u8>),
    /// Ends the stream after so many bytes.
    Breaks(Store, usize),
    /// Sends so many bytes a second.
    Slow(Store, usize),
    Unreachable,
}

#[derive(Default)]
struct Grid {
    sources: BTreeMap<Contact, Source>,
    /// Known only after the first round.
    later: Mutex<Vec<Contact>>,
}

fn contact(number: u8) -> Contact {
    let id = NodeId::from_bytes([number; 16]);
    Contact { id, addr: ([127, 0, 0, 1], 1_000 + u16::from(number)).into(), incarnation: 1 }
}

impl Peers for Grid {
    async fn open(&self, source: Contact) -> io::Result<(Reader, Writer)> {
        let (near, far) = duplex(64 << 10);
        let (far_read, mut far_write) = split(far);
        match self.sources[&source].clone() {
            Source::Honest(store) => {
                tokio::spawn(super::serve(store, far_read, far_write));
            }
            Source::Garbage(bytes) => {
                tokio::spawn(async move { far_write.write_all(&bytes).await.map(|()| drop(far_read)) });
            }
            Source::Breaks(store, len) => {
                let (inner, outer) = duplex(64 << 10);
                let (inner_read, inner_write) = split(inner);
                tokio::spawn(super::serve(store, far_read, inner_write));
                tokio::spawn(async move {
                    let (outer_read, _keep) = split(outer);
                    let mut limited = outer_read.take(len as u64);
                    let _ = tokio::io::copy(&mut limited, &mut far_write).await;
                    drop(inner_read);
                });
            }
            Source::Slow(store, rate) => {
                let (inner, outer) = duplex(1 << 10);
                let (inner_read, inner_write) = split(inner);
                tokio::spawn(super::serve(store, far_read, inner_write));
                tokio::spawn(async move {
                    let (mut outer_read, _keep) = split(outer);
                    let mut part = vec![0; 1 << 10];
                    while let Ok(len @ 1..) = outer_read.read(&mut part).await {
                        tokio::time::sleep(Duration::from_secs_f64(len as f64 / rate as f64)).await;
                        if far_write.write_all(&part[..len]).await.is_err() {
                            break;
                        }
                    }
                    drop(inner_read);
                });
            }
            Source::Unreachable => return Err(io::ErrorKind::ConnectionRefused.into()),
        }
        let (read, write) = split(near);
        Ok((Box::new(read), Box::new(write)))
    }

    async fn more(&self) -> Vec<Contact> {
        std::mem::take(&mut self.later.lock().unwrap())
    }
}

fn store(dir: &Path, name: &str) -> Store {
    Store::open(&dir.join(name), 1 << 30).unwrap()
}

fn content() -> Vec<u8> {
    let mut rng = Rng::new(1);
    (0..5 * PIECE_BYTES / 2).map(|_| rng.next_u32() as u8).collect()
}

fn file(digest: Digest, len: usize) -> FileRef {
    FileRef { path: "program".into(), digest, len: len as u64, executable: true }
}

/// Fetches the content over the given sources, of which the last `later` are learnt only after a round.
async fn check(make: impl Fn(Store) -> Vec<Source>, later: usize) -> Result<(), Missing> {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (store(dir.path(), "from"), store(dir.path(), "to"));
    let content = content();
    let digest = from.put_reader(content.as_slice()).unwrap();
    let sources: BTreeMap<_, _> =
        make(from).into_iter().enumerate().map(|(i, source)| (contact(i as u8), source)).collect();
    let mut known: Vec<Contact> = sources.keys().copied().collect();
    let late = known.split_off(known.len() - later);
    let grid = Grid { sources, later: Mutex::new(late) };
    let files = [file(digest, content.len())];
    fetch_all(&to, &grid, &files, &known, &mut Rng::new(2), &|| {}).await?;
    assert!(to.has(digest));
    let mut found = Vec::new();
    io::Read::read_to_end(&mut to.open_blob(digest).unwrap().unwrap().file, &mut found).unwrap();
    assert!(found == content, "another content arrived");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn files_arrive_whatever_some_sources_do() {
    use Source::{Breaks, Garbage, Honest, Unreachable};
    check(|store| vec![Honest(store)], 0).await.unwrap();
    check(|store| vec![Unreachable, Garbage(vec![7; 100]), Honest(store)], 0).await.unwrap();
    check(|store| vec![Garbage(vec![0; 4]), Garbage(vec![255; 8]), Garbage(vec![]), Honest(store)], 0)
        .await
        .unwrap();
    // Each stream breaks in its second piece: what came before is kept, and the next stream goes on from
    // there.
    check(|store| vec![Breaks(store, 300 << 10)], 0).await.unwrap();
    // The one that has the file is learnt from the application's collection.
    check(|store| vec![Unreachable, Honest(store)], 1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn others_are_asked_while_a_slow_source_delivers() {
    use Source::{Honest, Slow};
    let start = tokio::time::Instant::now();
    check(|store| vec![Slow(store, 10_000)], 0).await.unwrap();
    let alone = start.elapsed();
    // The other one is learnt of while the first of three pieces is on its way.
    let start = tokio::time::Instant::now();
    check(|store| vec![Slow(store.clone(), 10_000), Honest(store)], 1).await.unwrap();
    assert!(4 * start.elapsed() < 3 * alone, "{:?}, alone {alone:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_liar_is_found_out_and_another_source_serves() {
    let lie = |store: Store| {
        let offer = store.offer(store.blobs()[0].0).unwrap();
        let body = super::protocol::offer_body(&offer);
        let mut bytes = (body.len() as u32).to_be_bytes().to_vec();
        bytes.extend(body);
        bytes.extend(1_000u32.to_be_bytes());
        bytes.extend([9; 1_000]);
        vec![Source::Garbage(bytes), Source::Honest(store)]
    };
    check(lie, 0).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn files_that_nobody_has_are_lost_after_a_named_time() {
    let started = tokio::time::Instant::now();
    let lost = check(|_| vec![Source::Unreachable], 0).await.unwrap_err();
    assert!(matches!(lost, Missing::Lost { here: 0, .. }), "{lost}");
    assert!(started.elapsed() >= super::fetch::GIVE_UP);
}

/// 5 MB at 16 kB/s.
#[tokio::test(start_paused = true)]
async fn a_transfer_may_take_minutes_as_long_as_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (store(dir.path(), "from"), store(dir.path(), "to"));
    let content = vec![7; 20 * PIECE_BYTES as usize];
    let digest = from.put_reader(content.as_slice()).unwrap();
    let sources = BTreeMap::from([(contact(1), Source::Slow(from, 16 << 10))]);
    let grid = Grid { sources, later: Mutex::default() };
    let started = tokio::time::Instant::now();
    let (told, longest) = (Mutex::new(started), Mutex::new(Duration::ZERO));
    let tell = || {
        let mut told = told.lock().unwrap();
        let mut longest = longest.lock().unwrap();
        *longest = told.elapsed().max(*longest);
        *told = tokio::time::Instant::now();
    };
    let files = [file(digest, content.len())];
    fetch_all(&to, &grid, &files, &[contact(1)], &mut Rng::new(2), &tell).await.unwrap();
    assert!(to.has(digest));
    assert!(started.elapsed() > Duration::from_secs(300), "it was slow: {:?}", started.elapsed());
    assert!(*longest.lock().unwrap() < Duration::from_secs(30), "its progress was told all along");
}

/// Bytes trickle in, and never become a piece.
#[tokio::test(start_paused = true)]
async fn a_transfer_that_brings_no_piece_ends() {
    let started = tokio::time::Instant::now();
    let lost = check(|store| vec![Source::Slow(store, 600)], 0).await.unwrap_err();
    assert!(matches!(lost, Missing::Lost { here: 0, .. }), "{lost}");
    assert!(started.elapsed() < Duration::from_secs(150), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_file_without_a_byte_needs_no_source() {
    let dir = tempfile::tempdir().unwrap();
    let to = store(dir.path(), "to");
    let empty = Digest::from_bytes(*blake3::hash(b"").as_bytes());
    let grid = Grid::default();
    fetch_all(&to, &grid, &[file(empty, 0)], &[], &mut Rng::new(2), &|| {}).await.unwrap();
    assert!(to.has(empty));
    let other = Digest::from_bytes([1; 32]);
    let lie = fetch_all(&to, &grid, &[file(other, 0)], &[], &mut Rng::new(2), &|| {}).await;
    assert!(matches!(lie, Err(Missing::Lost { .. })), "{lie:?}");
}
