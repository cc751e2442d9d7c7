//! The page of a replay's signals: one file of HTML with pictures, without scripts and without requests.

use std::cmp::Reverse;
use std::fmt::Write as _;

use events_core::signal::{Kind, Stage};

use super::gallery::{Gallery, Picture, Point};
use super::summary::SignalSummary;
use crate::format::{count, count_of, price, usd, utc};

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 150.0;
const MARGIN: f64 = 8.0;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#667;--line:#8a93a3;--band:#4a90d933;--new:#d9662b;--ok:#2b8a3e;--paper:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#9aa;--line:#7d8896;--band:#4a90d944;--paper:#16181c}}
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:2rem auto;max-width:74rem;padding:0 1rem}
table{border-collapse:collapse}td,th{padding:.2rem .9rem .2rem 0;text-align:left}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(26rem,1fr));gap:1.2rem}
figure{margin:0}figcaption{font-size:.86rem}figcaption b{font-size:.95rem}.soft{color:var(--soft)}
svg{width:100%;height:auto;display:block}.band{fill:var(--band)}.was{fill:none;stroke:var(--line);stroke-width:1.5}
.is{fill:none;stroke:var(--new);stroke-width:2}.at{stroke:var(--soft);stroke-dasharray:3 3}.new{fill:var(--new)}.ok{fill:var(--ok)}
svg text{font-size:10px;fill:var(--soft)}";

/// The page of a replay of `input`.
pub(crate) fn page(input: &str, summary: &SignalSummary, gallery: &Gallery) -> String {
    let mut page = String::new();
    let title = format!("Signals of {}", escape(input));
    // Text never fails to grow.
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n{}{}",
        introduction(summary),
        table(summary)
    );
    let mut kinds: Vec<_> = gallery.kinds().filter(|(_, _, pictures)| !pictures.is_empty()).collect();
    kinds.sort_by_key(|(kind, _, _)| Reverse(alerts_and_all(summary, *kind)));
    for (kind, signals, pictures) in kinds {
        let name = kind.name();
        let shown = pictures.len();
        let _ = write!(
            page,
            "<h2 id=\"{name}\">{name}</h2>\n<p>{} <span class=\"soft\">{} of {} shown, the highest scores first.</span></p>\n\
             <div class=\"pictures\">\n",
            meaning(kind),
            count(shown as u64),
            count(signals)
        );
        pictures.iter().for_each(|picture| figure(&mut page, picture));
        page.push_str("</div>\n");
    }
    page.push_str("</html>\n");
    page
}

fn introduction(summary: &SignalSummary) -> String {
    format!(
        "<p>The plain rule (a change above 50 %) alerts {} times; signals with a score of 60 and above {} times; {} of these are \
         the same events.</p>\n\
         <p class=\"soft\">Grey: the values before. Orange: from the signal on. The band is the typical move of the value. A \
         filled point is the signal; a green one a later confirmation or return.</p>\n",
        count(summary.plain_alerts),
        count(summary.alerts),
        count(summary.both)
    )
}

fn table(summary: &SignalSummary) -> String {
    if summary.kinds.is_empty() {
        return "<p>No signals.</p>\n".to_owned();
    }
    let mut table = "<table>\n<tr><th>kind<th class=\"n\">new<th class=\"n\">confirmed<th class=\"n\">returned<th class=\"n\">alerts\n"
        .to_owned();
    let mut kinds: Vec<_> = summary.kinds.iter().collect();
    kinds.sort_by_key(|(kind, _)| Reverse(alerts_and_all(summary, **kind)));
    for (kind, counts) in kinds {
        let name = kind.name();
        let [new, confirmed, reverted, alerts] =
            [counts.new, counts.confirmed, counts.reverted, counts.alerts].map(count);
        let _ = writeln!(
            table,
            "<tr><td><a href=\"#{name}\">{name}</a><td class=\"n\">{new}<td class=\"n\">{confirmed}<td class=\"n\">{reverted}<td class=\"n\">{alerts}"
        );
    }
    table + "</table>\n"
}

/// The kinds that alert come first, then the frequent ones.
fn alerts_and_all(summary: &SignalSummary, kind: Kind) -> (u64, u64) {
    summary.kinds.get(&kind).map_or((0, 0), |counts| (counts.alerts, counts.new))
}

