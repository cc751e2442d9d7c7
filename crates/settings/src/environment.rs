//! The one place that reads the process's environment.

/// A variable of the environment. What is no UTF-8 is not passed over: it becomes a text that no setting accepts.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}
