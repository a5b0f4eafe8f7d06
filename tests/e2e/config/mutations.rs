//! The example, broken in hundreds of ways: the binary says what is wrong, and never falls over.

use crate::example::EXAMPLE;
use crate::prepared::Prepared;

const MUTATIONS: u64 = 320;
const THREADS: u64 = 4;

/// A small generator (`SplitMix64`): the same mutations in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }
}

const VALUES: &[&str] = &[
    "\"\"",
    "0",
    "-1",
    "1",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "1e400",
    "nan",
    "true",
    "[]",
    "{}",
    "[[]]",
    "[{}]",
    "[\"\"]",
    "{ x = 1 }",
    "\"\\u0000\"",
    "\"\\u202e\"",
    "\"*\"",
    "\"**\"",
    "\"/\"",
    "\"//\"",
    "\"..\"",
    "\"{\"",
    "\"}\"",
    "\"{}\"",
    "\"@\"",
    "\"secret://\"",
    "\"secret://sealed/x\"",
    "\"spiffe://\"",
    "\"unix:\"",
    "\"0.0.0.0/0\"",
    "\"::/0\"",
    "\"99999999999999999999s\"",
    "\"18446744073709551615d\"",
    "\"18446744073709551615GiB\"",
    "1979-05-27T07:32:00Z",
    "1979-05-27",
    "\"9999-12-31T23:59:59Z\"",
    "\"ü\"",
    "\"https://[::1\"",
    "\"[::1]:65536\"",
    "\"GET\"",
    "\"GET /a/**/b\"",
    "\"time in time in\"",
    "\"a == \"",
    "\"x in [\"",
    "'''\n\n'''",
];

fn mutate(original: &str, random: &mut Random) -> String {
    let mut lines: Vec<String> = original.lines().map(str::to_owned).collect();
    for _ in 0..=random.below(3) {
        let (a, b) = (random.below(lines.len()), random.below(lines.len()));
        match random.below(10) {
            0 => drop(lines.remove(a)),
            1 => {
                let line = lines[a].clone();
                lines.insert(b, line);
            }
            2 => lines.swap(a, b),
            // One character more, less, or another.
            3..=5 => {
                let mut chars: Vec<char> = lines[a].chars().collect();
                let at = random.below(chars.len() + 1);
                if at < chars.len() && random.below(2) == 0 {
                    chars.remove(at);
                } else {
                    let all: Vec<char> = "\"'[]{}=.,#\\ \t\u{0}ü*/:@0aZ-".chars().collect();
                    chars.insert(at, all[random.below(all.len())]);
                }
                lines[a] = chars.into_iter().collect();
            }
            // Another value of the file, or a nasty one.
            _ => {
                let keys: Vec<usize> = (0..lines.len()).filter(|at| value_of(&lines[*at]).is_some()).collect();
                let (to, from) = (keys[random.below(keys.len())], keys[random.below(keys.len())]);
                let value = match random.below(2) {
                    0 => value_of(&lines[from]).unwrap().1.to_owned(),
                    _ => VALUES[random.below(VALUES.len())].to_owned(),
                };
                let (key, _) = value_of(&lines[to]).unwrap();
                lines[to] = format!("{key}= {value}");
            }
        }
    }
    lines.join("\n")
}

fn value_of(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    (!key.trim_start().starts_with('#')).then_some((key, value.trim()))
}

#[test]
fn a_broken_example_is_told_about_and_never_panics() {
    let run = |thread: u64| {
        let prepared = Prepared::new();
        let mut outcomes = [0_usize; 2];
        for number in (thread..MUTATIONS).step_by(usize::try_from(THREADS).unwrap()) {
            let text = mutate(EXAMPLE, &mut Random(number));
            let checked = prepared.check(&text);
            let errors = checked.findings.iter().filter(|one| one.severity == "error").count();
            assert!(matches!((checked.code, errors), (0, 0) | (2, 1..)), "{number}: {checked:?}\n{text}");
            for finding in &checked.findings {
                assert!(!finding.message.is_empty(), "{number}: {finding:?}");
                let line = usize::try_from(finding.line).unwrap();
                let is_there = (1..=text.lines().count() + 1).contains(&line) && finding.file == "claviger.toml";
                let is_preset = finding.file.starts_with("preset:");
                let is_teams = finding.file.starts_with("teams/");
                // A mutation may name any file of the example there.
                let is_included = text.contains(&format!("\"{}\"", finding.file));
                assert!(is_there || is_preset || is_teams || is_included, "{number}: {finding:?}\n{text}");
            }
            outcomes[usize::from(errors > 0)] += 1;
        }
        outcomes
    };
    let totals = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || run(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).fold([0, 0], |a, b| [a[0] + b[0], a[1] + b[1]])
    });
    // Comments and defaults change nothing; most else is a mistake.
    assert!(totals[0] > 20 && totals[1] > 150, "{totals:?}");
}

