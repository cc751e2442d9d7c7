//! Requests over HTTP: the page, the read API, health, metrics, and the beginning of each connection.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use events_core::source::Subject;
use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::access::Origins;
use crate::clock::now_ms;
use crate::gateway::Gateway;
use crate::hub::{Filters, Name};
use crate::metrics::Metrics;
use crate::page::{self, CONTENT_SECURITY_POLICY};
use crate::protocol::{self, Subscribe};
use crate::room::{Full as NoRoom, Place};
use crate::source::EventSource;
use crate::{sse, ws};

/// Longest time without a read of the log before the gateway says that it is not ready, ms.
const READY_LAG_MS: i64 = 10_000;
/// Most events of one answer.
const MOST_EVENTS: usize = 1_000;
/// Events of one answer if nothing else is asked for.
const EVENTS: usize = 100;

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Answer {
    /// All of it.
    Whole(Full<Bytes>),
    /// Server-Sent Events.
    Events(sse::EventStream),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context),
            Self::Events(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Events(body) => body.size_hint(),
        }
    }
}

type Reply = Response<Answer>;

/// Answers a request.
pub(crate) async fn respond<S: EventSource + 'static>(
    gateway: Rc<Gateway<S>>,
    metrics: &Metrics,
    place: &Rc<Place>,
    request: Request<Incoming>,
) -> Reply {
    let path = request.uri().path().to_owned();
    let may_be_foreign = path.starts_with("/v1/") || path == "/sse";
    if request.method() == Method::OPTIONS && may_be_foreign && request.headers().contains_key(header::ORIGIN)
    {
        return preflight(&gateway, request.headers());
    }
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_read {
        return with(error(StatusCode::METHOD_NOT_ALLOWED, "accepted is GET"), header::ALLOW, "GET, HEAD");
    }
    if let Some(file) = page::find(&path) {
        return page_file(file, request.headers());
    }
    match path.as_str() {
        "/healthz" => text(StatusCode::OK, "text/plain; charset=utf-8", "ok\n"),
        "/readyz" => ready(&gateway),
        "/metrics" => text(StatusCode::OK, "text/plain; version=0.0.4", metrics.text(&gateway, now_ms())),
        "/ws" | "/sse" => connect(gateway, place, request).await,
        _ if path.starts_with("/v1/") => {
            let allowed = allowed_origin(&gateway, request.headers());
            let mut reply = match allowed {
                Ok(_) => api(&gateway, &request).await,
                Err(()) => {
                    error(StatusCode::FORBIDDEN, "pages of this origin may not read: see GATEWAY_ORIGINS")
                }
            };
            if let Ok(Some(origin)) = allowed {
                reply =
                    with(with(reply, header::ACCESS_CONTROL_ALLOW_ORIGIN, &origin), header::VARY, "Origin");
            }
            with(reply, header::CACHE_CONTROL, "no-store")
        }
        _ => error(
            StatusCode::NOT_FOUND,
            "accepted are /, /ws, /sse, /v1/tvl/{protocolId}, /v1/price/{tokenId}, /v1/events, /healthz, /readyz and /metrics",
        ),
    }
}

fn text(status: StatusCode, media_type: &'static str, text: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Answer::Whole(Full::new(text.into())));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    with(reply, header::X_CONTENT_TYPE_OPTIONS, "nosniff")
}

fn with(mut reply: Reply, name: HeaderName, value: &str) -> Reply {
    // Every value here is made of visible characters.
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(name, value);
    }
    reply
}

fn json(status: StatusCode, json: String) -> Reply {
    text(status, "application/json", json)
}

fn error(status: StatusCode, message: &str) -> Reply {
    json(status, serde_json::json!({"error": message}).to_string())
}

fn page_file(file: &'static page::File, headers: &HeaderMap) -> Reply {
    let listed = |name: HeaderName, wanted: &str| {
        headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains(wanted))
    };
    let mut reply = if listed(header::IF_NONE_MATCH, &file.etag) {
        text(StatusCode::NOT_MODIFIED, file.media_type, "")
    } else if listed(header::ACCEPT_ENCODING, "gzip") && !file.gzip.is_empty() {
        let reply = text(StatusCode::OK, file.media_type, file.gzip.clone());
        with(reply, header::CONTENT_ENCODING, "gzip")
    } else {
        text(StatusCode::OK, file.media_type, file.text.clone())
    };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::ETAG, &*file.etag),
        // A new version of the program may have a new page at once.
        (header::CACHE_CONTROL, "no-cache"),
        (header::VARY, "Accept-Encoding"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        reply = with(reply, name, value);
    }
    reply
}

