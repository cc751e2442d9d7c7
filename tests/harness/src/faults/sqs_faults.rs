//! The faults of the fake SQS, and which requests they apply to.

use std::time::Duration;

use crate::faults::fake_sqs::{Request, SentMessage};

/// What goes wrong with one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SqsFault {
    /// Some messages are refused, the others accepted. A `SendMessage` fails with the code.
    Refuse {
        /// Which messages.
        messages: Selection,
        /// The error code of each refused message.
        code: String,
        /// True when SQS blames the sender; a retry is then pointless.
        sender_fault: bool,
    },
    /// Nothing is accepted; the response is this error.
    Error {
        /// The HTTP status.
        status: u16,
        /// The error code.
        code: String,
    },
    /// The messages are accepted at once; the response comes after this delay.
    Delay(Duration),
    /// Nothing is accepted, and no response ever comes.
    Hang,
    /// Nothing is accepted, and the connection closes.
    Close,
    /// The messages are accepted, but the connection closes without a response.
    DropReply,
}

impl SqsFault {
    /// Refuses the message at `index` with an error that a retry may get past.
    pub fn refuse(index: usize) -> Self {
        Self::Refuse { messages: Selection::Index(index), code: "InternalError".into(), sender_fault: false }
    }

    /// Refuses the messages of one group with an error that a retry may get past.
    pub fn refuse_group(group: &str) -> Self {
        Self::Refuse {
            messages: Selection::Group(group.into()),
            code: "InternalError".into(),
            sender_fault: false,
        }
    }

    /// Refuses the message at `index` for good: SQS will never accept it.
    pub fn reject(index: usize) -> Self {
        Self::Refuse {
            messages: Selection::Index(index),
            code: "InvalidMessageContents".into(),
            sender_fault: true,
        }
    }

    /// An internal error of SQS.
    pub fn http_500() -> Self {
        Self::Error { status: 500, code: "InternalFailure".into() }
    }

    /// A throttled request, with the error code of SQS.
    pub fn throttle() -> Self {
        Self::Error { status: 403, code: "RequestThrottled".into() }
    }

    /// A throttled request, with the error code of other AWS services.
    pub fn throttling_exception() -> Self {
        Self::Error { status: 400, code: "ThrottlingException".into() }
    }
}

/// Which messages of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of them.
    All,
    /// The one at this position, from 0.
    Index(usize),
    /// Those of this message group.
    Group(String),
}

impl Selection {
    pub(crate) fn contains(&self, index: usize, message: &SentMessage) -> bool {
        match self {
            Self::All => true,
            Self::Index(wanted) => *wanted == index,
            Self::Group(group) => *group == message.group_id,
        }
    }
}

/// Which requests a fault applies to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// Any.
    Any,
    /// The n-th request to this fake, from 0.
    Request(usize),
    /// Those with a message of this group.
    Group(String),
    /// Those with a body that contains this text.
    Body(String),
    /// Those to a queue whose URL ends like this.
    Queue(String),
}

impl When {
    pub(crate) fn matches(&self, request: &Request) -> bool {
        match self {
            Self::Any => true,
            Self::Request(index) => *index == request.index,
            Self::Group(group) => request.messages.iter().any(|message| message.group_id == *group),
            Self::Body(text) => request.messages.iter().any(|message| message.body.contains(text)),
            Self::Queue(end) => request.queue_url.ends_with(end),
        }
    }
}
