//! A minimal HTTP/1 server on loopback, for fakes of AWS services.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A request with its complete body.
pub type Request = hyper::Request<Bytes>;
/// A response. `None` closes the connection without one.
pub type Response = Option<hyper::Response<Full<Bytes>>>;

/// A running server. Stops on drop and closes every connection.
#[derive(Debug)]
pub struct Server {
    /// Its address.
    pub addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Starts it on a free port of loopback. `handler` answers every request.
    pub async fn start<F, Fut>(handler: F) -> Self
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Response> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
        let addr = listener.local_addr().expect("a bound address");
        let handler = Arc::new(handler);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(connection(stream, Arc::clone(&handler)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { addr, task }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Requests a path of a server on loopback. Returns the status and the body; `None` if there is no complete answer.
pub async fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

async fn connection<F, Fut>(stream: TcpStream, handler: Arc<F>)
where
    F: Fn(Request) -> Fut,
    Fut: Future<Output = Response>,
{
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: hyper::Request<Incoming>| async {
        let (head, body) = request.into_parts();
        // Hyper closes the connection when the service returns an error.
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let response = handler(Request::from_parts(head, body)).await;
        response.ok_or_else(|| io::Error::other("the handler returned no response: closing the connection"))
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// A response with a status, headers and a body.
pub fn respond(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response {
    let mut response = hyper::Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    Some(response.body(Full::new(body.into())).unwrap_or_else(|error| panic!("a valid response: {error}")))
}
