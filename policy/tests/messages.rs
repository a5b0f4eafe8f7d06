//! Every mistake in the settings of policy, and exactly what is said about it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::too_many_lines, reason = "tables of cases")]

#[path = "support/load.rs"]
mod load;

use load::{findings, load};

/// Loads without a finding; each case adds to it or replaces a part of it.
const BASE: &str = r#"[service.api]
hosts = ["api.test"]
operations = { chat = ["POST /chat"] }
[credential.key]
hosts = ["api.test"]
[workload.app]
spiffe = "spiffe://acme.internal/app"
[schedule.office]
from = "07:00"
to = "19:00"
zone = "Europe/Berlin"
[allow.a]
who = "app"
to = "api"
ops = ["@chat"]
"#;

/// Replaces a line of the base (or appends, if `from` is empty) and compares all findings.
fn check(from: &str, to: &str, expected: &[&str]) {
    let text = if from.is_empty() { format!("{BASE}{to}") } else { BASE.replacen(from, to, 1) };
    assert!(from.is_empty() || text != BASE, "nothing was replaced: {from}");
    assert_eq!(findings(&text), expected, "{from} → {to}");
}

#[test]
fn the_base_loads() {
    assert_eq!(findings(BASE), [""; 0]);
    load(BASE);
}

#[test]
fn services() {
    const HOSTS: &str = "hosts = [\"api.test\"]\noperations";
    for (from, to, expected) in [
        (HOSTS, "operations", &["c.toml:1:1: error: `service.api.hosts`: this key is required"][..]),
        (
            HOSTS,
            "hosts = []\noperations",
            &[
                "c.toml:1:1: error: `service.api.hosts`: the list is empty\n  help: name at least one host, as `api.example.com`",
            ],
        ),
        (
            HOSTS,
            "hosts = [\"https://api.test\"]\noperations",
            &[
                "c.toml:2:10: error: `service.api.hosts`: `https://api.test`: write a host without scheme and path, as `api.example.com` or `api.example.com:8443`",
            ],
        ),
        (
            HOSTS,
            "hosts = [\"api.*.test\"]\noperations",
            &[
                "c.toml:2:10: error: `service.api.hosts`: `api.*.test`: `*` may only stand as the whole first label, as in `*.example.com`",
            ],
        ),
        (
            HOSTS,
            "hosts = [\"*.10.0.0.1\"]\noperations",
            &[
                "c.toml:2:10: error: `service.api.hosts`: `*.10.0.0.1`: `*` may only stand as the whole first label, as in `*.example.com`",
            ],
        ),
        (
            HOSTS,
            "hosts = [\"127.1\", \"a:x\"]\noperations",
            &[
                "c.toml:2:10: error: `service.api.hosts`: `127.1`: the host is an ambiguous IPv4 address; write four decimal numbers without leading zeros",
                "c.toml:2:19: error: `service.api.hosts`: `a:x`: the port is not a number from 1 to 65535",
            ],
        ),
        (
            HOSTS,
            "hosts = [\"bücher.test\"]\noperations",
            &[
                "c.toml:2:10: error: `service.api.hosts`: `bücher.test`: the host is not ASCII; write its punycode form (`xn--…`)",
            ],
        ),
        (
            HOSTS,
            "hosts = 1\noperations",
            &["c.toml:2:9: error: `service.api.hosts`: expected a string or a list of strings, found an integer"],
        ),
        (
            HOSTS,
            "hots = [\"api.test\"]\nhosts = [\"api.test\"]\noperations",
            &["c.toml:2:1: error: `service.api.hots`: unknown key\n  help: did you mean `hosts`?"],
        ),
        (
            HOSTS,
            "path_mode = \"opake\"\nhosts = [\"api.test\"]\noperations",
            &[
                "c.toml:2:13: error: `service.api.path_mode`: `opake` is not a value of this key\n  help: did you mean `opaque`? it is one of `strict`, `encoded-slash`, `opaque`",
            ],
        ),
        (
            HOSTS,
            "paths = [\"v1\"]\nhosts = [\"api.test\"]\noperations",
            &["c.toml:2:10: error: `service.api.paths`: the path `v1/**` does not begin with `/`"],
        ),
        (
            HOSTS,
            "paths = [\"/v*\"]\nhosts = [\"api.test\"]\noperations",
            &[
                "c.toml:2:10: error: `service.api.paths`: the prefix `/v*` has a `*`; it means the path and all below it anyway",
            ],
        ),
        (
            HOSTS,
            "paths = []\nhosts = [\"api.test\"]\noperations",
            &[
                "c.toml:1:1: error: `service.api.paths`: the list is empty, so that the service has no path\n  help: leave the key out for all paths",
            ],
        ),
        (
            HOSTS,
            "paths = [\"/a%2fb\"]\nhosts = [\"api.test\"]\noperations",
            &[
                "c.toml:2:10: error: `service.api.paths`: the prefix `/a%2fb` can never match: the path has an encoded slash (`%2f`)",
            ],
        ),
        (
            "[\"POST /chat\"]",
            "[\"POST chat\"]",
            &["c.toml:3:24: error: `service.api.operations.chat`: the path `chat` does not begin with `/`"],
        ),
        (
            "[\"POST /chat\"]",
            "[\"POST /a;b\"]",
            &[
                "c.toml:3:24: error: `service.api.operations.chat`: `POST /a;b` can never match: the path has a segment parameter (`;`)",
            ],
        ),
        (
            "",
            "[service.two]\nhosts = [\"api.test\"]\npaths = [\"/v1\"]\n",
            &[
                "c.toml:16:10: error: `service.two`: claims `api.test:443` with paths under `/v1`, which service `api` (c.toml:1:10) claims with `/`\n  help: give each of them `paths` that do not overlap",
            ],
        ),
        (
            "",
            "[service.two]\nhosts = [\"two.test\", \"two.test:443\"]\n",
            &["c.toml:16:10: warning: `service.two.hosts`: `two.test:443` is listed twice"],
        ),
    ] {
        // Without the service, the rule that names it would be a second error.
        let text = if from.is_empty() { format!("{BASE}{to}") } else { BASE.replacen(from, to, 1) };
        let found = findings(&text);
        let found: Vec<&str> = found.iter().map(String::as_str).filter(|text| !text.contains("`allow.a.to`")).collect();
        assert_eq!(found, expected, "{from} → {to}");
    }
}

