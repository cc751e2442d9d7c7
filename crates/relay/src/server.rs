//! Health and metrics over HTTP.
//!
//! | path | answer |
//! |---|---|
//! | `/health/live` | 200 while the loop turns, else 503 |
//! | `/health/ready` | 200 while the database answers and changes are delivered, else 503 |
//! | `/metrics` | the metrics, in the text format of Prometheus |

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use events_adapters::time::SystemTimer;
use events_processor::ports::Timer;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;

use crate::stats::Stats;

/// A loop that has not turned for so long hangs: one attempt to deliver takes at most the time of a lease.
const HANGS_AFTER_MS: i64 = 60_000;
/// Bounds of the buckets of latencies, s.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 10.0, 60.0];
/// Longest time for the headers of a request.
const PATIENCE: Duration = Duration::from_secs(3);

/// Serves requests.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    stats: Arc<Stats>,
    metrics: PrometheusHandle,
}

impl Server {
    /// Begins to listen, and to collect metrics. Call it once per process.
    pub async fn start(address: SocketAddr, stats: Arc<Stats>) -> io::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| io::Error::new(error.kind(), format!("RELAY_LISTEN {address}: {error}")))?;
        let metrics = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)
            .and_then(PrometheusBuilder::install_recorder)
            .map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self { listener, stats, metrics })
    }

    /// The address that is served.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until it is dropped.
    pub async fn run(self) -> Infallible {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, for example. It passes.
                    tracing::warn!(%error, "a connection for health or metrics was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (stats, metrics) = (Arc::clone(&self.stats), self.metrics.clone());
            tokio::spawn(async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let response = respond(request.uri().path(), &stats, &metrics);
                    async move { Ok::<_, Infallible>(response) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(PATIENCE)
                    .serve_connection(TokioIo::new(stream), service);
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection for health or metrics broke");
                }
            });
        }
    }
}

fn now_ms() -> i64 {
    SystemTimer::default().now_ms()
}

fn respond(path: &str, stats: &Stats, metrics: &PrometheusHandle) -> Response<Full<Bytes>> {
    let now_ms = now_ms();
    let figures = stats.figures(now_ms);
    let answer = |healthy: bool, text: String| {
        let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        response(status, text)
    };
    match path {
        "/health/live" => {
            let idle_ms = now_ms - stats.turned_ms();
            answer(idle_ms < HANGS_AFTER_MS, format!("last turn {idle_ms} ms ago\n"))
        }
        "/health/ready" => answer(
            figures.database && figures.delivers,
            format!("database {}, delivers {}\n", figures.database, figures.delivers),
        ),
        "/metrics" => {
            for (name, value) in [
                ("relay_lag_seconds", figures.lag_ms as f64 / 1e3),
                ("relay_pending_changes", figures.pending as f64),
                ("relay_aside_changes", figures.aside as f64),
                ("relay_lanes", figures.lanes as f64),
                ("relay_database_up", f64::from(u8::from(figures.database))),
                ("relay_delivers", f64::from(u8::from(figures.delivers))),
            ] {
                metrics::gauge!(name).set(value);
            }
            metrics.run_upkeep();
            response(StatusCode::OK, metrics.render())
        }
        _ => response(
            StatusCode::NOT_FOUND,
            "accepted are /health/live, /health/ready and /metrics\n".to_owned(),
        ),
    }
}

fn response(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
}
