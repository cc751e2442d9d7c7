//! How requests are built, and how responses of SQS are read: what is done, what can be retried, what never succeeds.

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

/// A rejected message becomes a dead letter and no longer holds up its group. Therefore reject only for invalid content
/// that SQS reports as the sender's fault.
#[test]
fn only_content_at_the_senders_fault_is_rejected_for_ever() {
    for code in CONTENT_CODES {
        let long = format!("AWS.SimpleQueueService.{code}");
        for code in [code, &long] {
            assert_eq!(
                failed_result(&failed("0", code, true)),
                SendResult::Rejected(format!("sqs: {code} why"))
            );
            assert_eq!(
                failed_result(&failed("0", code, false)),
                SendResult::Refused(format!("sqs: {code} why"))
            );
        }
    }
    // SQS calls all of these the sender's fault.
    for code in ["AccessDenied", "QueueDoesNotExist", "InvalidParameterValueCombination", ""] {
        for sender_fault in [true, false] {
            let result = failed_result(&failed("0", code, sender_fault));
            assert_eq!(result, SendResult::Refused(format!("sqs: {code} why")));
        }
    }
    for code in ["RequestThrottled", "ThrottlingException", "OverLimit", "KmsThrottled"] {
        for sender_fault in [true, false] {
            let result = failed_result(&failed("0", code, sender_fault));
            assert_eq!(result, SendResult::Throttled(format!("sqs: {code} why")));
        }
    }
}

#[test]
fn results_are_in_the_order_of_the_entries() {
    let output =
        output(&["3", "0"], &[failed("2", "InternalError", false), failed("1", "MessageTooLong", true)]);
    let expected = [
        SendResult::Accepted,
        SendResult::Rejected("sqs: MessageTooLong why".into()),
        SendResult::Refused("sqs: InternalError why".into()),
        SendResult::Accepted,
    ];
    assert_eq!(send_results(4, &output), expected);
}

#[test]
fn an_entry_that_is_not_mentioned_was_not_accepted() {
    let results = send_results(3, &output(&["1"], &[]));
    assert_eq!(results[1], SendResult::Accepted);
    for unmentioned in [&results[0], &results[2]] {
        assert!(matches!(unmentioned, SendResult::Refused(reason) if reason.contains("did not mention")));
    }
}

/// Count as refused: if SQS accepted it, its deduplication id makes the retry harmless. A refused message that counts as
/// accepted would be lost.
#[test]
fn an_entry_mentioned_as_both_was_not_accepted() {
    let both = output(&["0", "1"], &[failed("0", "InternalError", false)]);
    assert_eq!(
        send_results(2, &both),
        [SendResult::Refused("sqs: InternalError why".into()), SendResult::Accepted]
    );
}

