//! `xtreem demo`: sixteen emulated hosts, an application, and what becomes of it when hosts are lost.

use clap::Args;

use super::emulate::{Kind, how_to_talk};
use crate::demo::grid::Grid;
use crate::demo::interrupt::Interrupt;
use crate::demo::report::Report;
use crate::demo::show::Show;
use crate::demo::state_dir::StateDir;
use crate::demo::{be_client, story};
use crate::exit::{Exit, Failure};
use crate::output;
use crate::runtime::block_on;

/// Decides nothing: the demo has no more hosts than those that are always the same.
const SEED: u64 = 1;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  xtreem demo\n  xtreem demo --json | jq .losses\n  xtreem demo --keep\n\nEnds with 0 \
                  when every lost slot runs again and none runs twice, 1 when not. Nothing is left behind, whatever \
                  way this command ends."
)]
pub struct Arguments {
    /// Leave the grid up at the end, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// How the hosts are told apart
    #[arg(long, value_enum, default_value_t = Kind::Auto)]
    network: Kind,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Not for people: the demo's client in the lab.
#[derive(Args, Debug)]
pub struct ClientArguments {}

pub fn run_client(_: &ClientArguments) -> Result<Exit, Failure> {
    be_client()
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let dir = StateDir::new(None)?;
    block_on(async {
        let mut interrupt = Interrupt::take()?;
        let show = Show::new();
        let mut grid = Grid::start(dir.path(), arguments.network.into(), SEED, &show).await?;
        let told = tokio::select! {
            told = story::tell(&mut grid, &show) => told.map(Some),
            () = interrupt.come() => Ok(None),
        };
        show.end();
        let exit = match told {
            Ok(Some(report)) => end(arguments, &grid, &report, &mut interrupt).await,
            Ok(None) => Ok(Exit::Interrupted),
            Err(failure) => Err(failure),
        };
        // Only when all is gone can the directory be removed.
        grid.stop().await;
        exit
    })
}

async fn end(
    arguments: &Arguments,
    grid: &Grid,
    report: &Report,
    interrupt: &mut Interrupt,
) -> Result<Exit, Failure> {
    if arguments.json {
        output::print_json(report)?;
    } else {
        output::print(&report.table())?;
    }
    if arguments.keep {
        eprintln!("{}\nCtrl-C ends the grid.", how_to_talk(grid));
        interrupt.come().await;
    }
    Ok(if report.ok { Exit::Success } else { Exit::Failed })
}
