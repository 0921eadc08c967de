//! The directory of an emulated grid: made here and removed at the end, or the user's own and kept.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::exit::{Exit, Failure};

pub struct StateDir {
    path: PathBuf,
    is_ours: bool,
}

impl StateDir {
    /// `named`, or a new one under the system's directory for temporary files.
    pub fn new(named: Option<&Path>) -> Result<StateDir, Failure> {
        let made = match named {
            Some(path) => in_use_by_none(path)
                .and_then(|()| std::path::absolute(path))
                .map(|path| StateDir { path, is_ours: false }),
            None => fresh().map(|path| StateDir { path, is_ours: true }),
        };
        made.map_err(|e| Failure::new(Exit::Failed, format!("no directory for the hosts: {e}")))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        if self.is_ours {
            // What cannot be removed lies among other temporary files and does no harm.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Keys of another grid are never overwritten.
fn in_use_by_none(path: &Path) -> io::Result<()> {
    match fs::read_dir(path) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(io::Error::other(format!("{} is not empty", path.display()))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => DirBuilder::new().mode(0o700).create(path),
        Err(error) => Err(io::Error::other(format!("{}: {error}", path.display()))),
    }
}

/// Short, as sockets lie in it (unix(7) allows 107 bytes).
fn fresh() -> io::Result<PathBuf> {
    let random = getrandom::u32().map_err(io::Error::other)?;
    let path = std::env::temp_dir().join(format!("xtreem-{random:08x}"));
    DirBuilder::new().mode(0o700).create(&path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_directory_goes_and_a_named_one_stays() {
        let own = StateDir::new(None).expect("made");
        let path = own.path().to_owned();
        fs::write(path.join("file"), "x").expect("written");
        drop(own);
        assert!(!path.exists());
        let home = tempfile::tempdir().expect("a directory");
        let named = home.path().join("grid");
        drop(StateDir::new(Some(&named)).expect("made"));
        assert!(named.exists());
    }

    #[test]
    fn a_directory_with_something_in_it_is_refused() {
        let home = tempfile::tempdir().expect("a directory");
        fs::write(home.path().join("root.pem"), "a key").expect("written");
        let failure = StateDir::new(Some(home.path())).map(drop).expect_err("in use");
        assert!(failure.message.contains("not empty"), "{failure}");
    }
}
