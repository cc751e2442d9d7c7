//! What SQS answers, as the processor is to understand it: what is done, what may be tried again, what never.

use std::io;

use aws_sdk_sqs::error::ErrorMetadata;
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchError;
use aws_sdk_sqs::types::SendMessageBatchResultEntry;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;

use super::*;

fn failed(id: &str, code: &str, sender_fault: bool) -> BatchResultErrorEntry {
    let entry = BatchResultErrorEntry::builder().id(id).code(code).sender_fault(sender_fault);
    entry.message("why").build().unwrap()
}

fn successful(id: &str) -> SendMessageBatchResultEntry {
    let entry = SendMessageBatchResultEntry::builder().id(id).message_id("m");
    entry.md5_of_message_body("0").build().unwrap()
}

fn output(accepted: &[&str], refused: &[BatchResultErrorEntry]) -> SendMessageBatchOutput {
    let accepted = accepted.iter().map(|id| successful(id)).collect();
    let output = SendMessageBatchOutput::builder().set_successful(Some(accepted));
    output.set_failed(Some(refused.to_vec())).build().unwrap()
}

/// What is rejected becomes a dead letter and is gone from the queue's order: only for its content, and only where SQS
/// says that it is the sender's.
#[test]
fn only_content_at_the_senders_fault_is_rejected_for_ever() {
    for code in CONTENT_CODES {
        let long = format!("AWS.SimpleQueueService.{code}");
        for code in [code, &long] {
            assert_eq!(refusal(&failed("0", code, true)), SendResult::Rejected(format!("sqs: {code} why")));
            assert_eq!(refusal(&failed("0", code, false)), SendResult::Refused(format!("sqs: {code} why")));
        }
    }
    // SQS calls all of these the sender's fault.
    for code in [
        "AccessDenied",
        "RequestThrottled",
        "ThrottlingException",
        "OverLimit",
        "KmsThrottled",
        "QueueDoesNotExist",
        "InvalidParameterValueCombination",
        "",
    ] {
        for sender_fault in [true, false] {
            let answer = refusal(&failed("0", code, sender_fault));
            assert_eq!(answer, SendResult::Refused(format!("sqs: {code} why")));
        }
    }
}

#[test]
fn answers_are_in_the_order_of_the_entries() {
    let output =
        output(&["3", "0"], &[failed("2", "InternalError", false), failed("1", "MessageTooLong", true)]);
    let expected = [
        SendResult::Accepted,
        SendResult::Rejected("sqs: MessageTooLong why".into()),
        SendResult::Refused("sqs: InternalError why".into()),
        SendResult::Accepted,
    ];
    assert_eq!(answers(4, &output), expected);
}

#[test]
fn an_entry_that_is_not_mentioned_was_not_accepted() {
    let answers = answers(3, &output(&["1"], &[]));
    assert_eq!(answers[1], SendResult::Accepted);
    for unmentioned in [&answers[0], &answers[2]] {
        assert!(matches!(unmentioned, SendResult::Refused(reason) if reason.contains("did not mention")));
    }
}

/// Sent again, an accepted one is dropped by its deduplication id; a refused one taken for accepted would be lost.
#[test]
fn an_entry_mentioned_as_both_was_not_accepted() {
    let both = output(&["0", "1"], &[failed("0", "InternalError", false)]);
    assert_eq!(
        answers(2, &both),
        [SendResult::Refused("sqs: InternalError why".into()), SendResult::Accepted]
    );
}

#[test]
fn an_id_that_was_not_sent_says_nothing() {
    let unknown = ["1", "-1", "x", "", "99999999999999999999"];
    let refused = unknown.map(|id| failed(id, "MessageTooLong", true));
    assert_eq!(answers(1, &output(&["0"], &refused)), [SendResult::Accepted]);
    let answers = answers(1, &output(&unknown, &[]));
    assert!(matches!(&answers[..], [SendResult::Refused(_)]), "{answers:?}");
}

type Failure = SdkError<SendMessageBatchError, Response>;

fn response(status: u16) -> Response {
    Response::new(status.try_into().unwrap(), SdkBody::empty())
}

fn service(status: u16, code: Option<&str>) -> Failure {
    let mut metadata = ErrorMetadata::builder().message("said");
    if let Some(code) = code {
        metadata = metadata.code(code);
    }
    SdkError::service_error(SendMessageBatchError::generic(metadata.build()), response(status))
}

fn kind(failure: &Failure) -> ErrorKind {
    let error = port_error(failure);
    assert!(error.message.starts_with("sqs: "), "{error}");
    error.kind
}

#[test]
fn without_an_answer_the_queue_is_away_or_late() {
    let io = || Box::new(io::Error::other("connection reset"));
    let late = || Box::new(io::Error::new(io::ErrorKind::TimedOut, "late"));
    assert_eq!(kind(&SdkError::timeout_error(late())), ErrorKind::Timeout);
    assert_eq!(kind(&SdkError::dispatch_failure(ConnectorError::timeout(late()))), ErrorKind::Timeout);
    assert_eq!(kind(&SdkError::dispatch_failure(ConnectorError::io(io()))), ErrorKind::Unavailable);
    assert_eq!(kind(&SdkError::response_error(io(), response(200))), ErrorKind::Unavailable);
}

#[test]
fn a_request_that_cannot_be_made_is_not_tried_again() {
    assert_eq!(kind(&SdkError::construction_failure("no region")), ErrorKind::Refused);
}

#[test]
fn an_error_is_what_its_status_and_its_code_say() {
    for (expected, status, codes) in [
        (ErrorKind::Throttled, 403, ["RequestThrottled", "ThrottlingException", "OverLimit"]),
        (ErrorKind::Throttled, 400, ["KMS.ThrottlingException", "SlowDown", "TooManyRequests"]),
        (ErrorKind::Throttled, 503, ["ThrottledException", "SlowDown", "OverLimit"]),
        (ErrorKind::Refused, 400, ["AWS.SimpleQueueService.NonExistentQueue", "BatchRequestTooLong", ""]),
        (ErrorKind::Refused, 403, ["AccessDeniedException", "InvalidClientTokenId", "SignatureDoesNotMatch"]),
        (ErrorKind::Refused, 400, ["KMS.DisabledException", "InvalidParameterValue", "Unheard"]),
        (ErrorKind::Unavailable, 500, ["InternalFailure", "AWS.SimpleQueueService.Unheard", ""]),
        (ErrorKind::Unavailable, 503, ["ServiceUnavailable", "InternalError", ""]),
        (ErrorKind::Unavailable, 408, ["RequestTimeout", "Unheard", ""]),
        (ErrorKind::Unavailable, 429, ["Unheard", "RequestTimeout", ""]),
    ] {
        for code in codes {
            assert_eq!(kind(&service(status, Some(code))), expected, "{status} {code}");
        }
    }
    assert_eq!(kind(&service(500, None)), ErrorKind::Unavailable);
}

/// Whoever reads the log is to find what SQS said, in a line.
#[test]
fn an_error_says_what_sqs_said() {
    let message = port_error(&service(403, Some("AccessDeniedException"))).message;
    assert_eq!(message, "sqs: AccessDeniedException said");
    assert_eq!(port_error(&service(500, None)).message, "sqs: error said");
}
