//! The SDK's errors as ours: whether a retry can help.

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::http::{Response, StatusCode};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use events_processor::ports::ErrorKind;

/// Parts of codes that ask for patience.
const THROTTLE_CODES: [&str; 4] = ["Throttl", "TooManyRequests", "SlowDown", "OverLimit"];

/// The kind of an error of any service.
pub(crate) fn error_kind<E: ProvideErrorMetadata>(error: &SdkError<E, Response>) -> ErrorKind {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
    match error {
        SdkError::TimeoutError(_) => ErrorKind::Timeout,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => ErrorKind::Timeout,
        SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => ErrorKind::Unavailable,
        _ if THROTTLE_CODES.iter().any(|part| code.contains(part)) => ErrorKind::Throttled,
        // A fault on our side, whatever its code: the service is well, and no breaker is to open for it.
        SdkError::ServiceError(answer) if !is_our_fault(answer.raw().status()) => ErrorKind::Unavailable,
        _ => ErrorKind::Refused,
    }
}

/// 408 and 429 ask for patience.
fn is_our_fault(status: StatusCode) -> bool {
    status.is_client_error() && ![408, 429].contains(&status.as_u16())
}