/// What the example includes, and what a team of it says.
const INCLUDED: &str = r#"version = 1

[schedule.weekend]
days = ["sat", "sun"]
zone = "UTC"

[service.more]
hosts = ["more.test", "*.more.test:8443"]
operations = { read = ["GET /v1/**"] }
inject = [{ header = "x-api-key" }]
secret = "secret://env/KEY"
allow_addresses = ["10.0.0.0/8"]
ca = "../internal-ca.pem"

[allow.more]
who = "payments"
to = "more"
ops = ["@read"]
when = ["time in weekend"]

[[test]]
as = "spiffe://acme.internal/payments/api"
at = "2026-11-22T10:00:00Z"
request = "GET https://more.test/v1/x"
expect = "allow more"
"#;

const OF_TEAM: &str = r#"[workload.app]
spiffe = "spiffe://acme.internal/teams/payments/app"
match = { "ci.ref" = "refs/heads/main" }

[credential.own]
kind = "static"
value = "secret://env/PAYMENTS_KEY"
hosts = ["billing.internal:8443", "*.billing.internal:8443"]

[allow.app]
who = "app"
to = "billing"
ops = ["GET /v1/**"]
use = "own"

[deny.never]
who = "app"
to = "crm"
ops = ["DELETE /**"]
why = "never"

[[test]]
as = "spiffe://acme.internal/teams/payments/app"
attributes = { "ci.ref" = "refs/heads/main" }
request = "GET https://billing.internal:8443/v1/x"
expect = "allow app"
"#;

/// An included file that is broken breaks the configuration; a team's breaks the team, with the others as they are.
#[test]
fn a_broken_file_of_another_is_told_about_and_never_panics() {
    let main = EXAMPLE.replacen("include      = []", "include      = [\"include.d/*.toml\"]", 1);
    assert_ne!(main, EXAMPLE);
    let prepared = Prepared::new();
    let check = |included: &str, of_team: &str| {
        prepared.0.write("include.d/office.toml", included);
        prepared.0.write("teams/payments/app.toml", of_team);
        prepared.check(&main)
    };
    let good = check(INCLUDED, OF_TEAM);
    assert_eq!((good.code, good.findings.as_slice()), (0, &[][..]));
    let (mut of_included, mut of_team) = ([0_usize; 2], [0_usize; 2]);
    for number in 0..MUTATIONS / 4 {
        let mut random = Random(number + 10_000);
        let (checked, file) = if number % 2 == 0 {
            (check(&mutate(INCLUDED, &mut random), OF_TEAM), "include.d/office.toml")
        } else {
            (check(INCLUDED, &mutate(OF_TEAM, &mut random)), "teams/payments/app.toml")
        };
        let errors = checked.findings.iter().filter(|one| one.severity == "error").count();
        assert!(matches!((checked.code, errors), (0, 0) | (2, 1..)), "{number}: {checked:?}");
        for finding in &checked.findings {
            assert!(!finding.message.is_empty(), "{number}: {finding:?}");
            // A name that is gone is missed where it was used: in the main file, or in the other one.
            let is_ours = finding.file.ends_with(".toml") && finding.line > 0;
            assert!(is_ours || finding.file.starts_with("preset:"), "{number}: {finding:?}");
            if file.starts_with("teams") {
                assert!(!finding.file.starts_with("include.d"), "{number}: {finding:?}");
            }
        }
        let outcomes = if file.starts_with("teams") { &mut of_team } else { &mut of_included };
        outcomes[usize::from(errors > 0)] += 1;
    }
    assert!(of_included[1] > 10 && of_team[1] > 10, "{of_included:?} {of_team:?}");
}
