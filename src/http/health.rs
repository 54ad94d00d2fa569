//! Whether the engine lives and serves.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use crate::telemetry::Telemetry;

/// 200 while this process is of use, 503 once only a restart helps.
pub(super) async fn healthz(State(telemetry): State<Arc<Telemetry>>) -> Response {
    let health = &telemetry.health;
    match health.broken() {
        None => fine(r#"{"status":"alive"}"#),
        Some(why) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, why)
            .in_phase(health.phase().as_str())
            .into_response(),
    }
}

/// 200 while pings and actions are taken, else 503 and why.
pub(super) async fn readyz(State(telemetry): State<Arc<Telemetry>>) -> Response {
    match telemetry.health.ready() {
        Ok(()) => fine(r#"{"status":"ready"}"#),
        Err(not) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, not.why)
            .in_phase(not.phase.as_str())
            .into_response(),
    }
}

fn fine(json: &'static str) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response()
}
