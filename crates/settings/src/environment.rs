//! The only access to the process's environment.

/// A variable of the environment. Bytes that are not UTF-8 become replacement characters, so that the value is not
/// ignored: the settings that are parsed refuse it.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}
