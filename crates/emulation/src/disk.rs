//! Disks of hosts: a memory file system of a fixed size a host, which fills up as a disk does.
//!
//! The lab mounts it before it starts the host, in its own mount namespace, which every host starts from. So
//! it outlives the host, as a disk outlives a power cut, and ends with the lab.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::mount::{MsFlags, mount};
use nix::sys::statvfs::statvfs;

/// The directory, in the host's own, on which its disk is mounted.
pub const DISK: &str = "disk";
/// The file that takes what room there is.
const FILLER: &str = ".filled-by-the-lab";

/// A disk that is mounted.
pub(crate) struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts a new disk of `bytes` in the directory of a host.
    pub fn mount(host_dir: &Path, bytes: u64) -> io::Result<Disk> {
        let path = host_dir.join(DISK);
        fs::create_dir_all(&path)?;
        let (flags, options) = (MsFlags::MS_NOSUID | MsFlags::MS_NODEV, format!("size={bytes},mode=0700"));
        mount(Some("disk"), &path, Some("tmpfs"), flags, Some(options.as_str()))?;
        Ok(Disk { path })
    }

    /// Leaves no room on it.
    pub fn fill(&self) -> io::Result<()> {
        let filler = File::options().create(true).append(true).open(self.path.join(FILLER))?;
        loop {
            let room = statvfs(&self.path)?;
            let bytes = i64::try_from(room.blocks_available() * room.fragment_size()).unwrap_or(i64::MAX);
            let end = i64::try_from(filler.metadata()?.len()).unwrap_or(i64::MAX);
            // Others write meanwhile: what was free a moment ago may be gone.
            match if bytes == 0 {
                Err(Errno::ENOSPC)
            } else {
                fallocate(&filler, FallocateFlags::empty(), end, bytes)
            } {
                Ok(()) => {}
                Err(Errno::ENOSPC) if bytes <= i64::from(u16::MAX) => return Ok(()),
                Err(Errno::ENOSPC) => fallocate(&filler, FallocateFlags::empty(), end, bytes / 2)?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives the room back.
    pub fn free(&self) -> io::Result<()> {
        match fs::remove_file(self.path.join(FILLER)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
