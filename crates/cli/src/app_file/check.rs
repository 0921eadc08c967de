//! From the shape of `app.toml` to checked values.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use toml::Spanned;
use xtreem_agent::complaint::{Complaint, Source};
use xtreem_agent::program::{CollectionRef, ExecBy, FileRef, PortRef, Program, ProgramError};
use xtreem_agent::quantity::parse_bytes;
use xtreem_allocation::placement::Placements;
use xtreem_allocation::{NAME_MAX_BYTES, Resources, Restart, SLOTS_MAX};
use xtreem_base::AppId;
use xtreem_client::api::CollectionSpec;
use xtreem_discovery::{Need, Requirement, SetQuery, Together};

use super::raw::{self, Nodes, Port, Quantity};
use super::{AppFile, LocalFile, hash_file};

pub(super) fn app(source: &Source<'_>, raw: raw::App, directory: &Path) -> Result<AppFile, Complaint> {
    let name = name(source, raw.name)?;
    let nodes_span = raw.nodes.span();
    let (least, nodes) = nodes(source, raw.nodes)?;
    let requirement = match raw.requirement {
        Some(text) => requirement(source, text)?,
        None => Requirement::default(),
    };
    let placement = match raw.placement {
        Some(text) => placement(source, text)?,
        None => String::new(),
    };
    let placed = !placement.is_empty();
    let set = match raw.together {
        Some(text) if raw.colocate => {
            let why = "nodes that are to be enough together are different ones: colocate = false";
            return Err(source.complaint(text.span(), why));
        }
        Some(text) if placed => {
            let why =
                "what is enough together decides which nodes get the slots: `placement` has no say then";
            return Err(source.complaint(text.span(), why));
        }
        Some(text) => Some(set(source, text, (least, nodes), &nodes_span, &requirement)?),
        None if least < nodes => {
            return Err(
                source.complaint(nodes_span, "a range needs `together`: what so many nodes are to have")
            );
        }
        None => None,
    };
    // With fewer nodes it is rewritten, see [`AppFile::with_size`].
    let requirement = match &set {
        Some(set) => exactly(set, nodes).map_err(|why| source.complaint(nodes_span, why))?,
        None => requirement.into(),
    };
    let resources = resources(source, raw.resources)?;
    let command_span = raw.command.span();
    let mut program = Program {
        command: command(source, raw.command)?,
        env: environment(source, raw.environment)?,
        files: Vec::new(),
        ports: ports(source, raw.ports)?,
        collections: collections(source, raw.collections, (least, nodes))?,
        exec: match raw.exec {
            raw::Exec::Owner => ExecBy::Owner,
            raw::Exec::Slots => ExecBy::Slots,
        },
    };
    let files_span = raw.files.first().map_or(command_span.clone(), Spanned::span);
    let mut files = Vec::new();
    for file in raw.files {
        let span = file.span();
        let (refer, local) = self::file(source, file, directory)?;
        program.files.push(refer);
        // Of all files so far only this one can break a rule that the others keep.
        check(source, &with_files(&program), &span)?;
        files.push(local);
    }
    check_first_word(source, &program, &command_span)?;
    program.to_payload().map_err(|e| source.complaint(files_span, e.to_string()))?;
    let restart = match raw.restart {
        raw::Restart::Never => Restart::Never,
        raw::Restart::OnFailure => Restart::OnFailure,
        raw::Restart::Always => Restart::Always,
    };
    let colocate = raw.colocate;
    Ok(AppFile { name, nodes, requirement, placement, set, resources, colocate, restart, program, files })
}

fn name(source: &Source<'_>, name: Spanned<String>) -> Result<String, Complaint> {
    let complain = |reason: String| Err(source.complaint(name.span(), reason));
    let text = name.get_ref();
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > NAME_MAX_BYTES {
        return complain(format!("a name has 1 to {NAME_MAX_BYTES} bytes, this one {}", text.len()));
    }
    if !text.chars().all(is_allowed) || !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return complain(
            "a name has letters, digits, `-`, `_` and `.`, and begins with a letter or digit".into(),
        );
    }
    if text.parse::<AppId>().is_ok() {
        return complain("this name could be taken for the id of an application".into());
    }
    Ok(name.into_inner())
}

/// Fewest and most.
fn nodes(source: &Source<'_>, nodes: Spanned<Nodes>) -> Result<(u16, u16), Complaint> {
    let why = || format!("from 1 to {SLOTS_MAX} nodes can be wanted");
    let size = |number: i64| u16::try_from(number).ok().filter(|nodes| (1..=SLOTS_MAX).contains(nodes));
    let range = match nodes.get_ref() {
        Nodes::Number(number) => size(*number).map(|nodes| (nodes, nodes)),
        Nodes::Range(text) => {
            let ends = text.split_once("..").and_then(|(least, most)| {
                Some((size(least.trim().parse().ok()?)?, size(most.trim().parse().ok()?)?))
            });
            ends.filter(|(least, most)| least <= most)
        }
    };
    range.ok_or_else(|| source.complaint(nodes.span(), why()))
}

