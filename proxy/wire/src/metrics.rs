//! Counters and timings for `/metrics`. Label values are written out by hand and come from closed
//! sets or from configuration, never from requests.

use claviger_contract::Suspendable;
use claviger_contract::event::Finished;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::refusal::RefusalCode;

/// The metrics of the data plane.
#[derive(Clone)]
pub struct Metrics {
    requests: IntCounterVec,
    refusals: IntCounterVec,
    waived: IntCounterVec,
    duration: Histogram,
    first_byte: Histogram,
    request_bytes: IntCounter,
    response_bytes: IntCounter,
    masked: IntCounter,
    suspended: IntCounterVec,
    alerts: IntCounterVec,
    replayed: IntCounter,
    pub(crate) connections: IntGauge,
    pub(crate) connections_refused: IntCounterVec,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

/// Seconds; from what a cache answers in to what a model thinks about.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 120.0];

impl Metrics {
    /// Registers all of them.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let histogram =
            |name: &str, help: &str| Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()));
        let metrics = Self {
            requests: IntCounterVec::new(
                Opts::new("claviger_requests_total", "Requests that ended, by the code of their outcome"),
                &["code"],
            )?,
            refusals: IntCounterVec::new(
                Opts::new("claviger_refusals_total", "Requests that Claviger answered itself, by code"),
                &["code"],
            )?,
            waived: IntCounterVec::new(
                Opts::new(
                    "claviger_waived_total",
                    "Requests that passed a listener with enforce = false, by the code that would have refused them",
                ),
                &["listener", "code"],
            )?,
            duration: histogram(
                "claviger_request_duration_seconds",
                "From the head of a request to the end of its answer",
            )?,
            first_byte: histogram(
                "claviger_first_byte_seconds",
                "From the head of a request to the head of its answer",
            )?,
            request_bytes: IntCounter::new("claviger_request_body_bytes_total", "Bytes of bodies sent upstream")?,
            response_bytes: IntCounter::new("claviger_response_body_bytes_total", "Bytes of bodies passed back")?,
            masked: IntCounter::new("claviger_echoes_masked_total", "Injected values found in answers and masked")?,
            suspended: IntCounterVec::new(
                Opts::new(
                    "claviger_suspended_requests_total",
                    "Requests that a suspension refused or ended, by what is suspended",
                ),
                &["suspended"],
            )?,
            alerts: IntCounterVec::new(
                Opts::new("claviger_alerts_total", "Requests that somebody must look at, by what is wrong with them"),
                &["alert"],
            )?,
            replayed: IntCounter::new("claviger_replays_total", "Requests sent once more after a 401")?,
            connections: IntGauge::new("claviger_connections", "Open client connections")?,
            connections_refused: IntCounterVec::new(
                Opts::new("claviger_connections_refused_total", "Client connections refused before a request, by code"),
                &["code"],
            )?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.refusals.clone()))?;
        registry.register(Box::new(metrics.waived.clone()))?;
        registry.register(Box::new(metrics.duration.clone()))?;
        registry.register(Box::new(metrics.first_byte.clone()))?;
        registry.register(Box::new(metrics.request_bytes.clone()))?;
        registry.register(Box::new(metrics.response_bytes.clone()))?;
        registry.register(Box::new(metrics.masked.clone()))?;
        registry.register(Box::new(metrics.suspended.clone()))?;
        registry.register(Box::new(metrics.alerts.clone()))?;
        registry.register(Box::new(metrics.replayed.clone()))?;
        registry.register(Box::new(metrics.connections.clone()))?;
        registry.register(Box::new(metrics.connections_refused.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn refused(&self, code: RefusalCode) {
        self.refusals.with_label_values(&[code.as_str()]).inc();
    }

    /// A denial was not applied, at a listener of the configuration.
    pub(crate) fn waived(&self, listener: &str, reason: &'static str) {
        self.waived.with_label_values(&[listener, reason]).inc();
    }

    pub(crate) fn suspended(&self, kind: Suspendable) {
        self.suspended.with_label_values(&[kind.as_str()]).inc();
    }

    pub(crate) fn alerted(&self, alert: RefusalCode) {
        self.alerts.with_label_values(&[alert.as_str()]).inc();
    }

    pub(crate) fn finished(&self, finished: &Finished) {
        self.requests.with_label_values(&[finished.code]).inc();
        self.duration.observe(seconds(finished.duration_us));
        if let Some(first_byte_us) = finished.first_byte_us {
            self.first_byte.observe(seconds(first_byte_us));
        }
        self.request_bytes.inc_by(finished.request_bytes);
        self.response_bytes.inc_by(finished.response_bytes);
        self.masked.inc_by(u64::from(finished.masked));
        self.replayed.inc_by(u64::from(finished.replayed));
    }
}

// A double holds microseconds of 285 years exactly.
#[allow(clippy::cast_precision_loss, reason = "a measurement in a histogram")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}
