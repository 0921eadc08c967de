use std::ffi::CStr;
use std::fs::{self, Permissions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::mpsc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};

use super::{Step, Trash};
use crate::lifecycle::State;

fn state(dir: &Path) -> State {
    State::open(dir, 0).unwrap()
}

/// Names in the directory of the slots.
fn names(state: &State) -> Vec<String> {
    let entries = fs::read_dir(state.slots_dir()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn never(_: &CStr) -> Result<(), Errno> {
    Ok(())
}

/// Lets `make` fill a slot's directory, and has it removed as one of this start and as one of an earlier.
async fn is_removed(make: impl Fn(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    let state = state(dir.path());
    let (old, new) = (state.slots_dir().join("0-1"), state.slots_dir().join(state.name_of(1)));
    for slot in [&old, &new] {
        fs::create_dir(slot).unwrap();
        make(slot);
    }
    let trash = Trash::start(&state).unwrap();
    trash.discard(new);
    trash.emptied().await;
    assert_eq!((names(&state), trash.left_behind().count), (vec![], 0));
}

#[tokio::test]
async fn a_tree_without_permissions_is_removed() {
    is_removed(|slot| {
        fs::create_dir_all(slot.join("d/e")).unwrap();
        fs::write(slot.join("d/e/f"), "x").unwrap();
        for part in ["d/e", "d", ""] {
            fs::set_permissions(slot.join(part), Permissions::from_mode(0o000)).unwrap();
        }
    })
    .await;
    is_removed(|slot| {
        fs::create_dir_all(slot.join("a/b/c")).unwrap();
        for part in ["a/b/c/1", "a/b/2", "a/3", "4"] {
            fs::write(slot.join(part), "x").unwrap();
            fs::set_permissions(slot.join(part), Permissions::from_mode(0o444)).unwrap();
        }
        for part in ["a/b/c", "a/b", "a", ""] {
            fs::set_permissions(slot.join(part), Permissions::from_mode(0o555)).unwrap();
        }
    })
    .await;
}

/// More levels than descriptors, and than a path could name.
#[tokio::test]
async fn a_tree_of_1500_levels_is_removed() {
    is_removed(|slot| {
        let mut dir: OwnedFd = fs::File::open(slot).unwrap().into();
        for _ in 0..1_500 {
            mkdirat(dir.as_fd(), "deep", Mode::S_IRWXU).unwrap();
            dir = openat(dir.as_fd(), "deep", OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn many_entries_and_strange_names_are_removed_and_links_lead_nowhere() {
    let outside = tempfile::tempdir().unwrap();
    let precious = outside.path().join("precious");
    fs::write(&precious, "x").unwrap();
    is_removed(|slot| {
        for number in 0..200 {
            fs::write(slot.join(format!("file {number}")), "").unwrap();
            fs::create_dir(slot.join(number.to_string())).unwrap();
            fs::write(slot.join(format!("{number}/{number}")), "").unwrap();
        }
        for name in ["-rf", "new\nline", ".gone-1", ".stuck-1", "ü", "*"] {
            fs::create_dir_all(slot.join(name).join(name)).unwrap();
        }
        symlink(outside.path(), slot.join("link")).unwrap();
        symlink("/", slot.join("root")).unwrap();
        symlink("loop", slot.join("loop")).unwrap();
    })
    .await;
    assert!(precious.exists());
}

#[tokio::test]
async fn what_cannot_be_removed_is_set_aside_reported_and_tried_again_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let refusing =
        || -> Step { Box::new(|name| if name == c"immutable" { Err(Errno::EPERM) } else { Ok(()) }) };
    let first = state(dir.path());
    let slot = first.slots_dir().join(first.name_of(1));
    fs::create_dir_all(slot.join("a/b")).unwrap();
    fs::write(slot.join("a/b/immutable"), "x").unwrap();
    fs::write(slot.join("a/b/other"), "x").unwrap();
    let trash = Trash::start_with(&first, refusing()).unwrap();
    trash.discard(slot.clone());
    trash.emptied().await;
    let left = trash.left_behind();
    assert_eq!(left.count, 1);
    assert!(left.some[0].contains(r#"("immutable": Operation not permitted)"#), "{left:?}");
    let aside = names(&first);
    assert!(aside.len() == 1 && aside[0].starts_with(".stuck-"), "{aside:?}");
    assert_eq!(fs::read_dir(first.slots_dir().join(&aside[0])).unwrap().count(), 1);
    // It is in nobody's way, and not tried again meanwhile.
    fs::create_dir(&slot).unwrap();
    trash.discard(slot);
    trash.emptied().await;
    assert_eq!((names(&first), trash.left_behind()), (aside, left));
    drop((trash, first));

    let second = state(dir.path());
    let trash = Trash::start_with(&second, refusing()).unwrap();
    trash.emptied().await;
    assert_eq!(trash.left_behind().count, 1, "it is told again");
    drop((trash, second));
    let third = state(dir.path());
    let trash = Trash::start_with(&third, Box::new(never)).unwrap();
    trash.emptied().await;
    assert_eq!((names(&third), trash.left_behind().count), (vec![], 0));
}

/// On one thread, as whoever waited for the removal would wait for ever.
#[tokio::test]
async fn nobody_waits_for_a_removal_that_takes_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let state = state(dir.path());
    let (go, gate) = mpsc::channel::<()>();
    let waiting = move |_: &CStr| {
        let _ = gate.recv();
        Ok(())
    };
    let trash = Trash::start_with(&state, Box::new(waiting)).unwrap();
    let slots: Vec<_> =
        (0..2 * super::WAITING_MAX).map(|n| state.slots_dir().join(state.name_of(n))).collect();
    for slot in &slots {
        fs::create_dir(slot).unwrap();
        fs::write(slot.join("file"), "x").unwrap();
        trash.discard(slot.clone());
    }
    assert_eq!(names(&state).len(), slots.len());
    drop(go);
    trash.emptied().await;
    let last = state.slots_dir().join(state.name_of("last"));
    fs::create_dir(&last).unwrap();
    trash.discard(last);
    trash.emptied().await;
    assert_eq!(names(&state), Vec::<String>::new(), "also those that found no room in the queue");
}

#[tokio::test]
async fn logs_of_earlier_starts_go_and_those_of_this_one_stay() {
    let dir = tempfile::tempdir().unwrap();
    let state = state(dir.path());
    let (old, new) = (state.logs_dir().join("0-1"), state.logs_dir().join(state.name_of(1)));
    for log in [&old, &new] {
        fs::create_dir(log).unwrap();
        fs::write(log.join("log"), "x").unwrap();
    }
    let ours = state.slots_dir().join(state.name_of(1));
    fs::create_dir(&ours).unwrap();
    let trash = Trash::start(&state).unwrap();
    trash.emptied().await;
    assert!(!old.exists() && new.exists() && ours.exists());
}
