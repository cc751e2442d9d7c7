//! Accepts connections.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_io_timeout::TimeoutStream;

use crate::gateway::Gateway;
use crate::http;
use crate::metrics::Metrics;
use crate::room::Place;
use crate::source::EventSource;

/// Longest time for the headers of a request, which is also the longest pause between two requests of a connection.
const HEADERS: Duration = Duration::from_secs(10);
/// The same behind a proxy: it must be the proxy that closes an idle connection, or a request could meet the closing. A load
/// balancer of AWS closes after 120 s.
const HEADERS_OF_PROXY: Duration = Duration::from_secs(150);
/// A client that takes nothing is closed by what serves it, with the reason. This much later the socket itself gives up: it
/// holds for single requests, too.
const GRACE: Duration = Duration::from_secs(5);
/// Room for the headers of a request.
const HEADER_BYTES: usize = 16_384;

/// Connections that may wait to be accepted: after a restart all clients come back at once.
const BACKLOG: u32 = 4_096;
/// What the kernel holds of what a slow client does not take, bytes. Left alone it would hold megabytes for each.
const SEND_BUFFER: u32 = 128 * 1024;

/// Begins to listen.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait until old connections are forgotten.
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts connections, for ever.
pub async fn serve<S: EventSource + 'static>(
    gateway: Rc<Gateway<S>>,
    metrics: Metrics,
    listener: TcpListener,
) -> Infallible {
    loop {
        match listener.accept().await {
            // Without room for it, the socket is closed without a word: one would have to be read and written first.
            Ok((stream, peer)) => {
                if let Ok(place) = gateway.admit(&gateway.sockets, peer.ip()) {
                    accept(&gateway, metrics.clone(), stream, place);
                }
            }
            Err(error) => {
                // Out of file descriptors, for example. It passes.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn accept<S: EventSource + 'static>(
    gateway: &Rc<Gateway<S>>,
    metrics: Metrics,
    stream: TcpStream,
    place: Place,
) {
    // An event must not wait for the acknowledgement of the one before. Without it only the delay is longer.
    let _set = stream.set_nodelay(true);
    let headers = if gateway.settings.trusted_proxies > 0 { HEADERS_OF_PROXY } else { HEADERS };
    let (gateway, place) = (Rc::clone(gateway), Rc::new(place));
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(gateway.settings.limits.stalled_after + GRACE));
    tokio::task::spawn_local(async move {
        let service = service_fn(|request| {
            let (gateway, metrics, place) = (Rc::clone(&gateway), &metrics, &place);
            async move { Ok::<_, Infallible>(http::respond(gateway, metrics, place, request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(headers)
            .max_buf_size(HEADER_BYTES)
            .serve_connection(TokioIo::new(Box::pin(stream)), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = gateway.stops() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection broke");
        }
    });
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::LazyLock;

    use events_core::delivery::{Cut, LogPage, Position};
    use events_processor::ports::PortError;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::LocalSet;

    use super::*;
    use crate::access::{Limits, ServeSettings};

    static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics::install().unwrap());

    /// A log without an event.
    #[derive(Debug)]
    struct Empty;

    impl EventSource for Empty {
        async fn wait(&self, _after: Position) -> Result<(), PortError> {
            std::future::pending().await
        }

        async fn page(&self, _after: Position, _limit: usize) -> Result<LogPage, PortError> {
            std::future::pending().await
        }

        async fn cut(&self, keys: &[String]) -> Result<Cut, PortError> {
            Ok(Cut { values: vec![None; keys.len()], position: Position::START })
        }
    }

    /// Serves a gateway while `client` runs.
    async fn with_gateway<F: Future<Output = ()>>(
        limits: Limits,
        client: impl FnOnce(Rc<Gateway<Empty>>, SocketAddr) -> F,
    ) {
        let settings = ServeSettings { limits, ..ServeSettings::default() };
        let gateway = Rc::new(Gateway::new(Rc::new(Empty), 10, settings));
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let server = serve(Rc::clone(&gateway), METRICS.clone(), listener);
        let client = tokio::time::timeout(Duration::from_secs(60), client(gateway, address));
        let both = async {
            tokio::select! {
                ended = client => ended.unwrap(),
                never = server => match never {},
            }
        };
        LocalSet::new().run_until(both).await;
    }

    #[tokio::test]
    async fn a_socket_without_room_is_closed_and_its_place_comes_back() {
        let limits = Limits { connections_per_ip: 1, requests_per_ip: 2, ..Limits::default() };
        with_gateway(limits, async |gateway, address| {
            let mut open = Vec::new();
            for _ in 0..3 {
                open.push(TcpStream::connect(address).await.unwrap());
            }
            let mut more = TcpStream::connect(address).await.unwrap();
            assert_eq!(more.read(&mut [0]).await.unwrap_or(0), 0, "closed at once");
            assert_eq!(gateway.stats.rejected.get(), 1);
            drop(open);
            gateway.sockets.empty().await;
            let mut again = TcpStream::connect(address).await.unwrap();
            again.write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
            let mut answer = [0; 15];
            again.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200 OK");
        })
        .await;
    }

    /// Asks for the same again and again, and reads nothing.
    #[tokio::test]
    async fn a_socket_whose_client_takes_nothing_is_closed() {
        let limits = Limits { stalled_after: Duration::ZERO, ..Limits::default() };
        with_gateway(limits, async |gateway, address| {
            let mut stalled = TcpStream::connect(address).await.unwrap();
            let request = b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n".repeat(100);
            while stalled.write_all(&request).await.is_ok() {}
            gateway.sockets.empty().await;
        })
        .await;
    }

    #[tokio::test]
    async fn a_websocket_that_gives_no_sign_is_closed_with_1001() {
        let (ping_every, silent_after) = (Duration::from_millis(50), Duration::from_millis(120));
        let limits = Limits { ping_every, silent_after, ..Limits::default() };
        with_gateway(limits, async |_, address| {
            let mut silent = TcpStream::connect(address).await.unwrap();
            let upgrade = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
            silent.write_all(upgrade.as_bytes()).await.unwrap();
            let mut all = Vec::new();
            silent.read_to_end(&mut all).await.unwrap();
            let close = [&[0x88, 2 + 21], &1001_u16.to_be_bytes()[..], b"no sign of the client"].concat();
            assert!(all.ends_with(&close), "{}", String::from_utf8_lossy(&all));
            // Two empty pings came before.
            assert!(all.windows(2).filter(|frame| *frame == [0x89, 0]).count() >= 2);
        })
        .await;
    }
}
