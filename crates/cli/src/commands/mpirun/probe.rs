//! Whether the nodes have what MPI needs, before it starts: its own words on what it misses help nobody.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::hold::MARK;
use super::round::{Loss, Starter, is_loss};
use super::strength::Strength;
use crate::commands::exec::talk::{PIECES_MAX, Piece};
use crate::exit::{Exit, Failure};

/// Slots that are asked at one time.
const ASKED_MAX: usize = 32;
/// Longest answer that is read: a name and a line.
const ANSWER_MAX_BYTES: usize = 4_096;
/// Nodes named in one complaint.
const NAMED_MAX: usize = 8;
/// What `mpirun --version` says first, up to the number.
const OPEN_MPI: &str = "mpirun (Open MPI) ";
/// The one of which this is known to work.
const MAJOR: &str = "4.";
/// Asks for the host's name, the version, and what is there, and leaves the mark that it did.
const SCRIPT: &str = "uname -n\n\
    : > \"$TMPDIR/$2\"\n\
    mpirun --version 2>&1 | head -n 1\n\
    command -v orted > /dev/null && echo orted\n\
    command -v \"$1\" > /dev/null && echo program\n\
    exit 0\n";
/// What to do about it.
const INSTALL: &str = "install it there (Debian and Ubuntu: apt-get install openmpi-bin), or take nodes that \
                       have it only: requirement = '\"orted\" in commands'";

/// What a node said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    host: String,
    /// The first line of `mpirun --version`, or of the complaint that there is none.
    mpirun: String,
    has_orted: bool,
    has_program: bool,
}

impl Answer {
    fn read(text: &str) -> Answer {
        let clean = |line: &str| line.replace(char::is_control, "?");
        let mut lines = text.lines();
        let (host, mpirun) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let (host, mpirun) = (clean(host), clean(mpirun));
        let rest: Vec<_> = lines.collect();
        Answer { host, mpirun, has_orted: rest.contains(&"orted"), has_program: rest.contains(&"program") }
    }

    fn version(&self) -> Option<&str> {
        self.mpirun.strip_prefix(OPEN_MPI).filter(|_| self.has_orted)
    }
}

/// Asks beside all slots. The slots that are not there any more, if any.
pub async fn probe(
    starter: &Starter,
    slots: u16,
    program: &str,
    strength: &Strength,
) -> Result<Result<BTreeMap<u16, Answer>, Vec<Loss>>, Failure> {
    let turns = Arc::new(Semaphore::new(ASKED_MAX));
    let mut asking = JoinSet::new();
    for slot in 0..slots {
        let (starter, turns, program) = (starter.clone(), turns.clone(), program.to_owned());
        asking.spawn(async move {
            // It is never closed.
            let _turn = turns.acquire().await;
            (slot, ask(&starter, slot, program).await)
        });
    }
    let (mut answers, mut losses) = (BTreeMap::new(), Vec::new());
    while let Some(asked) = asking.join_next().await {
        let (slot, answer) = asked.map_err(|error| Failure::new(Exit::Failed, error))?;
        match answer {
            Ok(answer) => drop(answers.insert(slot, answer)),
            Err(failure) if is_loss(&failure) => losses.push(Loss { slot, why: failure.message }),
            Err(failure) => {
                return Err(Failure {
                    message: format!("{}: {}", strength.node(slot), failure.message),
                    ..failure
                });
            }
        }
    }
    if !losses.is_empty() {
        return Ok(Err(losses));
    }
    judge(&answers, program, |slot| strength.node(slot))?;
    Ok(Ok(answers))
}

/// The host of a slot, for people.
pub fn host(answers: &BTreeMap<u16, Answer>, slot: u16) -> &str {
    answers.get(&slot).map_or("?", |answer| &answer.host)
}

