//! Where events go.

use std::io::Write;

use events_adapters::redis::RedisPublisher;
use events_adapters::sqs::SqsQueue;
use events_adapters::time::SystemTimer;
use events_processor::memory::MemoryQueue;
use events_processor::ports::Timer;
use events_wiring::FallbackQueue;

use super::checkpoint::LineFile;

/// Attempts to publish an event.
const ATTEMPTS: u32 = 5;

/// Where events go.
#[derive(Debug)]
pub(super) enum Sink {
    /// To a file, a line each.
    File(LineFile),
    /// To standard output, a line each.
    Stdout,
    /// To a channel of Redis.
    Channel(RedisPublisher, String),
    /// To a queue: the processor itself sends them, in the order that it keeps.
    Queue(SqsQueue),
}

impl Sink {
    /// The queue of the processor.
    pub(super) fn queue(&self) -> FallbackQueue<SqsQueue> {
        match self {
            Self::Queue(queue) => FallbackQueue::Set(queue.clone()),
            Self::File(_) | Self::Stdout | Self::Channel(..) => FallbackQueue::Memory(MemoryQueue::default()),
        }
    }

    /// Takes the events of a protocol or token. Returns how many bytes the file has got.
    pub(super) async fn take(&mut self, events: &[String]) -> Result<u64, String> {
        let text: String = events.iter().flat_map(|event| [event, "\n"]).collect();
        match self {
            Self::File(file) => file.append(&text)?,
            Self::Stdout => {
                let mut out = std::io::stdout();
                let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
                written.map_err(|error| format!("standard output: {error}"))?;
            }
            Self::Channel(publisher, channel) => {
                for event in events {
                    publish(publisher, channel, event).await?;
                }
            }
            Self::Queue(_) => {}
        }
        Ok(text.len() as u64)
    }
}

async fn publish(publisher: &RedisPublisher, channel: &str, event: &str) -> Result<(), String> {
    let timer = SystemTimer::default();
    let mut attempt = 1;
    loop {
        match publisher.publish(channel, event).await {
            Err(error) if error.is_transient() && attempt < ATTEMPTS => {
                timer.sleep(timer.backoff(attempt)).await;
                attempt += 1;
            }
            answer => return answer.map_err(|error| error.to_string()),
        }
    }
}
