//! What a decision scans: sixteen bytes per operation of a rule, in order of rank, so that a list of
//! hundreds is read in a few cache lines and almost every miss is seen without following a pointer.
//!
//! A trie would save nothing here: binding leaves short lists, and the prefix hash rejects what a
//! trie would not visit, at about a nanosecond each (benches/decide.rs).

use crate::pattern::{Operation, Probe};
use crate::policy::{InstanceId, OperationId};
use crate::rule::{RuleKind, RuleSet};

/// One operation of one rule at one service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    prefix_hash: u32,
    pub(crate) instance: InstanceId,
    pub(crate) operation: OperationId,
    methods: u16,
    min_segments: u8,
    bits: u8,
}

const PREFIX_LEN: u8 = 0b0000_0111;
const OPEN: u8 = 0b0000_1000;
const UNCONDITIONAL: u8 = 0b0001_0000;
const DENY: u8 = 0b0010_0000;
const CONTESTED: u8 = 0b0100_0000;

impl Candidate {
    /// Whether path and method may match; the exact comparison follows. Never false for a match.
    pub(crate) fn admits(&self, probe: &Probe, method_bit: u16) -> bool {
        let hash = probe.hashes.get(usize::from(self.bits & PREFIX_LEN));
        let length =
            if self.bits & OPEN == 0 { probe.count == self.min_segments } else { probe.count >= self.min_segments };
        hash == Some(&self.prefix_hash) && length && self.methods & method_bit != 0
    }

    /// Whether nothing is left to ask once the operation matches.
    pub(crate) fn is_unconditional(&self) -> bool {
        self.bits & UNCONDITIONAL != 0
    }

    pub(crate) fn denies(&self) -> bool {
        self.bits & DENY != 0
    }

    /// Whether another allow may tie with it and want another credential.
    pub(crate) fn is_contested(&self) -> bool {
        self.bits & CONTESTED != 0
    }
}

/// Denies first, then from the highest priority, then as in the file.
type Rank = (RuleKind, i64, usize);

/// By service: all candidates in order of rank, so that the first that holds is the answer.
pub(super) fn rank(set: &RuleSet, services: usize) -> Vec<Vec<Candidate>> {
    let mut ranked: Vec<Vec<(Rank, Candidate)>> = (0..services).map(|_| Vec::new()).collect();
    for (at, instance) in set.instances.iter().enumerate() {
        let (Some(rule), Some(list)) = (set.rules.get(instance.rule), ranked.get_mut(instance.service)) else {
            continue;
        };
        let mut bits = 0;
        for (flag, on) in [
            (UNCONDITIONAL, rule.is_unconditional()),
            (DENY, rule.kind == RuleKind::Deny),
            (CONTESTED, instance.contested),
        ] {
            bits |= if on { flag } else { 0 };
        }
        let id = InstanceId::try_from(at).unwrap_or(InstanceId::MAX);
        for operation in &instance.operations {
            let Some(op) = set.operations.get(*operation as usize) else { continue };
            // The sort is stable: operations of one rule stay in the order of the file.
            list.push(((rule.kind, -rule.priority, instance.rule), candidate(op, id, *operation, bits)));
        }
    }
    ranked
        .into_iter()
        .map(|mut list| {
            list.sort_by_key(|(rank, _)| *rank);
            list.into_iter().map(|(_, candidate)| candidate).collect()
        })
        .collect()
}

fn candidate(op: &Operation, instance: InstanceId, operation: OperationId, bits: u8) -> Candidate {
    let open = if op.path.open { OPEN } else { 0 };
    Candidate {
        prefix_hash: op.path.prefix_hash,
        instance,
        operation,
        methods: op.methods.mask,
        min_segments: op.path.min_segments,
        bits: bits | open | (op.path.prefix_len & PREFIX_LEN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_stays_small() {
        assert_eq!(size_of::<Candidate>(), 16);
    }
}
