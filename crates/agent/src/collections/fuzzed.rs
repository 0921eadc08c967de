//! A door for the fuzzer to frames of other members.

use xtreem_base::Handle;
use xtreem_overlay::collection::Message;

use super::frame::Head;
use super::handles::Handles;
use super::life::Life;

/// Reads a frame as a driver does; what is read is written, read again and written again: the same bytes.
pub(crate) fn read_frame(bytes: &[u8]) {
    let own = Life { slot: 0, epoch: xtreem_allocation::Epoch::NONE, start: 1 };
    let Some((head, message)) = Head::read(bytes) else { return };
    let _ = head.is_for(&own);
    assert_eq!([&head.write()[..], message].concat(), bytes);
    let (mut handles, _): (Handles, Handle) = Handles::of(own);
    let Ok(message) = minicbor::decode_with::<_, Message>(message, &mut handles) else { return };
    let _ = message.travel();
    let written = minicbor::to_vec_with(&message, &mut handles).expect("all handles are known");
    let mut again = Handles::of(own).0;
    let read = minicbor::decode_with::<_, Message>(&written, &mut again).expect("what was read once");
    let rewritten = minicbor::to_vec_with(&read, &mut again).expect("all handles are known");
    assert_eq!(written, rewritten, "{message:?}");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The fuzzer begins with messages, and not with noise.
    #[test]
    fn each_file_of_the_corpus_has_a_message_or_none_on_purpose() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/collection");
        for name in ["news", "outcomes", "added", "take", "have"] {
            let bytes = std::fs::read(corpus.join(name)).expect("a file that can be read");
            let (_, message) = Head::read(&bytes).expect("a head");
            let mut handles = Handles::default();
            let read = minicbor::decode_with::<_, Message>(message, &mut handles);
            assert!(read.is_ok(), "{name}: {read:?}");
        }
    }
}
