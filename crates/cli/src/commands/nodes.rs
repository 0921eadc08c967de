//! `xtreem nodes`: which nodes meet a requirement.

use std::time::Duration;

use clap::Args;
use tokio::time::timeout;
use xtreem_agent::complaint;
use xtreem_client::api::{NodeMatch, SearchLine, SearchReply, SearchReport, SearchRequest};
use xtreem_client::{ClientError, JsonLines, OperatorClient};
use xtreem_discovery::Need;

use crate::commands::agent_node;
use crate::exit::{Exit, Failure};
use crate::places::AgentSocket;
use crate::runtime::block_on;
use crate::{output, text};

/// Matches after which a search ends when nobody says how many (our guess: a screenful).
const LIMIT_DEFAULT: u16 = 20;
/// Matches that decide how wide the columns are: at most so many, or those of the first tenth of a second.
/// Further ones are shown as they come (our guesses: a screenful, and what nobody notices).
const FIRST_ROWS: usize = 20;
const FIRST_TIME: Duration = Duration::from_millis(100);
/// Examples and the end of the command.
const HELP: &str = "\
Examples:
  xtreem nodes
  xtreem nodes 'cpu.cores >= 4 && mem.total >= 8GiB && arch == \"x86_64\"'
  xtreem nodes 'mem.free >= 4GiB && load.1m < 0.5' --limit 3 --explain
  xtreem nodes 'has gpu.model' --all --json
  xtreem nodes '1..6 nodes with sum(disk.free) >= 10GiB where cpu.cores >= 4 spread by site'
  xtreem nodes --count
  xtreem nodes 'site == \"lab\"' --histogram cpu.cores

A set query names the fewest nodes that are enough together, or none. What `where` asks for, each of them has.

Ends with 0 when at least one node (or a set) matches, 1 when none does.";

#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct Arguments {
    /// In the requirement language, or a set query; any node when it is left out
    #[arg(default_value = "", hide_default_value = true)]
    requirement: String,
    /// How many are wanted: the search stops when so many match [default: 20]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..), conflicts_with_all = ["all", "count", "histogram"])]
    limit: Option<u16>,
    /// Every node that matches
    #[arg(long, conflicts_with_all = ["count", "histogram"])]
    all: bool,
    /// Only how many nodes match
    #[arg(long, conflicts_with = "histogram")]
    count: bool,
    /// How the values of an attribute are spread over the nodes that match
    #[arg(long, value_name = "ATTRIBUTE")]
    histogram: Option<String>,
    /// Say how the search went: plan, visits, round trips, what each clause excluded, what was missed
    #[arg(long)]
    explain: bool,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=50))]
    timeout: u64,
    #[command(flatten)]
    agent: AgentSocket,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn request(&self) -> SearchRequest {
        SearchRequest {
            requirement: self.requirement.clone(),
            limit: self.limit.unwrap_or(LIMIT_DEFAULT),
            all: self.all,
            count: self.count,
            histogram: self.histogram.clone(),
            timeout_ms: Some(self.timeout * 1_000),
        }
    }

    /// Nodes are named, not only counted.
    fn lists(&self) -> bool {
        !self.count && self.histogram.is_none()
    }
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let wrong = |e| Failure::usage(complaint::of_text("requirement", &arguments.requirement, &e));
    let need = Need::parse(&arguments.requirement).map_err(wrong)?;
    if need.set().is_some() && (arguments.all || !arguments.lists() || arguments.limit.is_some()) {
        let why = "a set query finds one set, whose size it says: leave out --limit, --all, --count and --histogram";
        return Err(Failure::usage(why));
    }
    let client = arguments.agent.client()?;
    let SearchReply { report, .. } = if arguments.json {
        let reply = block_on(async { Ok(client.search(&arguments.request()).await?) })?;
        output::print_json(&reply)?;
        reply
    } else {
        let report = block_on(show(arguments, &client))?;
        SearchReply { matches: Vec::new(), report }
    };
    agent_node::warn_if_cut_off(&client);
    let is_found = match &report.set {
        Some(set) => set.found,
        None => report.matched > 0,
    };
    Ok(if is_found { Exit::Success } else { Exit::Failed })
}

/// Prints matches as they come, and what became of the search.
async fn show(arguments: &Arguments, client: &OperatorClient) -> Result<SearchReport, Failure> {
    let lines = client.search_lines(&arguments.request()).await?;
    let mut rows = Rows::new(&arguments.requirement);
    let report = rows.take(lines).await;
    // What was found before the agent died was found.
    rows.end()?;
    let report = report?;
    if let (Some(histogram), Some(name)) = (&report.histogram, &arguments.histogram) {
        output::print(&text::nodes::histogram(name, histogram))?;
    }
    let wanted = arguments.limit.map(usize::from);
    let closing = match (&report.set, arguments.lists()) {
        (Some(set), _) => text::nodes::set(set, &report),
        (None, true) => text::nodes::closing(wanted, &report),
        (None, false) => text::nodes::counted(&report),
    };
    output::print(&format!("{closing}\n"))?;
    if rows.dropped > 0 {
        output::print(&format!("Matches that came faster than they could be shown: {}.\n", rows.dropped))?;
    }
    if arguments.explain {
        output::print(&format!("\n{}", text::nodes::explain(&report)))?;
    }
    Ok(report)
}

/// The table of matches as it grows.
struct Rows<'a> {
    requirement: &'a str,
    first: Vec<NodeMatch>,
    /// Once the first ones are shown.
    columns: Option<text::nodes::Columns>,
    dropped: u64,
}

impl<'a> Rows<'a> {
    fn new(requirement: &'a str) -> Self {
        Rows { requirement, first: Vec::new(), columns: None, dropped: 0 }
    }

    /// All matches, until the report.
    async fn take(&mut self, mut lines: JsonLines<SearchLine>) -> Result<SearchReport, Failure> {
        loop {
            let line = match timeout(FIRST_TIME, lines.next()).await {
                Ok(line) => line?,
                Err(_) => {
                    self.show_first()?;
                    continue;
                }
            };
            match line {
                Some(SearchLine::Match(found)) => self.add(found)?,
                Some(SearchLine::Dropped { dropped }) => self.dropped += dropped,
                Some(SearchLine::Done { report }) => return Ok(report),
                None => return Err(ClientError::no_report().into()),
            }
        }
    }

    fn add(&mut self, found: NodeMatch) -> Result<(), Failure> {
        if let Some(columns) = &self.columns {
            return output::print(&columns.row(&found));
        }
        self.first.push(found);
        if self.first.len() < FIRST_ROWS { Ok(()) } else { self.show_first() }
    }

    /// Shows those that wait for the widths of their columns.
    fn show_first(&mut self) -> Result<(), Failure> {
        if self.first.is_empty() {
            return Ok(());
        }
        let (columns, table) = text::nodes::matches(self.requirement, &self.first);
        self.first.clear();
        self.columns = Some(columns);
        output::print(&table.to_string())
    }

    /// All have come.
    fn end(&mut self) -> Result<(), Failure> {
        self.show_first()?;
        if self.columns.is_some() { output::print("\n") } else { Ok(()) }
    }
}
