//! The Lambda's executable: `bootstrap`.

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use events_lambda::handler::{Invocation, handle};
use events_lambda::in_flight::InFlight;
use events_settings::ProcessorSettings;
use events_telemetry::{Telemetry, start_log};
use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use tokio::signal::unix::{SignalKind, signal};

/// How long an invocation may go on after SIGTERM. Beside an external extension AWS kills 300 ms after it, beside an
/// internal one 500 ms; without any there is no SIGTERM.
const LAST_WORK: Duration = Duration::from_millis(220);
/// And its answer.
const LAST_ANSWER: Duration = Duration::from_millis(40);

/// One thread: a Lambda runs one invocation at a time, and its work is waiting.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let settings = match ProcessorSettings::for_lambda().await {
        Ok(settings) => settings,
        Err(error) => {
            start_log(tracing::Level::INFO);
            tracing::error!(%error, "wrong settings");
            return ExitCode::FAILURE;
        }
    };
    start_log(settings.telemetry.log_level);
    match run(&settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "stopped");
            ExitCode::FAILURE
        }
    }
}

async fn run(settings: &ProcessorSettings) -> Result<(), Error> {
    if settings.delivery.events_dlq_url.is_none() {
        tracing::warn!("EVENTS_DLQ_URL is not set: a record that can never succeed will be reported failed");
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
    // All that an invocation has to say is written before it answers. One that is under way may still get there.
    tokio::select! {
        ended = &mut runtime => return ended,
        answers = in_flight.wait_until_idle(LAST_WORK) => {
            if answers {
                // What comes of it is logged by the runtime.
                let _ended_or_not = tokio::time::timeout(LAST_ANSWER, &mut runtime).await;
            }
        }
    }
    tracing::info!("terminated");
    Ok(())
}
