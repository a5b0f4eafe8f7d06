//! What it takes to load 10,000 rules in 40 files of teams: 60 services, a credential of its own for each of three
//! services of a team, 2,000 callers. From the texts to a policy, without reading files and secrets.
#![allow(clippy::print_stdout, reason = "a bench prints its figures")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a bench fails by panicking")]
#![allow(missing_docs, reason = "criterion's macro makes a public function")]

use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use claviger_policy::document::{Diagnostics, Merge, SourceFile, parse};
use claviger_policy::{
    Attributes, CredentialFacts, HostPattern, Inputs, Policy, Principal, ServiceRoute, SpiffeId, Team, TrustDomain,
    compile,
};
use criterion::{Criterion, criterion_group, criterion_main};

const TEAMS: usize = 40;
const RULES: usize = 250;
const SERVICES: usize = 60;
const CALLERS: usize = 2_000;

fn platform() -> String {
    let mut text = String::from(
        "[schedule.day]\nfrom = \"00:00\"\nto = \"23:59\"\nzone = \"Europe/Berlin\"\n\
         [deny.locked]\nwho = \"*\"\nto = \"*\"\nops = [\"* /v1/locked/**\"]\n",
    );
    for service in 0..SERVICES {
        writeln!(text, "[service.s{service}]\nhosts = [\"api{service}.test\", \"*.s{service}.test\"]").unwrap();
    }
    for team in 0..TEAMS {
        let services: Vec<String> = (0..10).map(|at| format!("\"s{}\"", (team + at) % SERVICES)).collect();
        writeln!(
            text,
            "[team.t{team}]\nidentities = [\"spiffe://acme.internal/t{team}/**\"]\nservices = [{}]",
            services.join(", ")
        )
        .unwrap();
    }
    text
}

/// Rules that differ in what teams write: some for everyone of the team, some with conditions, two credentials that
/// could be confused at each service.
fn team(team: usize) -> String {
    let mut text = String::new();
    for at in 0..50 {
        writeln!(text, "[workload.w{at}]\nspiffe = \"spiffe://acme.internal/t{team}/svc{at}/**\"").unwrap();
    }
    for at in 0..3 {
        let service = (team + at) % SERVICES;
        writeln!(text, "[credential.c{at}]\nhosts = [\"api{service}.test\", \"*.s{service}.test\"]").unwrap();
    }
    for rule in 0..RULES {
        let at = rule % 10;
        let (service, method) = ((team + at) % SERVICES, ["GET", "POST", "PUT", "DELETE,PATCH"][rule % 4]);
        let who = if rule % 5 == 0 { "*".to_owned() } else { format!("w{}", rule % 50) };
        let when = match rule % 7 {
            0 => "when = [\"source.ip in 10.0.0.0/8\", \"time in day\"]\n",
            1 => "when = [\"ci.ref in ['refs/heads/main', 'refs/heads/release-*']\"]\n",
            _ => "",
        };
        let kind = if rule % 25 == 0 { "deny" } else { "allow" };
        let credential = match (kind, at < 3 && rule % 3 == 0) {
            ("deny", _) => String::new(),
            (_, true) => format!("use = \"c{at}\"\n"),
            (_, false) => "use = \"none\"\n".to_owned(),
        };
        writeln!(
            text,
            "[{kind}.r{rule}]\nwho = \"{who}\"\nto = \"s{service}\"\nops = [\"{method} /v1/r{rule}/*/items/**\"]\n{when}{credential}"
        )
        .unwrap();
    }
    text
}

fn load(platform: &str, teams: &[String]) -> Policy {
    let mut out = Diagnostics::default();
    let root = parse(&SourceFile::new("claviger.toml", platform), &mut out).unwrap();
    let named = ["workload", "credential", "allow", "deny"];
    let mut merge = Merge::new(root, &named);
    for (at, text) in teams.iter().enumerate() {
        let name: Arc<str> = format!("t{at}").into();
        let source = SourceFile::of_team(format!("teams/t{at}/rules.toml"), text.as_str(), name);
        let mut tree = parse(&source, &mut out).unwrap();
        merge.add(&mut tree, &named, &["test"], &mut out);
    }
    let mut root = merge.finish();
    let trust_domain = TrustDomain::parse("acme.internal").unwrap();
    let mut services = Vec::new();
    for (name, mut table) in root.named_tables("service", &mut out) {
        services.extend(ServiceRoute::take(name, &mut table, &mut out));
    }
    let mut bounds = Vec::new();
    for (name, mut table) in root.named_tables("team", &mut out) {
        bounds.extend(Team::take(&name, &mut table, &trust_domain, &services, &[], &mut out));
    }
    Team::are_apart(&bounds, &mut out);
    let mut credentials = Vec::new();
    for (name, mut table) in root.named_tables("credential", &mut out) {
        let hosts = table.strings("hosts", &mut out).unwrap();
        let hosts = hosts.iter().map(|host| HostPattern::parse(&host.value, 443).unwrap()).collect();
        credentials.push(CredentialFacts { name, hosts });
    }
    let inputs = Inputs { trust_domain, services, credentials, teams: bounds, generation: 1 };
    let policy = compile(&mut root, inputs, &mut out);
    policy.unwrap_or_else(|| panic!("{:?}", out.iter().take(3).map(ToString::to_string).collect::<Vec<_>>()))
}

/// Resident memory of this process, in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// What this thread has had of a CPU, in nanoseconds; 0 where the system does not say. On a shared machine this is what
/// can be compared.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn loads(criterion: &mut Criterion) {
    let (platform, teams) = (platform(), (0..TEAMS).map(team).collect::<Vec<_>>());
    let bytes: usize = teams.iter().map(String::len).sum();
    let (before, start) = (resident(), Instant::now());
    let policy = load(&platform, &teams);
    let (first, held) = (start.elapsed(), resident().saturating_sub(before));
    println!("{} rules in {TEAMS} files of {} KiB together: {first:.1?}, {held} KiB", TEAMS * RULES, bytes >> 10);
    let mut times: Vec<u64> = (0..30)
        .map(|_| {
            let start = cpu_ns();
            black_box(load(&platform, &teams));
            cpu_ns() - start
        })
        .collect();
    times.sort_unstable();
    println!("CPU time of a load: median {} ms, most {} ms", times[15] / 1_000_000, times[29] / 1_000_000);
    let start = Instant::now();
    for caller in 0..CALLERS {
        let id = SpiffeId::parse(&format!("spiffe://acme.internal/t{}/svc{}/x", caller % TEAMS, caller % 50)).unwrap();
        let principal = Principal { id, attributes: Attributes::default(), attested_by: "mesh".into() };
        black_box(policy.bind(&Arc::new(principal)));
    }
    println!("one binding of {CALLERS}: {:.1?}", start.elapsed() / u32::try_from(CALLERS).unwrap());
    drop(policy);
    criterion.bench_function("load", |bencher| bencher.iter(|| load(&platform, &teams)));
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(std::time::Duration::from_secs(5));
    targets = loads
}
criterion_main!(benches);
