//! Reads single settings, checks them, and collects the errors.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use events_core::value::Number;

use crate::form;

/// All wrong settings, one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError(Vec<String>);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for SettingsError {}

impl SettingsError {
    /// One wrong setting.
    pub fn of(error: String) -> Self {
        Self(vec![error])
    }

    /// All wrong settings of several sections.
    pub fn all(errors: impl IntoIterator<Item = Self>) -> Self {
        Self(errors.into_iter().flat_map(|error| error.0).collect())
    }

    /// One wrong setting whose value may hold a secret: no part of the value is shown.
    pub(crate) fn hidden(name: &str, problem: &str, accepts: &str) -> Self {
        Self::of(format!("{name} (its value is not shown) {problem}; it accepts {accepts}"))
    }
}

/// Longest time that a setting may give a call, ms: Lambda ends an invocation after 15 minutes.
const LONGEST_MS: u64 = 900_000;

/// Returns the value of a setting by its name.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads settings and collects their errors. A wrong setting has its default until [`Reader::into_result`] fails.
pub struct Reader<'a> {
    get: Lookup<'a>,
    errors: Vec<String>,
}

impl<'a> Reader<'a> {
    /// A reader of a source such as the environment.
    pub fn new(get: Lookup<'a>) -> Self {
        Self { get, errors: Vec::new() }
    }

    /// The settings if none was wrong. Otherwise all errors.
    pub fn into_result<T>(self, settings: T) -> Result<T, SettingsError> {
        if self.errors.is_empty() { Ok(settings) } else { Err(SettingsError(self.errors)) }
    }

    fn value(&self, name: &str) -> Option<String> {
        (self.get)(name).filter(|value| !value.is_empty())
    }

    fn add_error(&mut self, name: &str, value: &str, accepts: &str) {
        self.errors.push(format!("{name} is {value:?}; it accepts {accepts}"));
    }

    /// Adds an error that shows no part of the value: it may hold a secret.
    fn add_hidden(&mut self, name: &str, problem: &str, accepts: &str) {
        self.errors.extend(SettingsError::hidden(name, problem, accepts).0);
    }

    /// True when `name` is set.
    pub fn is_set(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The value as `parse` reads it, or `default` if it is not set. `accepts` describes the accepted values.
    pub fn parsed<T>(
        &mut self,
        name: &str,
        default: T,
        accepts: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> T {
        let Some(value) = self.value(name) else { return default };
        parse(value.trim()).unwrap_or_else(|| {
            self.add_error(name, &value, accepts);
            default
        })
    }

    /// Adds an error if `name` is not set.
    pub fn require_set(&mut self, name: &str, accepts: &str) {
        if !self.is_set(name) {
            self.errors.push(format!("{name} is not set; it takes {accepts}"));
        }
    }

    /// Adds an error if `name` does not have the value that another setting requires. `reason` says why it must.
    pub fn require_value(&mut self, name: &str, required: &str, reason: &str) {
        let value = self.value(name).unwrap_or_default();
        if !value.trim().eq_ignore_ascii_case(required) {
            self.errors.push(format!("{name} is {value:?}; it must be {required}: {reason}"));
        }
    }

    /// Adds an error.
    pub fn refuse(&mut self, error: impl Into<String>) {
        self.errors.push(error.into());
    }

    /// Adds an error if `name` is set although `other`, which replaces it, is set too.
    pub fn refuse_beside(&mut self, name: &str, other: &str) {
        if self.is_set(name) {
            self.errors.push(format!(
                "{name} (its value is not shown) and {other} are both set; set only one of them"
            ));
        }
    }

    /// A whole number within a range.
    pub fn whole(&mut self, name: &str, default: u64, range: RangeInclusive<u64>) -> u64 {
        let accepts = format!("a whole number from {} to {}", range.start(), range.end());
        self.parsed(name, default, &accepts, |text| text.parse().ok().filter(|value| range.contains(value)))
    }

    /// A time in ms, from `least` to 15 minutes.
    pub fn millis(&mut self, name: &str, default: Duration, least: u64) -> Duration {
        let default = u64::try_from(default.as_millis()).unwrap_or(LONGEST_MS);
        Duration::from_millis(self.whole(name, default, least..=LONGEST_MS))
    }

    /// A decimal number that is not negative.
    pub fn threshold(&mut self, name: &str, default: Number) -> Number {
        let parse = |text: &str| text.parse().ok().filter(|number: &Number| !number.is_negative());
        self.parsed(name, default, "a decimal number from 0 up", parse)
    }

    /// True or false, as a word or as 1 or 0.
    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        self.parsed(name, default, "true or false", |text| match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        })
    }