#[test]
fn workloads_and_schedules() {
    const ID: &str = "spiffe = \"spiffe://acme.internal/app\"";
    for (from, to, expected) in [
        (ID, "", &["c.toml:6:1: error: `workload.app.spiffe`: this key is required"][..]),
        (
            ID,
            "spiffe = []",
            &["c.toml:6:1: error: `workload.app.spiffe`: the list is empty\n  help: name at least one SPIFFE ID"],
        ),
        (
            ID,
            "spiffe = \"acme.internal/app\"",
            &[
                "c.toml:7:10: error: `workload.app.spiffe`: `acme.internal/app` is not a SPIFFE ID; it starts with `spiffe://`",
            ],
        ),
        (
            ID,
            "spiffe = \"spiffe://*/app\"",
            &["c.toml:7:10: error: `workload.app.spiffe`: the trust domain of a pattern has no `*`; list the domains"],
        ),
        (
            ID,
            "spiffe = \"spiffe://other.test/app\"",
            &[
                "c.toml:7:10: error: `workload.app.spiffe`: `spiffe://other.test/app` is of another trust domain than `acme.internal`\n  help: if workloads of that domain are meant, say so with `foreign = true`",
            ],
        ),
        (
            ID,
            "spiffe = \"spiffe://acme.internal/a p\"",
            &[
                "c.toml:7:10: error: `workload.app.spiffe`: `spiffe://acme.internal/a p`: a path segment has only letters, digits, `.`, `_` and `-` (no query, no fragment, no percent-encoding)",
            ],
        ),
        (
            ID,
            "spiffe = \"spiffe://acme.internal/app/\"",
            &[
                "c.toml:7:10: error: `workload.app.spiffe`: `spiffe://acme.internal/app/`: the path has an empty, `.` or `..` segment, or ends with `/`",
            ],
        ),
        (
            ID,
            "spiffe = \"spiffe://acme.internal/**/x\"",
            &["c.toml:7:10: error: `workload.app.spiffe`: `**` may only stand at the end of a path"],
        ),
        (
            ID,
            "spiffe = \"spiffe://acme.internal/a*\"",
            &[
                "c.toml:7:10: error: `workload.app.spiffe`: `*` stands for a whole segment, in `a*` it does not; a literal one is `%2A`",
            ],
        ),
        (
            ID,
            "spiffe = \"spiffe://acme.internal/app\"\nmatch = { \"a\" = [] }",
            &[
                "c.toml:8:17: error: `workload.app.match.a`: the list is empty, so that nothing matches\n  help: name at least one value",
            ],
        ),
        (
            ID,
            "spiffe = \"spiffe://acme.internal/app\"\nmatch = { github.ref = \"x\" }",
            &[
                "c.toml:8:11: error: `workload.app.match.github`: expected a string, an integer, a boolean, or a list of them\n  help: nested keys are quoted, as in `match = { \"github.ref\" = \"refs/heads/main\" }`",
            ],
        ),
        (
            ID,
            "spiffe = \"spiffe://acme.internal/app\"\natested_by = \"x\"",
            &["c.toml:8:1: error: `workload.app.atested_by`: unknown key\n  help: did you mean `attested_by`?"],
        ),
        (
            "zone = \"Europe/Berlin\"",
            "zone = \"Europe/Berln\"",
            &[
                "c.toml:11:8: error: `schedule.office.zone`: `Europe/Berln` is not a time zone\n  help: did you mean `Europe/Berlin`?",
            ],
        ),
        ("zone = \"Europe/Berlin\"", "", &["c.toml:8:1: error: `schedule.office.zone`: this key is required"]),
        (
            "from = \"07:00\"",
            "from = \"7:00\"",
            &["c.toml:9:8: error: `schedule.office.from`: `7:00` is not a time of day; write `HH:MM`, as `07:00`"],
        ),
        (
            "from = \"07:00\"",
            "from = \"24:00\"",
            &["c.toml:9:8: error: `schedule.office.from`: `24:00` is not a time of day; write `HH:MM`, as `07:00`"],
        ),
        (
            "from = \"07:00\"",
            "from = \"19:00\"",
            &[
                "c.toml:10:6: error: `schedule.office.to`: the window is empty: `from` and `to` are the same\n  help: leave both out for whole days",
            ],
        ),
        (
            "from = \"07:00\"",
            "from = \"07:00\"\ndays = [\"Monday\", \"mo\"]",
            &[
                "c.toml:10:9: error: `schedule.office.days`: `Monday` is not a day\n  help: did you mean `mon`?",
                "c.toml:10:19: error: `schedule.office.days`: `mo` is not a day\n  help: write `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`",
            ],
        ),
        (
            "from = \"07:00\"",
            "from = \"07:00\"\ndays = []",
            &["c.toml:10:8: error: `schedule.office.days`: the list is empty, so that the schedule never opens"],
        ),
    ] {
        check(from, to, expected);
    }
}

