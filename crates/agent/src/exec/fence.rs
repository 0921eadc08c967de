//! Landlock (landlock(7)): what a program may do with files, said by the kernel whatever the mounts say.
//!
//! A program writes its own directory, its private `/tmp` and `/dev/shm`, and a few devices. Landlock knows
//! no "all but": with namespaces, what is hidden is hidden by mounts, and all may be read; without,
//! everything but what is hidden is listed, and what comes beside it later cannot be read. A program under
//! Landlock cannot mount, so it has no containers of its own.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, Scope,
};
use nix::sys::stat::{SFlag, fstat};

use super::order::{Kernel, Landlock, Mode, Order, Part};
use super::sandbox::PRIVATE;

/// Versions that add rights to files or to processes, the newest first (4 is of the network).
const VERSIONS: [ABI; 5] = [ABI::V6, ABI::V5, ABI::V3, ABI::V2, ABI::V1];

/// Devices that hold nothing, or belong to whoever opens them.
const DEVICES: [&str; 8] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/pts",
];
/// GPUs of AMD and Intel; those of NVIDIA are found by their names, which have numbers.
const GPUS: [&str; 2] = ["/dev/dri", "/dev/kfd"];
const NVIDIA: &str = "nvidia";

/// Trees that are listed when everything but something may be read. Beyond it what is left cannot be read
/// (our guess: a directory of homes on a login node).
const TREES_MAX: usize = 4_096;

/// The fence for the program of `order`, to be closed by `restrict_self` in the program's own process, and
/// what is to be told of it.
pub(super) fn build(order: &Order) -> io::Result<(Option<RulesetCreated>, Landlock)> {
    if order.kernel == Kernel::Before5_12 {
        return Ok((None, Landlock::Missing { reason: "left out".to_owned() }));
    }
    let mut missing = String::new();
    for version in VERSIONS {
        match handled(version, order) {
            Ok(ruleset) => {
                let ruleset = with_rules(ruleset, version, order).map_err(io::Error::other)?;
                return Ok((Some(ruleset), Landlock::Version(version as u8)));
            }
            Err(error) => missing = error.to_string(),
        }
    }
    Ok((None, Landlock::Missing { reason: missing }))
}

/// Everything that this version can forbid, forbidden. Only a command beside a program may signal others than
/// its own: in its namespace there is nobody but that program.
fn handled(version: ABI, order: &Order) -> Result<RulesetCreated, landlock::RulesetError> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(version))?;
    let mut scopes = Scope::from_all(version);
    if order.part != Part::Program && order.mode == Mode::Namespaces {
        scopes.remove(Scope::Signal);
    }
    let ruleset = if scopes.is_empty() { ruleset } else { ruleset.scope(scopes)? };
    ruleset.create()
}

fn with_rules(
    mut ruleset: RulesetCreated,
    version: ABI,
    order: &Order,
) -> Result<RulesetCreated, Box<dyn std::error::Error + Send + Sync>> {
    let read = AccessFs::from_read(version);
    let device = (AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::ReadDir | AccessFs::IoctlDev)
        & AccessFs::from_all(version);
    let mut rules: Vec<(PathBuf, BitFlags<AccessFs>)> = Vec::new();
    let private = PRIVATE.map(PathBuf::from);
    if order.mode == Mode::Namespaces {
        rules.push(("/".into(), read));
        rules.extend(private.map(|path| (path, AccessFs::from_all(version))));
    } else {
        // They are everybody's here.
        let hidden: Vec<PathBuf> = order.hidden.iter().cloned().chain(private).collect();
        let mut trees = Vec::new();
        list_all_but(Path::new("/"), &hidden, &mut trees);
        rules.extend(trees.into_iter().map(|path| (path, read)));
        rules.push((order.program.clone(), read));
    }
    rules.extend(devices().into_iter().map(|path| (path, device)));
    for (path, access) in rules {
        // What is not here, or went meanwhile, needs no rule.
        if let Ok(place) = PathFd::new(&path) {
            ruleset = add(ruleset, place, access, version)?;
        }
    }
    add(ruleset, PathFd::new(&order.dir)?, AccessFs::from_all(version), version)
}

/// A file has no rights of a directory.
fn add(
    ruleset: RulesetCreated,
    place: PathFd,
    access: BitFlags<AccessFs>,
    version: ABI,
) -> Result<RulesetCreated, Box<dyn std::error::Error + Send + Sync>> {
    let mode = SFlag::from_bits_truncate(fstat(place.as_fd())?.st_mode) & SFlag::S_IFMT;
    let access = if mode == SFlag::S_IFDIR { access } else { access & AccessFs::from_file(version) };
    Ok(ruleset.add_rule(PathBeneath::new(place, access))?)
}

fn devices() -> Vec<PathBuf> {
    let mut devices: Vec<PathBuf> = DEVICES.into_iter().chain(GPUS).map(PathBuf::from).collect();
    let entries = fs::read_dir("/dev").into_iter().flatten().flatten();
    let nvidia = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(NVIDIA));
    devices.extend(nvidia.map(|entry| entry.path()));
    devices
}

/// Lists trees that have everything at and below `dir` in them but what is `hidden`. Links are left out:
/// their targets have trees of their own.
fn list_all_but(dir: &Path, hidden: &[PathBuf], trees: &mut Vec<PathBuf>) {
    if trees.len() == TREES_MAX || dir.is_symlink() || hidden.iter().any(|path| path == dir) {
        return;
    }
    if !hidden.iter().any(|path| path.starts_with(dir)) {
        return trees.push(dir.to_owned());
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        list_all_but(&entry.path(), hidden, trees);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_the_hidden_is_listed_and_no_link_leads_there() {
        let root = tempfile::tempdir().expect("a directory");
        let at = |path: &str| root.path().join(path);
        for dir in ["a", "b/secret/deep", "b/open", "c"] {
            fs::create_dir_all(at(dir)).expect("made");
        }
        fs::write(at("b/file"), "").expect("written");
        std::os::unix::fs::symlink(at("b"), at("way")).expect("linked");
        std::os::unix::fs::symlink("/", at("c/root")).expect("linked");
        let mut trees = Vec::new();
        list_all_but(root.path(), &[at("b/secret"), at("c/hidden")], &mut trees);
        trees.sort();
        assert_eq!(trees, [at("a"), at("b/file"), at("b/open")]);
    }
}
