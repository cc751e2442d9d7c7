//! Reads texts by name as what they should be, and remembers what was wrong.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use events_core::number::Number;

/// Every setting that was wrong, a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError(Vec<String>);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for SettingsError {}

impl SettingsError {
    /// One thing that is wrong.
    pub(super) fn of(error: String) -> Self {
        Self(vec![error])
    }
}

type Source<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads settings; wrong ones give the usual value for now and an error in the end.
pub(super) struct Reader<'a> {
    get: Source<'a>,
    errors: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(get: Source<'a>) -> Self {
        Self { get, errors: Vec::new() }
    }

    /// The settings, if none was wrong.
    pub(super) fn finish<T>(self, settings: T) -> Result<T, SettingsError> {
        if self.errors.is_empty() { Ok(settings) } else { Err(SettingsError(self.errors)) }
    }

    fn value(&self, name: &str) -> Option<String> {
        (self.get)(name).filter(|value| !value.is_empty())
    }

    fn wrong(&mut self, name: &str, value: &str, accepts: &str) {
        self.errors.push(format!("{name} is {value:?}; it accepts {accepts}"));
    }

    fn parsed<T>(&mut self, name: &str, usual: T, accepts: &str, parse: impl Fn(&str) -> Option<T>) -> T {
        let Some(value) = self.value(name) else { return usual };
        parse(value.trim()).unwrap_or_else(|| {
            self.wrong(name, &value, accepts);
            usual
        })
    }

    /// Says so when `name` is not set.
    pub(super) fn require(&mut self, name: &str, accepts: &str) {
        if self.value(name).is_none() {
            self.errors.push(format!("{name} is not set; it takes {accepts}"));
        }
    }

    /// Says so when `name` is not what something else demands.
    pub(super) fn demand(&mut self, name: &str, demanded: &str, why: &str) {
        let value = self.value(name).unwrap_or_default();
        if !value.trim().eq_ignore_ascii_case(demanded) {
            self.errors.push(format!("{name} is {value:?}; it must be {demanded}: {why}"));
        }
    }

    /// Says so when `name` is set beside `other`, which takes its place.
    pub(super) fn exclude(&mut self, name: &str, other: &str) {
        if self.value(name).is_some() {
            self.errors.push(format!(
                "{name} is set (its value is not shown); {other} takes its place, set only one"
            ));
        }
    }

    pub(super) fn whole(&mut self, name: &str, usual: u64, range: RangeInclusive<u64>) -> u64 {
        let accepts = format!("a whole number from {} to {}", range.start(), range.end());
        self.parsed(name, usual, &accepts, |text| text.parse().ok().filter(|value| range.contains(value)))
    }

    pub(super) fn millis(&mut self, name: &str, usual: u64, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.whole(name, usual, range))
    }

    pub(super) fn threshold(&mut self, name: &str, usual: Number) -> Number {
        let parse = |text: &str| text.parse().ok().filter(|number: &Number| !number.is_negative());
        self.parsed(name, usual, "a decimal number from 0 up", parse)
    }

    pub(super) fn flag(&mut self, name: &str, usual: bool) -> bool {
        self.parsed(name, usual, "true or false", |text| match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        })
    }

    pub(super) fn one_of<T: Copy>(&mut self, name: &str, choices: &[(&str, T)], usual: T) -> T {
        let names: Vec<&str> = choices.iter().map(|choice| choice.0).collect();
        let accepts = match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => names.join(""),
        };
        self.parsed(name, usual, &accepts, |text| {
            choices.iter().find(|choice| choice.0.eq_ignore_ascii_case(text)).map(|choice| choice.1)
        })
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let legal = |text: &str| (!text.chars().any(char::is_control)).then(|| Some(text.to_owned()));
        self.parsed(name, None, "text without control characters", legal)
    }

    pub(super) fn url(&mut self, name: &str) -> Option<String> {
        self.parsed(name, None, "an http(s) URL", |text| is_http(text).then(|| Some(text.to_owned())))
    }

    pub(super) fn fifo_queue(&mut self, name: &str) -> Option<String> {
        let parse = |text: &str| (is_http(text) && text.ends_with(".fifo")).then(|| Some(text.to_owned()));
        self.parsed(name, None, "an http(s) URL that ends in .fifo", parse)
    }

    /// The path of a file that passes a check.
    pub(super) fn file<E: fmt::Display>(
        &mut self,
        name: &str,
        accepts: &str,
        check: impl Fn(&Path) -> Result<(), E>,
    ) -> Option<PathBuf> {
        let value = self.value(name)?;
        match check(Path::new(&value)) {
            Ok(()) => Some(PathBuf::from(value)),
            Err(error) => {
                self.wrong(name, &value, &format!("{accepts} ({error})"));
                None
            }
        }
    }

    /// The ARN of a secret. Somebody may have put the secret itself there, so a wrong value is not repeated.
    pub(super) fn secret_arn(&mut self, name: &str) -> Option<String> {
        let value = self.value(name)?;
        if value.starts_with("arn:") && !value.contains(char::is_whitespace) {
            return Some(value);
        }
        self.errors
            .push(format!("{name} (its value is not shown) is no ARN; it accepts arn:…:secretsmanager:…"));
        None
    }

    /// A text that may hold a password: the value is not repeated when it is wrong.
    pub(super) fn secret(
        &mut self,
        name: &str,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Option<String> {
        let value = self.value(name)?;
        match check(&value) {
            Ok(()) => Some(value),
            Err(error) => {
                let shown = value.split_once("://").map_or("…", |(scheme, _)| scheme);
                self.errors.push(format!(
                    "{name} (beginning {shown:?}; the rest is not shown) is no Redis URL: {error}"
                ));
                None
            }
        }
    }
}

fn is_http(text: &str) -> bool {
    ["http://", "https://"]
        .iter()
        .any(|scheme| text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()))
}
