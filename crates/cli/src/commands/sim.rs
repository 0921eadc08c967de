//! `xtreem sim`: the protocols on many simulated nodes, reproducible from a seed.

mod broadcast;
mod contention;
mod grid;
mod membership;
mod memory;
mod pubsub;
mod ranks;
mod ring;
mod selection;
mod sweep;
mod tman;

use clap::{Args, Subcommand};

use crate::exit::{Exit, Failure};

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// How good and how cheap the grid-wide partial view is
    Membership(membership::Arguments),
    /// Whole nodes with applications, under faults, watched by invariant checkers
    Grid(grid::Arguments),
    /// `sim grid` for many seeds
    Sweep(sweep::Arguments),
    /// Whether a broadcast on the ring reaches everybody, and what it costs
    Broadcast(broadcast::Arguments),
    /// Many submissions at once for the same scarce nodes
    Contention(contention::Arguments),
    /// What it costs to find nodes along the prefix trie, and how many are found
    Selection(selection::Arguments),
    /// What lookups on the ring cost and whom they find, under deaths, churn and faults
    Ring(ring::Arguments),
    /// Whether events reach all who subscribed, by which ways, and what it costs
    Pubsub(pubsub::Arguments),
    /// How soon nodes with random contacts find who comes next, by T-Man
    Tman(tman::Arguments),
    /// How soon all nodes know their ranks by counting along the ring, and what they keep for it
    Ranks(ranks::Arguments),
}

pub fn run(arguments: Arguments) -> Result<Exit, Failure> {
    memory::take_huge_pages();
    match arguments.command {
        Command::Membership(arguments) => membership::run(&arguments),
        Command::Grid(arguments) => grid::run(&arguments),
        Command::Sweep(arguments) => sweep::run(&arguments),
        Command::Broadcast(arguments) => broadcast::run(&arguments),
        Command::Contention(arguments) => contention::run(&arguments),
        Command::Selection(arguments) => selection::run(&arguments),
        Command::Ring(arguments) => ring::run(&arguments),
        Command::Pubsub(arguments) => pubsub::run(&arguments),
        Command::Tman(arguments) => tman::run(&arguments),
        Command::Ranks(arguments) => ranks::run(&arguments),
    }
}
