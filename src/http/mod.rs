//! The HTTP door: what an operator's machines ask about the engine itself.
//!
//! It prints what `telemetry/` counted and says whether the engine serves; it decides nothing.
//! Invariants: nothing here tells where a device is, nor anything about one device; whatever a
//! peer sends or leaves out, it holds one place of a bounded number for a bounded time.

mod health;
mod metrics;
mod problem;
mod process;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::limits::{
    HTTP_ANSWER_MS_MAX, HTTP_BODY_BYTES_MAX, HTTP_CONNECTION_MS_MAX, HTTP_CONNECTIONS_MAX,
    HTTP_HEADER_BYTES_MAX, HTTP_HEADERS_MAX, HTTP_HEADERS_MS_MAX, HTTP_SHUTDOWN_MS_MAX,
};
use crate::telemetry::{Bound, Telemetry};
use problem::Problem;

/// Why the door could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr} (TCP): {source}; choose another address with --http")]
pub struct BindError {
    /// The address.
    pub addr: SocketAddr,
    /// Why.
    pub source: std::io::Error,
}

/// The open door. Dropping it closes it at once.
pub struct Server {
    local_addr: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Listens on `addr`; port 0 takes a free one. Call it inside a tokio runtime, before the
    /// engine recovers, so that whoever watches sees it start.
    ///
    /// # Errors
    /// Where the address cannot be had.
    pub async fn bind(addr: SocketAddr, telemetry: Arc<Telemetry>) -> Result<Self, BindError> {
        let listener = TcpListener::bind(addr).await.map_err(|source| BindError { addr, source })?;
        let local_addr = listener.local_addr().map_err(|source| BindError { addr, source })?;
        let (stop, stopping) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, telemetry, stopping));
        Ok(Self { local_addr, stop, accepting })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Takes nobody more, and waits a bounded time for the requests under way.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        // Who does not finish in time is cut off when this is dropped.
        let _ = timeout(Duration::from_millis(HTTP_SHUTDOWN_MS_MAX), &mut self.accepting).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Lets peers in, each in one of a bounded number of places, until the door closes.
async fn accept(listener: TcpListener, telemetry: Arc<Telemetry>, mut stopping: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX));
    let router = router(Arc::clone(&telemetry));
    let mut connections = JoinSet::new();
    loop {
        telemetry.bounds.set(Bound::HttpConnections, connections.len() as u64);
        let next = async {
            // Closed never.
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            Some((place, listener.accept().await))
        };
        let next = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            next = next => next,
        };
        match next {
            Some((place, Ok((stream, _)))) => {
                connections.spawn(serve(stream, router.clone(), place, stopping.clone()));
            }
            Some((_, Err(why))) => {
                // The peer went away, or there are no more file descriptors: then the next turn
                // comes when a connection has ended, or at once.
                tracing::warn!(%why, "an HTTP connection was not accepted");
                tokio::task::yield_now().await;
            }
            None => break,
        }
    }
    while connections.join_next().await.is_some() {}
}

/// Serves a connection until it ends, has lived too long, or the door closes.
async fn serve(
    stream: TcpStream,
    router: Router,
    place: OwnedSemaphorePermit,
    mut stopping: watch::Receiver<bool>,
) {
    let _place = place;
    // Answers are written whole.
    let _ = stream.set_nodelay(true);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(HTTP_HEADERS_MS_MAX))
        .max_headers(HTTP_HEADERS_MAX)
        .max_header_size(HTTP_HEADER_BYTES_MAX)
        .max_buf_size(2 * HTTP_HEADER_BYTES_MAX);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // How it ended is the peer's affair.
        _ = connection.as_mut() => return,
        _ = stopping.wait_for(|stop| *stop) => {}
        () = tokio::time::sleep(Duration::from_millis(HTTP_CONNECTION_MS_MAX)) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(Duration::from_millis(HTTP_ANSWER_MS_MAX), connection).await;
}

/// What is served, without a socket.
fn router(telemetry: Arc<Telemetry>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .fallback(|| async {
            Problem::new(StatusCode::NOT_FOUND, "there is nothing at this path").into_response()
        })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path takes other methods").into_response()
        })
        .layer(middleware::from_fn(bounded))
        .with_state(telemetry)
}

/// Refuses what is too large, and bounds the time of an answer.
async fn bounded(request: Request, next: Next) -> Response {
    let length =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    // A body of unknown length is read by nobody here.
    if length.unwrap_or(0) > HTTP_BODY_BYTES_MAX {
        let why = format!("a body has at most {HTTP_BODY_BYTES_MAX} bytes");
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, why).into_response();
    }
    let mut answer = match timeout(Duration::from_millis(HTTP_ANSWER_MS_MAX), next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => {
            let why = format!("there was no answer within {HTTP_ANSWER_MS_MAX} ms");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, why).into_response()
        }
    };
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

async fn metrics(State(telemetry): State<Arc<Telemetry>>) -> Response {
    // It asks the desk and the logs, whose locks a network thread does not wait for.
    match tokio::task::spawn_blocking(move || metrics::text(&telemetry)).await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        _ => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written")
            .into_response(),
    }
}

#[cfg(test)]
mod tests;
