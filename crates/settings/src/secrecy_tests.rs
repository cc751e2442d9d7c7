//! Whatever a setting that can hold a secret is set to, no part of the secret is printed.

use std::collections::BTreeSet;
use std::fmt::{Debug, Display};

use proptest::prelude::*;

use crate::{CredentialSource, Needs, ProcessorSettings, RedisSecret, secret_url};

/// Settings that can hold a secret, also by mistake.
const SETTINGS: [&str; 10] = [
    "REDIS_URL",
    "REDIS_URL_SECRET_ARN",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "EVENTS_QUEUE_URL",
    "EVENTS_DLQ_URL",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_SQS",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
];
const OTHERS: [(&str, &str); 5] = [
    ("REDIS_URL", "redis://h:1"),
    ("EVENTS_QUEUE_URL", "https://sqs.example/0/events.fifo"),
    ("EVENTS_DLQ_URL", "https://sqs.example/0/dlq.fifo"),
    ("AWS_ACCESS_KEY_ID", "k"),
    ("AWS_SECRET_ACCESS_KEY", "s"),
];
/// How the Lambda and the replay read their settings.
const WAYS: [(Needs, CredentialSource); 2] = [
    (Needs::Everything, CredentialSource::Environment),
    #[cfg(not(feature = "credential-chain"))]
    (Needs::Nothing, CredentialSource::Environment),
    #[cfg(feature = "credential-chain")]
    (Needs::Nothing, CredentialSource::EnvironmentOrChain),
];
/// How many forms an odd value can have.
const FORMS: usize = 38;

/// A secret of characters that no message contains four of in a row. One of digits alone would be a valid port.
fn secret() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => "Q[QXZJKVWY234789]{8,31}",
        1 => "Q[жщюЙѫ漢字密é💥]{8,31}",
        1 => "Q[QXZJKVWY234789!$&*+,;=~^|]{8,31}",
    ]
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let encode = |chunk: &[u8]| {
        let bits =
            chunk.iter().chain([0, 0].iter()).take(3).fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        [18, 12, 6, 0].map(|shift| char::from(DIGITS[bits >> shift & 63])).iter().collect::<String>()
    };
    text.as_bytes().chunks(3).map(encode).collect()
}

