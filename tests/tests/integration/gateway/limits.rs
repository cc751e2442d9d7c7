//! Limits of the gateway, and how a client is told.

use events_harness::gateway::{Answer, GatewayProcess};
use events_harness::probes::live::{LiveClient, SseClient};
use events_harness::probes::wait::eventually;
use serde_json::json;

use super::{SOON, world};

#[tokio::test]
async fn each_limit_of_a_connection_has_its_close_code() {
    let (_redis, gateway) = world(&[]).await;
    let connect = || LiveClient::welcomed(gateway.port());
    let mut client = connect().await;
    client.send_binary(b"x").await;
    assert_eq!(client.closed().await, (1003, "only text is accepted".to_owned()));

    // A message of the most bytes is answered.
    let mut client = connect().await;
    client.send_text(&"x".repeat(8_192)).await;
    client.expect("error").await;
    client.send_text(&"x".repeat(8_193)).await;
    assert_eq!(client.closed().await, (1009, "a message has more than 8192 bytes".to_owned()));
    // So is one that is far above.
    let mut client = connect().await;
    client.send_text(&"x".repeat(1 << 20)).await;
    assert_eq!(client.closed().await.0, 1009);

    let mut client = connect().await;
    let channels: Vec<String> = (0..100).map(|n| format!("events:token:{n}")).collect();
    client.ask(&json!({"action": "subscribe", "channels": channels}), "snapshot").await;
    // The same again are no more channels.
    client.ask(&json!({"action": "subscribe", "channels": channels[..50]}), "snapshot").await;
    client.send(&json!({"action": "subscribe", "channel": "events:tvl"})).await;
    assert_eq!(client.closed().await, (4002, "a connection has at most 100 channels".to_owned()));

    let mut client = connect().await;
    for _ in 0..80 {
        client.send(&json!({"action": "ping"})).await;
    }
    assert_eq!(client.closed().await, (4003, "too many messages a second".to_owned()));
    assert_eq!(gateway.metric("gateway_over_limit_total").await, Some(5.0));
    // The places of all of them are free again.
    eventually(SOON, || async { gateway.metric("gateway_connections").await == Some(0.0) }).await;
}

/// How the gateway closes a new connection.
async fn refused(gateway: &GatewayProcess, headers: &[(&str, &str)]) -> (u16, String) {
    LiveClient::try_connect(gateway.port(), headers).await.unwrap().closed().await
}

async fn admitted(gateway: &GatewayProcess, headers: &[(&str, &str)]) -> LiveClient {
    let mut client = LiveClient::try_connect(gateway.port(), headers).await.unwrap();
    client.expect("welcome").await;
    client
}

#[tokio::test]
async fn a_full_gateway_says_when_to_come_back() {
    let (_redis, gateway) = world(&[("GATEWAY_MAX_CONNECTIONS", "2")]).await;
    let first = admitted(&gateway, &[]).await;
    let _stream = SseClient::connect(gateway.port(), "/sse?channel=events:tvl").await;
    let (code, reason) = refused(&gateway, &[]).await;
    let after: u64 = reason.strip_prefix("retryAfter=").unwrap().parse().unwrap();
    assert!(code == 1013 && (1_000..=5_000).contains(&after), "{code} {reason}");
    let answer = SseClient::try_connect(gateway.port(), "/sse?channel=events:tvl", &[]).await.unwrap_err();
    assert_eq!((answer.status, answer.header("retry-after")), (503, "5"));
    assert_eq!(gateway.metric("gateway_rejected_total").await, Some(2.0));
    drop(first);
    eventually(SOON, || async { gateway.metric("gateway_connections").await == Some(1.0) }).await;
    admitted(&gateway, &[]).await;
}

