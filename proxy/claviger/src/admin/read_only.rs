//! `admin.bind`: a TCP listener that anybody who reaches it may read, and nobody may change anything through.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Encoder, TextEncoder};
use serde::Serialize;

use super::Desk;

/// Serves until the runtime ends.
pub(super) async fn serve(socket: tokio::net::TcpListener, desk: Arc<Desk>) {
    // Only GET and HEAD, and no route of the API: what changes something has another door.
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/version", get(version))
        .with_state(desk);
    // Only an accept error ends it; the proxy itself goes on.
    let _ = axum::serve(socket, router).await;
}

/// Binds the address.
pub(super) async fn bind(address: SocketAddr) -> std::io::Result<tokio::net::TcpListener> {
    tokio::net::TcpListener::bind(address).await
}

/// Ready: configuration in force, not draining, and the ledger takes records. State that is away is told and no reason
/// to send the traffic elsewhere: what was suspended stays so.
async fn readyz(State(desk): State<Arc<Desk>>) -> Response {
    if !desk.ready.load(Ordering::Acquire) {
        return (StatusCode::SERVICE_UNAVAILABLE, "starting or draining\n").into_response();
    }
    if desk.ledger.stats().error.is_some() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the ledger cannot be written\n").into_response();
    }
    match desk.state.complaint() {
        None => (StatusCode::OK, "ok\n").into_response(),
        // Not the complaint itself: it names files, and whoever reaches this listener reads it.
        Some(_) => (StatusCode::OK, "ok, but suspensions cannot be read or changed\n").into_response(),
    }
}

async fn metrics(State(desk): State<Arc<Desk>>) -> impl IntoResponse {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&desk.registry.gather(), &mut text) {
        Ok(()) => (StatusCode::OK, [(header::CONTENT_TYPE, encoder.format_type().to_owned())], text),
        Err(error) => {
            let type_ = "text/plain; charset=utf-8".to_owned();
            (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, type_)], error.to_string().into_bytes())
        }
    }
}

#[derive(Serialize)]
struct Version {
    name: &'static str,
    version: &'static str,
}

async fn version() -> axum::Json<Version> {
    axum::Json(Version { name: "claviger", version: env!("CARGO_PKG_VERSION") })
}
