//! What humans read: pure functions from answers to text.

pub mod apps;
pub mod collections;
pub mod grid;
pub mod nodes;
mod past;
pub mod ring;
mod size;
mod table;
pub mod topics;
mod validity;

pub use nodes::count;
pub use past::ago;
pub use size::{bytes, cores, short};
pub use table::{Table, Widths};
pub use validity::{now_unix, validity};