fn ready<S>(gateway: &Gateway<S>) -> Reply {
    let lag_ms = gateway.stats.lag_ms(now_ms());
    let (loaded, stopping) = (gateway.is_loaded(), *gateway.stopping.borrow());
    let is_ready = loaded && !stopping && lag_ms < READY_LAG_MS;
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let line = format!("loaded {loaded}, log read {lag_ms} ms ago, stopping {stopping}\n");
    text(status, "text/plain; charset=utf-8", line)
}

/// Whether the page that makes a request may: the origin to allow, if a page of another host makes it.
fn allowed_origin<S>(gateway: &Gateway<S>, headers: &HeaderMap) -> Result<Option<String>, ()> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(None) };
    let origin = origin.to_str().map_err(|_| ())?.to_ascii_lowercase();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is_own =
        origin.split_once("://").is_some_and(|(_, origin_host)| origin_host.eq_ignore_ascii_case(host));
    match &gateway.settings.origins {
        _ if is_own => Ok(None),
        Origins::Any => Ok(Some(origin)),
        Origins::Listed(listed) if listed.contains(&origin) => Ok(Some(origin)),
        Origins::Listed(_) | Origins::Own => Err(()),
    }
}

/// Answers a browser that asks whether a page of another host may send a key in `Authorization`.
fn preflight<S>(gateway: &Gateway<S>, headers: &HeaderMap) -> Reply {
    let mut reply = Response::new(Answer::Whole(Full::default()));
    *reply.status_mut() = StatusCode::NO_CONTENT;
    let Ok(Some(origin)) = allowed_origin(gateway, headers) else { return reply };
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, &*origin),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, last-event-id"),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
        (header::VARY, "Origin"),
    ] {
        reply = with(reply, name, value);
    }
    reply
}

/// The parts of a query, decoded.
fn query(request: &Request<Incoming>) -> Vec<(String, String)> {
    let query = request.uri().query().unwrap_or_default();
    let parts = query.split('&').filter(|part| !part.is_empty());
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decoded(&name.replace('+', " ")), decoded(&value.replace('+', " ")))
    };
    parts.map(pair).collect()
}

/// Decodes percent escapes. An escape that is none stays as it is.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn first<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    query.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str())
}

fn has_key<S>(gateway: &Gateway<S>, headers: &HeaderMap, query: &[(String, String)]) -> bool {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key)
    });
    gateway.settings.api_keys.accept(bearer.or_else(|| first(query, "key")))
}

const NO_KEY: &str = "an API key is missing or wrong: send Authorization: Bearer KEY, or ?key=KEY";

/// The address of the client: that of the peer, or what trusted proxies say.
fn client_address(peer: IpAddr, headers: &HeaderMap, trusted_proxies: usize) -> IpAddr {
    if trusted_proxies == 0 {
        return peer;
    }
    let forwarded: Vec<&str> = headers
        .get_all(HeaderName::from_static("x-forwarded-for"))
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    // Each proxy appends the address that it sees. What stands before the last `trusted_proxies` anyone can write.
    let index = forwarded.len().checked_sub(trusted_proxies);
    // Some proxies append the port, too.
    let address = |text: &str| text.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    index.and_then(|index| address(forwarded[index])).unwrap_or(peer)
}

