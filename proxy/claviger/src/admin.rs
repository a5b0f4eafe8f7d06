//! The admin listener: read-only, and nothing secret to read.

#[allow(dead_code, reason = "the commands that use it are being written")]
pub(crate) mod client;
mod settings;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use claviger_ledger::Ledger;
use prometheus::{Encoder, Registry, TextEncoder};
use serde::Serialize;

pub(crate) use self::settings::AdminSettings;

/// What the endpoints look at.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) registry: Registry,
    pub(crate) ledger: Arc<Ledger>,
    /// False while starting and while draining.
    pub(crate) ready: Arc<AtomicBool>,
}

/// Serves until the runtime ends.
pub(crate) async fn serve(socket: tokio::net::TcpListener, admin: Admin) {
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/version", get(version))
        .with_state(admin);
    // Only an accept error ends it; the proxy itself goes on.
    let _ = axum::serve(socket, router).await;
}

/// Binds the admin address.
pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<tokio::net::TcpListener> {
    tokio::net::TcpListener::bind(address).await
}

/// Ready: configuration in force, not draining, and the ledger takes records.
async fn readyz(State(admin): State<Admin>) -> impl IntoResponse {
    if !admin.ready.load(Ordering::Acquire) {
        return (StatusCode::SERVICE_UNAVAILABLE, "starting or draining\n");
    }
    if admin.ledger.stats().error.is_some() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the ledger cannot be written\n");
    }
    (StatusCode::OK, "ok\n")
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&admin.registry.gather(), &mut text) {
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
