//! Files of programs on their way to the nodes that run them.

use xtreem_agent::program::{FileRef, Program};

use crate::lab::{Lab, until};
use crate::shell;

/// Names that commands, shells and agents like to stumble over.
const NAMES: [&str; 6] = [".tmp", "-rf", "two\nlines", "déjà vu", "$(exit)", "a/.tmp/b"];

pub async fn files_of_any_name_and_without_a_byte_reach_other_nodes() {
    let lab = Lab::of(3).await;
    let empty = lab.upload(b"").await;
    let full = lab.upload(b"full").await;
    let at = |file: &FileRef, path: String| FileRef { path, ..file.clone() };
    let empties = NAMES.iter().map(|name| at(&empty, (*name).to_owned()));
    let fulls = NAMES.iter().map(|name| at(&full, format!("full/{name}")));
    let script = r#"cat full/-rf full/.tmp
        test -e ./-rf && test -e .tmp && test -e "déjà vu" && test -e '$(exit)' && test -e a/.tmp/b &&
        test -e "$(printf 'two\nlines')" && touch "$TMPDIR/x" && echo all; exec sleep 600"#;
    let program = Program { files: empties.chain(fulls).collect(), ..shell(script) };
    let app = lab.application("names", 2, &program);
    lab.place(&app).await;
    let id = app.record.id.to_string();
    until("both have found their files", async || {
        lab.log(&id, 0).await.contains("fullfullall") && lab.log(&id, 1).await.contains("fullfullall")
    })
    .await;
}
