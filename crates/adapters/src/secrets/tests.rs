//! Against a socket in place of Secrets Manager, which counts its requests.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use super::*;
use crate::aws::AwsCredentials;

/// Status and body of a response.
type Response = (u16, &'static str);

const SECRET: Response = (200, r#"{"ARN":"arn:s","Name":"s","SecretString":"redis://h:1"}"#);
const DOWN: Response = (503, r#"{"__type":"ServiceUnavailable"}"#);
const THROTTLED: Response = (400, r#"{"__type":"ThrottlingException","message":"slow down"}"#);
const DENIED: Response = (400, r#"{"__type":"AccessDeniedException","message":"not you"}"#);

async fn respond(mut stream: TcpStream, (status, body): Response) {
    let mut request = Vec::new();
    let mut buffer = [0; 4_096];
    // The request ends with its body, a JSON object.
    while !request.ends_with(b"}") {
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the request ended early");
        request.extend_from_slice(&buffer[..read]);
    }
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
}

fn settings(endpoint: String) -> AwsSettings {
    AwsSettings {
        region: "eu-central-1".into(),
        endpoint: Some(endpoint),
        credentials: AwsCredentials::Static {
            access_key_id: "k".into(),
            secret_access_key: "s".into(),
            session_token: Some("hunter3".into()),
        },
        attempt_timeout: Duration::from_secs(2),
        connect_timeout: Duration::from_secs(1),
        renew_after: AwsSettings::RENEW_AFTER,
    }
}

/// Reads a secret from a service with these responses, of which the last one repeats. Returns the result and the number
/// of requests.
fn read_from(responses: &'static [Response]) -> (Result<String, String>, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings = settings(format!("http://{}", listener.local_addr().unwrap()));
        let requests = Rc::new(Cell::new(0));
        let counted = Rc::clone(&requests);
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let index = counted.replace(counted.get() + 1).min(responses.len() - 1);
                respond(stream, responses[index]).await;
            }
        });
        let read = read(&settings, "arn:s").await.map_err(|error| error.to_string());
        (read, requests.get())
    })
}

#[test]
fn a_transient_error_is_retried() {
    for responses in [&[DOWN, SECRET][..], &[THROTTLED, DOWN, SECRET]] {
        assert_eq!(read_from(responses), (Ok("redis://h:1".to_owned()), responses.len()));
    }
}

#[test]
fn it_gives_up_after_five_attempts() {
    let (read, requests) = read_from(&[DOWN]);
    assert!(read.unwrap_err().contains("ServiceUnavailable"));
    assert_eq!(requests, 5);
}

#[test]
fn a_permanent_error_is_not_retried() {
    let (read, requests) = read_from(&[DENIED, SECRET]);
    assert!(read.unwrap_err().contains("not you"));
    assert_eq!(requests, 1);
}

#[test]
fn an_error_shows_neither_the_secret_nor_the_arn_nor_a_key() {
    const BROKEN: Response = (200, r#"{"ARN":"arn:s","SecretString":"redis://:hunter2@h"]}"#);
    const QUOTED: Response =
        (400, r#"{"__type":"SignatureDoesNotMatch","message":"for arn:s: x-amz-security-token:hunter3"}"#);
    for response in [&[BROKEN][..], &[QUOTED]] {
        let error = read_from(response).0.unwrap_err();
        assert!(!["hunter2", "hunter3", "arn:s"].iter().any(|hidden| error.contains(hidden)), "{error}");
    }
}
