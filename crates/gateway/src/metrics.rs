//! The metrics, in the text format of Prometheus.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::gateway::Gateway;
use crate::hub::HubFigures;
use crate::stats::DELAY;

/// Bounds of the buckets of [`DELAY`], s.
const BOUNDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0];

/// The collected metrics of this process.
#[derive(Clone, Debug)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Begins to collect metrics. Call it once per process.
    pub fn install() -> Result<Self, String> {
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(DELAY.to_owned()), &BOUNDS)
            .and_then(PrometheusBuilder::install_recorder)
            .map_err(|error| error.to_string())?;
        metrics::describe_histogram!(DELAY, "From the commit of an event to the gateway");
        Ok(Self(handle))
    }

    /// The metrics now.
    pub(crate) fn text<S>(&self, gateway: &Gateway<S>, now_ms: i64) -> String {
        let (hub, stats) = (gateway.hub.borrow(), &gateway.stats);
        for (name, help, value) in [
            ("gateway_connections", "Open connections of clients", gateway.connections() as f64),
            ("gateway_events_in_memory", "Events of the log in memory", hub.events() as f64),
            ("gateway_redis_up", "1 while the log is read", f64::from(stats.redis.get())),
            (
                "gateway_following",
                "1 while the gateway is at the end of the log",
                f64::from(stats.following.get()),
            ),
            ("gateway_lag_seconds", "Time since the log was read last", stats.lag_ms(now_ms) as f64 / 1e3),
        ] {
            metrics::describe_gauge!(name, help);
            metrics::gauge!(name).set(value);
        }
        let HubFigures { events, deliveries, dropped, gaps } = hub.figures();
        for (name, help, value) in [
            ("gateway_events_total", "Events read from the log", events),
            ("gateway_deliveries_total", "Events put before a connection", deliveries),
            ("gateway_dropped_total", "Events dropped because a connection was too slow", dropped),
            ("gateway_gaps_total", "Connections that lost their place in the log", gaps),
            ("gateway_rejected_total", "Clients that were not let in", stats.rejected.get()),
            ("gateway_stalled_total", "Connections closed because they took nothing", stats.stalled.get()),
            (
                "gateway_over_limit_total",
                "Connections closed because they broke a limit",
                stats.over_limit.get(),
            ),
            ("gateway_websockets_total", "WebSocket connections", stats.websockets.get()),
            ("gateway_event_streams_total", "Connections for Server-Sent Events", stats.event_streams.get()),
            ("gateway_unreadable_total", "Entries of the log that are no event", stats.unreadable.get()),
        ] {
            metrics::describe_counter!(name, help);
            metrics::counter!(name).absolute(value);
        }
        self.0.run_upkeep();
        self.0.render()
    }
}