#[test]
fn rules() {
    const OPS: &str = "ops = [\"@chat\"]";
    const NONE: &str = "use = \"none\"\n";
    let more = |text: &str| format!("{OPS}\n{text}");
    for (from, to, expected) in [
        ("who = \"app\"\n", "", &["c.toml:12:1: error: `allow.a.who`: this key is required"][..]),
        ("to = \"api\"\n", "", &["c.toml:12:1: error: `allow.a.to`: this key is required"]),
        (OPS, "", &["c.toml:12:1: error: `allow.a.ops`: this key is required"]),
        (OPS, "ops = []", &["c.toml:12:1: error: `allow.a.ops`: the list is empty, so that the rule never matches"]),
        (
            "who = \"app\"",
            "who = \"apq\"",
            &["c.toml:13:7: error: `allow.a.who`: there is no workload `apq`\n  help: did you mean `app`?"],
        ),
        (
            "who = \"app\"",
            "who = \"zzz\"",
            &["c.toml:13:7: error: `allow.a.who`: there is no workload `zzz`\n  help: define `[workload.zzz]`"],
        ),
        (
            "who = \"app\"",
            "who = [\"app\", \"*\"]",
            &["c.toml:13:15: error: `allow.a.who`: `*` means all and stands alone"],
        ),
        (
            "to = \"api\"",
            "to = \"apis\"",
            &["c.toml:14:6: error: `allow.a.to`: there is no service `apis`\n  help: did you mean `api`?"],
        ),
        (
            "to = \"api\"",
            "to = [\"*\", \"api\"]",
            &["c.toml:14:7: error: `allow.a.to`: `*` means all and stands alone"],
        ),
        (
            OPS,
            "ops = [\"@chta\"]",
            &[
                "c.toml:15:8: error: `allow.a.ops`: service `api` has no operations named `@chta`\n  help: did you mean `@chat`?",
            ],
        ),
        (
            OPS,
            "ops = [\"@zzzz\"]",
            &[
                "c.toml:15:8: error: `allow.a.ops`: service `api` has no operations named `@zzzz`\n  help: known there: `@chat`",
            ],
        ),
        (
            OPS,
            "ops = [\"/chat\"]",
            &[
                "c.toml:15:8: error: `allow.a.ops`: `/chat` has no method; write `GET /chat`, or `* /chat` for every method",
            ],
        ),
        (
            OPS,
            "ops = [\"get /chat\"]",
            &["c.toml:15:8: error: `allow.a.ops`: `get` is not a method; did you mean `GET`?"],
        ),
        (
            OPS,
            "ops = [\"PSOT /chat\"]",
            &["c.toml:15:8: warning: `allow.a.ops`: `PSOT` is an unusual method\n  help: did you mean `POST`?"],
        ),
        (
            OPS,
            "ops = [\"GET /a%2fb\"]",
            &[
                "c.toml:15:8: warning: `allow.a.ops`: `GET /a%2fb` can never match at service `api`: the path has an encoded slash (`%2f`)",
            ],
        ),
        (
            OPS,
            &more("when = [\"tiem in office\"]"),
            &[
                "c.toml:16:9: error: `allow.a.when`: `tiem` is unknown (character 1 of `tiem in office`)\n  help: did you mean `time`?",
            ],
        ),
        (
            OPS,
            &more("when = [\"time in ofice\"]"),
            &[
                "c.toml:16:9: error: `allow.a.when`: there is no schedule `ofice` (character 9 of `time in ofice`)\n  help: did you mean `office`?",
            ],
        ),
        (
            OPS,
            &more("use = \"kye\""),
            &["c.toml:16:7: error: `allow.a.use`: there is no credential `kye`\n  help: did you mean `key`?"],
        ),
        (
            OPS,
            &more("use = \"zzz\""),
            &[
                "c.toml:16:7: error: `allow.a.use`: there is no credential `zzz`\n  help: define `[credential.zzz]`, or write `use = \"none\"`",
            ],
        ),
        (
            "[credential.key]\nhosts = [\"api.test\"]",
            "[credential.key]\nhosts = [\"other.test\"]",
            &[
                "c.toml:12:8: error: `allow.a.use`: no credential is bound to the hosts of service `api`\n  help: bind one to them, name one with `use`, or write `use = \"none\"` to send none",
            ],
        ),
        (
            "[credential.key]",
            "[credential.key2]\nhosts = [\"*.test\"]\n[credential.key]",
            &[
                "c.toml:14:8: error: `allow.a.use`: several credentials are bound to the hosts of service `api`\n  help: name one of `key2`, `key` with `use`",
            ],
        ),
        (
            OPS,
            &more("from = 2026-01-01"),
            &[
                "c.toml:16:8: error: `allow.a.from`: `2026-01-01` is not a moment\n  help: write RFC 3339 with an offset, as `2026-11-23T10:00:00+01:00` or `2026-11-23T09:00:00Z`",
            ],
        ),
        (
            OPS,
            &more("from = \"2026-01-01T00:00:00\""),
            &[
                "c.toml:16:8: error: `allow.a.from`: `2026-01-01T00:00:00` is not a moment\n  help: write RFC 3339 with an offset, as `2026-11-23T10:00:00+01:00` or `2026-11-23T09:00:00Z`",
            ],
        ),
        (
            OPS,
            &more("until = 5"),
            &[
                "c.toml:16:9: error: `allow.a.until`: expected a date-time\n  help: write RFC 3339 with an offset, as `2026-11-23T10:00:00+01:00` or `2026-11-23T09:00:00Z`",
            ],
        ),
        (
            OPS,
            &more("from = 2026-01-02T00:00:00Z\nuntil = 2026-01-02T00:00:00Z"),
            &["c.toml:17:9: error: `allow.a.until`: `until` is not behind `from`, so that the rule never holds"],
        ),
        (
            OPS,
            &more("priority = 1000001"),
            &["c.toml:16:12: error: `allow.a.priority`: `1000001` is not from -1000000 to 1000000"],
        ),
        (
            OPS,
            &more("enforce = \"no\""),
            &["c.toml:16:11: error: `allow.a.enforce`: expected `true` or `false`, found a string"],
        ),
        (
            OPS,
            &more("body_limit = \"1GiB\""),
            &["c.toml:16:14: error: `allow.a.body_limit`: `body_limit` is from 1 byte to 64MiB"],
        ),
        (
            OPS,
            &more("body_limit = \"1 parsec\""),
            &[
                "c.toml:16:14: error: `allow.a.body_limit`: `1 parsec` is not a size; write bytes, or a number and a unit, as `64KiB`, `1MiB`, `2GiB`",
            ],
        ),
        (
            OPS,
            &more("prioriti = 1"),
            &["c.toml:16:1: error: `allow.a.prioriti`: unknown key\n  help: did you mean `priority`?"],
        ),
        (
            "",
            &format!("[deny.a]\nwho = \"*\"\nto = \"*\"\n{OPS}\n"),
            &[
                "c.toml:16:7: error: `deny.a`: `a` is the name of an allow already (c.toml:12:8)\n  help: a rule's name stands once, so that a record of it is clear",
            ],
        ),
        (
            "",
            &format!("[deny.d]\nwho = \"*\"\nto = \"*\"\n{OPS}\npriority = 1\n{NONE}"),
            &[
                "c.toml:20:12: error: `deny.d.priority`: a deny has no priority, it always wins\n  help: leave it out",
                "c.toml:21:7: error: `deny.d.use`: a deny injects nothing\n  help: leave it out",
            ],
        ),
    ] {
        check(from, to, expected);
    }
}

