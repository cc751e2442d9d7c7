//! The signals of a replay: the table, the JSON, and the page of pictures.

use std::fs;

use serde_json::json;

use super::{WorkDir, assert_refused, lines, record, stderr, stdout};

/// Three days of one protocol that falls by 80 % and stays there, and of one that has a spike of a row.
fn falls_and_spikes() -> String {
    let records = (0..72).flat_map(|hour| {
        let usual = 5e6 * (1.0 + 0.001 * f64::from(hour % 3));
        let fallen = if hour < 50 { usual } else { usual * 0.2 };
        let spiked = if hour == 55 { usual * 2.0 } else { usual };
        [record("a", 2 * hour as usize, "<b>", fallen), record("a", 2 * hour as usize + 1, "spiky", spiked)]
    });
    lines(&records.collect::<Vec<_>>())
}

#[test]
fn a_replay_shows_its_signals_beside_what_the_plain_rule_raises() {
    let work_dir = WorkDir::new();
    work_dir.file("in", falls_and_spikes());
    assert!(!stdout(&work_dir.run(&["in"])).contains("Signals"), "they are off");
    let text = stdout(&work_dir.run(&["in", "--signals"]));
    // One drain of the total and the chain, confirmed; one surge, reverted.
    for line in ["  drain", "  surge", "  reverted", "A score of 60 and above alerts "] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let signals = work_dir.json(&["in", "--signals"])["signals"].clone();
    let drain = &signals["kinds"]["drain"];
    assert_eq!((&drain["new"], &drain["confirmed"], &drain["alerts"]), (&json!(2), &json!(2), &json!(4)));
    assert_eq!(signals["kinds"]["reverted"]["reverted"], 2);
    // The plain rule alerts the fall, the spike and its end: each of the total and the chain.
    assert_eq!((&signals["plainAlerts"], &signals["both"]), (&json!(4), &json!(4)));
    let example = drain["example"]["reason"].as_str().unwrap();
    assert!(example.starts_with("TVL fell 80 % in 2 h; typical in 2 h ±"), "{example}");
}

#[test]
fn a_page_has_the_pictures_of_each_kind() {
    let work_dir = WorkDir::new();
    work_dir.file("in", falls_and_spikes());
    let output = work_dir.run(&["in", "--signal-report", "page.html"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let page = fs::read_to_string(work_dir.path("page.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    for kind in ["drain", "surge", "reverted"] {
        let section = page.split(&format!("<h2 id=\"{kind}\">")).nth(1);
        let has_pictures = section.is_some_and(|section| section.contains("<svg "));
        assert_eq!(has_pictures, kind != "reverted", "{kind}: a return is drawn where it began");
    }
    assert_eq!(page.matches("<figure>").count(), 4);
    assert_eq!(page.matches("class=\"band\"").count(), 4);
    assert_eq!(page.matches("class=\"ok\"").count(), 4, "confirmations and returns");
    assert!(page.contains("confirmed after 3 rows: ") && page.contains("reverted after 1 row: "), "{page}");
    // Ids come from outside.
    assert!(page.contains("<b>&lt;b&gt;</b>") && !page.contains("<b><b>"), "{page}");
    assert!(!page.contains("<script") && !page.contains("http"), "it needs nothing else");
}

#[test]
fn a_page_that_cannot_be_written_is_refused_before_the_replay() {
    let work_dir = WorkDir::new();
    work_dir.file("in", falls_and_spikes());
    let refused = |path, problem| {
        let expected = format!("--signal-report {path}: {problem}");
        assert_refused(&work_dir.run(&["in", "--signal-report", path]), &expected);
    };
    refused("no/dir/page.html", "cannot be written: ");
    refused("./in", "is the input itself");
}
