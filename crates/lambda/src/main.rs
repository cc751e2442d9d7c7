//! The executable of the Lambda function: `bootstrap`.

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use events_lambda::{InFlight, Invocation, handle};
use events_settings::{Poison, ProcessorSettings};
use events_telemetry::{Telemetry, start_log};
use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use tokio::signal::unix::{SignalKind, signal};

/// Longest time from SIGTERM to the end of the running invocation. AWS kills the process 300 ms after SIGTERM with an
/// external extension, and 500 ms after it with an internal one. Without extensions it sends no SIGTERM.
const FINISH_INVOCATION: Duration = Duration::from_millis(220);
/// Longest time to send the response after that.
const SEND_RESPONSE: Duration = Duration::from_millis(40);

/// One thread is enough: Lambda runs one invocation at a time, and an invocation mostly waits.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let settings = match ProcessorSettings::for_lambda().await {
        Ok(settings) => settings,
        Err(error) => {
            start_log(tracing::Level::INFO);
            tracing::error!(%error, "wrong settings; the function does not start");
            return ExitCode::FAILURE;
        }
    };
    start_log(settings.telemetry.log_level);
    match run(&settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "stopped; Lambda starts a new process");
            ExitCode::FAILURE
        }
    }
}

async fn run(settings: &ProcessorSettings) -> Result<(), Error> {
    if settings.delivery.poison == Poison::Drop {
        tracing::warn!("POISON is drop; what can never succeed is logged and dropped");
    }
    let processor = &events_wiring::real(settings)?;
    let telemetry = &Telemetry::new(settings.telemetry.metrics_stage.clone())?;
    let in_flight = &InFlight::default();
    let margin = settings.delivery.deadline_margin;
    let service =
        service_fn(|event: LambdaEvent<Invocation>| handle(processor, telemetry, in_flight, margin, event));
    let mut terminate = signal(SignalKind::terminate())?;
    let mut runtime: Pin<Box<dyn Future<Output = Result<(), Error>>>> = Box::pin(Runtime::new(service).run());
    tokio::select! {
        ended = &mut runtime => return ended,
        _ = terminate.recv() => {}
    }
    // Logs and metrics are written before the response, so wait briefly for the running invocation.
    tokio::select! {
        ended = &mut runtime => return ended,
        has_finished = in_flight.wait_until_idle(FINISH_INVOCATION) => {
            if has_finished {
                // The runtime logs errors of its own.
                let _ended_or_not = tokio::time::timeout(SEND_RESPONSE, &mut runtime).await;
            }
        }
    }
    tracing::info!("terminated by SIGTERM; the process ends");
    Ok(())
}
