//! `xtreem demo`: sixteen emulated hosts, an application, and what becomes of it when hosts are lost.

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::emulate::{Kind, how_to_talk};
use crate::demo::grid::failed;
use crate::demo::show::Show;
use crate::demo::state_dir::StateDir;
use crate::demo::{be_client, story};
use crate::exit::{Exit, Failure};
use crate::output;
use crate::runtime::block_on;

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
        let mut terminate = signal(SignalKind::terminate()).map_err(|e| failed(&e))?;
        let show = Show::new();
        // Dropping the grid ends its processes; stopping it waits until they are gone, so that the directory can be
        // removed.
        let grid = tokio::select! {
            grid = story::set_up(dir.path(), arguments.network.into(), &show) => grid,
            () = interrupted(&mut terminate) => return Ok(Exit::Interrupted),
        };
        let mut grid = grid.inspect_err(|_| show.end())?;
        let told = tokio::select! {
            told = story::tell(&mut grid, &show) => Some(told),
            () = interrupted(&mut terminate) => None,
        };
        show.end();
        let exit = match told {
            None => Ok(Exit::Interrupted),
            Some(Err(failure)) => Err(failure),
            Some(Ok(report)) => {
                if arguments.json {
                    output::print_json(&report)?;
                } else {
                    output::print(&report.table())?;
                }
                if arguments.keep {
                    eprintln!("{}\nCtrl-C ends the grid.", how_to_talk(&grid));
                    interrupted(&mut terminate).await;
                }
                Ok(if report.ok { Exit::Success } else { Exit::Failed })
            }
        };
        grid.stop().await;
        exit
    })
}

/// Returns on Ctrl-C or SIGTERM.
async fn interrupted(terminate: &mut Signal) {
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
