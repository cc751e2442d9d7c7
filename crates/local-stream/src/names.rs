//! Names of protocols and tokens, from a file of the user.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

/// What a file of names may hold, for error messages.
const ACCEPTED: &str =
    r#"accepted are lines of id,name (CSV), JSON {"ID":"NAME",…}, or JSON [{"id":"ID","name":"NAME"},…]"#;

/// Names by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names(HashMap<String, String>);

/// One element of a JSON list. Other keys are ignored, so that the list of DefiLlama's API can be given as it is.
#[derive(Deserialize)]
struct Entry {
    id: String,
    name: String,
}

impl Names {
    /// Reads a file. The error is one line.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let error = |problem: String| format!("--names {}: {problem}", path.display());
        let text =
            std::fs::read_to_string(path).map_err(|failed| error(format!("cannot be read: {failed}")))?;
        Self::parse(text.trim_start_matches('\u{feff}')).map_err(error)
    }

    /// The name of an id.
    pub(crate) fn of(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(String::as_str)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let json = |error: serde_json::Error| format!("{error}; {ACCEPTED}");
        let names = match text.trim_start().chars().next() {
            None => return Err(format!("is empty; {ACCEPTED}")),
            Some('{') => serde_json::from_str(text).map_err(json)?,
            Some('[') => {
                let entries: Vec<Entry> = serde_json::from_str(text).map_err(json)?;
                entries.into_iter().map(|entry| (entry.id, entry.name)).collect()
            }
            Some(_) => csv(text)?,
        };
        Ok(Self(names))
    }
}

/// Reads lines of `id,name`. The first may be the heading `id,name`.
fn csv(text: &str) -> Result<HashMap<String, String>, String> {
    let mut names = HashMap::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let entry = field(line).and_then(|(id, rest)| {
            let (name, rest) = field(rest.strip_prefix(',')?)?;
            (rest.is_empty() && !id.is_empty() && !name.is_empty()).then_some((id, name))
        });
        let (id, name) = entry.ok_or_else(|| {
            format!("line {} is not id,name (a comma in a name needs quotes); {ACCEPTED}", at + 1)
        })?;
        if (at, id.as_str(), name.as_str()) != (0, "id", "name") {
            names.insert(id, name);
        }
    }
    Ok(names)
}

/// The first field of a line of CSV, and the rest from the comma on. In quotes, `""` is a quote.
fn field(line: &str) -> Option<(String, &str)> {
    let Some(mut rest) = line.trim_start().strip_prefix('"') else {
        let end = line.find(',').unwrap_or(line.len());
        return Some((line[..end].trim().to_owned(), &line[end..]));
    };
    let mut text = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        text += part;
        match after.strip_prefix('"') {
            Some(after) => {
                text.push('"');
                rest = after;
            }
            None => return Some((text, after.trim())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_gives_the_same_names() {
        let expected = HashMap::from([("1599", "AAVE, V3"), ("bitcoin", "the \"first\"")]);
        let expected =
            Names(expected.into_iter().map(|(id, name)| (id.to_owned(), name.to_owned())).collect());
        for text in [
            "id,name\n1599,\"AAVE, V3\"\n\nbitcoin , \"the \"\"first\"\"\" \r\n",
            r#" {"1599":"AAVE, V3","bitcoin":"the \"first\""}"#,
            r#"[{"id":"1599","name":"AAVE, V3","tvl":5},{"name":"the \"first\"","id":"bitcoin"}]"#,
        ] {
            assert_eq!(Names::parse(text).as_ref(), Ok(&expected), "{text}");
        }
        assert_eq!((expected.of("1599"), expected.of("1")), (Some("AAVE, V3"), None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, problem) in [
            (" \n", "is empty; accepted are lines of id,name"),
            ("1,a\n2\n", "line 2 is not id,name (a comma in a name needs quotes); accepted"),
            ("1,a,b\n", "line 1 is not id,name"),
            ("1,\"a\n", "line 1 is not id,name"),
            ("{\"1\":2}", "invalid type: integer `2`, expected a string at line 1 column 6; accepted"),
            ("[{\"id\":\"1\"}]", "missing field `name` at line 1 column 11; accepted"),
        ] {
            let found = Names::parse(text).unwrap_err();
            assert!(found.starts_with(problem), "{text}: {found}");
        }
    }
}
