//! The bounded log of one program: standard output and error merged, the newest bytes kept.
//!
//! Two files of at most half the bound each, `log.old` and `log`: when `log` is full it replaces `log.old`.
//! So at least half the bound is there to read, nothing is copied, and a program that prints for ever costs
//! fixed disk. Offsets count from the program's first byte, also over bytes that are gone.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Most bytes that one reading returns.
const READ_MAX_BYTES: u64 = 256 << 10;
/// Most lines of a tail, and the longest line in it; what is longer is cut and ends in `…`.
const TAIL_LINES_MAX: usize = 1000;
const LINE_MAX_CHARS: usize = 4096;
/// Smallest bound: below this rotation would cost more than it saves. Our guess.
const LOG_MIN_BYTES: u64 = 4 << 10;

/// A program's log, readable while it runs and after it. Clones share it.
#[derive(Clone, Debug)]
pub struct Log {
    shared: Arc<Shared>,
}

/// Some bytes of a log.
#[derive(Debug, PartialEq, Eq)]
pub struct LogChunk {
    /// Offset of the first byte; greater than asked for when older bytes are gone.
    pub start: u64,
    pub bytes: Vec<u8>,
}

impl LogChunk {
    /// Where to read on.
    pub fn next_offset(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

#[derive(Debug)]
struct Shared {
    files: Mutex<Files>,
    progress: watch::Sender<Progress>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    end: u64,
    is_closed: bool,
}

#[derive(Debug)]
struct Files {
    dir: PathBuf,
    half_max: u64,
    old: Option<File>,
    new: File,
    /// Offsets at which `old`, `new` and the future start.
    old_start: u64,
    new_start: u64,
    end: u64,
    /// The disk has refused bytes.
    has_lost: bool,
}

impl Log {
    /// Starts an empty log in `dir`, which is made when missing; an earlier log there is replaced.
    pub fn create(dir: &Path, max_bytes: u64) -> io::Result<Log> {
        fs::create_dir_all(dir)?;
        match fs::remove_file(dir.join("log.old")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let files = Files {
            half_max: max_bytes.max(LOG_MIN_BYTES) / 2,
            old: None,
            new: new_file(&dir.join("log"))?,
            dir: dir.to_owned(),
            old_start: 0,
            new_start: 0,
            end: 0,
            has_lost: false,
        };
        let shared = Shared { files: Mutex::new(files), progress: watch::Sender::new(Progress::default()) };
        Ok(Log { shared: Arc::new(shared) })
    }

    /// Bytes printed since the program's start.
    pub fn end(&self) -> u64 {
        self.shared.progress.borrow().end
    }

    /// Up to 256 KiB from `offset` on; the oldest that are left when those are gone. Blocks on the disk.
    pub fn read_from(&self, offset: u64) -> io::Result<LogChunk> {
        self.files().read_from(offset)
    }

    /// The last `count` lines (at most 1,000, out of the last 256 KiB), as text whatever the program printed.
    pub fn tail_lines(&self, count: usize) -> io::Result<Vec<String>> {
        let files = self.files();
        let start = files.end.saturating_sub(READ_MAX_BYTES);
        let mut chunk = files.read_from(start)?;
        while chunk.next_offset() < files.end {
            let more = files.read_from(chunk.next_offset())?;
            if more.bytes.is_empty() {
                break;
            }
            chunk.bytes.extend(more.bytes);
        }
        drop(files);
        let text = String::from_utf8_lossy(&chunk.bytes);
        let mut lines: Vec<&str> = text.lines().collect();
        if chunk.start > 0 && lines.len() > 1 {
            // The reading began in the middle of a line.
            lines.remove(0);
        }
        let skipped = lines.len().saturating_sub(count.min(TAIL_LINES_MAX));
        Ok(lines.into_iter().skip(skipped).map(cut).collect())
    }

    /// Waits until there are bytes behind `offset`: true; or until there never will be: false.
    pub async fn grown_beyond(&self, offset: u64) -> bool {
        let mut progress = self.shared.progress.subscribe();
        let reached = progress.wait_for(|now| now.end > offset || now.is_closed).await;
        reached.is_ok_and(|now| now.end > offset)
    }

    /// Waits until nobody can print any more.
    pub(super) async fn closed(&self) {
        let mut progress = self.shared.progress.subscribe();
        let _ = progress.wait_for(|now| now.is_closed).await;
    }

    /// Copies a pipe into the log until its end. Goes on reading when the disk refuses bytes, so that the
    /// program never stalls on its log.
    pub(super) fn fill_from(&self, mut pipe: File) {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(len) => self.append(&buffer[..len]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.shared.progress.send_modify(|progress| progress.is_closed = true);
    }

    fn append(&self, bytes: &[u8]) {
        let mut files = self.files();
        if let Err(error) = files.append(bytes)
            && !files.has_lost
        {
            // Said once: a program that prints on would fill the agent's own log as well.
            files.has_lost = true;
            tracing::warn!(dir = %files.dir.display(), %error, "output of a program is lost");
        }
        let end = files.end;
        drop(files);
        self.shared.progress.send_modify(|progress| progress.end = end);
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.shared.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let used = self.end - self.new_start;
            if used >= self.half_max {
                self.rotate()?;
                continue;
            }
            let room = usize::try_from(self.half_max - used).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            // At its place, so that a write that failed half way leaves nothing between the lines.
            self.new.write_all_at(now, used)?;
            self.end += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        // First what may find no room: as long as it does not, all stays as it is, and is tried again.
        let next = self.dir.join("log.next");
        let fresh = new_file(&next)?;
        match fs::rename(self.dir.join("log"), self.dir.join("log.old")) {
            // Somebody has removed it: what is open here can be read all the same.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::rename(next, self.dir.join("log"))?;
        self.old = Some(std::mem::replace(&mut self.new, fresh));
        self.old_start = self.new_start;
        self.new_start = self.end;
        Ok(())
    }

    fn read_from(&self, offset: u64) -> io::Result<LogChunk> {
        let start = offset.clamp(self.old_start, self.end);
        let (file, file_start, file_end) = match &self.old {
            Some(old) if start < self.new_start => (old, self.old_start, self.new_start),
            _ => (&self.new, self.new_start, self.end),
        };
        let mut bytes = vec![0; (file_end - start).min(READ_MAX_BYTES) as usize];
        file.read_exact_at(&mut bytes, start - file_start)?;
        Ok(LogChunk { start, bytes })
    }
}

fn new_file(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(true).open(path)
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(LINE_MAX_CHARS) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests;
