//! One mistake at a time in a configuration of which nothing is found, and what is found then; and near misses, of
//! which nothing is.

use std::collections::BTreeSet;

use crate::prepared::Prepared;
use crate::{BASE, edited, found, run};

/// An edit, and what it makes.
struct Case(&'static [(&'static str, &'static str)], &'static [&'static str]);

/// Adds to the end.
const END: &str = "expect = \"allow read\"\n";
const READ: &str = "ops = [\"@read\"]\nuse = \"key\"\n";
const DOCS: &str = "when = [\"time in office\", \"source.ip in 10.0.0.0/8\", \"body.kind == 'page'\"]\n";
const DENY: &str = "why = \"audits are immutable\"\n";

const CASES: &[Case] = &[
    Case(&[], &[]),
    // At load.
    Case(
        &[(
            "expect = \"allow read\"\n",
            "expect = \"allow read\"\n[workload.w]\nspiffe = \"spiffe://acme.internal/w\"\n[allow.w]\nwho = \"w\"\nto = \"api\"\nops = [\"GTE /x\"]\nuse = \"key\"\n",
        )],
        &["CLV0001 allow.w"],
    ),
    // A session of `exec` vouches for the workloads that permit it, and for no others.
    Case(
        &[(
            END,
            "expect = \"allow read\"\n[workload.dev]\nspiffe = \"spiffe://acme.internal/dev/ada\"\nmatch = { \"exec.by\" = \"ada\" }\nexec = true\n[allow.dev]\nwho = \"dev\"\nto = \"api\"\nops = [\"GET /v2/x\"]\nwhen = [\"exec.task == 'x'\"]\nuse = \"key\"\n",
        )],
        &[],
    ),
    Case(
        &[(
            END,
            "expect = \"allow read\"\n[workload.dev]\nspiffe = \"spiffe://acme.internal/dev/ada\"\nmatch = { \"exec.by\" = \"ada\" }\n[workload.tool]\nspiffe = \"spiffe://acme.internal/dev/tool\"\nexec = true\n[allow.dev]\nwho = [\"dev\", \"tool\"]\nto = \"api\"\nops = [\"GET /v2/x\"]\nuse = \"key\"\n",
        )],
        &["CLV0207 workload.dev"],
    ),
    // Conditions.
    Case(
        &[
            (READ, "ops = [\"@read\"]\nuse = \"key\"\nwhen = [\"ci.count > 5\", \"ci.count < 5\"]\n"),
            ("who = \"app\"\nto = \"api\"", "who = \"docs\"\nto = \"api\""),
            (END, "expect = \"deny\"\n"),
        ],
        &["CLV0101 allow.read"],
    ),
    Case(
        &[
            (READ, "ops = [\"@read\"]\nuse = \"key\"\nwhen = [\"ci.count > 5\", \"ci.count < 7\"]\n"),
            ("who = \"app\"\nto = \"api\"", "who = \"docs\"\nto = \"api\""),
            (END, "expect = \"deny\"\n"),
        ],
        &[],
    ),
    // What `match` of the workload asks for counts too.
    Case(&[(DOCS, "when = [\"ci.ref != 'refs/heads/main'\", \"time in office\"]\n")], &["CLV0101 allow.docs"]),
    Case(
        &[(DOCS, "when = [\"source.ip in 10.0.0.0/8\", \"source.ip not in 10.0.0.0/7\", \"time in office\"]\n")],
        &["CLV0101 allow.docs"],
    ),
    Case(
        &[(DOCS, "when = [\"source.ip in 10.0.0.0/8\", \"source.ip not in 10.1.0.0/16\", \"time in office\"]\n")],
        &[],
    ),
    Case(&[(DOCS, "when = [\"time in office\", \"time not in office\"]\n")], &["CLV0101 allow.docs"]),
    Case(
        &[(DENY, "why = \"x\"\nwhen = [\"source.ip in 10.0.0.0/8\", \"source.ip in 11.0.0.0/8\"]\n")],
        &["CLV0102 deny.audit", "CLV0132 deny.audit"],
    ),
    Case(
        &[(DOCS, "when = [\"time in office\", \"body.kind == 'page'\", \"body.kind == 'post'\"]\n")],
        &["CLV0106 allow.docs"],
    ),
    Case(&[(DOCS, "when = [\"time in office\", \"body.kind in ['page', 'post']\", \"body.kind == 'post'\"]\n")], &[]),
    Case(
        &[("ops = [\"POST /v1/docs/**\"]", "ops = [\"POST /v1/docs/**\", \"GET /v1/docs/*\"]")],
        &["CLV0108 allow.docs"],
    ),
    Case(
        &[
            (DOCS, "when = [\"time in office\", \"time in night\"]\n"),
            (
                "[schedule.office]",
                "[schedule.night]\nfrom = \"22:00\"\nto = \"23:00\"\nzone = \"UTC\"\n[schedule.office]",
            ),
        ],
        &["CLV0109 allow.docs"],
    ),
    Case(
        &[("hosts = [\"metrics.test\"]\n", "hosts = [\"metrics.test\"]\npaths = [\"/v1\"]\n")],
        &["CLV0107 allow.metrics"],
    ),
    // Other rules.
    Case(
        &[(DENY, "why = \"x\"\n[deny.posts]\nwho = \"docs\"\nto = \"api\"\nops = [\"POST,PUT /**\"]\nwhy = \"x\"\n")],
        &["CLV0103 allow.docs"],
    ),
    Case(
        &[(
            DENY,
            "why = \"x\"\n[deny.posts]\nwho = \"docs\"\nto = \"api\"\nops = [\"POST,PUT /**\"]\nwhy = \"x\"\nwhen = [\"source.ip in 10.1.0.0/16\"]\n",
        )],
        &[],
    ),
    Case(
        &[(
            DENY,
            "why = \"x\"\n[deny.inside]\nwho = \"app\"\nto = \"api\"\nops = [\"DELETE /v1/audit/*\"]\nwhy = \"x\"\n",
        )],
        &["CLV0104 deny.inside"],
    ),
    Case(
        &[(
            READ,
            "ops = [\"@read\"]\nuse = \"key\"\n[allow.models]\nwho = \"app\"\nto = \"api\"\nops = [\"GET /v1/models\"]\nuse = \"key\"\n",
        )],
        &["CLV0104 allow.models"],
    ),
    // Another credential in between takes the place of neither.
    Case(
        &[(
            READ,
            "ops = [\"@read\"]\nuse = \"key\"\n[allow.models]\nwho = \"app\"\nto = \"api\"\nops = [\"GET /v1/models\"]\nuse = \"key\"\npriority = 2\n[allow.open]\nwho = \"app\"\nto = \"api\"\nops = [\"GET /v1/models\"]\nuse = \"none\"\npriority = 1\n",
        )],
        &["CLV0103 allow.open"],
    ),
    Case(
        &[
            (DOCS, "when = [\"ci.ref in ['a*b']\"]\n"),
            ("match = { \"ci.ref\" = \"refs/heads/main\" }\n", ""),
            (
                READ,
                "ops = [\"@read\"]\nuse = \"key\"\n[allow.other]\nwho = \"docs\"\nto = \"api\"\nops = [\"POST /v1/docs/**\"]\nwhen = [\"ci.ref not in ['a*']\", \"ci.ref not in ['*b']\"]\nuse = \"none\"\n",
            ),
            (
                "[schedule.office]\ndays = [\"mon\", \"tue\", \"wed\", \"thu\", \"fri\"]\nfrom = \"07:00\"\nto = \"19:00\"\nzone = \"UTC\"\n",
                "",
            ),
        ],
        &["CLV0105 allow.docs"],
    ),
    // Breadth.
    Case(
        &[("who = \"app\"\nto = \"api\"\nops = [\"@read\"]", "who = \"*\"\nto = \"api\"\nops = \"*\"")],
        &["CLV0104 allow.docs", "CLV0110 allow.read"],
    ),
    Case(&[("ops = [\"@read\"]", "ops = [\"* /**\"]")], &["CLV0111 allow.read"]),
    Case(&[("ops = [\"@read\"]", "ops = [\"* /v1/**\"]")], &[]),
    Case(
        &[(
            "who = \"app\"\nto = \"api\"\nops = [\"@read\"]\nuse = \"key\"\n",
            "who = \"app\"\nto = \"*\"\nops = [\"GET /v1/**\"]\n",
        )],
        &["CLV0112 allow.read"],
    ),
    // Time.
    Case(
        &[
            (READ, "ops = [\"@read\"]\nuse = \"key\"\nuntil = 2020-01-01T00:00:00Z\n"),
            (END, "expect = \"deny\"\nat = 2026-01-01T00:00:00Z\n"),
        ],
        &["CLV0120 allow.read"],
    ),
    Case(
        &[
            (READ, "ops = [\"@read\"]\nuse = \"key\"\nuntil = 9990-01-01T00:00:00Z\n"),
            (END, "expect = \"allow read\"\nat = 2026-01-01T00:00:00Z\n"),
        ],
        &[],
    ),
    Case(
        &[
            (READ, "ops = [\"@read\"]\nuse = \"key\"\nfrom = 9990-01-01T00:00:00Z\n"),
            (END, "expect = \"deny\"\nat = 2026-01-01T00:00:00Z\n"),
        ],
        &["CLV0122 allow.read"],
    ),
    // What is never known.
    Case(&[(DENY, "why = \"x\"\nwhen = [\"ci.ref != 'refs/heads/main'\"]\n")], &["CLV0130 deny.audit"]),
    Case(
        &[
            ("who = \"*\"\nto = \"api\"\nops = [\"DELETE", "who = \"docs\"\nto = \"api\"\nops = [\"DELETE"),
            (DENY, "why = \"x\"\nwhen = [\"ci.ref != 'refs/heads/dev'\"]\n"),
        ],
        &[],
    ),
    Case(
        &[
            ("who = \"*\"\nto = \"api\"\nops = [\"DELETE", "who = \"operator\"\nto = \"api\"\nops = [\"DELETE"),
            (DENY, "why = \"x\"\nwhen = [\"ci.ref != 'refs/heads/main'\"]\n"),
            (
                "{ \"acme.internal\" = \"bundle.pem\", \"partner.example\" = \"bundle.pem\" }",
                "{ \"partner.example\" = \"bundle.pem\" }",
            ),
            (
                "[workload.app]\nspiffe = \"spiffe://acme.internal/payments/**\"",
                "[workload.app]\nspiffe = \"spiffe://acme.internal/ci/x\"",
            ),
            ("as = \"spiffe://acme.internal/payments/api\"", "as = \"spiffe://acme.internal/ci/x\""),
        ],
        &["CLV0131 deny.audit"],
    ),
    Case(
        &[
            (
                "[workload.docs]\nspiffe = \"spiffe://acme.internal/ci/docs\"",
                "[workload.docs]\nspiffe = \"spiffe://acme.internal/ci/docs\"",
            ),
            ("match = { \"ci.ref\" = \"refs/heads/main\" }\nattested_by = \"ci\"", "match = { \"unix.uid\" = 5 }"),
        ],
        &["CLV0207 workload.docs"],
    ),
    Case(&[(DENY, "why = \"x\"\nwhen = [\"source.ip not in 10.0.0.0/8\"]\n")], &["CLV0132 deny.audit"]),
    Case(
        &[
            ("who = \"*\"\nto = \"api\"\nops = [\"DELETE", "who = \"docs\"\nto = \"api\"\nops = [\"DELETE"),
            (DENY, "why = \"x\"\nwhen = [\"source.ip not in 10.0.0.0/8\"]\n"),
        ],
        &[],
    ),
    Case(&[("bind = \"0.0.0.0:7443\"", "bind = \"127.0.0.1:7443\"")], &["CLV0133 allow.docs"]),
    Case(
        &[
            ("bind = \"0.0.0.0:7443\"", "bind = \"127.0.0.1:7443\""),
            (DOCS, "when = [\"time in office\", \"source.ip not in 10.0.0.0/8\"]\n"),
        ],
        &[],
    ),
    // State.
    Case(&[(DENY, "why = \"x\"\nenforce = false\n")], &["CLV0140 deny.audit"]),
    Case(&[(DENY, "")], &["CLV0141 deny.audit"]),
    Case(&[(DOCS, "when = [\"source.ip in 10.0.0.0/8\"]\n")], &["CLV0150 schedule.office"]),
    // Identities.
    Case(
        &[(
            "spiffe = \"spiffe://acme.internal/unix/operator\"",
            "spiffe = \"spiffe://acme.internal/unix/operator\"\nattested_by = \"ci\"",
        )],
        &["CLV0201 workload.operator"],
    ),
    Case(
        &[("authenticate = [\"mesh\", \"ci\"]", "authenticate = [\"mesh\"]")],
        &["CLV0201 workload.docs", "CLV0205 attestor.ci"],
    ),
    Case(
        &[
            ("authenticate = [\"kernel\"]", "authenticate = [\"ci\"]"),
            (
                "spiffe = \"spiffe://acme.internal/unix/operator\"",
                "spiffe = \"spiffe://acme.internal/unix/operator\"\nattested_by = [\"mesh\", \"kernel\"]",
            ),
        ],
        &["CLV0202 workload.operator", "CLV0205 attestor.kernel"],
    ),
    Case(
        &[("spiffe = \"spiffe://acme.internal/payments/**\"", "spiffe = \"spiffe://acme.internal/*/api\"")],
        &["CLV0203 workload.app"],
    ),
    Case(&[("who = [\"app\", \"operator\"]", "who = \"app\"")], &["CLV0204 workload.operator"]),
    Case(
        &[(
            "spiffe = \"spiffe://acme.internal/unix/operator\"",
            "spiffe = \"spiffe://partner.example/sync\"\nforeign = true",
        )],
        &["CLV0206 workload.operator"],
    ),
    // Credentials.
    Case(
        &[("ops = [\"POST /v2/series\"]\nuse = \"metrics\"", "ops = [\"POST /v2/series\"]\nuse = \"none\"")],
        &["CLV0301 credential.metrics"],
    ),
    Case(
        &[("METRICS_API_KEY = [\"metrics.test\"]", "METRICS_API_KEY = [\"metrics.test\", \"more.test\"]")],
        &["CLV0302 credential.metrics"],
    ),
    Case(
        &[
            ("hosts = [\"metrics.test\"]", "hosts = [\"one.example.com\", \"one.example.net\"]"),
            (
                "secret://keys/METRICS_API_KEY\"",
                "secret://keys/BILLING_KEY\"\nhosts = [\"one.example.com\", \"one.example.net\"]",
            ),
        ],
        &["CLV0303 credential.metrics"],
    ),
    Case(
        &[
            ("hosts = [\"metrics.test\"]", "hosts = [\"one.example.com\", \"two.example.com\"]"),
            (
                "secret://keys/METRICS_API_KEY\"",
                "secret://keys/BILLING_KEY\"\nhosts = [\"one.example.com\", \"two.example.com\"]",
            ),
        ],
        &[],
    ),
    Case(
        &[("secret://keys/METRICS_API_KEY\"", "secret://env/METRICS_API_KEY\"\nhosts = [\"metrics.test\"]")],
        &["CLV0304 credential.metrics"],
    ),
    Case(&[("inject = { header = \"x-api-key\" }", "inject = { query = \"key\" }")], &["CLV0305 service.metrics"]),
    Case(&[("inject = { header = \"x-api-key\" }\n", "")], &["CLV0306 service.metrics"]),
    Case(&[("hosts = [\"metrics.test\"]", "hosts = [\"metrics.test\", \"more.test\"]")], &["CLV0307 allow.metrics"]),
    // Services.
    Case(
        &[
            ("hosts = [\"metrics.test\"]", "hosts = [\"metrics.test\"]\ncleartext = true"),
            ("METRICS_API_KEY = [\"metrics.test\"]", "METRICS_API_KEY = [\"http://metrics.test\"]"),
        ],
        &["CLV0401 service.metrics"],
    ),
    Case(
        &[
            (
                "hosts = [\"metrics.test\"]",
                "hosts = [\"127.0.0.1:8080\"]\nallow_addresses = [\"127.0.0.1\"]\ncleartext = true",
            ),
            ("METRICS_API_KEY = [\"metrics.test\"]", "METRICS_API_KEY = [\"http://127.0.0.1:8080\"]"),
        ],
        &[],
    ),
    Case(
        &[
            ("hosts = [\"metrics.test\"]", "hosts = [\"metrics.test\"]\ncleartext = true"),
            ("ops = [\"POST /v2/series\"]\nuse = \"metrics\"", "ops = [\"POST /v2/series\"]\nuse = \"none\""),
        ],
        &["CLV0301 credential.metrics", "CLV0402 service.metrics"],
    ),
    Case(
        &[
            ("hosts = [\"metrics.test\"]", "hosts = [\"*.metrics.test\"]"),
            ("METRICS_API_KEY = [\"metrics.test\"]", "METRICS_API_KEY = [\"*.metrics.test\"]"),
        ],
        &["CLV0403 service.metrics"],
    ),
    Case(
        &[
            ("hosts = [\"metrics.test\"]", "hosts = [\"*.co.uk\"]"),
            ("ops = [\"POST /v2/series\"]\nuse = \"metrics\"", "ops = [\"POST /v2/series\"]\nuse = \"none\""),
        ],
        &["CLV0301 credential.metrics", "CLV0404 service.metrics"],
    ),
    Case(
        &[("inject = { header = \"x-api-key\" }", "inject = { header = \"x-api-key\" }\nguard = false")],
        &["CLV0405 service.metrics"],
    ),
    Case(&[(END, "expect = \"allow read\"\n[service.more]\nhosts = [\"more.test\"]\n")], &["CLV0406 service.more"]),
    Case(&[("bind = \"0.0.0.0:7443\"", "bind = \"0.0.0.0:7443\"\nunmatched = \"tunnel\"")], &["CLV0407 listener.edge"]),
    Case(&[("bind = \"0.0.0.0:7443\"", "bind = \"0.0.0.0:7443\"\nenforce = false")], &["CLV0408 listener.edge"]),
    Case(&[("[listener.edge]", "[admin]\nbind = \"0.0.0.0:7071\"\n[listener.edge]")], &["CLV0409 admin"]),
    Case(&[("[listener.edge]", "[admin]\nbind = \"127.0.0.1:7071\"\n[listener.edge]")], &[]),
    Case(
        &[("hosts = [\"metrics.test\"]", "hosts = [\"metrics.test\"]\nallow_addresses = [\"127.0.0.0/8\"]")],
        &["CLV0410 service.metrics"],
    ),
    Case(
        &[(
            "hosts = [\"metrics.test\"]",
            "hosts = [\"metrics.test\"]\nallow_addresses = [\"169.254.0.0/16\"]\nconnect = \"169.254.1.1\"",
        )],
        &["CLV0410 service.metrics"],
    ),
    Case(&[("hosts = [\"metrics.test\"]", "hosts = [\"metrics.test\"]\nallow_addresses = [\"10.0.0.0/8\"]")], &[]),
    Case(
        &[("bind = \"unix:claviger.sock\"", "bind = \"unix:claviger.sock\"\nsocket_mode = \"0666\"")],
        &["CLV0411 listener.local"],
    ),
    Case(&[("bind = \"unix:claviger.sock\"", "bind = \"unix:claviger.sock\"\nsocket_mode = \"0660\"")], &[]),
    Case(
        &[("hosts = [\"metrics.test\"]", "hosts = [\"metrics.test\"]\npath_mode = \"encoded-slash\"")],
        &["CLV0412 service.metrics"],
    ),
    Case(
        &[
            ("hosts = [\"metrics.test\"]", "hosts = [\"metrics.test\"]\npath_mode = \"encoded-slash\""),
            ("ops = [\"POST /v2/series\"]", "ops = [\"POST /**\"]"),
        ],
        &[],
    ),
    // Suppressions.
    Case(
        &[
            (DENY, ""),
            (
                END,
                "expect = \"allow read\"\n[[suppress]]\ncode = \"CLV0141\"\non = \"deny.audit\"\nreason = \"x\"\nuntil = \"2020-01-01\"\n",
            ),
        ],
        &["CLV0141 deny.audit", "CLV0901 suppress"],
    ),
    Case(
        &[(
            END,
            "expect = \"allow read\"\n[[suppress]]\ncode = \"CLV0141\"\non = \"deny.audit\"\nreason = \"x\"\nuntil = \"9990-01-01\"\n",
        )],
        &["CLV0902 suppress"],
    ),
    Case(
        &[
            (DENY, ""),
            (
                END,
                "expect = \"allow read\"\n[[suppress]]\ncode = \"CLV0141\"\non = \"deny.audit\"\nreason = \"x\"\nuntil = \"9990-01-01\"\n",
            ),
        ],
        &[],
    ),
];

#[test]
fn each_mistake_is_found_and_nothing_else() {
    let prepared = Prepared::new();
    for Case(edits, expected) in CASES {
        let text = edited(edits);
        let ended = run(&prepared, &text, &["analyze", "-o", "json", "--fail-on", "notice"]);
        assert!(ended.code == 0 || ended.code == 3, "{ended:?}\n--- for {edits:#?}");
        assert_eq!(found(&ended), *expected, "{}\n--- for {edits:#?}", ended.out);
        assert_eq!(ended.code == 3, !expected.is_empty(), "{edits:?}");
    }
}

/// What expires within a month is not a matter of a table.
#[test]
fn what_expires_soon_is_found() {
    let prepared = Prepared::new();
    let soon = time::OffsetDateTime::now_utc() + time::Duration::days(20);
    let until = soon.format(&time::format_description::well_known::Rfc3339).unwrap();
    let (rule, test) = (format!("{READ}until = \"{until}\"\n"), format!("{END}at = 2026-01-01T00:00:00Z\n"));
    let text = edited(&[(READ, &rule), (END, &test)]);
    let found = |args: &[&str]| found(&run(&prepared, &text, args));
    assert_eq!(found(&["analyze", "-o", "json"]), ["CLV0121 allow.read"]);
    assert_eq!(found(&["analyze", "-o", "json", "--soon", "19d"]), [""; 0]);
}

/// Every code of the page is in the table above.
#[test]
fn every_code_has_a_case() {
    let page = include_str!("../../../docs/findings.md");
    let all: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("### ")).map(|line| line.split(':').next().unwrap()).collect();
    let expected = CASES.iter().flat_map(|Case(_, expected)| *expected).map(|one| one.split(' ').next().unwrap());
    let cased: BTreeSet<&str> = expected.chain(["CLV0121"]).collect();
    assert_eq!(cased, all);
    assert!(BASE.len() > 1_000);
}
