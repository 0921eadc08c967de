//! The pages for users against the types that they describe: no key is missing, none is made up, every
//! example is taken.
//!
//! The keys are asked of the readers themselves: whoever is given a key that does not exist names those that
//! do.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use xtreem_agent::complaint::Source;
use xtreem_agent::config::Config;
use xtreem_discovery::standard::{ATTRIBUTES, Kind, Unit};

use crate::app_file::AppFile;
use crate::policy_file;

/// A key that no file has.
const NO_KEY: &str = "no-such-key";

/// One page and the reader of the file that it describes.
struct Page {
    text: &'static str,
    /// Reads a file; the error is what a user would see.
    read: fn(&str) -> Result<(), String>,
    /// What a file needs before any example of a key is one.
    least: &'static str,
}

const AGENT: Page = Page { text: include_str!("../../../docs/use/agent.md"), read: read_agent, least: "" };
const APPLICATIONS: Page = Page {
    text: include_str!("../../../docs/use/applications.md"),
    read: read_app,
    least: "name = \"x\"\nnodes = 1\ncommand = [\"true\"]\n",
};
const POLICY: Page =
    Page { text: include_str!("../../../docs/use/policy.md"), read: read_policy, least: "version = 1\n" };

fn read_agent(text: &str) -> Result<(), String> {
    Config::parse(Path::new("/etc/xtreem/agent.toml"), text).map(drop).map_err(|e| e.to_string())
}

/// In a directory with the files that the examples name.
fn read_app(text: &str) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    for (file, mode) in [("serve", 0o755), ("target/model-2.bin", 0o644)] {
        let path = dir.path().join(file);
        // The paths have parents.
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, file).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    AppFile::parse(text, "app.toml", dir.path()).map(drop).map_err(|e| e.to_string())
}

fn read_policy(text: &str) -> Result<(), String> {
    let source = Source { name: "policy.toml", text };
    policy_file::parse(source).map(drop).map_err(|e| e.to_string())
}

impl Page {
    /// The keys that the reader takes, those of tables and of tables in lists behind a point.
    fn keys_of_the_reader(&self) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        self.collect("", &mut keys);
        assert!(keys.len() > 2, "the reader names its keys: {keys:?}");
        keys
    }

    fn collect(&self, table: &str, keys: &mut BTreeSet<String>) -> bool {
        let nested = |open: &str, close: &str| format!("{open}{table}{close}\n{NO_KEY} = 1\n");
        let probes = match table {
            "" => vec![format!("{NO_KEY} = 1\n")],
            _ => vec![
                nested("[", "]"),
                nested("[[", "]]"),
                format!("{}{}", self.parent(table), nested("[", "]")),
            ],
        };
        let Some(found) = probes.iter().find_map(|probe| names_in((self.read)(probe).err()?)) else {
            return false;
        };
        for name in found {
            let key = if table.is_empty() { name } else { format!("{table}.{name}") };
            // Of a table whose keys are known only these are keys.
            if !self.collect(&key, keys) || LISTS.contains(&key.as_str()) {
                keys.insert(key);
            }
        }
        true
    }

    /// The list that a table in a list stands in, as far as it has one.
    fn parent(&self, table: &str) -> String {
        table.rsplit_once('.').map_or(String::new(), |(list, _)| format!("[[{list}]]\n"))
    }

    /// The rows of tables whose first column is headed `key`: key, and the example in the fourth column.
    fn rows(&self) -> Vec<(String, String)> {
        let mut is_keys = false;
        let mut rows = Vec::new();
        for line in self.text.lines() {
            let cells: Vec<_> =
                line.replace("\\|", "\u{1}").split('|').map(|cell| cell.trim().to_owned()).collect();
            match cells.get(1).map(String::as_str) {
                None => is_keys = false,
                Some("key") => is_keys = true,
                Some(key) if is_keys && key.starts_with('`') => {
                    let example = cells.get(4).map(|cell| cell.trim_matches('`').replace('\u{1}', "|"));
                    rows.push((key.trim_matches('`').to_owned(), example.unwrap_or_default()));
                }
                Some(_) => {}
            }
        }
        rows
    }

    fn check_keys(&self) {
        let rows = self.rows();
        let said: BTreeSet<String> = rows.iter().map(|(key, _)| key.clone()).collect();
        assert_eq!(said.len(), rows.len(), "a key has two rows");
        let taken = self.keys_of_the_reader();
        let missing: Vec<_> = taken.difference(&said).collect();
        let made_up: Vec<_> = said.difference(&taken).collect();
        assert!(missing.is_empty() && made_up.is_empty(), "missing: {missing:?}, made up: {made_up:?}");
    }

    /// Every example of a key, in a file that has what it needs beside it.
    fn check_examples(&self, beside: &[(&str, &str)]) {
        for (key, example) in self.rows() {
            let last = key.rsplit('.').next().unwrap_or(&key);
            assert!(example.contains(last), "{key}: the example does not show it: {example}");
            let first = example.split([' ', '.']).next().unwrap_or_default();
            let least: String = self
                .least
                .lines()
                .filter(|line| !line.starts_with(&format!("{first} ")))
                .map(|l| format!("{l}\n"))
                .collect();
            let extra = beside.iter().find(|(of, _)| *of == key).map_or("", |(_, text)| text);
            let text = format!("{least}{extra}{example}\n");
            assert_eq!((self.read)(&text), Ok(()), "{key}:\n{text}");
        }
    }

    /// Every whole file of the page: the blocks of TOML.
    fn check_files(&self, least: usize) {
        let blocks: Vec<&str> =
            self.text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(blocks.len() >= least, "{} files", blocks.len());
        for block in blocks {
            assert_eq!((self.read)(block), Ok(()), "{block}");
        }
    }
}

