//! The time line as text and as SVG.

use std::fmt::Write;

use super::Bar;

/// Characters for the whole invocation.
const COLUMNS: f64 = 72.0;
/// The same in the SVG, px.
const WIDTH: f64 = 760.0;
const LEFT: f64 = 190.0;
const ROW: usize = 18;
const TOP: usize = 52;

/// One line a bar.
pub(super) fn text(title: &str, bars: &[Bar], total: f64) -> String {
    let mut text = format!("{title}\n\n");
    for bar in bars {
        let column = |at: f64| (at / total * COLUMNS).round().min(COLUMNS) as usize;
        let (begin, end) = (column(bar.begin), column(bar.end).max(column(bar.begin) + 1));
        let (space, line) = (" ".repeat(begin), "█".repeat(end - begin));
        let _ = writeln!(text, "{:<20} {:>6.2}–{:>6.2} ms |{space}{line}", bar.label, bar.begin, bar.end);
    }
    text
}

/// The same as a picture.
pub(super) fn svg(title: &str, bars: &[Bar], total: f64) -> String {
    let height = TOP + bars.len() * ROW + 16;
    let x = |at: f64| LEFT + at / total * WIDTH;
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{:.0}" height="{height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="white"/>
<text x="10" y="20" font-size="14">{title}</text>
"#,
        LEFT + WIDTH + 70.0
    );
    let step = if total > 40.0 { 10 } else { 5 };
    for at in (0..=total as usize).step_by(step) {
        let x = x(at as f64);
        let _ = writeln!(
            svg,
            r##"<line x1="{x:.1}" y1="{}" x2="{x:.1}" y2="{}" stroke="#ddd"/><text x="{x:.1}" y="44" fill="#777">{at} ms</text>"##,
            TOP - 4,
            height - 12
        );
    }
    for (row, bar) in bars.iter().enumerate() {
        let color = match bar.label.split([' ', ',']).next() {
            Some("Redis") => "#c0392b",
            Some("SQS") => "#e39b2e",
            _ => "#5b7a99",
        };
        let y = TOP + row * ROW;
        let _ = writeln!(
            svg,
            r#"<text x="10" y="{}">{}</text><rect x="{:.1}" y="{y}" width="{:.1}" height="12" fill="{color}"/><text x="{:.1}" y="{}" font-size="10">{:.1}–{:.1}</text>"#,
            y + 11,
            bar.label,
            x(bar.begin),
            (x(bar.end) - x(bar.begin)).max(1.0),
            x(bar.end) + 4.0,
            y + 10,
            bar.begin,
            bar.end
        );
    }
    svg.push_str("</svg>\n");
    svg
}
