//! Standard output: text or one JSON object, and no panic when nobody reads it.

use std::io::{self, ErrorKind, Write as _};

use serde::Serialize;

use crate::exit::{Exit, Failure};

/// Writes `text` as it is.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| match e.kind() {
        ErrorKind::BrokenPipe => Failure::new(Exit::OutputClosed, "nobody reads the output"),
        _ => Failure::new(Exit::Failed, format!("standard output: {e}")),
    })
}

/// Writes `value` alone, as one object on one line.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value)
        .map_err(|e| Failure::new(Exit::Failed, format!("the answer has no JSON form: {e}")))?;
    print(&(text + "\n"))
}
