//! Text tables with aligned columns that fit the width of the output.

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

use crate::layout::{Layout, wrap};

/// A column of text is broken to this width at least, before later columns move below their row.
const MIN_TEXT: usize = 12;
/// Indentation of the columns that moved below their row.
const BELOW: usize = 4;

/// The alignment of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// For texts.
    Left,
    /// For numbers.
    Right,
}

/// One cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// The same with a style.
    pub(crate) fn styled(self, style: Style) -> Self {
        Self { style, ..self }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), style: Style::new() }
    }
}

/// A table.
#[derive(Debug)]
pub(crate) struct Table {
    /// Its columns.
    pub columns: &'static [Column],
    /// How many columns stay in the row if not all of them fit. The others move below it.
    pub keep: usize,
    /// Its rows.
    pub rows: Vec<Vec<Cell>>,
}

/// How the table fits: the width of each column in the row, and the blanks before each.
struct Fit {
    widths: Vec<usize>,
    gap: usize,
}

impl Fit {
    fn total(&self) -> usize {
        self.widths.iter().map(|width| width + self.gap).sum()
    }
}

impl Table {
    /// The table as lines, without blanks at their ends.
    pub(crate) fn text(&self, layout: Layout) -> String {
        let fit = self.fit(layout.width);
        self.rows.iter().map(|row| self.row(row, &fit, layout)).collect()
    }

    /// Takes the first of these that fits: all columns, with two blanks or one between them; the same with the widest
    /// text broken into lines; the columns to keep in the same way.
    fn fit(&self, width: usize) -> Fit {
        let all = self.columns.len();
        let fits = |count| {
            let natural = [2, 1].map(|gap| Fit { widths: self.widths(count), gap });
            let mut natural = natural.into_iter();
            natural.find(|fit| fit.total() <= width).or_else(|| self.broken(count, width, MIN_TEXT))
        };
        fits(all)
            .or_else(|| fits(self.keep))
            .or_else(|| self.broken(self.keep, width, 1))
            .unwrap_or_else(|| Fit { widths: self.widths(self.keep), gap: 1 })
    }

    /// The first `count` columns with the widest text broken. `None` if it would be narrower than `min`.
    fn broken(&self, count: usize, width: usize, min: usize) -> Option<Fit> {
        let mut fit = Fit { widths: self.widths(count), gap: if min == MIN_TEXT { 2 } else { 1 } };
        let texts = (0..count).filter(|at| self.columns[*at] == Column::Left);
        let widest = texts.max_by_key(|at| fit.widths[*at])?;
        let others = fit.total() - fit.widths[widest];
        fit.widths[widest] = width.checked_sub(others).filter(|left| *left >= min)?;
        Some(fit)
    }

    fn widths(&self, count: usize) -> Vec<usize> {
        let width =
            |at: usize| self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.text.width()).max();
        (0..count).map(|at| width(at).unwrap_or(0)).collect()
    }

    fn row(&self, row: &[Cell], fit: &Fit, layout: Layout) -> String {
        let cells: Vec<Vec<String>> =
            row.iter().zip(&fit.widths).map(|(cell, width)| wrap(&cell.text, *width)).collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(0);
        let mut text = String::new();
        for line in 0..height {
            let mut blanks = 0;
            for (at, cell) in cells.iter().enumerate() {
                let part = cell.get(line).map_or("", String::as_str);
                // A Chinese character is two columns wide, so the padding of `format!` would be wrong.
                let padding = fit.widths[at].saturating_sub(part.width());
                let right = self.columns[at] == Column::Right;
                blanks += fit.gap + if right { padding } else { 0 };
                if !part.is_empty() {
                    text += &" ".repeat(std::mem::take(&mut blanks));
                    text += &layout.paint(row[at].style, part);
                }
                blanks += if right { 0 } else { padding };
            }
            text.push('\n');
        }
        text + &below(row.get(fit.widths.len()..).unwrap_or_default(), layout)
    }
}

/// The columns that do not fit in their row, on lines of their own. A cell is broken only if it is wider than a line.
fn below(cells: &[Cell], layout: Layout) -> String {
    let (mut text, mut line) = (String::new(), String::new());
    for cell in cells.iter().map(|cell| cell.text.as_str()).filter(|text| !text.is_empty()) {
        if !line.is_empty() && BELOW + line.width() + 2 + cell.width() > layout.width {
            text += &layout.lines(BELOW, Style::new(), &std::mem::take(&mut line));
        }
        line += if line.is_empty() { "" } else { "  " };
        line += cell;
    }
    if line.is_empty() { text } else { text + &layout.lines(BELOW, Style::new(), &line) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anstyle::AnsiColor;

    const COLUMNS: [Column; 3] = [Column::Left, Column::Right, Column::Left];

    fn table(rows: &[[&str; 3]]) -> Table {
        let rows = rows.iter().map(|row| row.map(Cell::from).to_vec()).collect();
        Table { columns: &COLUMNS, keep: 2, rows }
    }

    fn at(width: usize, table: &Table) -> String {
        table.text(Layout { width, colour: false })
    }

    #[test]
    fn columns_line_up() {
        assert_eq!(at(80, &table(&[["a", "1", "x"], ["币安", "23", ""]])), "  a      1  x\n  币安  23\n");
    }

    #[test]
    fn a_narrow_table_takes_one_blank_then_breaks_the_widest_text_then_moves_columns_below() {
        let table = table(&[["name", "1", "some words that are long"], ["b", "234", ""]]);
        assert_eq!(at(37, &table), "  name    1  some words that are long\n  b     234\n");
        assert_eq!(at(34, &table), " name   1 some words that are long\n b    234\n");
        let broken = "  name    1  some words\n             that are\n             long\n  b     234\n";
        assert_eq!(at(25, &table), broken);
        assert_eq!(at(20, &table), "  name    1\n    some words\n      that are long\n  b     234\n");
    }

    #[test]
    fn a_colour_does_not_move_a_column() {
        let mut table = table(&[["a", "1", "x"], ["bb", "23", "y"]]);
        table.rows[0][1] = Cell::from("1").styled(AnsiColor::Red.on_default());
        let text = table.text(Layout { width: 80, colour: true });
        assert_eq!(text, "  a    \u{1b}[31m1\u{1b}[0m  x\n  bb  23  y\n");
    }
}
