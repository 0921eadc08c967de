use std::fs;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn store(max_bytes: u64) -> (TempDir, Store) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(dir.path(), max_bytes).expect("opens");
    (dir, store)
}

/// Bytes that repeat nowhere within a piece.
fn content(len: usize) -> Vec<u8> {
    let mut rng = xtreem_base::Rng::new(len as u64);
    let mut bytes: Vec<u8> = (0..len / 8 + 1).flat_map(|_| rng.next_u64().to_le_bytes()).collect();
    bytes.truncate(len);
    bytes
}

fn files_in(dir: &Path) -> usize {
    fs::read_dir(dir.join(files::TEMPORARY)).expect("readable").count()
}

/// Fetches all that `from` has and `to` lacks of `digest`.
fn transfer(from: &Store, to: &Fetch) -> Progress {
    let mut progress = Progress::Incomplete;
    let offer = from.offer(to.digest()).expect("offered");
    while let Some(claim) = to.claim(&offer.pieces, 7) {
        let piece = from.piece(to.digest(), claim.index()).expect("served");
        assert!(piece.len() <= ENCODED_MAX_BYTES);
        progress = claim.accept(&piece).expect("right");
    }
    progress
}

const PIECE: usize = PIECE_BYTES as usize;
const LENS: [usize; 11] = [
    0,
    1,
    1024,
    16 * 1024,
    16 * 1024 + 1,
    40_000,
    PIECE - 1,
    PIECE,
    PIECE + 1,
    3 * PIECE,
    5 * PIECE + 77_777,
];

#[test]
fn content_of_any_length_is_found_by_its_blake3_hash_and_placed_whole() {
    let (dir, store) = store(TOTAL_MAX_BYTES);
    for len in LENS {
        let bytes = content(len);
        let digest = store.put_reader(&bytes[..]).expect("stored");
        assert_eq!(*digest.as_bytes(), *blake3::hash(&bytes).as_bytes());
        assert_eq!(store.put_reader(&bytes[..]).expect("stored again"), digest);
        assert_eq!(store.open_blob(digest).expect("readable").expect("there").len, len as u64);
        let target = dir.path().join(format!("placed-{len}"));
        store.place(digest, &target, FileKind::Program, &|| {}).expect("placed");
        assert_eq!(fs::read(&target).expect("readable"), bytes);
        assert!(
            matches!(store.place(digest, &target, FileKind::Data, &|| {}), Err(PlaceError::Disk(_))),
            "not over a file"
        );
    }
    assert_eq!(store.used_bytes(), store.blobs().iter().map(|&(_, len)| footprint(len)).sum::<u64>());
    assert_eq!(files_in(dir.path()), 0);
}

#[test]
fn content_of_any_length_travels_piece_by_piece() {
    let ((_a, from), (dir, to)) = (store(TOTAL_MAX_BYTES), store(TOTAL_MAX_BYTES));
    for len in LENS {
        let digest = from.put_reader(&content(len)[..]).expect("stored");
        let fetch = to.fetch(digest, len as u64).expect("begun");
        assert_eq!(transfer(&from, &fetch), Progress::Complete, "{len}");
        assert!(fetch.is_complete() && to.has(digest));
        assert!(matches!(to.fetch(digest, len as u64), Err(FetchError::Present(_))));
        to.remove(digest).expect("removed");
        let again = to.fetch(digest, len as u64).expect("begun anew");
        assert_eq!(transfer(&from, &again), Progress::Complete);
        to.place(digest, &dir.path().join(format!("{len}")), FileKind::Data, &|| {}).expect("right bytes");
    }
    assert_eq!(to.used_bytes(), from.used_bytes());
    assert_eq!(files_in(dir.path()), 0);
}

