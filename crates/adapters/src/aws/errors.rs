//! Errors of the AWS SDK as error kinds of the port: the kind says whether a retry can help.

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::http::{Response, StatusCode};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use events_processor::ports::ErrorKind;

/// Parts of the error codes of throttling.
const THROTTLE_CODES: [&str; 6] =
    ["Throttl", "TooManyRequests", "SlowDown", "OverLimit", "LimitExceeded", "ThroughputExceeded"];

/// The kind of an error of any service.
pub(crate) fn error_kind<E: ProvideErrorMetadata>(error: &SdkError<E, Response>) -> ErrorKind {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
    match error {
        SdkError::TimeoutError(_) => ErrorKind::Timeout,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => ErrorKind::Timeout,
        SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => ErrorKind::Unavailable,
        _ if is_throttling(code) => ErrorKind::Throttled,
        // Caller errors do not count: the service works, so the breaker stays closed.
        SdkError::ServiceError(response) if !is_caller_error(response.raw().status()) => {
            ErrorKind::Unavailable
        }
        _ => ErrorKind::Refused,
    }
}

/// True if an error code asks for fewer calls.
pub(crate) fn is_throttling(code: &str) -> bool {
    THROTTLE_CODES.iter().any(|part| code.contains(part))
}

/// What went wrong, in one line. Of an error that the service states, only its code and message: the raw response is long
/// and adds nothing.
pub(crate) fn error_text<E>(error: &SdkError<E, Response>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let text = match error.as_service_error() {
        Some(service) => match (service.code(), service.message(), error.raw_response()) {
            // A proxy has answered, or another server.
            (None, None, Some(response)) => {
                format!("the answer is not one of AWS: HTTP status {}", response.status().as_u16())
            }
            (code, message, _) => format!("{} {}", code.unwrap_or("error"), message.unwrap_or_default()),
        },
        None => causes(error),
    };
    text.trim_end().to_owned()
}

/// An error and its causes, each once.
fn causes(error: &dyn std::error::Error) -> String {
    let mut causes = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        // Some errors repeat the text of their cause.
        if !causes.iter().any(|known| known.contains(&text)) {
            causes.push(text);
        }
        next = cause.source();
    }
    causes.join(": ")
}

/// True if the request itself is wrong. 408 (timeout) and 429 (too many requests) can succeed later.
fn is_caller_error(status: StatusCode) -> bool {
    status.is_client_error() && ![408, 429].contains(&status.as_u16())
}
