use super::*;

fn log(max_bytes: u64) -> (tempfile::TempDir, Log) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let log = Log::create(dir.path(), max_bytes).expect("a log");
    (dir, log)
}

fn len_on_disk(dir: &tempfile::TempDir) -> u64 {
    let entries = fs::read_dir(dir.path()).expect("readable");
    entries.map(|entry| entry.and_then(|e| e.metadata()).expect("readable").len()).sum()
}

#[test]
fn the_newest_bytes_are_kept_within_the_bound() {
    let (dir, log) = log(10_000);
    for i in 0..100_000u32 {
        log.append(format!("line {i}\n").as_bytes());
    }
    assert!(len_on_disk(&dir) <= 10_000);
    assert_eq!(log.tail_lines(2).expect("readable"), ["line 99998", "line 99999"]);
    let kept = log.read_from(0).expect("readable");
    assert!(kept.start > 0 && log.end() - kept.start >= 5_000, "{} of {}", kept.start, log.end());
}

#[test]
fn a_follower_misses_nothing_that_is_kept() {
    let (_dir, log) = log(10_000);
    let (mut offset, mut seen, mut printed) = (0, Vec::new(), Vec::new());
    for i in 0..5_000u32 {
        let line = format!("{i} {}\n", "x".repeat((i % 90) as usize));
        log.append(line.as_bytes());
        printed.extend_from_slice(line.as_bytes());
        while offset < log.end() {
            let chunk = log.read_from(offset).expect("readable");
            assert_eq!(chunk.start, offset);
            offset = chunk.next_offset();
            seen.extend(chunk.bytes);
        }
    }
    assert_eq!(seen, printed);
}

#[test]
fn any_bytes_make_lines_of_bounded_length() {
    let (_dir, log) = log(1 << 20);
    log.append(b"\xff\xfe bad\r\n");
    log.append("ü".repeat(10_000).as_bytes());
    let lines = log.tail_lines(usize::MAX).expect("readable");
    assert_eq!(lines[0], "\u{fffd}\u{fffd} bad");
    assert_eq!(lines[1].chars().count(), LINE_MAX_CHARS + 1);
    assert!(lines[1].ends_with('…'));
    assert!(log.tail_lines(0).expect("readable").is_empty());
}

#[test]
fn an_offset_from_the_future_reads_nothing() {
    let (_dir, log) = log(10_000);
    log.append(b"abc");
    assert_eq!(log.read_from(u64::MAX).expect("readable"), LogChunk { start: 3, bytes: vec![] });
}

#[test]
fn a_rotation_that_fails_is_tried_again_and_costs_what_had_no_room() {
    let (dir, log) = log(10_000);
    let line = |number: u32| format!("{number:09}\n");
    // There is no room for a file of this name.
    fs::create_dir(dir.path().join("log.next")).expect("made");
    (0..2_000).for_each(|number| log.append(line(number).as_bytes()));
    assert_eq!(log.tail_lines(1).expect("readable"), [line(499).trim_end()]);
    fs::remove_dir(dir.path().join("log.next")).expect("removed");
    (2_000..9_000).for_each(|number| log.append(line(number).as_bytes()));
    assert_eq!(log.tail_lines(1).expect("readable"), [line(8_999).trim_end()]);
    assert!(len_on_disk(&dir) <= 10_000);
}

#[test]
fn a_log_that_somebody_removed_goes_on() {
    let (dir, log) = log(10_000);
    for number in 0..9_000u32 {
        log.append(format!("{number:09}\n").as_bytes());
        if number == 4_000 {
            fs::remove_file(dir.path().join("log")).expect("removed");
        }
    }
    assert_eq!(log.tail_lines(1).expect("readable"), ["000008999"]);
}
