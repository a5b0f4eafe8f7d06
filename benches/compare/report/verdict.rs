//! Targets, compared with what was measured.

use super::WorkResult;
use crate::stats::Ratio;
use crate::works::{self, Metric, Target};

/// One target's outcome.
pub(crate) struct Verdict {
    /// "CPU time ≤ 0.55 × envoy"
    pub(crate) what: String,
    /// "0.51 (≤ 0.53)"
    pub(crate) measured: String,
    /// `None`: the peer was not there, or a figure is void.
    pub(crate) met: Option<bool>,
}

/// The targets of a work. One by a ratio is met if the ratio's 95 % bound is.
pub(crate) fn verdicts(work: &WorkResult) -> Vec<Verdict> {
    let known = works::ALL.iter().find(|known| known.name == work.name);
    known.map(|known| known.targets.iter().map(|target| verdict(work, target)).collect()).unwrap_or_default()
}

fn verdict(work: &WorkResult, target: &Target) -> Verdict {
    let Target { peer, metric, most } = *target;
    let name = match metric {
        Metric::CpuUs => "CPU time",
        Metric::P50Us => "p50",
        Metric::P99Us => "p99",
        Metric::PerSecond => "rate",
        Metric::Syscalls => "system calls",
        Metric::StartMs | Metric::StartCpuMs => "start",
        Metric::ProcessMib => "idle process",
        Metric::ConnectionKib => "idle connection",
    };
    let Some(peer) = peer else {
        let value = work.leg("claviger").and_then(|leg| leg.median(metric));
        let measured = value.map_or("not measured".to_owned(), |value| metric.show(value));
        let met = value.map(|value| value <= most);
        return Verdict { what: format!("{name} ≤ {}", metric.show(most)), measured, met };
    };
    let ratio = work.ratio(peer, metric);
    let measured =
        ratio.map_or("not measured".to_owned(), |Ratio { median, bound }| format!("{median:.2} (≤ {bound:.2})"));
    Verdict { what: format!("{name} ≤ {most:.2} × {peer}"), measured, met: ratio.map(|ratio| ratio.bound <= most) }
}
