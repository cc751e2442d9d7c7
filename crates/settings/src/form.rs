//! What a value looks like, in words that show no part of it: for values that may hold a secret.

/// What is wrong with the form of any value that may hold a secret. `None` if nothing is.
pub(crate) fn problem(value: &str) -> Option<&'static str> {
    let first = value.trim_start().chars().next();
    Some(match first {
        Some('{' | '[') => "looks like JSON: put the URL or key itself",
        Some('"' | '\'' | '`') => "is a quoted string: leave the quotes out",
        _ if value.chars().any(is_blank) => "has blanks, line breaks or control characters",
        _ => return None,
    })
}

/// What is wrong with a URL that must have one of these schemes, each with its `://`.
pub(crate) fn url_problem(value: &str, schemes: &[&str]) -> Option<&'static str> {
    let known = schemes.iter().any(|scheme| value.starts_with(scheme));
    problem(value).or_else(|| {
        Some(match value.split_once("://") {
            _ if known => return None,
            _ if value.starts_with("arn:") => "is an ARN, not a URL",
            None => "has no scheme",
            Some(_) => "has an unknown scheme",
        })
    })
}

/// What is wrong with an http(s) URL. Its path names a queue or nothing, so a user, a password, a query and a fragment
/// are refused: an accepted URL holds no secret.
pub(crate) fn http_problem(value: &str) -> Option<&'static str> {
    url_problem(value, &["http://", "https://"]).or_else(|| {
        let rest = value.split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or_default();
        // The part after the last colon, unless the colon is inside the brackets of an IPv6 address.
        let port = authority.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
        Some(match port {
            _ if rest.contains('@') => "has a user or a password",
            _ if rest.contains(['?', '#']) => "has a query or a fragment",
            _ if rest.contains(['"', '\'', '\\', '{', '}']) => "has quotes, braces or backslashes",
            _ if authority.is_empty() => "has no host",
            Some(port) if !is_port(port) => "has a port that is no number from 0 to 65535",
            _ => return None,
        })
    })
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// What is wrong with an AWS key or token: these consist of printable ASCII characters without blanks.
pub(crate) fn key_problem(value: &str) -> Option<&'static str> {
    let ascii = value.chars().all(|c| c.is_ascii_graphic());
    problem(value).or((!ascii).then_some("has characters outside ASCII"))
}

/// What is wrong with the ARN of a secret: `arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME`.
pub(crate) fn secret_arn_problem(value: &str) -> Option<&'static str> {
    problem(value).or_else(|| {
        let parts: Vec<&str> = value.splitn(7, ':').collect();
        let is_word =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let is_name = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_+=.@-".contains(&b))
        };
        Some(match parts[..] {
            ["arn", partition, "secretsmanager", region, account, "secret", name]
                if partition.starts_with("aws")
                    && is_word(partition)
                    && is_word(region)
                    && account.len() == 12
                    && account.bytes().all(|byte| byte.is_ascii_digit())
                    && is_name(name) =>
            {
                return None;
            }
            ["arn", ..] => "is not the ARN of a secret",
            _ if value.contains("://") => "is a URL, not an ARN",
            _ => "is not an ARN",
        })
    })
}

/// What is wrong with the path of a file, if it may be the content of the file.
pub(crate) fn path_problem(value: &str) -> Option<&'static str> {
    let is_content = value.contains("-----") || value.chars().any(char::is_control);
    is_content.then_some("looks like the content of a file: put it into a file and name the file")
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_by_form() {
        let redis = |value| url_problem(value, &["redis://", "rediss://"]).unwrap_or("");
        for (value, says) in [
            (r#"{"url":"redis://h"}"#, "looks like JSON"),
            ("[1]", "looks like JSON"),
            ("\"redis://h\"", "is a quoted string"),
            ("redis://h\nx", "has blanks, line breaks"),
            ("redis://a b@h", "has blanks, line breaks"),
            ("user:pass@h", "has no scheme"),
            ("hunter2://x", "has an unknown scheme"),
            ("arn:aws:secretsmanager:r:1:secret:n", "is an ARN"),
        ] {
            assert!(redis(value).starts_with(says), "{value}: {}", redis(value));
        }
        assert_eq!(redis("rediss://u:p@h:1"), "");
    }

    #[test]
    fn an_http_url_holds_no_secret() {
        for (value, says) in [
            ("https://u:p@h/q.fifo", "has a user"),
            ("https://h/q?token=x.fifo", "has a query"),
            ("https://user:hunter2", "has a port"),
            ("https://", "has no host"),
            ("h/q.fifo", "has no scheme"),
            ("ftp://h", "has an unknown scheme"),
        ] {
            assert!(http_problem(value).is_some_and(|problem| problem.starts_with(says)), "{value}");
        }
        for value in ["http://127.0.0.1:9/0/q.fifo", "http://[::1]:4566", "https://[::1]", "https://h"] {
            assert_eq!(http_problem(value), None, "{value}");
        }
    }

    #[test]
    fn only_the_arn_of_a_secret_is_one() {
        assert_eq!(
            secret_arn_problem("arn:aws-cn:secretsmanager:cn-north-1:012345678901:secret:a/b-Ab12"),
            None
        );
        for value in ["arn:hunter2", "arn:aws:sqs:r:012345678901:secret:n", "hunter2", "redis://h", "arn:"] {
            assert!(secret_arn_problem(value).is_some(), "{value}");
        }
    }
}
