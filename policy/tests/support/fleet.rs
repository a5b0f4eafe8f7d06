//! A large installation: teams with rules, services, and callers.

#![allow(dead_code, reason = "each user takes its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write;
use std::sync::Arc;

use claviger_policy::{Attributes, Authority, Policy, Principal, Scheme, SpiffeId, Target};
use http::Method;

pub(crate) struct Fleet {
    teams: usize,
    rules: usize,
    services: usize,
    principals: usize,
}

/// One request of one caller.
pub(crate) struct Case {
    pub(crate) caller: usize,
    pub(crate) method: Method,
    authority: Authority,
    path: String,
}

impl Case {
    pub(crate) fn target(&self, policy: &Policy) -> Target {
        policy.canonicalize(Scheme::Https, self.authority.clone(), &self.path).unwrap()
    }
}

/// Small, seeded, and the same everywhere (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }
}

impl Fleet {
    pub(crate) fn new(teams: usize, rules: usize, services: usize, principals: usize) -> Self {
        Self { teams, rules, services, principals }
    }

    pub(crate) fn config(&self) -> String {
        let mut text = String::new();
        for service in 0..self.services {
            writeln!(
                text,
                "[service.s{service}]\nhosts = [\"api{service}.example.test\", \"*.s{service}.example.test\"]"
            )
            .unwrap();
            writeln!(
                text,
                "[credential.c{service}]\nhosts = [\"api{service}.example.test\", \"*.s{service}.example.test\"]"
            )
            .unwrap();
        }
        text.push_str("[schedule.day]\nfrom = \"00:00\"\nto = \"23:59\"\nzone = \"Europe/Berlin\"\n");
        for team in 0..self.teams {
            writeln!(text, "[workload.t{team}]\nspiffe = \"spiffe://acme.internal/team{team}/**\"").unwrap();
            for rule in 0..self.rules {
                text.push_str(&self.rule(team, rule));
            }
        }
        text
    }

    fn rule(&self, team: usize, rule: usize) -> String {
        // Two thirds of a team's rules are spread, the rest is about one service.
        let service = if rule.is_multiple_of(3) { team % self.services } else { rule % self.services };
        let kind = if rule.is_multiple_of(10) { "deny" } else { "allow" };
        let (method, when) = match rule % 10 {
            0 => ("DELETE", ""),
            1 | 2 => ("POST", "when = [\"source.ip in 10.0.0.0/8\"]\n"),
            3 => ("PUT", "when = [\"time in day\"]\n"),
            4 => ("PATCH", "when = [\"body.kind == 'x'\"]\n"),
            _ => ("GET,HEAD", ""),
        };
        format!(
            "[{kind}.t{team}-r{rule}]\nwho = \"t{team}\"\nto = \"s{service}\"\nops = [\"{method} /v1/r{rule}/*/items/**\"]\n{when}"
        )
    }

    pub(crate) fn principal(&self, caller: usize) -> Arc<Principal> {
        let id = SpiffeId::parse(&format!("spiffe://acme.internal/team{}/svc{caller}", caller % self.teams)).unwrap();
        Arc::new(Principal { id, attributes: Attributes::default(), attested_by: "mesh".into() })
    }

    pub(crate) fn principals(&self) -> Vec<Arc<Principal>> {
        (0..self.principals).map(|caller| self.principal(caller)).collect()
    }

    /// Hits and misses, shuffled over callers, services and rules.
    pub(crate) fn cases(&self, count: usize) -> Vec<Case> {
        let mut random = Random(1);
        (0..count).map(|_| self.case(&mut random)).collect()
    }

    fn case(&self, random: &mut Random) -> Case {
        let caller = random.below(self.principals);
        let team = caller % self.teams;
        let rule = random.below(self.rules);
        let own = if rule.is_multiple_of(3) { team % self.services } else { rule % self.services };
        // A quarter goes to a service where the rule is not, a quarter to a path that no rule names.
        let service = if random.below(4) == 0 { random.below(self.services) } else { own };
        let path = if random.below(4) == 0 {
            format!("/v2/r{rule}/a/items")
        } else {
            format!("/v1/r{rule}/a{caller}/items/x")
        };
        let method = match rule % 10 {
            0 => Method::DELETE,
            1 | 2 => Method::POST,
            3 => Method::PUT,
            4 => Method::PATCH,
            _ => Method::GET,
        };
        let host = if random.below(2) == 0 {
            format!("api{service}.example.test")
        } else {
            format!("x.s{service}.example.test")
        };
        let authority = Authority::parse(&host, 443).unwrap();
        Case { caller, method, authority, path }
    }
}
