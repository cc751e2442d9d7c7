//! Reads tables in Markdown.

/// A table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// The headings.
    pub(super) header: Vec<String>,
    /// The cells of each row, as many as there are headings.
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    /// The position of the column with this heading.
    pub(super) fn column(&self, heading: &str) -> Option<usize> {
        self.header.iter().position(|cell| cell == heading)
    }
}

/// All tables of a text whose first column has this heading, as one table. It has the headings of the first one.
pub(super) fn table(text: &str, first: &str) -> Option<Table> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found: Option<Table> = None;
    for (index, pair) in lines.windows(2).enumerate() {
        let header = cells(pair[0]);
        let is_header = pair[0].starts_with('|') && pair[1].starts_with("|-");
        if !is_header || header[0] != first {
            continue;
        }
        let width = header.len();
        let rows = lines[index + 2..].iter().take_while(|line| line.starts_with('|')).map(|line| {
            let mut cells = cells(line);
            cells.resize(width, String::new());
            cells
        });
        found.get_or_insert(Table { header, rows: Vec::new() }).rows.extend(rows);
    }
    found
}

/// The cells of a line. `\|` does not separate cells.
fn cells(line: &str) -> Vec<String> {
    let line = line.trim().trim_start_matches('|').replace("\\|", "\u{0}");
    let line = line.strip_suffix('|').unwrap_or(&line);
    line.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
}

/// The texts in backticks.
pub(super) fn code(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# A\n\n| key | value |\n|---|---|\n| `a`, `b` | 1 \\| 2 |\n| c |\n\ntext\n\n| other |\n|---|\n| d |\n\n| key | x |\n|---|---|\n| `e` | |\n";

    #[test]
    fn tables_are_found_by_their_first_heading() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let keys = table(TEXT, "key").unwrap();
        assert_eq!(keys.header, ["key", "value"]);
        assert_eq!(keys.rows, [row(["`a`, `b`", "1 | 2"]), row(["c", ""]), row(["`e`", ""])]);
        assert_eq!((keys.column("value"), keys.column("x")), (Some(1), None));
        assert_eq!(table(TEXT, "other").unwrap().rows, [["d"]]);
        assert_eq!(table(TEXT, "value"), None);
    }

    #[test]
    fn code_is_the_text_in_backticks() {
        assert_eq!(code("`a`, and `b c` (not d)"), ["a", "b c"]);
        assert!(code("none").is_empty());
    }
}
