//! The ways in which a scripted SQS fails.

use std::time::Duration;

use crate::faults::sqs_sink::{Entry, Request};

/// What goes wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Some entries are refused, the others accepted. A `SendMessage` fails with the code.
    Refuse {
        /// Which.
        entries: Entries,
        /// The code of the entry.
        code: String,
        /// Whether SQS blames the sender (then a retry is pointless).
        sender_fault: bool,
    },
    /// Nothing is accepted; the answer is this error.
    Error {
        /// The HTTP status.
        status: u16,
        /// The error's code.
        code: String,
    },
    /// Accepted at once, answered late.
    Delay(Duration),
    /// Nothing is accepted, and no answer ever comes.
    Hang,
    /// Nothing is accepted, and the connection closes.
    Close,
    /// Accepted, but the connection closes instead of an answer.
    DropReply,
}

impl Fault {
    /// Refuses entry `k` for no fault of the sender.
    pub fn refuse(k: usize) -> Self {
        Self::Refuse { entries: Entries::Index(k), code: "InternalError".into(), sender_fault: false }
    }

    /// Refuses a group's entries for no fault of the sender.
    pub fn refuse_group(group: &str) -> Self {
        Self::Refuse {
            entries: Entries::Group(group.into()),
            code: "InternalError".into(),
            sender_fault: false,
        }
    }

    /// An internal error of SQS.
    pub fn http_500() -> Self {
        Self::Error { status: 500, code: "InternalFailure".into() }
    }

    /// A throttled request, as SQS words it.
    pub fn throttle() -> Self {
        Self::Error { status: 403, code: "RequestThrottled".into() }
    }

    /// A throttled request, as other parts of AWS word it.
    pub fn throttling_exception() -> Self {
        Self::Error { status: 400, code: "ThrottlingException".into() }
    }
}

/// Which entries of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entries {
    /// All of them.
    All,
    /// The one at this place, from 0.
    Index(usize),
    /// Those of a group.
    Group(String),
}

impl Entries {
    pub(crate) fn has(&self, index: usize, entry: &Entry) -> bool {
        match self {
            Self::All => true,
            Self::Index(wanted) => *wanted == index,
            Self::Group(group) => *group == entry.group,
        }
    }
}

/// Which requests a fault is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// Any.
    Any,
    /// The n-th that this sink gets, from 0.
    Request(usize),
    /// Those with an entry of this group.
    Group(String),
    /// Those with a body that contains this text.
    Body(String),
    /// Those to a queue whose URL ends like this.
    Queue(String),
}

impl When {
    pub(crate) fn fits(&self, request: &Request) -> bool {
        match self {
            Self::Any => true,
            Self::Request(index) => *index == request.index,
            Self::Group(group) => request.entries.iter().any(|entry| entry.group == *group),
            Self::Body(text) => request.entries.iter().any(|entry| entry.body.contains(text)),
            Self::Queue(end) => request.queue_url.ends_with(end),
        }
    }
}