async fn ask(starter: &Starter, slot: u16, program: String) -> Result<Answer, Failure> {
    let command =
        ["sh", "-c", SCRIPT, "sh"].map(str::to_owned).into_iter().chain([program, MARK.to_owned()]).collect();
    let (pieces, mut written) = mpsc::channel(PIECES_MAX);
    let take = async {
        let mut answer = Vec::new();
        while let Some(piece) = written.recv().await {
            if let Piece::Output(bytes) = piece {
                let room = ANSWER_MAX_BYTES - answer.len();
                answer.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
        }
        answer
    };
    let (ended, answer) = tokio::join!(starter.run(slot, command, pieces), take);
    ended.map(|_| Answer::read(&String::from_utf8_lossy(&answer)))
}

/// What keeps MPI from running there.
fn judge(
    answers: &BTreeMap<u16, Answer>,
    program: &str,
    node: impl Fn(u16) -> String,
) -> Result<(), Failure> {
    let told = |slot: &u16, answer: &Answer| format!("{} ({})", node(*slot), answer.host);
    let named = |is_so: &dyn Fn(&Answer) -> bool, more: &dyn Fn(&Answer) -> String| {
        let found: Vec<_> = answers.iter().filter(|(_, answer)| is_so(answer)).collect();
        let lines = found.iter().take(NAMED_MAX);
        let mut text: String =
            lines.map(|(slot, answer)| format!("\n  {}{}", told(slot, answer), more(answer))).collect();
        if found.len() > NAMED_MAX {
            text.push_str(&format!("\n  and {} more", found.len() - NAMED_MAX));
        }
        (!found.is_empty()).then_some(text)
    };
    let says = |answer: &Answer| match answer.mpirun.starts_with(OPEN_MPI) {
        _ if answer.mpirun.is_empty() => String::new(),
        true if !answer.has_orted => ": there is no `orted`".to_owned(),
        _ => format!(": {}", answer.mpirun),
    };
    let failed = |message: String| Failure::new(Exit::Failed, message);
    if let Some(nodes) = named(&|answer| answer.version().is_none(), &says) {
        return Err(
            failed(format!("there is no Open MPI on the nodes of these slots:{nodes}")).with_hint(INSTALL)
        );
    }
    let is_other = |answer: &Answer| !answer.version().is_some_and(|version| version.starts_with(MAJOR));
    if let Some(nodes) = named(&is_other, &says) {
        return Err(failed(format!("Open MPI {MAJOR}x is needed; these slots have another one:{nodes}")));
    }
    let mut versions: Vec<_> = answers.values().filter_map(Answer::version).collect();
    versions.sort_unstable();
    versions.dedup();
    if versions.len() > 1 {
        let nodes = named(&|_| true, &says).unwrap_or_default();
        return Err(failed(format!(
            "the nodes have several versions of Open MPI, which do not understand each other:{nodes}"
        ))
        .with_hint("require the nodes that have one of them, by an attribute of theirs"));
    }
    if let Some(nodes) = named(&|answer| !answer.has_program, &|_| String::new()) {
        return Err(failed(format!("there is no program `{program}` in these slots:{nodes}"))
            .with_hint("a program of yours belongs to `files`, and is called `./NAME`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "host1\nmpirun (Open MPI) 4.1.4\norted\nprogram\n";

    fn judged(texts: &[&str]) -> Result<(), String> {
        let answers = (0..).zip(texts.iter().map(|text| Answer::read(text))).collect();
        judge(&answers, "./pi", |slot| format!("slot {slot}")).map_err(|failure| failure.to_string())
    }

    #[test]
    fn what_a_node_misses_is_told_with_its_name() {
        let table: [(&[&str], &str); 6] = [
            (
                &[GOOD, "host2\nsh: 2: mpirun: not found\nprogram\n"],
                "there is no Open MPI on the nodes of these slots:\n  slot 1 (host2): sh: 2: mpirun: not found\nhint: \
                 install it there",
            ),
            (&[GOOD, "host2\nmpirun (Open MPI) 4.1.4\nprogram\n"], "slot 1 (host2): there is no `orted`"),
            (&["host1\nHYDRA build details:\nprogram\n"], "slot 0 (host1): HYDRA build details:"),
            (
                &[GOOD, "host2\nmpirun (Open MPI) 5.0.7\norted\nprogram\n"],
                "Open MPI 4.x is needed; these slots have another one:\n  slot 1 (host2): mpirun (Open MPI) 5.0.7",
            ),
            (&[GOOD, "host2\nmpirun (Open MPI) 4.0.3\norted\nprogram\n"], "several versions of Open MPI"),
            (
                &["host1\nmpirun (Open MPI) 4.1.4\norted\n"],
                "no program `./pi` in these slots:\n  slot 0 (host1)",
            ),
        ];
        for (texts, words) in table {
            let said = judged(texts).expect_err(words);
            assert!(said.contains(words), "{said}");
        }
        assert_eq!(judged(&[GOOD, GOOD]), Ok(()));
    }

    #[test]
    fn many_nodes_are_not_all_named() {
        let said = judged(&["host1\nsh: no"; 20]).expect_err("none");
        assert!(said.contains("\n  and 12 more"), "{said}");
    }

    #[test]
    fn what_a_node_tells_does_not_reach_the_terminal_as_it_is() {
        assert_eq!(Answer::read("a\x1b[2J\nb\x07").host, "a?[2J");
    }
}