#[test]
fn a_fetch_goes_on_from_another_source_that_has_only_some_pieces() {
    let ((_a, source), (_b, middle), (_c, last)) =
        (store(TOTAL_MAX_BYTES), store(TOTAL_MAX_BYTES), store(TOTAL_MAX_BYTES));
    let len = 4 * PIECE + 5;
    let digest = source.put_reader(&content(len)[..]).expect("stored");
    let all = Pieces::all(5);
    // The middle node fetches two pieces, serves them, and only then the rest.
    let theirs = middle.fetch(digest, len as u64).expect("begun");
    assert_eq!(middle.offer(digest), None);
    for _ in 0..2 {
        let claim = theirs.claim(&all, 3).expect("wanted");
        let piece = source.piece(digest, claim.index()).expect("served");
        claim.accept(&piece).expect("right");
    }
    let ours = last.fetch(digest, len as u64).expect("begun");
    assert_eq!(transfer(&middle, &ours), Progress::Incomplete);
    assert_eq!(ours.pieces(), middle.offer(digest).expect("some").pieces);
    assert!(matches!(middle.piece(digest, 1), Err(ServeError::NoPiece { .. })));
    assert_eq!(transfer(&source, &ours), Progress::Complete);
    assert_eq!(transfer(&last, &theirs), Progress::Complete);
}

#[test]
fn what_came_of_a_fetch_is_kept_for_the_next_until_its_room_is_needed() {
    let ((_a, source), (dir, here)) = (store(TOTAL_MAX_BYTES), store(6 * PIECE as u64));
    let len = 4 * PIECE;
    let digest = source.put_reader(&content(len)[..]).expect("stored");
    let bring = |count: usize| {
        let fetch = here.fetch(digest, len as u64).expect("begun");
        for _ in 0..count {
            let claim = fetch.claim(&Pieces::all(4), 0).expect("wanted");
            let piece = source.piece(digest, claim.index()).expect("served");
            claim.accept(&piece).expect("right");
        }
        fetch.pieces().len()
    };
    assert_eq!(bring(0), 0);
    assert_eq!((here.used_bytes(), files_in(dir.path())), (0, 0), "nothing came, nothing is kept");
    assert_eq!((bring(1), bring(1), bring(0)), (1, 2, 2), "each goes on where the last one ended");
    assert_eq!(here.offer(digest).expect("served to others").pieces.len(), 2);

    here.put_reader(&content(3 * PIECE)[..]).expect("what nobody goes on with gives way");
    assert_eq!((here.offer(digest), files_in(dir.path())), (None, 0));

    let (_b, here) = store(TOTAL_MAX_BYTES);
    let fetch = here.fetch(digest, len as u64).expect("begun");
    let claim = fetch.claim(&Pieces::all(4), 0).expect("wanted");
    claim.accept(&source.piece(digest, 3).expect("served")).expect("right");
    drop(fetch);
    here.give_up_idle(IDLE_MAX);
    assert!(here.offer(digest).is_some());
    here.give_up_idle(std::time::Duration::ZERO);
    assert_eq!((here.offer(digest), here.used_bytes()), (None, 0));
}

/// Brings so many more pieces, and says which are here then.
fn bring(from: &Store, to: &Store, digest: Digest, len: usize, count: usize) -> Vec<u32> {
    let fetch = to.fetch(digest, len as u64).expect("begun");
    for _ in 0..count {
        let claim = fetch.claim(&Pieces::all(piece_count(len as u64)), 0).expect("wanted");
        let piece = from.piece(digest, claim.index()).expect("served");
        claim.accept(&piece).expect("right");
    }
    fetch.pieces().iter().collect()
}

/// What the store looks like after a crash: as it is now.
fn crashed(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().expect("a temporary directory");
    for part in [files::BLOBS, files::TREES, files::TEMPORARY] {
        fs::create_dir(copy.path().join(part)).expect("made");
        for entry in fs::read_dir(dir.join(part)).expect("readable") {
            let entry = entry.expect("readable");
            fs::copy(entry.path(), copy.path().join(part).join(entry.file_name())).expect("copied");
        }
    }
    copy
}

fn reopened(dir: &Path) -> Store {
    Store::open(dir, TOTAL_MAX_BYTES).expect("opens")
}

/// The only data file of a fetch.
fn half(dir: &Path) -> std::path::PathBuf {
    let entries = fs::read_dir(dir.join(files::TEMPORARY)).expect("readable");
    let mut paths = entries.map(|entry| entry.expect("readable").path());
    paths.find(|path| path.extension().is_some_and(|part| part == "data")).expect("one")
}