/// Lists that are also of plain values, and so keys themselves.
const LISTS: [&str; 1] = ["files"];

/// The keys in "unknown field `a`, expected one of `b`, `c`"; nothing when that is not what is wrong.
fn names_in(error: String) -> Option<Vec<String>> {
    let (_, rest) = error.split_once(&format!("`{NO_KEY}`, expected "))?;
    let is_key = error.contains("unknown field") || error.contains("unknown key");
    let line = rest.lines().next().unwrap_or_default();
    is_key.then(|| line.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

#[test]
fn the_page_on_agents_has_every_key() {
    AGENT.check_keys();
}

#[test]
fn the_page_on_applications_has_every_key() {
    APPLICATIONS.check_keys();
}

#[test]
fn the_page_on_policy_has_every_key() {
    POLICY.check_keys();
}

#[test]
fn every_example_on_the_pages_is_taken() {
    let emulated = "emulated = true\n";
    AGENT.check_examples(&[("cyclon_period", emulated), ("trie_period", emulated)]);
    AGENT.check_files(2);
    APPLICATIONS.check_examples(&[]);
    APPLICATIONS.check_files(3);
    POLICY.check_files(1);
}

#[test]
fn the_page_on_requirements_has_every_attribute() {
    let page = include_str!("../../../docs/use/requirements.md");
    for attribute in ATTRIBUTES {
        let kind = match attribute.kind {
            Kind::Number(Unit::Plain) => "number",
            Kind::Number(Unit::Bytes) => "bytes",
            Kind::Number(Unit::Hertz) => "hertz",
            Kind::Text => "text",
            Kind::Flag => "flag",
            Kind::List => "list",
        };
        let changes = if attribute.dynamic { "dynamic" } else { "static" };
        let row = format!("| `{}` | {kind} | {changes} |", attribute.name);
        assert!(page.contains(&row), "{row}");
    }
}

#[test]
fn the_page_on_programs_shows_the_example_as_it_is() {
    let page = include_str!("../../../docs/use/programs.md");
    let example = include_str!("../../../examples/python/peers.py");
    assert!(page.contains(&format!("```python\n{example}```\n")), "examples/python/peers.py is another");
}