    /// One of the names of `choices`.
    pub fn one_of<T: Copy>(&mut self, name: &str, choices: &[(&str, T)], default: T) -> T {
        let names: Vec<&str> = choices.iter().map(|choice| choice.0).collect();
        let accepts = match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => names.join(""),
        };
        self.parsed(name, default, &accepts, |text| {
            choices.iter().find(|choice| choice.0.eq_ignore_ascii_case(text)).map(|choice| choice.1)
        })
    }

    /// Text without control characters.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let legal = |text: &str| (!text.chars().any(char::is_control)).then(|| Some(text.to_owned()));
        self.parsed(name, None, "text without control characters", legal)
    }

    /// An http(s) URL without a user and a password.
    pub fn url(&mut self, name: &str) -> Option<String> {
        self.http(name, "an http(s) URL", |_| true)
    }

    /// The URL of a FIFO queue.
    pub fn fifo_queue(&mut self, name: &str) -> Option<String> {
        self.http(name, "an http(s) URL that ends in .fifo", |url| url.ends_with(".fifo"))
    }

    /// An http(s) URL that passes a check. The error shows it only if it can hold no secret.
    fn http(&mut self, name: &str, accepts: &str, check: impl Fn(&str) -> bool) -> Option<String> {
        let value = self.value(name)?;
        let url = value.trim();
        match form::http_problem(url) {
            Some(problem) => self.add_hidden(name, problem, accepts),
            None if check(url) => return Some(url.to_owned()),
            None => self.add_error(name, &value, accepts),
        }
        None
    }

    /// The path of a file that passes a check.
    pub fn file<E: fmt::Display>(
        &mut self,
        name: &str,
        accepts: &str,
        check: impl Fn(&Path) -> Result<(), E>,
    ) -> Option<PathBuf> {
        let value = self.value(name)?;
        if let Some(problem) = form::path_problem(&value) {
            self.add_hidden(name, problem, accepts);
            return None;
        }
        match check(Path::new(&value)) {
            Ok(()) => Some(PathBuf::from(value)),
            Err(error) => {
                self.add_error(name, &value, &format!("{accepts} ({error})"));
                None
            }
        }
    }

    /// A key or token of AWS.
    pub fn key(&mut self, name: &str) -> Option<String> {
        let problem = |value: &str| form::key_problem(value).map(str::to_owned);
        self.secret(name, "printable ASCII characters without blanks", problem)
    }

    /// The ARN of a secret. A wrong value may be the secret itself.
    pub fn secret_arn(&mut self, name: &str) -> Option<String> {
        let problem = |value: &str| form::secret_arn_problem(value).map(str::to_owned);
        self.secret(name, "arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME", problem)
    }

    /// A value that is or holds a secret. `problem` says what is wrong with it, if anything, and must show no part of it.
    pub fn secret(
        &mut self,
        name: &str,
        accepts: &str,
        problem: impl Fn(&str) -> Option<String>,
    ) -> Option<String> {
        let value = self.value(name)?.trim().to_owned();
        match problem(&value) {
            None => Some(value),
            Some(problem) => {
                self.add_hidden(name, &problem, accepts);
                None
            }
        }
    }
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("errors", &self.errors).finish_non_exhaustive()
    }
}