#[test]
fn what_came_of_a_fetch_survives_an_end_and_a_crash_and_is_verified_before_it_counts() {
    let ((_a, source), (dir, here)) = (store(TOTAL_MAX_BYTES), store(TOTAL_MAX_BYTES));
    let len = 4 * PIECE + 9;
    let digest = source.put_reader(&content(len)[..]).expect("stored");
    assert_eq!(bring(&source, &here, digest, len, 3), [0, 1, 4]);
    let crashed = crashed(dir.path());
    drop(here);
    for dir in [dir.path(), crashed.path()] {
        let here = reopened(dir);
        assert_eq!(
            (here.used_bytes(), here.offer(digest)),
            (footprint(len as u64), None),
            "not verified yet"
        );
        assert_eq!(bring(&source, &here, digest, len, 0), [0, 1, 4]);
        assert_eq!(here.offer(digest).expect("served").pieces.len(), 3);
        drop(here);
        let mut bytes = fs::read(half(dir)).expect("readable");
        bytes[PIECE + 70_000] ^= 4;
        fs::write(half(dir), bytes).expect("written");
        let here = reopened(dir);
        assert_eq!(bring(&source, &here, digest, len, 0), [0, 4], "one was damaged");
        assert_eq!(transfer(&source, &here.fetch(digest, len as u64).expect("begun")), Progress::Complete);
        assert_eq!((files_in(dir), here.used_bytes()), (0, footprint(len as u64)));
    }
}

#[test]
fn what_a_crash_left_half_done_and_nobody_asks_for_goes_after_a_while_and_when_its_room_is_needed() {
    let ((_a, source), (dir, here)) = (store(TOTAL_MAX_BYTES), store(TOTAL_MAX_BYTES));
    let many = files_of_many(&source, &here, idle::COUNT_MAX + 3);
    drop(here);
    let here = reopened(dir.path());
    assert_eq!(files_in(dir.path()), 2 * idle::COUNT_MAX, "more are not taken up");
    assert_eq!(here.used_bytes(), idle::COUNT_MAX as u64 * footprint(many as u64));
    here.give_up_idle(IDLE_MAX);
    assert_eq!(files_in(dir.path()), 2 * idle::COUNT_MAX);
    here.give_up_idle(std::time::Duration::ZERO);
    assert_eq!((files_in(dir.path()), here.used_bytes()), (0, 0));

    files_of_many(&source, &here, 1);
    drop(here);
    let here = Store::open(dir.path(), 2 * PIECE as u64).expect("opens");
    assert_eq!((files_in(dir.path()), here.used_bytes()), (0, 0), "there is no room for it any more");
}

/// Fetches of so many contents, each with its last piece; says how long they are.
fn files_of_many(source: &Store, here: &Store, count: usize) -> usize {
    let len = 2 * PIECE;
    for number in 0..count {
        let mut bytes = content(len);
        bytes[0] = number as u8;
        let digest = source.put_reader(&bytes[..]).expect("stored");
        bring(source, here, digest, len, 1);
    }
    len
}

#[test]
fn a_fetch_whose_end_was_all_that_was_missing_is_complete_and_one_without_a_right_piece_begins_anew() {
    let ((_a, source), (dir, here)) = (store(TOTAL_MAX_BYTES), store(TOTAL_MAX_BYTES));
    let len = 2 * PIECE + 5;
    let digest = source.put_reader(&content(len)[..]).expect("stored");
    bring(&source, &here, digest, len, 3);
    let back = |from: std::path::PathBuf, part: &str| {
        let half = dir.path().join(files::TEMPORARY).join(format!("{digest}.7.{part}"));
        fs::rename(from, half).expect("renamed");
    };
    let undo = || {
        back(files::blob_path(dir.path(), digest), "data");
        back(files::tree_path(dir.path(), digest), "tree");
    };
    drop(here);
    undo();
    let here = reopened(dir.path());
    assert!(!here.has(digest));
    assert!(matches!(here.fetch(digest, len as u64), Err(FetchError::Present(_))));
    assert!(here.has(digest));
    assert_eq!((files_in(dir.path()), here.used_bytes()), (0, footprint(len as u64)));
    drop(here);

    // As if somebody had claimed a length that is none.
    undo();
    let lie = len as u64 + 70_000;
    for (part, len) in [("data", lie), ("tree", pieces::geometry(lie).outboard_size())] {
        let path = dir.path().join(files::TEMPORARY).join(format!("{digest}.7.{part}"));
        fs::File::options().write(true).open(path).and_then(|file| file.set_len(len)).expect("longer");
    }
    let here = reopened(dir.path());
    assert_eq!(here.used_bytes(), footprint(lie));
    assert_eq!(bring(&source, &here, digest, len, 1), [2]);
    assert_eq!((files_in(dir.path()), here.used_bytes()), (2, footprint(len as u64)));
}

