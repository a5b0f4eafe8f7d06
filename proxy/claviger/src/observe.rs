//! Metrics of what is not the data plane's: credentials and the ledger.

use std::fmt;
use std::sync::Arc;

use claviger_contract::event::{CredentialEvent, CredentialEventKind};
use claviger_contract::{Event, EventSink};
use claviger_ledger::Ledger;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

use crate::console;

/// Counts credential events on their way to the ledger.
pub(crate) struct Counted {
    ledger: Arc<Ledger>,
    credentials: IntCounterVec,
}

impl Counted {
    /// Registers the counters, and those of the ledger itself.
    pub(crate) fn new(ledger: Arc<Ledger>, registry: &Registry) -> Result<Arc<Self>, prometheus::Error> {
        let credentials = IntCounterVec::new(
            Opts::new("claviger_credential_events_total", "Credential events, by credential and kind"),
            &["credential", "event"],
        )?;
        registry.register(Box::new(credentials.clone()))?;
        registry.register(Box::new(LedgerMetrics::new(ledger.clone())?))?;
        Ok(Arc::new(Self { ledger, credentials }))
    }
}

impl EventSink for Counted {
    fn emit(&self, event: Event) {
        if let Event::Credential(credential) = &event {
            self.credentials.with_label_values(&[&*credential.credential, credential.kind.code()]).inc();
            tell(credential);
        }
        self.ledger.emit(event);
    }
}

/// What an operator who rotates a secret waits for.
fn tell(event: &CredentialEvent) {
    let (name, version) = (&event.credential, event.version.as_deref().unwrap_or_default());
    match event.kind {
        CredentialEventKind::FellBack => console::note(&format!(
            "warning: credential `{name}`: upstream refuses the new value with 401; the previous value serves, version {version}"
        )),
        CredentialEventKind::Accepted => {
            console::note(&format!("credential `{name}`: upstream takes the new value, version {version}"));
        }
        CredentialEventKind::Minted
        | CredentialEventKind::Refreshed
        | CredentialEventKind::Failed
        | CredentialEventKind::Invalidated
        | CredentialEventKind::ServedStale
        | CredentialEventKind::Renewed
        | CredentialEventKind::Revoked
        | CredentialEventKind::RevocationFailed => {}
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counted")
    }
}

/// Reads the ledger's own counts when metrics are asked for.
struct LedgerMetrics {
    ledger: Arc<Ledger>,
    records: IntGauge,
    lost: IntGauge,
    refused: IntGauge,
    healthy: IntGauge,
}

impl LedgerMetrics {
    fn new(ledger: Arc<Ledger>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            ledger,
            records: IntGauge::new("claviger_ledger_records", "Records written since the start")?,
            lost: IntGauge::new("claviger_ledger_lost", "Events lost since the start")?,
            refused: IntGauge::new("claviger_ledger_refused", "Requests refused since the start for want of a record")?,
            healthy: IntGauge::new("claviger_ledger_healthy", "1 while the ledger can be written")?,
        })
    }

    fn gauges(&self) -> [&IntGauge; 4] {
        [&self.records, &self.lost, &self.refused, &self.healthy]
    }
}

impl Collector for LedgerMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let stats = self.ledger.stats();
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.records.set(count(stats.records));
        self.lost.set(count(stats.lost));
        self.refused.set(count(stats.refused));
        self.healthy.set(i64::from(stats.error.is_none()));
        self.gauges().into_iter().flat_map(Collector::collect).collect()
    }
}