/// What so many nodes are to have together.
fn set(
    source: &Source<'_>,
    text: Spanned<String>,
    (least, most): (u16, u16),
    nodes_span: &Range<usize>,
    requirement: &Requirement,
) -> Result<SetQuery, Complaint> {
    let span = text.span();
    let text = text.into_inner();
    let together = Together::parse(&text).map_err(|e| source.complaint_inside(span.clone(), &text, &e))?;
    SetQuery::new(least, most, together, requirement)
        .map_err(|e| source.complaint(nodes_span.clone(), e.to_string()))
}

/// The set of exactly so many nodes, as an application's requirement: as the agent will read its text, which
/// may have become too long.
pub(super) fn exactly(set: &SetQuery, nodes: u16) -> Result<Need, String> {
    // `count` may leave less of a range than its ends say.
    let nodes = nodes.clamp(set.least(), set.most());
    let set = set.of_exactly(nodes).map_err(|e| e.to_string())?;
    Need::parse(set.source()).map_err(|e| e.message())
}

fn requirement(source: &Source<'_>, text: Spanned<String>) -> Result<Requirement, Complaint> {
    let span = text.span();
    let text = text.into_inner();
    Requirement::parse(&text).map_err(|e| source.complaint_inside(span, &text, &e))
}

fn placement(source: &Source<'_>, text: Spanned<String>) -> Result<String, Complaint> {
    let span = text.span();
    let text = text.into_inner();
    match Placements::default().parse(&text) {
        Ok(_) => Ok(text),
        Err(e) => Err(source.complaint_inside(span, &text, &e)),
    }
}

fn resources(source: &Source<'_>, raw: raw::Resources) -> Result<Resources, Complaint> {
    let mut resources = Resources::SLOT_DEFAULT;
    if let Some(cores) = raw.cores {
        let span = cores.span();
        resources.cores_milli = cores_milli(cores.get_ref()).map_err(|why| source.complaint(span, why))?;
    }
    for (value, target) in [(raw.memory, &mut resources.memory_bytes), (raw.disk, &mut resources.disk_bytes)]
    {
        if let Some(value) = value {
            let span = value.span();
            *target = size_bytes(value.get_ref()).map_err(|why| source.complaint(span, why))?;
        }
    }
    Ok(resources)
}

fn cores_milli(cores: &Quantity) -> Result<u32, &'static str> {
    const WHY: &str = "cores are a number from 0.001 to 4096, for example 1 or 0.5";
    let milli = match cores {
        Quantity::Whole(whole) => whole.checked_mul(1_000).ok_or(WHY)?,
        Quantity::Decimal(cores) if cores.is_finite() => (cores * 1_000.0).round() as i64,
        _ => return Err(WHY),
    };
    match u32::try_from(milli) {
        Ok(milli @ 1..=4_096_000) => Ok(milli),
        _ => Err(WHY),
    }
}

fn size_bytes(size: &Quantity) -> Result<u64, &'static str> {
    const WHY: &str = "a size is a number with a unit, for example \"256MiB\" (B, kB, MB, GB, TB, PB, KiB, MiB, \
                       GiB, TiB, PiB)";
    match size {
        Quantity::Whole(0) => Ok(0),
        // Bytes, or what everybody means, which is something else?
        Quantity::Whole(_) | Quantity::Decimal(_) => Err(WHY),
        Quantity::Text(text) => parse_bytes(text).ok_or(WHY),
    }
}

fn command(source: &Source<'_>, command: Spanned<Vec<Spanned<String>>>) -> Result<Vec<String>, Complaint> {
    let span = command.span();
    let mut words = Vec::new();
    for word in command.into_inner() {
        words.push(word.get_ref().clone());
        check(source, &Program { command: words.clone(), ..Program::default() }, &word.span())?;
    }
    check(source, &Program { command: words.clone(), ..Program::default() }, &span)?;
    Ok(words)
}

fn environment(
    source: &Source<'_>,
    variables: BTreeMap<Spanned<String>, Spanned<String>>,
) -> Result<Vec<(String, String)>, Complaint> {
    let mut env = Vec::new();
    for (name, value) in variables {
        let span = name.span();
        env.push((name.into_inner(), value.into_inner()));
        check(source, &Program { env: env.clone(), ..any_program() }, &span)?;
    }
    Ok(env)
}

