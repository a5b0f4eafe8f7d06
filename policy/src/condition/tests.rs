#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::document::{Diagnostics, SourceFile};

fn schedules() -> BTreeMap<String, Arc<Schedule>> {
    let mut out = Diagnostics::default();
    let file = SourceFile::new("x", "[schedule.business-hours]\nfrom = \"07:00\"\nto = \"19:00\"\nzone = \"UTC\"\n");
    let mut root = crate::document::parse(&file, &mut out).unwrap();
    let (name, table) = root.named_tables("schedule", &mut out).pop().unwrap();
    let schedule = Schedule::take(name, table, &mut out).unwrap();
    [("business-hours".to_owned(), Arc::new(schedule))].into()
}

fn parsed(text: &str) -> Result<Condition, String> {
    let schedules = schedules();
    parse(text, &Names { schedules: &schedules, written: &[] }).map_err(|error| {
        format!("{}{}", error.message, error.help.map(|help| format!(" | {help}")).unwrap_or_default())
    })
}

#[test]
fn conditions_on_a_request() {
    for (text, ip, now, expected) in [
        ("source.ip in 10.0.0.0/8", Some("10.1.2.3"), 0, Truth::True),
        ("source.ip in 10.0.0.0/8", Some("11.1.2.3"), 0, Truth::False),
        ("source.ip in 10.0.0.0/8", Some("::ffff:10.1.2.3"), 0, Truth::True),
        ("source.ip in 10.0.0.0/8", None, 0, Truth::Unknown),
        ("source.ip in 10.0.0.0/8, 192.0.2.7", Some("192.0.2.7"), 0, Truth::True),
        ("source.ip in [2001:db8::/32, 192.0.2.0/24]", Some("2001:db8::1"), 0, Truth::True),
        ("source.ip in ['10.0.0.0/8']", Some("10.0.0.1"), 0, Truth::True),
        ("source.ip not in 10.0.0.0/8", Some("10.1.2.3"), 0, Truth::False),
        ("source.ip not in 10.0.0.0/8", Some("11.1.2.3"), 0, Truth::True),
        ("source.ip not in 10.0.0.0/8", None, 0, Truth::Unknown),
        ("time in business-hours", None, 7 * 3600, Truth::True),
        ("time in business-hours", None, 7 * 3600 - 1, Truth::False),
        ("time not in business-hours", None, 7 * 3600 - 1, Truth::True),
        ("time in business-hours", None, i64::MAX, Truth::Unknown),
        ("time not in business-hours", None, i64::MAX, Truth::Unknown),
    ] {
        let context = Context { source_ip: ip.map(|ip| ip.parse().unwrap()), now };
        assert_eq!(parsed(text).unwrap().holds_for_request(&context).truth, expected, "{text} {ip:?} {now}");
    }
}