#[tokio::test]
async fn an_address_has_its_share_of_connections() {
    let (_redis, gateway) = world(&[("GATEWAY_MAX_CONNECTIONS_PER_IP", "2")]).await;
    let _clients = [admitted(&gateway, &[]).await, admitted(&gateway, &[]).await];
    let wanted = (4001, "too many connections from one address".to_owned());
    assert_eq!(refused(&gateway, &[]).await, wanted);
    // Without a proxy that is trusted, the header is only what a client says.
    assert_eq!(refused(&gateway, &[("X-Forwarded-For", "203.0.113.9")]).await, wanted);
    let answer = SseClient::try_connect(gateway.port(), "/sse?channel=events:tvl", &[]).await.unwrap_err();
    assert_eq!((answer.status, answer.header("retry-after")), (429, "5"));
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_own_address() {
    let env = [("GATEWAY_MAX_CONNECTIONS_PER_IP", "1"), ("GATEWAY_TRUSTED_PROXIES", "1")];
    let (_redis, gateway) = world(&env).await;
    let from = |address: &'static str| [("X-Forwarded-For", address)];
    let _one = admitted(&gateway, &from("203.0.113.1")).await;
    let _other = admitted(&gateway, &from("203.0.113.2")).await;
    assert_eq!(refused(&gateway, &from("203.0.113.1")).await.0, 4001);
    // What the client itself has written before the proxy changes nothing.
    assert_eq!(refused(&gateway, &from("198.51.100.7, 203.0.113.1")).await.0, 4001);
}

/// The status of an answer whose body is JSON with an `error`.
fn problem(answer: &Answer) -> (u16, String) {
    assert_eq!(answer.header("content-type"), "application/json", "{answer:?}");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    (answer.status, answer.json()["error"].as_str().unwrap().to_owned())
}

async fn handshake(gateway: &GatewayProcess, headers: &[(&str, &str)]) -> (u16, String) {
    problem(&LiveClient::try_connect(gateway.port(), headers).await.unwrap_err().unwrap())
}

#[tokio::test]
async fn an_api_key_is_needed_if_any_is_set() {
    const KEY: &str = "0123456789abcdef";
    let (_redis, gateway) = world(&[("GATEWAY_API_KEYS", "fedcba9876543210,0123456789abcdef")]).await;
    let bearer = |key: &'static str| [("Authorization", key)];
    let [wrong, part, bare] = ["Bearer 0123456789abcdeX", "Bearer 0123456789", KEY].map(bearer);
    for headers in [&[][..], &wrong, &part, &bare] {
        let (status, error) = handshake(&gateway, headers).await;
        assert!(status == 401 && error.contains("API key"), "{headers:?}: {status} {error}");
    }
    for path in ["/v1/events", "/v1/tvl/1", "/sse?channel=events:tvl", "/v1/events?key=wrong"] {
        assert_eq!(problem(&gateway.get(path).await).0, 401, "{path}");
    }
    let bearer = format!("Bearer {KEY}");
    admitted(&gateway, &[("Authorization", &bearer)]).await;
    assert_eq!(gateway.request("GET", "/v1/events", &[("Authorization", &bearer)]).await.status, 200);
    // A browser cannot set headers of a WebSocket.
    let path = format!("/sse?channel=events:tvl&key={KEY}");
    SseClient::connect(gateway.port(), &path).await.expect("snapshot").await;
    // Health, metrics and the page need none.
    for path in ["/healthz", "/readyz", "/metrics", "/"] {
        assert_eq!(gateway.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_page_of_another_host_may_connect_only_if_it_is_listed() {
    let (redis, gateway) = world(&[]).await;
    let foreign = [("Origin", "https://evil.example")];
    let (status, error) = handshake(&gateway, &foreign).await;
    assert!(status == 403 && error.contains("GATEWAY_ORIGINS"), "{status} {error}");
    for path in ["/v1/events", "/sse?channel=events:tvl"] {
        assert_eq!(problem(&gateway.request("GET", path, &foreign).await).0, 403, "{path}");
    }
    // The page of the gateway itself.
    let own = format!("http://127.0.0.1:{}", gateway.port());
    admitted(&gateway, &[("Origin", &own)]).await;

    let env = [("GATEWAY_ORIGINS", "https://app.example.org")];
    let gateway = GatewayProcess::ready(&redis.url(), &env).await;
    let listed = [("Origin", "https://app.example.org")];
    admitted(&gateway, &listed).await;
    let answer = gateway.request("GET", "/v1/events", &listed).await;
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example.org");
    // A browser asks before it sends a key in a header.
    let asked = gateway.request("OPTIONS", "/v1/events", &listed).await;
    assert_eq!(
        (asked.status, asked.header("access-control-allow-headers")),
        (204, "authorization, last-event-id")
    );
    assert_eq!(asked.header("access-control-allow-origin"), "https://app.example.org");
    let asked = gateway.request("OPTIONS", "/v1/events", &foreign).await;
    assert_eq!(asked.header("access-control-allow-origin"), "");
    assert_eq!(handshake(&gateway, &foreign).await.0, 403);
}

#[tokio::test]
async fn what_is_no_websocket_and_no_known_path_is_told_so() {
    let (_redis, gateway) = world(&[]).await;
    let answer = gateway.get("/ws").await;
    assert_eq!(problem(&answer).0, 426);
    assert_eq!((answer.header("upgrade"), answer.header("sec-websocket-version")), ("websocket", "13"));
    let old = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "8"),
    ];
    // The connection stays open for a further request, so the answer is read as that of a stream.
    assert_eq!(problem(&SseClient::try_connect(gateway.port(), "/ws", &old).await.unwrap_err()).0, 426);
    for (path, status) in [
        ("/nothing", 404),
        ("/v1/nothing", 404),
        ("/v1/tvl/", 404),
        ("/v1/tvl/unknown", 404),
        ("/page/nothing.js", 404),
        ("/v1/events?limit=0", 400),
        ("/v1/events?limit=1001", 400),
        ("/v1/events?limit=x", 400),
        ("/v1/events?since=yesterday", 400),
        ("/v1/events?channel=tvl", 400),
    ] {
        let (got, error) = problem(&gateway.get(path).await);
        assert!(got == status && error.len() > 10, "{path}: {got} {error}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = gateway.request(method, "/v1/events", &[]).await;
        assert_eq!((problem(&answer).0, answer.header("allow")), (405, "GET, HEAD"), "{method}");
    }
}
