//! Columns for people. What is in a cell was said by a verifier or found on a machine: every cell is escaped here.

use std::fmt::Display;

use goldseal_cli::failure::Failure;
use goldseal_cli::printable::PrintableLine;
use goldseal_cli::report::Ui;

/// Longest cell: what does not fit is cut, and `--json` has it whole.
const MAX_CELL: usize = 120;

/// Prints rows under headings, each column as wide as its widest cell.
///
/// # Errors
/// As [`Ui::say`].
pub fn say(ui: Ui, headings: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(line).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(headings.get(column).map(|heading| heading.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let print = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> =
            cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
        ui.say(padded.join("  ").trim_end())
    };
    print(&mut headings.iter().copied())?;
    rows.iter().try_for_each(|row| print(&mut row.iter().map(String::as_str)))
}

/// One cell, or one line of a message: safe for a terminal, and not endless.
pub fn line(text: impl Display) -> String {
    let escaped = PrintableLine(text.to_string().as_bytes()).to_string();
    if escaped.chars().count() <= MAX_CELL {
        return escaped;
    }
    escaped.chars().take(MAX_CELL - 1).chain(['…']).collect()
}

/// A text of any length, safe for a terminal.
pub fn text(text: impl Display) -> String {
    PrintableLine(text.to_string().as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_one_short_harmless_line() {
        assert_eq!(line("/a\u{1b}[31m\nforged  accepted"), "/a\\x1b[31m\\nforged  accepted");
        let cut = line("x".repeat(500));
        assert!(cut.chars().count() == MAX_CELL && cut.ends_with('…'));
    }
}
