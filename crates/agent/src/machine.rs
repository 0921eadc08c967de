//! What this machine says of itself, in the standard names of `xtreem_discovery::standard`.
//!
//! Reading is thin and here; what the texts mean is in `parse`, which reads nothing. What a machine does not
//! tell (a container without /sys, another file system for the operating system's name) is simply missing.
#![forbid(unsafe_code)]

mod gpu;
mod parse;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::statvfs::statvfs;
use nix::sys::utsname::uname;
use xtreem_discovery::limits::{LIST_LEN_MAX, TEXT_LEN_MAX};
use xtreem_discovery::{Attributes, Value};

/// Bytes of command names that a machine tells: half of what all its attributes may take together.
const COMMANDS_MAX_BYTES: usize = xtreem_discovery::limits::ATTRIBUTES_BYTES_MAX / 2;
/// Longest file read from /proc, /sys or /etc: /proc/cpuinfo of 512 cores has 800 kB.
const TEXT_MAX_BYTES: u64 = 4 << 20;

/// What does not change while the agent runs. `slots_dir` is on the disk that slots use.
///
/// Blocks on the disk: some milliseconds, most of it for the commands.
pub fn static_attributes(slots_dir: &Path) -> Attributes {
    let mut found = Attributes::new();
    let cpu = parse::cpu(&text("/proc/cpuinfo"));
    add(&mut found, "cpu.cores", cores().or(Some(cpu.cores).filter(|&cores| cores > 0)));
    add(&mut found, "cpu.model", cpu.model);
    add(&mut found, "cpu.flags", (!cpu.flags.is_empty()).then_some(cpu.flags));
    let highest = parse::kilohertz(&text("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq"));
    add(&mut found, "cpu.freq", highest.or(cpu.hertz));
    add(&mut found, "mem.total", parse::memory(&text("/proc/meminfo")).total);
    add(&mut found, "disk.total", disk(slots_dir).map(|disk| disk.total));
    if let Ok(kernel) = uname() {
        add(&mut found, "arch", kernel.machine().to_str());
        add(&mut found, "kernel", kernel.release().to_str());
        add(&mut found, "host", kernel.nodename().to_str());
    }
    let release = [text("/etc/os-release"), text("/usr/lib/os-release")];
    let release = release.iter().find(|text| !text.is_empty()).map_or("", String::as_str);
    add(&mut found, "os", parse::release(release, "ID"));
    add(&mut found, "os.version", parse::release(release, "VERSION_ID"));
    let gpus = gpu::read(Path::new("/"));
    add(&mut found, "gpu.count", Some(gpus.len() as u64).filter(|&count| count > 0));
    add(&mut found, "gpu.model", gpus.into_iter().next());
    let commands = commands(&std::env::var("PATH").unwrap_or_default());
    add(&mut found, "commands", (!commands.is_empty()).then_some(commands));
    found
}

fn cores() -> Option<u64> {
    std::thread::available_parallelism().ok().map(|cores| cores.get() as u64)
}

/// What is measured again and again, in well under a millisecond.
pub struct Present {
    /// What changes.
    pub dynamic: Attributes,
    /// What a running machine can be deprived of, and others count on: cores by an affinity or a limit,
    /// memory by its hypervisor, a disk by another mount.
    pub capacity: Attributes,
    /// Of the disk that slots use, in bytes; nothing when it does not tell.
    pub disk_free: Option<u64>,
}

pub fn present(slots_dir: &Path) -> Present {
    let (memory, disk) = (parse::memory(&text("/proc/meminfo")), disk(slots_dir));
    let (mut dynamic, mut capacity) = (Attributes::new(), Attributes::new());
    add(&mut dynamic, "mem.free", memory.available);
    add(&mut dynamic, "disk.free", disk.as_ref().map(|disk| disk.free));
    let load = parse::load(&text("/proc/loadavg"));
    for (name, at) in [("load.1m", 0), ("load.5m", 1), ("load.15m", 2)] {
        add(&mut dynamic, name, load.map(|load| load[at]));
    }
    add(&mut capacity, "cpu.cores", cores());
    add(&mut capacity, "mem.total", memory.total);
    add(&mut capacity, "disk.total", disk.as_ref().map(|disk| disk.total));
    Present { dynamic, capacity, disk_free: disk.map(|disk| disk.free) }
}

/// A value beyond the limits of an attribute is left out: the machine then does not tell it.
fn add(found: &mut Attributes, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value
        && let Err(error) = found.set(name, value)
    {
        tracing::warn!(name, %error, "this machine does not tell an attribute");
    }
}

/// The file's text; empty when it cannot be read.
fn text(path: impl AsRef<Path>) -> String {
    use std::io::Read;
    let mut bytes = Vec::new();
    match fs::File::open(path).and_then(|file| file.take(TEXT_MAX_BYTES).read_to_end(&mut bytes)) {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}

struct Disk {
    total: u64,
    free: u64,
}

/// `None` when the directory does not exist.
fn disk(dir: &Path) -> Option<Disk> {
    let stat = statvfs(dir).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size());
    Some(Disk { total: bytes(stat.blocks()), free: bytes(stat.blocks_available()) })
}

/// Names of the executable files in the directories of `path`, sorted; when there are too many, the first
/// ones.
fn commands(path: &str) -> Vec<String> {
    let mut names = BTreeSet::new();
    for dir in path.split(':').filter(|dir| dir.starts_with('/')) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            // Follows links: most of a modern /bin is links.
            let is_command = fs::metadata(entry.path())
                .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
            if let Ok(name) = entry.file_name().into_string()
                && is_command
                && name.len() <= TEXT_LEN_MAX
            {
                names.insert(name);
            }
        }
    }
    let mut room = COMMANDS_MAX_BYTES;
    let fits = |name: &String| {
        room = room.saturating_sub(name.len());
        room > 0
    };
    names.into_iter().take(LIST_LEN_MAX).take_while(fits).collect()
}

#[cfg(test)]
mod tests;
