//! What teams may be lent, and how much they may say.

use std::collections::BTreeMap;

use crate::document::{Diagnostics, Location};
use crate::rule::RuleSet;
use crate::workload::Workload;
use crate::{CredentialFacts, Team};

/// The most rules of one team.
const RULES_MAX: usize = 5_000;
/// The most workloads of one team: each is asked for every caller.
const WORKLOADS_MAX: usize = 1_000;
/// How many operations the rules of one team may have, counted once for each service that they are at: this is what
/// a decision scans, and what is held in memory.
const CANDIDATES_MAX: usize = 50_000;

/// What a team is lent is there, and no credential of its own has the name.
pub(super) fn check_lent(teams: &[Team], credentials: &[CredentialFacts], broken: &[String], out: &mut Diagnostics) {
    let platform: Vec<&str> = credentials
        .iter()
        .filter(|facts| facts.name.location.team().is_none())
        .map(|facts| facts.name.value.as_str())
        .collect();
    for team in teams {
        let known = |name: &str| platform.contains(&name) || broken.iter().any(|broken| broken == name);
        team.check_credentials(&known, &platform, out);
        for lent in team.credentials() {
            let own = credentials.iter().find(|facts| {
                facts.name.location.team() == Some(team.name()) && facts.name.value.rsplit('/').next() == Some(lent)
            });
            if let Some(own) = own {
                let message = format!("`{lent}` is the name of a credential that the platform lends to this team");
                out.error(&own.name.location, format!("credential.{lent}"), message).help("give it another name");
            }
        }
    }
}

/// No team makes decisions slow, or fills the memory.
pub(super) fn check_size(set: &RuleSet, workloads: &[Workload], out: &mut Diagnostics) {
    let rules = set.rules.iter().map(|rule| &rule.location);
    check_count(rules, RULES_MAX, "rules", "merge rules that differ in `ops` only", out);
    // What stands for `*` is at the platform's table.
    let workloads = workloads.iter().map(|workload| &workload.location);
    check_count(workloads, WORKLOADS_MAX, "workloads", "name several IDs in one", out);
    let mut candidates: BTreeMap<_, usize> = BTreeMap::new();
    for instance in &set.instances {
        let Some(rule) = set.rules.get(instance.rule) else { continue };
        let Some(team) = rule.location.team() else { continue };
        let count = candidates.entry(team).or_default();
        let before = *count;
        *count += instance.operations.len();
        if before <= CANDIDATES_MAX && *count > CANDIDATES_MAX {
            let message = format!("the rules of team `{team}` have more than {CANDIDATES_MAX} operations at services");
            out.error(&rule.location, "", message).help("use wider path patterns, or name fewer services");
        }
    }
}

fn check_count<'a>(
    places: impl Iterator<Item = &'a Location>,
    max: usize,
    what: &str,
    help: &str,
    out: &mut Diagnostics,
) {
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    for place in places {
        let Some(team) = place.team() else { continue };
        let count = counts.entry(team).or_default();
        *count += 1;
        if *count == max + 1 {
            out.error(place, "", format!("team `{team}` has more than {max} {what}")).help(help);
        }
    }
}
