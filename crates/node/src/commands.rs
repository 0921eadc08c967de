//! What the host asks of the node, by family, and what it may look at.

mod grid;
mod programs;
mod records;
mod ring;
mod searches;
