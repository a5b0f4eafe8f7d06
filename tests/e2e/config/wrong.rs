//! Wrong configurations, exactly what is said about each, and that what is advised makes it load.
//!
//! The cases stand in `wrong/*.txt`. Each changes `base.toml`, which loads:
//!
//! ```text
//! - a line of the base
//! + what stands there instead; » marks the place of the finding
//! @ the place of the finding, where it is elsewhere: the rest of its line
//! ! KEY: the message of the first finding, an error        (~ for a warning)
//! ? its help
//! = what stands there once the advice is taken: it loads
//! ```

use crate::prepared::{Finding, Prepared};

const BASE: &str = include_str!("base.toml");
const MARK: char = '»';

#[derive(Debug, Default)]
struct Case {
    from: String,
    to: String,
    at: Option<String>,
    severity: &'static str,
    said: Vec<String>,
    help: String,
    fixed: Option<String>,
}

impl Case {
    fn parse(text: &str) -> Self {
        let mut case = Self::default();
        for line in text.lines() {
            let (sign, rest) = line.split_at(1);
            let rest = rest.strip_prefix(' ').unwrap_or(rest);
            match sign {
                "-" => case.from.push_str(&format!("{rest}\n")),
                "+" => case.to.push_str(&format!("{rest}\n")),
                "=" => case.fixed.get_or_insert_default().push_str(&format!("{rest}\n")),
                "@" => case.at = Some(rest.to_owned()),
                "!" | "~" => {
                    case.severity = if sign == "!" { "error" } else { "warning" };
                    case.said.push(rest.to_owned());
                }
                "?" => case.help = rest.to_owned(),
                _ => panic!("{line}"),
            }
        }
        assert!(!case.from.is_empty() && !case.said.is_empty(), "{text}");
        case
    }

    fn text(&self, instead: &str) -> String {
        assert_eq!(BASE.matches(&self.from).count(), 1, "{self:?}");
        BASE.replace(&self.from, instead)
    }

    fn expected(&self) -> (String, Finding) {
        let marked = self.text(&self.to);
        let text = marked.replace(MARK, "");
        let offset = match &self.at {
            Some(at) => text.find(at.as_str()).unwrap_or_else(|| panic!("{self:?}")),
            None => marked.find(MARK).unwrap_or_else(|| panic!("{self:?}")),
        };
        let before = &text[..offset];
        let said = self.said.join("\n");
        let (key, message) = said.split_once(": ").unwrap();
        let finding = Finding {
            severity: self.severity.to_owned(),
            file: "claviger.toml".to_owned(),
            line: before.lines().count().max(1) as u64 + u64::from(before.ends_with('\n')),
            column: before.rsplit('\n').next().unwrap().chars().count() as u64 + 1,
            key: key.to_owned(),
            message: message.to_owned(),
            help: self.help.clone(),
        };
        (text, finding)
    }
}

fn check(cases: &str) {
    let prepared = Prepared::new();
    let cases: Vec<Case> = cases.trim_end().split("\n\n").map(Case::parse).collect();
    let advised = cases.iter().filter(|case| case.fixed.is_some()).count();
    assert!(advised * 2 > cases.len(), "{advised} of {}", cases.len());
    for case in &cases {
        let (text, expected) = case.expected();
        let checked = prepared.check(&text);
        assert_eq!(checked.findings.first(), Some(&expected), "{case:#?}\n{:#?}", checked.findings);
        assert_eq!(checked.code, if case.severity == "error" { 2 } else { 0 }, "{case:#?}");
        if let Some(fixed) = &case.fixed {
            prepared.loads(&case.text(fixed));
        }
    }
}

#[test]
fn the_base_loads() {
    Prepared::new().loads(BASE);
}

macro_rules! files {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            check(include_str!(concat!("wrong/", stringify!($name), ".txt")));
        })*
    };
}

files! { root listener attestor store service credential rule workload test process }