/// A value in one of the odd forms.
fn odd_value(form: usize, user: &str, word: &str) -> String {
    let host = "redis.example";
    match form {
        0 => format!(r#"{{"username":"{user}","password":"{word}","host":"{host}","port":6379}}"#),
        1 => format!(r#"{{"url":"rediss://{user}:{word}@{host}:6379"}}"#),
        2 => format!(r#"[{{"a":{{"password":["{word}"]}}}}]"#),
        3 => format!(r#"{{"password":"{word}","host":"#),
        4 => format!(r#"{{"password":"{word}","host":"{host}","tls":"{user}"}}"#),
        5 => format!(r#"{{"{word}":"{user}","host":"{word}@{host}","port":"{word}"}}"#),
        6 => format!(r#"{{"host":"{host}","scheme":"{word}","{user}":1}} {word}"#),
        7 => format!("\"redis://:{word}@{host}:6379\""),
        8 => format!("'{word}'"),
        9 => format!("{user}\u{1b}{word}"),
        10 => format!("redis://{user}:{word}\n{word}@{host}:6379"),
        11 => format!("redis://{user}:{word} {word}@{host}"),
        12 => format!("redis://{user}:%ff{}@{host}", percent(word)),
        13 => format!("redis://{}:{}@{host}:6379", percent(user), percent(word)),
        14 => format!("redis://redis://{user}:{word}@{host}"),
        15 => format!("https://{host}/?next=redis://{user}:{word}@{host}"),
        16 => format!("{word}://x"),
        17 => format!("redis://{user}:{word}"),
        18 => base64(word),
        19 => format!("arn:{word}"),
        20 => "arn:aws:secretsmanager:eu-central-1:012345678901:secret:QXZJKVWY".to_owned(),
        21 => format!("arn:aws:secretsmanager:eu-central-1:012345678901:secret:{word}:{user}"),
        22 => format!("{user}:{word}@{host}:6379"),
        23 => format!("rediss://{user}:{word}@{host}:6379"),
        24 => format!("redis://{user}:{word}{}{word}@{host}:6379", ["#", "?", "/", "//"][word.len() % 4]),
        25 => format!("redis://:{word}@{host}:{word}"),
        26 => format!("redis-cluster://{user}:{word}@{host}:6379/{word}?node=i.example:6379"),
        27 => format!("https://{user}:{word}@sqs.example/0/events.fifo"),
        28 => format!("https://sqs.example/0/events.fifo?token={word}.fifo"),
        29 => format!("https://{user}:{word}"),
        30 => format!("-----BEGIN PRIVATE KEY-----\n{word}\n-----END PRIVATE KEY-----"),
        31 => format!("REDIS_URL=redis://{user}:{word}@{host}"),
        32 => format!("\\\"{word}\\\""),
        33 => format!("redis:{word}@{host}"),
        34 => format!("REDIS://:{word}@{host}"),
        35 => format!("  {word}\t"),
        36 => format!("redis://{user}:{word}@@{host}:70000"),
        _ => word.to_owned(),
    }
}

fn printed<T: Debug, E: Debug + Display>(result: &Result<T, E>, to: &mut String) {
    match result {
        Ok(value) => to.push_str(&format!("{value:?}\n")),
        Err(error) => to.push_str(&format!("{error}\n{error:?}\n")),
    }
}

/// Everything that is printed of settings in which `name` has this value.
fn printed_with(name: &str, value: &str) -> String {
    let get = |asked: &str| {
        if asked == name {
            return Some(value.to_owned());
        }
        OTHERS.iter().find(|pair| pair.0 == asked).map(|pair| pair.1.to_owned())
    };
    let mut text = String::new();
    for (needs, source) in WAYS {
        let read = ProcessorSettings::read(get, needs, source);
        printed(&read, &mut text);
        if let Some(redis) = read.ok().and_then(|settings| settings.redis) {
            redis.servers().iter().for_each(|server| text.push_str(&format!("{server}\n")));
        }
        let secret = |asked: &str| get(asked).filter(|_| asked != "REDIS_URL" || name == "REDIS_URL");
        printed(&RedisSecret::find(secret, source), &mut text);
    }
    text
}

/// Everything that is printed of a secret of Secrets Manager with this text.
fn printed_of_secret(value: &str) -> String {
    let mut text = String::new();
    match secret_url::url(value) {
        Err(problem) => text += &crate::secret::wrong(problem, secret_url::ACCEPTED).to_string(),
        Ok(url) => {
            printed(&crate::secret::check_fetched(&url), &mut text);
            text += &printed_with("REDIS_URL", &url);
        }
    }
    text
}

/// The first characters in a row, so many of them, of a secret that a text contains.
fn leak(text: &str, secret: &str, length: usize) -> Option<String> {
    let characters: Vec<char> = secret.chars().collect();
    characters
        .windows(length)
        .map(|window| window.iter().collect::<String>())
        .find(|part| text.contains(part))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_part_of_a_secret_is_printed(form in 0..FORMS, user in secret(), word in secret()) {
        let value = odd_value(form, &user, &word);
        // The last one is the name of the ARN that is accepted.
        let secrets = [percent(&user), percent(&word), user, word.clone(), "QXZJKVWY".to_owned()];
        // Base64 has small letters: four of them in a row are a part of a message now and then.
        let encoded = base64(&word);
        let texts = SETTINGS.iter().map(|name| printed_with(name, &value)).chain([printed_of_secret(&value)]);
        // Most lines are the same for all settings.
        let texts = texts.collect::<Vec<_>>().join("\n");
        for line in texts.lines().collect::<BTreeSet<_>>() {
            let leaked = secrets.iter().find_map(|secret| leak(line, secret, 4));
            let leaked = leaked.or_else(|| leak(line, &encoded, 8));
            prop_assert_eq!(leaked, None, "with the value {:?} this is printed: {}", value, line);
        }
    }
}

/// Otherwise the test above would pass without seeing an accepted secret.
#[test]
fn some_odd_values_are_accepted() {
    let is_accepted =
        |value: &String| secret_url::url(value).is_ok_and(|url| crate::secret::check_fetched(&url).is_ok());
    let values = (0..FORMS).map(|form| odd_value(form, "QXZJKVWY2", "QXZJKVWY3"));
    assert!(values.filter(is_accepted).count() > 2);
}
