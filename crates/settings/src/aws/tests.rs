use super::*;

const NO_KEYS: &[(&str, &str)] = &[];
const KEYS: [(&str, &str); 2] = [(ACCESS_KEY, "k"), (SECRET_KEY, "s")];

fn read(pairs: &[(&str, &str)], source: CredentialSource) -> Result<AwsSettings, String> {
    let get = |name: &str| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned());
    let mut reader = Reader::new(&get);
    let settings = sqs(&mut reader, source);
    reader.into_result(settings).map_err(|error| error.to_string())
}

/// Access key, secret and session token. `None` for the chain.
type Keys = Option<(String, String, Option<String>)>;

#[allow(unreachable_patterns, reason = "the chain exists only with its feature")]
fn read_keys(pairs: &[(&str, &str)], source: CredentialSource) -> Result<Keys, String> {
    Ok(match read(pairs, source)?.credentials {
        AwsCredentials::Static { access_key_id, secret_access_key, session_token } => {
            Some((access_key_id, secret_access_key, session_token))
        }
        _ => None,
    })
}

#[test]
fn keys_in_the_environment_are_taken_as_they_are() {
    let token = [KEYS[0], KEYS[1], ("AWS_SESSION_TOKEN", "t")];
    let source = CredentialSource::Environment;
    assert_eq!(read_keys(&KEYS, source).unwrap(), Some(("k".into(), "s".into(), None)));
    assert_eq!(read_keys(&token, source).unwrap(), Some(("k".into(), "s".into(), Some("t".into()))));
}

#[test]
fn the_environment_alone_must_have_both_keys() {
    let emulator = [("AWS_ENDPOINT_URL_SQS", "http://h:1")];
    for pairs in [NO_KEYS, &emulator] {
        let error = read_keys(pairs, CredentialSource::Environment).unwrap_err();
        assert!(error.contains("AWS_ACCESS_KEY_ID is not set; it takes an AWS access key"), "{error}");
        assert!(error.contains("AWS_SECRET_ACCESS_KEY is not set; it takes its secret"), "{error}");
    }
}

#[cfg(feature = "credential-chain")]
mod or_the_chain {
    use super::*;

    const SOURCE: CredentialSource = CredentialSource::EnvironmentOrChain;

    #[test]
    fn keys_in_the_environment_come_first() {
        assert_eq!(read_keys(&KEYS, SOURCE).unwrap(), Some(("k".into(), "s".into(), None)));
    }

    #[test]
    fn an_emulator_needs_no_key() {
        let local = Some(("local".into(), "local".into(), None));
        for name in ["AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL"] {
            for url in
                ["http://h:1", "https://localhost.localstack.cloud:4566", "https://amazonaws.com.example"]
            {
                assert_eq!(read_keys(&[(name, url)], SOURCE).unwrap(), local, "{name} {url}");
            }
        }
    }

    #[test]
    fn without_keys_the_chain_is_used() {
        assert_eq!(read_keys(NO_KEYS, SOURCE).unwrap(), None);
        for url in
            ["https://vpce-1.sqs.eu-central-1.vpce.amazonaws.com", "https://sqs.eu-central-1.api.aws/x"]
        {
            assert_eq!(read_keys(&[("AWS_ENDPOINT_URL", url)], SOURCE).unwrap(), None, "{url}");
        }
    }

    #[test]
    fn half_a_key_is_a_mistake() {
        for (half, missing) in [(KEYS[0], SECRET_KEY), (KEYS[1], ACCESS_KEY)] {
            for pairs in [&[half][..], &[half, ("AWS_ENDPOINT_URL", "http://h:1")]] {
                let error = read_keys(pairs, SOURCE).unwrap_err();
                assert!(error.starts_with(&format!("{missing} is not set; it takes ")), "{error}");
                assert_eq!(error.lines().count(), 1, "{error}");
            }
        }
    }
}