/// Begins a WebSocket, or a stream of Server-Sent Events.
async fn connect<S: EventSource + 'static>(
    gateway: Rc<Gateway<S>>,
    place: &Rc<Place>,
    mut request: Request<Incoming>,
) -> Reply {
    let origin = match allowed_origin(&gateway, request.headers()) {
        Ok(origin) => origin,
        Err(()) => {
            return error(StatusCode::FORBIDDEN, "pages of this origin may not connect: see GATEWAY_ORIGINS");
        }
    };
    let query = query(&request);
    if !has_key(&gateway, request.headers(), &query) {
        return error(StatusCode::UNAUTHORIZED, NO_KEY);
    }
    let address = client_address(place.address, request.headers(), gateway.settings.trusted_proxies);
    if request.uri().path() == "/sse" {
        let reply = event_stream(&gateway, address, request.headers(), &query).await;
        return match origin {
            Some(origin) => with(reply, header::ACCESS_CONTROL_ALLOW_ORIGIN, &origin),
            None => reply,
        };
    }
    let value = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let lists = |name, wanted: &str| {
        value(name).is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(wanted)))
    };
    let key = value(header::SEC_WEBSOCKET_KEY).filter(|_| {
        lists(header::CONNECTION, "upgrade")
            && lists(header::UPGRADE, "websocket")
            && value(header::SEC_WEBSOCKET_VERSION) == Some("13")
    });
    let Some(accept) = key.map(|key| derive_accept_key(key.as_bytes())) else {
        let reply =
            error(StatusCode::UPGRADE_REQUIRED, "/ws speaks WebSocket (version 13); /sse is for plain HTTP");
        let reply = with(reply, header::UPGRADE, "websocket");
        return with(reply, header::SEC_WEBSOCKET_VERSION, "13");
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let socket = Rc::clone(place);
    tokio::task::spawn_local(async move {
        let _open = socket;
        let stream = match upgrade.await {
            Ok(stream) => TokioIo::new(stream),
            Err(error) => {
                tracing::debug!(%error, "a client was gone before its WebSocket began");
                return;
            }
        };
        match gateway.admit(&gateway.clients, address) {
            Ok(place) => ws::serve(gateway, stream, place).await,
            Err(full) => ws::refuse(stream, full, &gateway.settings.limits).await,
        }
    });
    let mut reply = Response::new(Answer::Whole(Full::default()));
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let reply = with(reply, header::CONNECTION, "Upgrade");
    with(with(reply, header::UPGRADE, "websocket"), header::SEC_WEBSOCKET_ACCEPT, &accept)
}

async fn event_stream<S: EventSource + 'static>(
    gateway: &Rc<Gateway<S>>,
    address: IpAddr,
    headers: &HeaderMap,
    query: &[(String, String)],
) -> Reply {
    let wish = match event_stream_wish(headers, query) {
        Ok(wish) => wish,
        Err(problem) => return error(StatusCode::BAD_REQUEST, &problem),
    };
    let place = match gateway.admit(&gateway.clients, address) {
        Ok(place) => place,
        Err(full) => {
            let (status, reason) = match full {
                NoRoom::All => (StatusCode::SERVICE_UNAVAILABLE, "the gateway is full"),
                NoRoom::Address => (StatusCode::TOO_MANY_REQUESTS, "too many connections from one address"),
            };
            return with(error(status, reason), header::RETRY_AFTER, "5");
        }
    };
    match sse::serve(gateway, place, wish).await {
        Ok(body) => {
            let mut reply = Response::new(Answer::Events(body));
            let media_type = HeaderValue::from_static("text/event-stream");
            reply.headers_mut().insert(header::CONTENT_TYPE, media_type);
            // A proxy that collects the answer would hold events back.
            let reply = with(reply, HeaderName::from_static("x-accel-buffering"), "no");
            with(reply, header::CACHE_CONTROL, "no-store")
        }
        Err(_) => {
            let most = gateway.settings.limits.channels;
            error(StatusCode::BAD_REQUEST, &format!("a connection has at most {most} channels"))
        }
    }
}

fn event_stream_wish(headers: &HeaderMap, query: &[(String, String)]) -> Result<Subscribe, String> {
    let mut names = Vec::new();
    let mut filters = Filters::default();
    for (name, value) in query {
        let of_json = |what: &str| format!("{what} is {value:?}");
        match name.as_str() {
            "channel" => names.push(protocol::name(value)?),
            "protocolId" => filters.protocol_ids.push(value.clone()),
            "tokenId" => filters.token_ids.push(value.clone()),
            "chain" => filters.chains.push(value.clone()),
            "eventType" => {
                let read = serde_json::from_value(value.as_str().into());
                filters.event_types.push(read.map_err(|error| format!("{}: {error}", of_json("eventType")))?);
            }
            "minPriority" => {
                let read = serde_json::from_value(value.as_str().into());
                filters.min_priority =
                    Some(read.map_err(|error| format!("{}: {error}", of_json("minPriority")))?);
            }
            "since" | "key" => {}
            other => {
                return Err(format!(
                    "the parameter {other:?} is unknown; accepted are channel, since, protocolId, tokenId, chain, eventType, \
                     minPriority and key"
                ));
            }
        }
    }
    if names.is_empty() {
        return Err("channel is missing, such as /sse?channel=events:tvl".to_owned());
    }
    // A browser that comes back sends the last id that it saw, which is newer than that of the URL.
    let last_id =
        headers.get("last-event-id").and_then(|value| value.to_str().ok()).filter(|id| !id.is_empty());
    let since = last_id.or_else(|| first(query, "since")).map(protocol::position).transpose()?;
    Ok(Subscribe { names, filters, since, snapshot: true })
}

