use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::super::{open, seal};
use crate::tls::TlsError;
use crate::{Roles, VoKey};

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

#[test]
fn the_caller_knows_whom_it_speaks_to_and_strangers_are_nobody() {
    let (vo, other) = (VoKey::create("test").expect("a VO"), VoKey::create("test").expect("a VO"));
    let alice = vo.issue_user("alice", Roles::SUBMIT, 1).expect("a user");
    let node = vo.issue_node("n", 1).expect("a node");
    let stranger = other.issue_node("n", 1).expect("a node");
    run(async {
        for (holder, is_known) in [(&node, true), (&stranger, false)] {
            let (near, far) = duplex(1 << 16);
            let seal = seal(holder).expect("a node's identity");
            let (opened, accepted) = tokio::join!(open(&alice, near), seal.accept(far));
            assert_eq!(opened.as_ref().ok().map(|(_, id)| *id), is_known.then(|| holder.id()));
            let (Ok((mut near, _)), Ok(mut far)) = (opened, accepted) else { continue };
            near.write_all(b"hello").await.expect("sealed");
            near.flush().await.expect("sent");
            let mut heard = [0; 5];
            far.read_exact(&mut heard).await.expect("heard");
            assert_eq!(&heard, b"hello");
        }
    });
    assert!(matches!(seal(&alice), Err(TlsError::NotANode { .. })));
}

/// A node that was asked to pass a stream on, and answers itself, is found out by its key.
#[test]
fn who_answers_in_anothers_place_is_not_taken_for_it() {
    let vo = VoKey::create("test").expect("a VO");
    let alice = vo.issue_user("alice", Roles::SUBMIT, 1).expect("a user");
    let (holder, liar) = (vo.issue_node("h", 1).expect("a node"), vo.issue_node("l", 1).expect("a node"));
    run(async {
        let (near, far) = duplex(1 << 16);
        let seal = seal(&liar).expect("a node's identity");
        let (opened, _accepted) = tokio::join!(open(&alice, near), seal.accept(far));
        let (_, id) = opened.expect("a member of the VO");
        assert!(id == liar.id() && id != holder.id());
    });
}
