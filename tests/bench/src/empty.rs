//! A function that does nothing: what the runtime itself costs.

use lambda_runtime::{LambdaEvent, run, service_fn};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::Res;

/// Serves the Runtime API until the process is killed.
pub(crate) async fn serve() -> Res<()> {
    let handler = async |_event: LambdaEvent<IgnoredAny>| -> Result<Value, lambda_runtime::Error> {
        Ok(json!({"batchItemFailures": []}))
    };
    run(service_fn(handler)).await.map_err(|error| error.to_string())
}