/// The read API.
async fn api<S: EventSource>(gateway: &Gateway<S>, request: &Request<Incoming>) -> Reply {
    let query = query(request);
    if !has_key(gateway, request.headers(), &query) {
        return error(StatusCode::UNAUTHORIZED, NO_KEY);
    }
    let path = request.uri().path();
    if path == "/v1/events" {
        return events(gateway, &query);
    }
    let keys = &gateway.settings.keys;
    let key = if let Some(id) = path.strip_prefix("/v1/tvl/").filter(|id| !id.is_empty()) {
        let id = decoded(id);
        let protocol = Subject::Protocol(gateway.hub.borrow().protocol_id(&id).to_owned());
        match first(&query, "chain") {
            Some(chain) => keys.chain_tvl(&protocol, chain),
            None => keys.tvl(&protocol),
        }
    } else if let Some(id) = path.strip_prefix("/v1/price/").filter(|id| !id.is_empty()) {
        keys.price(&Subject::Token(decoded(id)))
    } else {
        let accepted = "accepted are /v1/tvl/{protocolId}, /v1/price/{tokenId} and /v1/events";
        return error(StatusCode::NOT_FOUND, accepted);
    };
    let Some(cut) = gateway.snapshots.read(vec![key]).await else {
        return error(StatusCode::SERVICE_UNAVAILABLE, "the values cannot be read now");
    };
    match cut.values.into_iter().next().flatten() {
        Some(value) => json(StatusCode::OK, value),
        None => error(StatusCode::NOT_FOUND, "nothing is known of it, or its value is too old"),
    }
}

fn events<S>(gateway: &Gateway<S>, query: &[(String, String)]) -> Reply {
    let asked = || {
        let name = first(query, "channel").map_or_else(|| Ok(Name::new("events:*")), protocol::name)?;
        let since = first(query, "since").map(protocol::position).transpose()?;
        let limit = first(query, "limit").map_or(Ok(EVENTS), |text| {
            let limit = text.parse().ok().filter(|limit| (1..=MOST_EVENTS).contains(limit));
            limit.ok_or_else(|| {
                format!("limit is {text:?}; it accepts a whole number from 1 to {MOST_EVENTS}")
            })
        })?;
        Ok((name, since, limit))
    };
    let (name, since, limit) = match asked() {
        Ok(asked) => asked,
        Err(problem) => {
            let problem: String = problem;
            return error(StatusCode::BAD_REQUEST, &problem);
        }
    };
    let hub = gateway.hub.borrow();
    let gap = since.is_some_and(|since| !hub.covers(since));
    // A client goes on after this position.
    let (events, position) = match since.filter(|_| !gap) {
        Some(since) => hub.events_after(&name, since, limit),
        None => (hub.newest_events(&name, limit), hub.newest()),
    };
    let more = position < hub.newest();
    let listed: Vec<Cow<'_, str>> = events.iter().map(|event| event.json.as_str().into()).collect();
    json(
        StatusCode::OK,
        format!(
            "{{\"position\":\"{position}\",\"oldest\":\"{}\",\"gap\":{gap},\"more\":{more},\"events\":[{}]}}",
            hub.floor(),
            listed.join(",")
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded() {
        for (text, wanted) in
            [("a%2Fb", "a/b"), ("%", "%"), ("%zz%4", "%zz%4"), ("%C3%A9", "é"), ("%é", "%é")]
        {
            assert_eq!(decoded(text), wanted);
        }
    }

    #[test]
    fn only_trusted_proxies_say_who_the_client_is() {
        let peer: IpAddr = "10.0.0.1".parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", HeaderValue::from_static("1.1.1.1, 2.2.2.2"));
        headers.append("x-forwarded-for", HeaderValue::from_static("3.3.3.3:4444"));
        let address = |trusted| client_address(peer, &headers, trusted).to_string();
        assert_eq!([0, 1, 2, 3, 4].map(address), ["10.0.0.1", "3.3.3.3", "2.2.2.2", "1.1.1.1", "10.0.0.1"]);
    }
}