#[test]
fn a_credential_for_other_hosts() {
    let text = |hosts: &str| {
        BASE.replace("hosts = [\"api.test\"]\noperations", &format!("hosts = {hosts}\noperations")) + "use = \"key\"\n"
    };
    assert_eq!(
        findings(&text("[\"other.test\"]")),
        [
            "c.toml:16:7: error: `allow.a.use`: credential `key` is bound to none of the hosts of service `api`\n  help: it is bound to `api.test:443`"
        ]
    );
    assert_eq!(
        findings(&text("[\"api.test\", \"other.test\"]")),
        [
            "c.toml:16:7: warning: `allow.a.use`: credential `key` is not bound to `other.test:443` of service `api`\n  help: requests to that host will fail at injection"
        ]
    );
}

#[test]
fn tests_of_the_file() {
    let case = |text: &str| format!("[[test]]\n{text}\n");
    const AS: &str = "as = \"spiffe://acme.internal/app\"\n";
    const REQUEST: &str = "request = \"POST https://api.test/chat\"\n";
    for (to, expected) in [
        (case(&format!("{AS}{REQUEST}expect = \"allow a\"")), &[][..]),
        (case(&format!("{AS}request = \"GET https://api.test/chat\"\nexpect = \"deny\"")), &[]),
        (
            case(AS),
            &[
                "c.toml:16:1: error: `test[0].request`: this key is required",
                "c.toml:16:1: error: `test[0].expect`: this key is required",
            ],
        ),
        (
            case(&format!("as = \"app\"\n{REQUEST}expect = \"deny\"")),
            &["c.toml:17:6: error: `test[0].as`: a SPIFFE ID starts with `spiffe://`"],
        ),
        (
            case(&format!("{AS}{REQUEST}expect = \"permit a\"")),
            &[
                "c.toml:19:10: error: `test[0].expect`: `permit a` is no expectation; write `allow RULE`, `deny RULE` or `deny`",
            ],
        ),
        (
            case(&format!("{AS}{REQUEST}expect = \"deny b\"")),
            &["c.toml:19:10: error: `test[0].expect`: there is no rule `b`\n  help: did you mean `a`?"],
        ),
        (
            case(&format!("{AS}request = \"POST /chat\"\nexpect = \"deny\"")),
            &[
                "c.toml:18:11: error: `test[0].request`: `POST /chat` is no request; write `METHOD URL`, as `GET https://api.example.com/v1/models`",
            ],
        ),
        (
            case(&format!("{AS}request = \"GET https://api.test/a/../b\"\nexpect = \"deny\"")),
            &["c.toml:18:11: error: `test[0].request`: `GET https://api.test/a/../b`: the path has a dot segment"],
        ),
        (
            case(&format!("{AS}{REQUEST}expect = \"deny\"\nsource_ip = \"x\"")),
            &["c.toml:20:13: error: `test[0].source_ip`: `x` is not an IP address"],
        ),
        (
            case(&format!("{AS}{REQUEST}expect = \"deny\"")),
            &[
                "c.toml:19:10: error: `test[0].expect`: the test fails: expected `deny`, got\nallowed: POST https://api.test/chat as spiffe://acme.internal/app\n  service: api\n  the caller is workload: `app`\n  rule: allow `a` (c.toml:12)\n  operation: POST /chat\n  credential: key",
            ],
        ),
        (
            case(&format!("{AS}request = \"PUT https://api.test/chat\"\nexpect = \"allow a\"")),
            &[
                "c.toml:19:10: error: `test[0].expect`: the test fails: expected `allow a`, got\ndenied: PUT https://api.test/chat as spiffe://acme.internal/app\n  reason: no rule allows it (no_rule)\n  service: api\n  the caller is workload: `app`\n  nearest: allow `a` (c.toml:12)\n  it fails by operation: `PUT /chat` is none of `POST /chat`",
            ],
        ),
    ] {
        check("", &to, expected);
    }
    let timed = BASE.replace("ops = [\"@chat\"]", "ops = [\"@chat\"]\nwhen = [\"time in office\"]");
    assert_eq!(
        findings(&format!("{timed}{}", case(&format!("{AS}{REQUEST}expect = \"allow a\"")))),
        [
            "c.toml:17:1: error: `test[0]`: the answer depends on the time, and the test has no `at`\n  help: add `at`, as `at = \"2026-11-23T10:00:00+01:00\"`"
        ]
    );
    let with_at = case(&format!("{AS}{REQUEST}expect = \"allow a\"\nat = 2026-11-23T10:00:00+01:00"));
    assert_eq!(findings(&format!("{timed}{with_at}")), [""; 0]);
}
