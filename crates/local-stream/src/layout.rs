//! How wide a text may be and whether it has colours, and texts that are broken to that width.

use std::io::IsTerminal;
use std::os::fd::AsFd;

use anstyle::Style;
use terminal_size::{Width, terminal_size_of};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Width of a text that does not go to a terminal.
const DEFAULT_WIDTH: usize = 110;
/// The narrowest text: the columns of numbers still stand side by side.
const NARROWEST: usize = 40;
/// The widest text: in longer lines, the eye loses the row.
const WIDEST: usize = 200;

/// Width and colours of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Most columns of a line.
    pub width: usize,
    /// True if the text may have colours.
    pub colour: bool,
}

impl Default for Layout {
    fn default() -> Self {
        Self { width: DEFAULT_WIDTH, colour: false }
    }
}

impl Layout {
    /// The layout for an output: as wide as its terminal, else as wide as `COLUMNS` says. Colours only on a terminal.
    pub(crate) fn of(out: &(impl IsTerminal + AsFd), environment: impl Fn(&str) -> Option<String>) -> Self {
        let terminal = out.is_terminal();
        let width = terminal_size_of(out).filter(|_| terminal).map(|(Width(width), _)| usize::from(width));
        let wanted = || environment("COLUMNS").and_then(|columns| columns.trim().parse().ok());
        let width = width.or_else(wanted).unwrap_or(DEFAULT_WIDTH).clamp(NARROWEST, WIDEST);
        Self { width, colour: terminal && wants_colour(environment) }
    }

    /// A text in a style, if there are colours.
    pub(crate) fn paint(self, style: Style, text: &str) -> String {
        if self.colour && style != Style::new() && !text.is_empty() {
            return format!("{style}{text}{style:#}");
        }
        text.to_owned()
    }

    /// A text as lines, each indented. Later lines of it are indented two columns more.
    pub(crate) fn lines(self, indent: usize, style: Style, text: &str) -> String {
        let mut lines = String::new();
        let wrapped = wrap(text, self.width.saturating_sub(indent + 2));
        // The first line has two columns more, which matter only if that makes one line of two.
        let wrapped = if text.width() + indent <= self.width { vec![text.to_owned()] } else { wrapped };
        for (at, line) in wrapped.iter().enumerate() {
            lines += &" ".repeat(indent + 2 * usize::from(at > 0));
            lines += &self.paint(style, line);
            lines.push('\n');
        }
        lines
    }
}

/// Without a colour if the user says so (<https://no-color.org>), or if the terminal has none.
fn wants_colour(environment: impl Fn(&str) -> Option<String>) -> bool {
    let no_colour = environment("NO_COLOR").is_some_and(|value| !value.is_empty());
    !no_colour && environment("TERM").is_none_or(|terminal| terminal != "dumb")
}

/// Breaks a text into lines of at most `width` columns: at blanks, and within a word only if the word is wider.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    // A Chinese character takes two columns. A narrower line could not hold it.
    let width = width.max(2);
    if text.width() <= width {
        return vec![text.to_owned()];
    }
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split(' ') {
        if !line.is_empty() && line.width() + 1 + word.width() > width {
            lines.push(line.trim_end().to_owned());
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for letter in word.chars() {
            if line.width() + letter.width().unwrap_or(0) > width {
                lines.push(std::mem::take(&mut line));
            }
            line.push(letter);
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use anstyle::AnsiColor;

    #[test]
    fn lines_are_broken_at_blanks_and_long_words_anywhere() {
        assert_eq!(wrap("one two three", 20), ["one two three"]);
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("a/path/that/is/long and more", 10), ["a/path/tha", "t/is/long", "and more"]);
        assert_eq!(wrap("币安币安", 5), ["币安", "币安"]);
        assert_eq!(wrap("", 5), [""]);
    }

    #[test]
    fn later_lines_are_indented_more() {
        let layout = Layout { width: 12, colour: false };
        assert_eq!(layout.lines(2, Style::new(), "ten letters"), "  ten\n    letters\n");
        assert_eq!(layout.lines(2, Style::new(), "two four 6"), "  two four 6\n");
    }

    #[test]
    fn no_color_and_a_dumb_terminal_turn_colours_off() {
        let with = |pairs: &'static [(&str, &str)]| {
            wants_colour(|name| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned()))
        };
        assert!(with(&[]) && with(&[("TERM", "xterm")]) && with(&[("NO_COLOR", "")]));
        assert!(!with(&[("NO_COLOR", "1")]) && !with(&[("TERM", "dumb")]));
    }

    #[test]
    fn only_a_terminal_has_colours_and_columns_sets_the_width_elsewhere() {
        let file = tempfile::tempfile().unwrap();
        let of = |columns: &'static str| {
            Layout::of(&file, move |name| (name == "COLUMNS").then(|| columns.into()))
        };
        assert_eq!(of(""), Layout::default());
        assert_eq!([of("5"), of("80"), of("999")].map(|layout| layout.width), [NARROWEST, 80, WIDEST]);
        let red = AnsiColor::Red.on_default();
        assert_eq!(of("80").paint(red, "x"), "x");
        assert_eq!(Layout { colour: true, ..of("80") }.paint(red, "x"), "\u{1b}[31mx\u{1b}[0m");
    }
}