#[test]
fn two_sources_are_never_asked_for_one_piece() {
    let (_dir, store) = store(TOTAL_MAX_BYTES);
    let (_other, source) = self::store(TOTAL_MAX_BYTES);
    let len = 3 * PIECE;
    let digest = source.put_reader(&content(len)[..]).expect("stored");
    let (one, two) = (store.fetch(digest, len as u64), store.fetch(digest, len as u64));
    let (one, two) = (one.expect("begun"), two.expect("joined"));
    let all = Pieces::all(3);
    let claim = one.claim(&all, 0).expect("wanted");
    assert_eq!(claim.index(), 2, "the last piece proves the length");
    assert!(two.claim(&all, 0).is_none(), "nothing else before that");
    claim.accept(&source.piece(digest, 2).expect("served")).expect("right");
    let claims = [one.claim(&all, 1), two.claim(&all, 1)].map(|claim| claim.expect("wanted"));
    assert_ne!(claims[0].index(), claims[1].index());
    assert!(one.claim(&all, 0).is_none());
    drop(claims);
    assert!(one.claim(&all, 0).is_some(), "given back");
    assert!(one.claim(&Pieces::all(4), 0).is_none(), "a source that claims another length");
}

#[test]
fn a_lie_about_the_length_is_found_out_with_the_first_piece() {
    let ((_a, from), (dir, to)) = (store(TOTAL_MAX_BYTES), store(TOTAL_MAX_BYTES));
    for len in LENS {
        let digest = from.put_reader(&content(len)[..]).expect("stored");
        for lie in LENS.into_iter().chain([len + 1, len + 16 * 1024, 2 * len]).filter(|&lie| lie != len) {
            let fetch = to.fetch(digest, lie as u64).expect("begun");
            let last = piece_count(lie as u64) - 1;
            let claim = fetch.claim(&Pieces::all(last + 1), 0).expect("wanted");
            assert_eq!(claim.index(), last);
            let Ok(piece) = from.piece(digest, last) else { continue };
            assert!(claim.accept(&piece).is_err(), "{len} as {lie}");
            assert!(fetch.pieces().is_empty());
        }
    }
    assert_eq!((to.used_bytes(), files_in(dir.path())), (0, 0), "all fetches are dropped");
}

#[test]
fn bounds_are_kept_and_room_is_given_back() {
    let (_dir, store) = store(100_000);
    let first = store.put_reader(&content(60_000)[..]).expect("fits");
    assert!(matches!(store.put_reader(&content(50_000)[..]), Err(PutError::Full { .. })));
    assert!(matches!(store.put_reader(std::io::repeat(0)), Err(PutError::Full { .. })), "endless");
    let missing = Digest::from_bytes([1; 32]);
    assert!(matches!(store.fetch(missing, 50_000), Err(FetchError::Full { .. })));
    assert!(matches!(store.fetch(missing, u64::MAX), Err(FetchError::TooBig)));
    let fetch = store.fetch(missing, 30_000).expect("fits");
    assert!(matches!(store.fetch(missing, 30_001), Err(FetchError::OtherLength { len: 30_000, .. })));
    assert!(matches!(store.put_reader(&content(20_000)[..]), Err(PutError::Full { .. })), "room is promised");
    drop(fetch);
    store.put_reader(&content(20_000)[..]).expect("room is back");
    assert!(store.remove(first).expect("removed") && !store.has(first));
    store.put_reader(&content(70_000)[..]).expect("room is back");
}

