//! A connection for Server-Sent Events.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame};
use tokio::sync::mpsc;

use crate::connection::Connection;
use crate::gateway::{Gateway, Refused};
use crate::hub::{Item, Message, Taken};
use crate::protocol::{self, Subscribe};
use crate::room::Place;
use crate::source::EventSource;
use crate::ws::retry_after_ms;

/// Parts of the answer that wait for hyper. What waits longer waits in the hub, which drops the oldest.
const PARTS: usize = 1;
/// Messages of one part.
const TOGETHER: usize = 16;

/// The body of the answer: parts as they come.
#[derive(Debug)]
pub(crate) struct EventStream {
    parts: mpsc::Receiver<Bytes>,
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.parts.poll_recv(context).map(|part| part.map(|part| Ok(Frame::data(part))))
    }
}

/// Subscribes a client. Returns the body of the answer.
pub(crate) async fn serve<S: EventSource + 'static>(
    gateway: &Rc<Gateway<S>>,
    place: Place,
    wish: Subscribe,
) -> Result<EventStream, Refused> {
    gateway.stats.event_streams.add(1);
    let connection = Connection::new(gateway);
    gateway.subscribe(connection.id, wish).await?;
    let (sender, parts) = mpsc::channel(PARTS);
    let gateway = Rc::clone(gateway);
    tokio::task::spawn_local(async move {
        run(&gateway, &connection, &sender).await;
        drop((connection, place));
    });
    Ok(EventStream { parts })
}

async fn run<S: EventSource>(gateway: &Gateway<S>, connection: &Connection<S>, sender: &mpsc::Sender<Bytes>) {
    let limits = &gateway.settings.limits;
    let mut stopping = std::pin::pin!(connection.stopping());
    loop {
        // Wait for room first: what comes meanwhile waits in the hub.
        let Some(room) = reserved(gateway, sender).await else { return };
        let Taken { items, more, lost } = connection.take();
        let parts: Vec<Bytes> = items.iter().map(part).collect();
        if parts.is_empty() && lost.is_none() && !more {
            if !idle(connection, sender, room, limits.ping_every, stopping.as_mut()).await {
                return;
            }
            continue;
        }
        let mut first = Some(room);
        // A client that takes so many within the time limit is slow, and not stuck.
        for some in parts.chunks(TOGETHER) {
            let room = match first.take() {
                Some(room) => room,
                None => match reserved(gateway, sender).await {
                    Some(room) => room,
                    None => return,
                },
            };
            room.send(if some.len() == 1 { some[0].clone() } else { joined(some) });
        }
        if let Some(lost) = lost {
            gateway.restore(connection.id, lost).await;
        }
    }
}

/// Waits until hyper takes a part. `None` if the client is gone, or took nothing for too long.
async fn reserved<'a, S>(
    gateway: &Gateway<S>,
    sender: &'a mpsc::Sender<Bytes>,
) -> Option<mpsc::Permit<'a, Bytes>> {
    let room = tokio::time::timeout(gateway.settings.limits.stalled_after, sender.reserve()).await;
    if room.is_err() {
        gateway.stats.stalled.add(1);
    }
    room.ok()?.ok()
}

/// Waits until there is something to send. False if the connection is over. A comment or a goodbye takes the room that is
/// reserved: there is no other.
async fn idle<S: EventSource>(
    connection: &Connection<S>,
    sender: &mpsc::Sender<Bytes>,
    room: mpsc::Permit<'_, Bytes>,
    ping_every: Duration,
    stopping: Pin<&mut impl Future<Output = ()>>,
) -> bool {
    tokio::select! {
        () = connection.wake() => true,
        () = sender.closed() => false,
        () = tokio::time::sleep(ping_every) => {
            // A comment keeps proxies from closing the connection.
            room.send(Bytes::from_static(b": ping\n\n"));
            true
        }
        () = stopping => {
            let retry = retry_after_ms(10_000);
            let goodbye = format!("retry: {retry}\n{}", message_text("goodbye", &protocol::goodbye(retry)));
            room.send(goodbye.into());
            false
        }
    }
}

fn part(item: &Item) -> Bytes {
    match item {
        Item::Event(event) => event.sse(),
        Item::Dropped(dropped) => message_text("dropped", &protocol::dropped(*dropped)).into(),
        Item::Message(Message { kind, json, position: Some(position) }) => {
            format!("id: {position}\n{}", message_text(kind, json)).into()
        }
        Item::Message(Message { kind, json, position: None }) => message_text(kind, json).into(),
    }
}

fn message_text(kind: &str, json: &str) -> String {
    format!("event: {kind}\ndata: {json}\n\n")
}

fn joined(parts: &[Bytes]) -> Bytes {
    parts.concat().into()
}
