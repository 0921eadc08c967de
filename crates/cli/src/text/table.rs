//! Columns that are as wide as what stands in them.

use unicode_width::UnicodeWidthStr as _;

/// Rows under a head, aligned to the left.
pub struct Table {
    rows: Vec<Vec<String>>,
}

/// Between two columns.
const GAP: &str = "  ";

impl Table {
    pub fn new<T: Into<String>>(head: impl IntoIterator<Item = T>) -> Table {
        Table { rows: vec![head.into_iter().map(Into::into).collect()] }
    }

    /// Adds a row; missing cells stay empty.
    pub fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(Into::into).map(printable).collect());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// How wide the columns are, for rows that come later.
    pub fn widths(&self) -> Widths {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        let width = |column| cells(column).map(|cell| cell.width()).max().unwrap_or(0);
        Widths((0..columns).map(width).collect())
    }
}

/// The columns of a table that was shown already.
pub struct Widths(Vec<usize>);

impl Widths {
    /// One more row, with its line end. A cell that is too wide moves those behind it.
    pub fn line<T: Into<String>>(&self, cells: impl IntoIterator<Item = T>) -> String {
        let mut line = String::new();
        for (cell, width) in cells.into_iter().zip(&self.0) {
            let cell = printable(cell.into());
            let padding = " ".repeat(width.saturating_sub(cell.width()));
            line.extend([cell.as_str(), padding.as_str(), GAP]);
        }
        format!("{}\n", line.trim_end())
    }
}

/// What comes from other nodes shall not steer the terminal.
fn printable(cell: String) -> String {
    if cell.chars().any(char::is_control) {
        cell.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
    } else {
        cell
    }
}

/// Each row ends with a line end; nothing is padded at the end of a line.
impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let widths = self.widths();
        for row in &self.rows {
            f.write_str(&widths.line(row.iter().map(String::as_str)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["ID", "NAME", "N"]);
        table.row(["1", "löng name", "3"]);
        table.row(["22", "", "4"]);
        // Each of these takes two columns of the terminal.
        table.row(["333", "計算", "5"]);
        let shown = "ID   NAME       N\n1    löng name  3\n22              4\n333  計算       5\n";
        assert_eq!(table.to_string(), shown);
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let mut table = Table::new(["A"]);
        table.row(["\u{1b}[2Jx"]);
        assert_eq!(table.to_string(), "A\n?[2Jx\n");
    }
}