#[test]
fn damage_on_the_disk_is_noticed_and_removed() {
    let (dir, store) = store(TOTAL_MAX_BYTES);
    for place_first in [true, false] {
        let digest = store.put_reader(&content(2 * PIECE)[..]).expect("stored");
        let path = files::blob_path(dir.path(), digest);
        let mut bytes = fs::read(&path).expect("readable");
        bytes[70_000] ^= 4;
        fs::write(&path, bytes).expect("written");
        let target = dir.path().join("target");
        if place_first {
            assert!(matches!(
                store.place(digest, &target, FileKind::Data, &|| {}),
                Err(PlaceError::Damaged(_))
            ));
        } else {
            assert!(matches!(store.piece(digest, 0), Err(ServeError::Damaged(_))));
        }
        assert!(!target.exists() && !store.has(digest));
    }
    assert_eq!(store.used_bytes(), 0);
}

#[test]
fn an_opening_sweeps_what_a_crash_left() {
    let (dir, store) = store(TOTAL_MAX_BYTES);
    let kept = store.put_reader(&content(100_000)[..]).expect("stored");
    let treeless = store.put_reader(&content(90_000)[..]).expect("stored");
    assert!(matches!(Store::open(dir.path(), 1), Err(OpenError::InUse { .. })));
    drop(store);
    fs::write(dir.path().join("tmp/7.data"), "half").expect("written");
    fs::remove_file(files::tree_path(dir.path(), treeless)).expect("removed");
    fs::write(files::tree_path(dir.path(), Digest::from_bytes([9; 32])), "orphan").expect("written");
    let store = Store::open(dir.path(), TOTAL_MAX_BYTES).expect("opens");
    assert_eq!(store.blobs(), [(kept, 100_000)]);
    assert_eq!((files_in(dir.path()), store.used_bytes()), (0, footprint(100_000)));
    assert_eq!(fs::read_dir(dir.path().join("trees")).expect("readable").count(), 1);
}

#[test]
fn sets_of_pieces_survive_the_wire_and_untidy_ones_are_refused() {
    let mut pieces = Pieces::none(11);
    [0, 7, 8, 10, 11, 99].into_iter().for_each(|index| pieces.insert(index));
    assert_eq!(pieces.iter().collect::<Vec<_>>(), [0, 7, 8, 10]);
    assert_eq!(Pieces::from_bytes(11, pieces.as_bytes()), Some(pieces));
    for bytes in [&[][..], &[0], &[0, 0, 0], &[0, 0b1000]] {
        assert_eq!(Pieces::from_bytes(11, bytes), None, "{bytes:?}");
    }
    assert!(Pieces::all(16).is_full() && Pieces::from_bytes(16, &[255, 255]).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_changed_piece_is_refused_and_nothing_of_it_is_stored(
        len in 1..3 * PIECE,
        at in any::<prop::sample::Index>(),
        bit in 0..8u32,
        cut in any::<prop::sample::Index>(),
    ) {
        let ((_a, from), (_b, to)) = (store(TOTAL_MAX_BYTES), store(TOTAL_MAX_BYTES));
        let digest = from.put_reader(&content(len)[..]).expect("stored");
        let fetch = to.fetch(digest, len as u64).expect("begun");
        let all = Pieces::all(piece_count(len as u64));
        let index = all.count() - 1;
        let right = from.piece(digest, index).expect("served");
        let claim = || fetch.claim(&all, 0).expect("wanted again");

        let mut flipped = right.clone();
        flipped[at.index(right.len())] ^= 1 << bit;
        prop_assert!(matches!(claim().accept(&flipped), Err(AcceptError::Wrong(_))));
        let truncated = &right[..cut.index(right.len())];
        prop_assert!(matches!(claim().accept(truncated), Err(AcceptError::Truncated(_))));
        let longer = [&right[..], &[0]].concat();
        prop_assert!(matches!(claim().accept(&longer), Err(AcceptError::TooLong(_))));
        prop_assert!(fetch.pieces().is_empty());
        prop_assert!(claim().accept(&right).is_ok());
    }
}