fn ports(
    source: &Source<'_>,
    wanted: BTreeMap<Spanned<String>, Spanned<Port>>,
) -> Result<Vec<PortRef>, Complaint> {
    let mut ports = Vec::new();
    for (name, port) in wanted {
        let why = "a port is a number from 1 to 65535, or \"auto\"";
        let number = match port.get_ref() {
            Port::Auto => 0,
            Port::Number(number) => match u16::try_from(*number) {
                Ok(number) if number > 0 => number,
                _ => return Err(source.complaint(port.span(), why)),
            },
        };
        let span = name.span();
        ports.push(PortRef { name: name.into_inner(), port: number });
        check(source, &Program { ports: ports.clone(), ..any_program() }, &span)?;
    }
    Ok(ports)
}

fn collections(
    source: &Source<'_>,
    wanted: BTreeMap<Spanned<String>, Spanned<super::collections::Table>>,
    (least, most): (u16, u16),
) -> Result<Vec<CollectionRef>, Complaint> {
    let mut collections = Vec::new();
    for (name, table) in wanted {
        let (name_span, spec_span) = (name.span(), table.span());
        let with = |name: String, spec| CollectionRef { name, spec };
        // What is wrong with the name is shown there.
        let named = with(name.get_ref().clone(), CollectionSpec::Ranks {});
        check(source, &Program { collections: vec![named], ..any_program() }, &name_span)?;
        let spec = super::collections::spec(source, name.get_ref(), table)?;
        collections.push(with(name.into_inner(), spec));
        let program = Program { collections: collections.clone(), ..any_program() };
        check(source, &program, &spec_span)?;
        // Of a range it is known once nodes are found.
        if !(least..=most).any(|nodes| program.check_slots(nodes).is_ok()) {
            let misfit = program.check_slots(most).err().map(|error| error.to_string()).unwrap_or_default();
            return Err(source.complaint(spec_span, misfit));
        }
    }
    Ok(collections)
}

fn file(
    source: &Source<'_>,
    file: Spanned<raw::File>,
    directory: &Path,
) -> Result<(FileRef, LocalFile), Complaint> {
    let span = file.span();
    let raw::File { path, target, executable } = file.into_inner();
    let complain = |reason: String| source.complaint(span.clone(), reason);
    let local = directory.join(&path);
    let metadata = fs::metadata(&local).map_err(|e| complain(format!("file {}: {e}", local.display())))?;
    if !metadata.is_file() {
        return Err(complain(format!("{} is no regular file", local.display())));
    }
    let target = match target {
        Some(target) => target,
        None => match Path::new(&path).file_name().and_then(|name| name.to_str()) {
            Some(name) => name.to_owned(),
            None => return Err(complain(format!("file {path:?} needs a name: use {{ path = …, as = … }}"))),
        },
    };
    let (len, digest) = hash_file(&local).map_err(|e| complain(format!("file {}: {e}", local.display())))?;
    let executable = executable.unwrap_or(metadata.permissions().mode() & 0o111 != 0);
    Ok((FileRef { path: target, digest, len, executable }, LocalFile { path: local, digest, len }))
}

/// A relative first word with a `/` must be one of the files, or no slot could ever start; one without is
/// none of them.
fn check_first_word(source: &Source<'_>, program: &Program, span: &Range<usize>) -> Result<(), Complaint> {
    let Some(first) = program.command.first() else { return Ok(()) };
    let has_path = program.env.iter().any(|(name, _)| name == "PATH");
    if !first.contains('/') && !has_path && program.files.iter().any(|file| file.path == *first) {
        let why = format!("`{first}` is looked up in PATH; the file of that name is `./{first}`");
        return Err(source.complaint(span.clone(), why));
    }
    if !first.contains('/') || first.starts_with('/') {
        return Ok(());
    }
    let wanted = first.strip_prefix("./").unwrap_or(first);
    match program.files.iter().find(|file| file.path == wanted) {
        Some(file) if file.executable => Ok(()),
        Some(_) => Err(source.complaint(
            span.clone(),
            format!("`{first}` is not executable (chmod +x, or executable = true)"),
        )),
        None => Err(source.complaint(span.clone(), format!("`{first}` is none of the files"))),
    }
}

/// A program whose other parts keep every rule.
fn any_program() -> Program {
    Program { command: vec!["true".to_owned()], ..Program::default() }
}

fn with_files(program: &Program) -> Program {
    Program { files: program.files.clone(), ..any_program() }
}

fn check(source: &Source<'_>, program: &Program, span: &Range<usize>) -> Result<(), Complaint> {
    program.check().map_err(|e: ProgramError| source.complaint(span.clone(), e.to_string()))
}
