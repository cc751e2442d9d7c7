//! Text tables with aligned columns.

use unicode_width::UnicodeWidthStr;

/// The alignment of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// For texts.
    Left,
    /// For numbers.
    Right,
}

/// The rows as lines: two blanks before each column, none at the end of a line.
pub(crate) fn lines(columns: &[Column], rows: &[Vec<String>]) -> String {
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.width()).max();
    let widths: Vec<usize> = (0..columns.len()).map(|at| width(at).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(columns).zip(&widths).map(|((cell, column), width)| {
            // A Chinese character is two columns wide, so the padding of `format!` would be wrong.
            let padding = " ".repeat(width - cell.width());
            match column {
                Column::Left => format!("  {cell}{padding}"),
                Column::Right => format!("  {padding}{cell}"),
            }
        });
        text += cells.collect::<String>().trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["a", "1", "x"], ["币安", "23", ""]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(lines(&[Column::Left, Column::Right, Column::Left], &rows), "  a      1  x\n  币安  23\n");
    }
}
