//! What is measured, and its text for Prometheus.

use std::cell::Cell;
use std::fmt::Write;

use crate::hub::{Hub, HubFigures};

/// Bounds of the buckets of the time from the log to the hub, s.
const BOUNDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0];

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(Cell<u64>);

impl Counter {
    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.set(self.0.get() + count);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// What the parts of the gateway count. One thread writes and reads it.
#[derive(Debug, Default)]
pub struct Stats {
    /// Clients that were not let in.
    pub rejected: Counter,
    /// Connections that the gateway closed because they took nothing.
    pub stalled: Counter,
    /// Connections that the gateway closed because they broke a limit.
    pub over_limit: Counter,
    /// Connections of WebSocket clients so far.
    pub websockets: Counter,
    /// Connections of clients of Server-Sent Events so far.
    pub event_streams: Counter,
    /// Entries of the log that are no event.
    pub unreadable: Counter,
    /// True while the log is read without an error.
    pub redis: Cell<bool>,
    /// True once all entries of the log were read, and since.
    pub following: Cell<bool>,
    /// When the log was read last, ms since 1970.
    pub read_ms: Cell<i64>,
    delays: [Cell<u64>; BOUNDS.len() + 1],
    delay_sum_ms: Cell<u64>,
}

impl Stats {
    /// An event came so many ms after its commit.
    pub fn delay(&self, ms: u64) {
        let seconds = ms as f64 / 1e3;
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.delays[bucket].set(self.delays[bucket].get() + 1);
        self.delay_sum_ms.set(self.delay_sum_ms.get() + ms);
    }

    /// How long ago the log was read, ms.
    pub fn lag_ms(&self, now_ms: i64) -> i64 {
        (now_ms - self.read_ms.get()).max(0)
    }

    /// The metrics in the text format of Prometheus.
    pub fn prometheus(&self, hub: &Hub, connections: usize, now_ms: i64) -> String {
        let HubFigures { events, deliveries, dropped, gaps } = hub.figures();
        let mut text = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, value: f64| {
            // Writing to a `String` cannot fail.
            let _always_written =
                writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        };
        let whole = |value: usize| value as f64;
        metric("gateway_connections", "gauge", "Open connections of clients", whole(connections));
        metric("gateway_events_in_memory", "gauge", "Events of the log in memory", whole(hub.events()));
        metric("gateway_redis_up", "gauge", "1 while the log is read", f64::from(self.redis.get()));
        metric(
            "gateway_following",
            "gauge",
            "1 while the gateway is at the end of the log",
            f64::from(self.following.get()),
        );
        metric(
            "gateway_lag_seconds",
            "gauge",
            "Time since the log was read last",
            self.lag_ms(now_ms) as f64 / 1e3,
        );
        for (name, help, value) in [
            ("gateway_events_total", "Events read from the log", events),
            ("gateway_deliveries_total", "Events put before a connection", deliveries),
            ("gateway_dropped_total", "Events dropped because a connection was too slow", dropped),
            ("gateway_gaps_total", "Connections that lost their place in the log", gaps),
            ("gateway_rejected_total", "Clients that were not let in", self.rejected.get()),
            ("gateway_stalled_total", "Connections closed because they took nothing", self.stalled.get()),
            (
                "gateway_over_limit_total",
                "Connections closed because they broke a limit",
                self.over_limit.get(),
            ),
            ("gateway_websockets_total", "WebSocket connections", self.websockets.get()),
            ("gateway_event_streams_total", "Connections for Server-Sent Events", self.event_streams.get()),
            ("gateway_unreadable_total", "Entries of the log that are no event", self.unreadable.get()),
        ] {
            metric(name, "counter", help, value as f64);
        }
        self.delays_text(&mut text);
        text
    }

    fn delays_text(&self, text: &mut String) {
        let name = "gateway_event_delay_seconds";
        let mut line = |line: std::fmt::Arguments<'_>| {
            let _always_written = text.write_fmt(line);
        };
        line(format_args!(
            "# HELP {name} From the commit of an event to the gateway\n# TYPE {name} histogram\n"
        ));
        let mut sum = 0;
        for (bucket, count) in self.delays.iter().enumerate() {
            sum += count.get();
            match BOUNDS.get(bucket) {
                Some(bound) => line(format_args!("{name}_bucket{{le=\"{bound}\"}} {sum}\n")),
                None => line(format_args!("{name}_bucket{{le=\"+Inf\"}} {sum}\n")),
            }
        }
        line(format_args!("{name}_sum {}\n{name}_count {sum}\n", self.delay_sum_ms.get() as f64 / 1e3));
    }
}
