//! The floor: a process that only sends bytes that `bootstrap` sent once, and reads the replies.
//!
//! A recording is a list of frames: a tag, the number of replies, a length, and bytes.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use events_processor::Settings;

use crate::resp;
use crate::{Res, sink::Sent, tap::Trip};

/// A recorded piece of work.
#[derive(Debug)]
pub(crate) enum Frame {
    /// One round trip to Redis: the bytes, and the number of replies.
    Redis(Vec<u8>, usize),
    /// One request to SQS.
    Sqs(Vec<u8>),
    /// The batch ends.
    End,
}

/// Puts what one batch sent in the order of its moments.
pub(crate) fn frames(trips: Vec<Trip>, sent: Vec<Sent>) -> Vec<Frame> {
    let trips = trips.into_iter().map(|trip| (trip.begin, Frame::Redis(trip.request, trip.commands)));
    let sent = sent.into_iter().map(|sent| (sent.received, Frame::Sqs(sent.wire)));
    let mut all: Vec<_> = trips.chain(sent).collect();
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, frame)| frame).chain([Frame::End]).collect()
}

/// Writes a recording.
pub(crate) fn save(path: &Path, frames: &[Frame]) -> Res<()> {
    let mut bytes = Vec::new();
    for frame in frames {
        let (tag, replies, body): (u8, usize, &[u8]) = match frame {
            Frame::Redis(body, replies) => (b'r', *replies, body),
            Frame::Sqs(body) => (b's', 1, body),
            Frame::End => (b'e', 0, &[]),
        };
        bytes.push(tag);
        bytes.extend_from_slice(&(replies as u64).to_le_bytes());
        bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
        bytes.extend_from_slice(body);
    }
    fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))
}

fn load(path: &Path) -> Res<Vec<Frame>> {
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let (mut rest, mut frames) = (&bytes[..], Vec::new());
    while let Some((tag, after)) = rest.split_first() {
        let number = |at: usize| -> Option<usize> {
            let bytes: [u8; 8] = after.get(at..at + 8)?.try_into().ok()?;
            usize::try_from(u64::from_le_bytes(bytes)).ok()
        };
        let (replies, length) = number(0).zip(number(8)).ok_or("the recording is cut")?;
        let body = after.get(16..16 + length).ok_or("the recording is cut")?.to_vec();
        rest = &after[16 + length..];
        frames.push(match tag {
            b'r' => Frame::Redis(body, replies),
            b's' => Frame::Sqs(body),
            _ => Frame::End,
        });
    }
    Ok(frames)
}

/// Replays one batch for each byte that comes from `control`. `part` is `redis` or `sqs`.
pub(crate) fn run(control: &str, recording: &Path, part: &str, redis: &str, sqs: &str) -> Res<()> {
    let frames = load(recording)?;
    let mut frames = frames.iter();
    let mut redis = connect(redis)?;
    let mut requests = Requests { address: sqs, idle: Vec::new(), buffer: vec![0; 256 * 1024] };
    let mut buffer = vec![0; 1024 * 1024];
    let mut control = connect(control)?;
    let mut byte = [0];
    while control.read_exact(&mut byte).is_ok() {
        let mut wave: Vec<&[u8]> = Vec::new();
        loop {
            match frames.next() {
                Some(Frame::Redis(body, replies)) if part == "redis" => {
                    round_trip(&mut redis, body, *replies, &mut buffer)?;
                }
                Some(Frame::Sqs(body)) if part == "sqs" => wave.push(body),
                Some(Frame::Redis(..) | Frame::Sqs(_)) => {}
                Some(Frame::End) => break,
                None => return Err("the recording has no more batches".into()),
            }
        }
        for wave in wave.chunks(Settings::default().max_requests_in_flight) {
            requests.send(wave)?;
        }
        control.write_all(&byte).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn connect(address: &str) -> Res<TcpStream> {
    let stream = TcpStream::connect(address).map_err(|error| format!("{address}: {error}"))?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    Ok(stream)
}

fn round_trip(stream: &mut TcpStream, body: &[u8], replies: usize, buffer: &mut Vec<u8>) -> Res<()> {
    stream.write_all(body).map_err(|error| error.to_string())?;
    let (mut filled, mut counter) = (0, resp::Counter::default());
    while counter.values < replies {
        if filled == buffer.len() {
            buffer.resize(2 * filled, 0);
        }
        let size = stream.read(&mut buffer[filled..]).map_err(|error| error.to_string())?;
        if size == 0 {
            return Err("Redis closed the connection".into());
        }
        filled += size;
        counter.advance(&buffer[..filled]);
    }
    Ok(())
}

struct Requests<'a> {
    address: &'a str,
    idle: Vec<TcpStream>,
    buffer: Vec<u8>,
}

impl Requests<'_> {
    /// Sends requests on connections of their own, then reads every answer.
    fn send(&mut self, wave: &[&[u8]]) -> Res<()> {
        while self.idle.len() < wave.len() {
            self.idle.push(connect(self.address)?);
        }
        for (request, stream) in wave.iter().zip(&mut self.idle) {
            stream.write_all(request).map_err(|error| error.to_string())?;
        }
        for stream in &mut self.idle[..wave.len()] {
            answer(stream, &mut self.buffer)?;
        }
        Ok(())
    }
}

fn answer(stream: &mut TcpStream, buffer: &mut [u8]) -> Res<()> {
    let mut filled = 0;
    loop {
        let size = stream.read(&mut buffer[filled..]).map_err(|error| error.to_string())?;
        if size == 0 {
            return Err("SQS closed the connection".into());
        }
        filled += size;
        let Some(head) = buffer[..filled].windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&buffer[..head]);
        if !text.starts_with("HTTP/1.1 200") {
            return Err(format!("SQS answered {}", text.lines().next().unwrap_or_default()));
        }
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize =
            length.and_then(|length| length.parse().ok()).ok_or("an answer without length")?;
        if filled >= head + 4 + length {
            return Ok(());
        }
    }
}
