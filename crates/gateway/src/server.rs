//! Accepts connections.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::gateway::Gateway;
use crate::http;
use crate::metrics::Metrics;
use crate::source::EventSource;

/// Longest time for the headers of a request, which is also the longest pause between two requests of a connection.
const HEADERS: Duration = Duration::from_secs(10);
/// The same behind a proxy: it must be the proxy that closes an idle connection, or a request could meet the closing. A load
/// balancer of AWS closes after 120 s.
const HEADERS_OF_PROXY: Duration = Duration::from_secs(150);
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
            Ok((stream, peer)) => accept(&gateway, metrics.clone(), stream, peer.ip()),
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
    peer: IpAddr,
) {
    // An event must not wait for the acknowledgement of the one before. Without it only the delay is longer.
    let _set = stream.set_nodelay(true);
    let headers = if gateway.settings.trusted_proxies > 0 { HEADERS_OF_PROXY } else { HEADERS };
    let (gateway, socket) = (Rc::clone(gateway), gateway.socket());
    tokio::task::spawn_local(async move {
        let _open = socket;
        let service = service_fn(|request| {
            let (gateway, metrics) = (Rc::clone(&gateway), &metrics);
            async move { Ok::<_, Infallible>(http::respond(gateway, metrics, peer, request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(headers)
            .max_buf_size(HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service)
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
