//! A bound on the rules of one selector at one service, so that no decision can be made slow.

use std::collections::BTreeMap;

use crate::ServiceRoute;
use crate::document::{Diagnostics, Location};
use crate::rule::{RuleSet, Who};
use crate::workload::Workload;

/// From here on a bucket is warned about.
const WARN: usize = 1_000;
/// From here on it is refused.
const REFUSE: usize = 4_000;

pub(super) fn check(set: &RuleSet, workloads: &[Workload], services: &[ServiceRoute], out: &mut Diagnostics) {
    let mut buckets: BTreeMap<(Option<usize>, usize), (usize, &Location)> = BTreeMap::new();
    for instance in &set.instances {
        let Some(rule) = set.rules.get(instance.rule) else { continue };
        let mut count = |selector| {
            buckets.entry((selector, instance.service)).or_insert((0, &rule.location)).0 += 1;
        };
        match &rule.who {
            Who::Anyone => count(None),
            Who::Workloads(workloads) => workloads.iter().for_each(|at| count(Some(*at))),
        }
    }
    for ((selector, service), (count, location)) in buckets {
        if count < WARN {
            continue;
        }
        let service = services.get(service).map_or("", |service| service.name());
        let workload = selector.and_then(|at| workloads.get(at));
        // What stands for everyone of a team is at the platform's table, and the rules are the team's.
        let (name, location) = match workload {
            Some(workload) if workload.location.team() == location.team() => (&*workload.name, &workload.location),
            Some(workload) => (&*workload.name, location),
            None => ("*", location),
        };
        let message = format!("{count} rules are for `{name}` at service `{service}`");
        let help = "merge rules that differ in `ops` only, or split the workload";
        if count < REFUSE {
            out.warning(location, "", format!("{message}; {REFUSE} are refused")).help(help);
        } else {
            out.error(location, "", format!("{message}; fewer than {REFUSE} are accepted")).help(help);
        }
    }
}