#[test]
fn conditions_on_a_caller() {
    let principal = Principal {
        id: crate::SpiffeId::parse("spiffe://a/b").unwrap(),
        attributes: [("github.ref", "refs/heads/release-1")].into_iter().collect(),
        attested_by: "x".into(),
    };
    for (text, expected) in [
        ("github.ref == 'refs/heads/release-1'", Truth::True),
        (r#"github.ref == "refs/heads/release-1""#, Truth::True),
        // A glob is one in a list only.
        ("github.ref == 'refs/heads/release-*'", Truth::False),
        ("github.ref in ['refs/heads/release-*', 'x']", Truth::True),
        ("github.ref in 'refs/heads/release-*'", Truth::True),
        ("github.ref not in ['refs/heads/release-*']", Truth::False),
        ("github.ref != 'x'", Truth::True),
        ("github.ref > 5", Truth::Unknown),
        ("github.ref == true", Truth::Unknown),
        ("missing != 'x'", Truth::Unknown),
        ("missing < -5", Truth::Unknown),
    ] {
        assert_eq!(parsed(text).unwrap().holds_for_principal(&principal), expected, "{text}");
    }
}

#[test]
fn messages() {
    for (text, expected) in [
        ("", "expected a name, such as `source.ip`, `time` or an attribute, found the end (character 1 of ``)"),
        (
            "source.ip im 10.0.0.0/8",
            "expected `in` or `not in`, found `im` (character 11 of `source.ip im 10.0.0.0/8`)",
        ),
        ("source.ip", "expected `in` or `not in`, found the end (character 10 of `source.ip`)"),
        (
            "source.ip not 10.0.0.0/8",
            "expected `in` after `not`, found `10.0.0.0/8` (character 15 of `source.ip not 10.0.0.0/8`)",
        ),
        ("source.ip in", "expected an address range, as `10.0.0.0/8`, found the end (character 13 of `source.ip in`)"),
        (
            "source.ip in 10.8.1.0/16",
            "`10.8.1.0/16` has bits behind its prefix (character 14 of `source.ip in 10.8.1.0/16`) | write `10.8.0.0/16`",
        ),
        (
            "source.ip in 10.0.0/8",
            "`10.0.0/8` is not an address range (character 14 of `source.ip in 10.0.0/8`) | write CIDR notation, as `10.0.0.0/8` or `2001:db8::/32`",
        ),
        ("source.ip in [10.0.0.0/8", "expected `,` or `]`, found the end (character 25 of `source.ip in [10.0.0.0/8`)"),
        (
            "source.ip in [10.0.0.0/8 11.0.0.0/8]",
            "expected `,` or `]`, found `11.0.0.0/8` (character 26 of `source.ip in [10.0.0.0/8 11.0.0.0/8]`)",
        ),
        (
            "source.port in 5",
            "`source.port` is unknown (character 1 of `source.port in 5`) | known: `source.ip`, `time`, attributes such as `github.ref`, and facts such as `body.model`",
        ),
        (
            "time in busines-hours",
            "there is no schedule `busines-hours` (character 9 of `time in busines-hours`) | did you mean `business-hours`?",
        ),
        ("time in night", "there is no schedule `night` (character 9 of `time in night`) | define `[schedule.night]`"),
        (
            "tiem in business-hours",
            "`tiem` is unknown (character 1 of `tiem in business-hours`) | did you mean `time`?",
        ),
        (
            "source.pi in 10.0.0.0/8",
            "`source.pi` is unknown (character 1 of `source.pi in 10.0.0.0/8`) | known: `source.ip`, `time`, attributes such as `github.ref`, and facts such as `body.model`",
        ),
        ("a = 'b'", "expected `==`, found `=` (character 3 of `a = 'b'`)"),
        (
            "a == b",
            "expected a quoted text, an integer, `true` or `false`, found `b` (character 6 of `a == b`) | write `\"b\"`",
        ),
        ("a < 'b'", "`<` compares integers, `a` is compared to \"b\" (character 3 of `a < 'b'`)"),
        ("a == 'b", "the quoted text is not closed (character 6 of `a == 'b`)"),
        ("a == 'b' c", "nothing may follow here, found `c` (character 10 of `a == 'b' c`)"),
        ("a && b", "`&` has no meaning here (character 3 of `a && b`)"),
        ("a b", "expected `==`, `!=`, `in`, `not in`, `<`, `<=`, `>` or `>=`, found `b` (character 3 of `a b`)"),
        (
            "'a' == 'b'",
            "expected a name, such as `source.ip`, `time` or an attribute, found `\"a\"` (character 1 of `'a' == 'b'`)",
        ),
        ("a..b == 1", "`a..b` is not a name (character 1 of `a..b == 1`)"),
        (
            "body == 1",
            "`body` is unknown (character 1 of `body == 1`) | known: `source.ip`, `time`, attributes such as `github.ref`, and facts such as `body.model`",
        ),
        // Columns count characters.
        ("a == 'ü' b", "nothing may follow here, found `b` (character 10 of `a == 'ü' b`)"),
    ] {
        assert_eq!(parsed(text).map(|_| ()), Err(expected.to_owned()), "{text}");
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "\\PC{0,60}|(source.ip|time|in|not|==|<|'|\"|\\\\|,|\\[|\\]|a.b|5|10.0.0.0/8| ){0,12}") {
        let _ = parsed(&text);
    }

    #[test]
    fn integers_compare(a in -3_i64..3, b in -3_i64..3) {
        let principal = Principal {
            id: crate::SpiffeId::parse("spiffe://a/b").unwrap(),
            attributes: [("n", a)].into_iter().collect(),
            attested_by: "x".into(),
        };
        for (symbol, expected) in [("==", a == b), ("!=", a != b), ("<", a < b), ("<=", a <= b), (">", a > b), (">=", a >= b)] {
            let condition = parsed(&format!("n {symbol} {b}")).unwrap();
            prop_assert_eq!(condition.holds_for_principal(&principal), Truth::from(expected), "{} {} {}", a, symbol, b);
        }
    }
}