#[test]
fn an_id_that_was_not_sent_is_ignored() {
    let unknown = ["1", "-1", "x", "", "99999999999999999999"];
    let refused = unknown.map(|id| failed(id, "MessageTooLong", true));
    assert_eq!(send_results(1, &output(&["0"], &refused)), [SendResult::Accepted]);
    let results = send_results(1, &output(&unknown, &[]));
    assert!(matches!(&results[..], [SendResult::Refused(_)]), "{results:?}");
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
fn without_a_response_the_error_is_a_timeout_or_unavailable() {
    let io = || Box::new(io::Error::other("connection reset"));
    let late = || Box::new(io::Error::new(io::ErrorKind::TimedOut, "late"));
    assert_eq!(kind(&SdkError::timeout_error(late())), ErrorKind::Timeout);
    assert_eq!(kind(&SdkError::dispatch_failure(ConnectorError::timeout(late()))), ErrorKind::Timeout);
    assert_eq!(kind(&SdkError::dispatch_failure(ConnectorError::io(io()))), ErrorKind::Unavailable);
    assert_eq!(kind(&SdkError::response_error(io(), response(200))), ErrorKind::Unavailable);
}

#[test]
fn a_request_that_cannot_be_built_is_not_retried() {
    assert_eq!(kind(&SdkError::construction_failure("no region")), ErrorKind::Refused);
}

#[test]
fn the_status_and_the_code_decide_the_kind_of_an_error() {
    for (expected, status, codes) in [
        (ErrorKind::Throttled, 403, &["RequestThrottled", "ThrottlingException", "OverLimit"][..]),
        (ErrorKind::Throttled, 400, &["KMS.ThrottlingException", "SlowDown", "TooManyRequests"]),
        (ErrorKind::Throttled, 503, &["ThrottledException", "SlowDown", "OverLimit"]),
        (
            ErrorKind::Refused,
            403,
            &["AccessDeniedException", "InvalidClientTokenId", "SignatureDoesNotMatch"],
        ),
        (ErrorKind::Refused, 404, &["InvalidParameterValue", "Unheard", ""]),
        // Something in the request may be at fault: see which.
        (
            ErrorKind::Invalid,
            400,
            &[
                "BatchRequestTooLong",
                "InvalidAttributeValue",
                "InvalidParameterValue",
                "MissingParameter",
                "Unheard",
                "",
            ],
        ),
        (
            ErrorKind::InvalidContent,
            400,
            &["InvalidMessageContents", "AWS.SimpleQueueService.InvalidMessageContents", "MessageTooLong"],
        ),
        (ErrorKind::Unavailable, 500, &["InternalFailure", "AWS.SimpleQueueService.Unheard", ""]),
        (ErrorKind::Unavailable, 503, &["ServiceUnavailable", "InternalError", ""]),
        (ErrorKind::Unavailable, 408, &["RequestTimeout", "Unheard", ""]),
        (ErrorKind::Unavailable, 429, &["Unheard", "RequestTimeout", ""]),
    ] {
        for code in codes {
            assert_eq!(kind(&service(status, Some(*code))), expected, "{status} {code}");
        }
    }
    assert_eq!(kind(&service(500, None)), ErrorKind::Unavailable);
}

/// A caller's or a queue's error that counted as one of the content would make dead letters of every message.
#[test]
fn an_error_of_every_request_is_not_blamed_on_what_is_in_it() {
    for code in [
        // SendMessageBatch.
        "InvalidAddress",
        "InvalidSecurity",
        "KmsAccessDenied",
        "KmsDisabled",
        "KmsInvalidKeyUsage",
        "KmsInvalidState",
        "KmsNotFound",
        "KmsOptInRequired",
        "QueueDoesNotExist",
        "UnsupportedOperation",
        // All actions: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html, and older
        // versions of that page.
        "AccessDeniedException",
        "AuthFailure",
        "ConflictingQueryParameter",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidAction",
        "InvalidClientTokenId",
        "InvalidHttpRequest",
        "InvalidQueryParameter",
        "InvalidURI",
        "MalformedHttpRequestException",
        "MalformedQueryString",
        "MissingAction",
        "MissingAuthenticationToken",
        "MissingCredentials",
        "NotAuthorized",
        "OptInRequired",
        "RequestAbortedException",
        "RequestExpired",
        "RequestTimeout",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "UnknownOperationException",
        "UnrecognizedClientException",
        // The same in the names of the query protocol and of other services.
        "AWS.SimpleQueueService.NonExistentQueue",
        "InvalidSignatureException",
        "KMS.DisabledException",
        "KMS.NotFoundException",
        "ResourceNotFoundException",
    ] {
        assert_eq!(kind(&service(400, Some(code))), ErrorKind::Refused, "{code}");
    }
    for code in ["KmsThrottled", "RequestThrottled", "ThrottlingException", "RequestLimitExceeded"] {
        assert_eq!(kind(&service(400, Some(code))), ErrorKind::Throttled, "{code}");
    }
    assert_eq!(kind(&service(413, Some("RequestEntityTooLargeException"))), ErrorKind::Invalid);
}

/// The log must show the message of SQS, in one line.
#[test]
fn an_error_has_the_code_and_message_of_sqs() {
    let message = port_error(&service(403, Some("AccessDeniedException"))).message;
    assert_eq!(message, "sqs: AccessDeniedException said");
    assert_eq!(port_error(&service(500, None)).message, "sqs: error said");
}