/// What a kind means to a reader of the page.
fn meaning(kind: Kind) -> &'static str {
    match kind {
        Kind::Dust => "Below $10,000 before and after: nobody's loss.",
        Kind::Depeg => "A token that kept to $1 left it by 1 % or more.",
        Kind::Flap => {
            "The value is again where it has been within 48 rows, after it had come back from there."
        }
        Kind::Negative => "A value below zero, before or after.",
        Kind::UnitError => "50 times the last value or more, or a fall by a power of ten.",
        Kind::ChainOutage => "Chains report nothing any more, and that explains the fall.",
        Kind::ChainBack => "Chains report again, or for the first time, and that explains the rise.",
        Kind::Proportional => "All chains moved alike: a price moved, not deposits.",
        Kind::Drain => "TVL fell by 30 % or more.",
        Kind::Crash => "A price fell by 30 % or more.",
        Kind::Surge => "A value rose by 30 % or more.",
        Kind::Move => "Unusual for this value, and less than 30 %.",
        Kind::Drift => "Small moves in one direction that add up to 5 % or more.",
        Kind::Reverted => "The value is back where it was before a signal.",
    }
}

fn figure(page: &mut String, picture: &Picture) {
    let Picture { id, name, chain, signal, after, followed, .. } = picture;
    let name = match name {
        Some(name) => format!("<b>{}</b> <span class=\"soft\">{}</span>", escape(name), escape(id)),
        None => format!("<b>{}</b>", escape(id)),
    };
    let chain = chain.as_ref().map(|chain| format!(" on {}", escape(chain))).unwrap_or_default();
    let time = after.first().map(|point| format!("{} UTC", utc(point.time_ms))).unwrap_or_default();
    let _ = write!(
        page,
        "<figure>{}<figcaption>{name}{chain} · {time} · score {}<br>{}",
        drawing(picture),
        signal.score,
        escape(&signal.reason)
    );
    for (rows, stage, reason) in followed {
        let (stage, rows) = (stage.name(), count_of(*rows as u64, "row"));
        let reason = escape(reason);
        let _ = write!(page, "<br><span class=\"soft\">{stage} after {rows}: {reason}</span>");
    }
    page.push_str("</figcaption></figure>\n");
}

/// From data to the drawing.
struct Scale {
    times: (f64, f64),
    values: (f64, f64),
}

impl Scale {
    fn of(points: &[Point], band: (f64, f64)) -> Self {
        let fold = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| {
                (least.min(value), most.max(value))
            })
        };
        let times = fold(&mut points.iter().map(|point| point.time_ms as f64));
        let values = fold(&mut points.iter().map(|point| point.value).chain([band.0, band.1]));
        Self { times, values }
    }

    fn x(&self, time: i64) -> f64 {
        share(time as f64, self.times) * (WIDTH - 2.0 * MARGIN) + MARGIN
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - MARGIN - share(value, self.values) * (HEIGHT - 2.0 * MARGIN)
    }

    fn line(&self, points: &[Point]) -> String {
        let point = |point: &Point| format!("{:.1},{:.1}", self.x(point.time_ms), self.y(point.value));
        points.iter().map(point).collect::<Vec<_>>().join(" ")
    }
}

/// Where a value lies between two others, 0 to 1; in the middle if they are equal.
fn share(value: f64, (least, most): (f64, f64)) -> f64 {
    if most > least { (value - least) / (most - least) } else { 0.5 }
}

fn drawing(picture: &Picture) -> String {
    let Picture { before, after, signal, followed, .. } = picture;
    let all: Vec<Point> = before.iter().chain(after).copied().collect();
    let (Some(first), Some(last)) = (after.first(), all.last()) else { return String::new() };
    let level = before.last().unwrap_or(first).value;
    let typical = (level * signal.typical_move / 100.0).abs();
    let (low, high) = (level - typical, level + typical);
    let scale = Scale::of(&all, (low, high));
    let before_and_first: Vec<Point> = before.iter().chain([first]).copied().collect();
    let amount = if picture.is_price { price } else { usd };
    let (left, right) = (scale.x(all[0].time_ms), scale.x(last.time_ms));
    let mut drawing = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">");
    let _ = write!(
        drawing,
        "<rect class=\"band\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\
         <line class=\"at\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"0\" y2=\"{HEIGHT}\"/>\
         <polyline class=\"was\" points=\"{}\"/><polyline class=\"is\" points=\"{}\"/>\
         <circle class=\"new\" cx=\"{at:.1}\" cy=\"{:.1}\" r=\"4\"/>",
        scale.y(high),
        right - left,
        (scale.y(low) - scale.y(high)).max(1.0),
        scale.line(&before_and_first),
        scale.line(after),
        scale.y(first.value),
        at = scale.x(first.time_ms),
    );
    for (index, _, _) in followed.iter().filter(|(_, stage, _)| *stage != Stage::New) {
        let Some(point) = after.get(*index) else { continue };
        let (x, y) = (scale.x(point.time_ms), scale.y(point.value));
        let _ = write!(drawing, "<circle class=\"ok\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>");
    }
    let (least, most) = scale.values;
    let _ = write!(
        drawing,
        "<text x=\"{MARGIN}\" y=\"10\">{}</text><text x=\"{MARGIN}\" y=\"{}\">{}</text></svg>",
        escape(&amount(most)),
        HEIGHT - 1.0,
        escape(&amount(least))
    );
    drawing
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
