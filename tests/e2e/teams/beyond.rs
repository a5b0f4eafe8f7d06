//! Every way in which a team's file could reach beyond its identities, services, secrets, names or priority: what is
//! said about it and where, and that it freezes its own team only.
//!
//! The cases stand in `beyond.txt`. Each is a file of team `payments`:
//!
//! ```text
//! # what is tried
//!   a line of the file; » marks the place of the finding
//! ! KEY: the message of the first error
//! ? its help
//! ```

use serde_json::Value;

use crate::stage::{PAYMENTS, PLATFORM, Stage};

const CASES: &str = include_str!("beyond.txt");
const MARK: char = '»';

struct Case {
    title: String,
    text: String,
    line: u64,
    column: u64,
    said: String,
    help: String,
}

impl Case {
    fn parse(paragraph: &str) -> Self {
        let (mut title, mut marked, mut said, mut help) = (String::new(), String::new(), String::new(), String::new());
        for line in paragraph.lines() {
            match (line.get(..2).unwrap_or(line), line.get(2..).unwrap_or_default()) {
                ("# ", rest) => title = rest.to_owned(),
                ("! ", rest) => said = rest.to_owned(),
                ("? ", rest) => help = rest.to_owned(),
                ("  ", rest) => marked.push_str(&format!("{rest}\n")),
                other => panic!("{other:?} in {paragraph}"),
            }
        }
        let at = marked.find(MARK).unwrap_or_else(|| panic!("no mark: {title}"));
        let before = &marked[..at];
        assert!(!said.is_empty(), "{title}");
        Self {
            line: before.matches('\n').count() as u64 + 1,
            column: before.rsplit('\n').next().unwrap().chars().count() as u64 + 1,
            text: marked.replace(MARK, ""),
            title,
            said,
            help,
        }
    }

    fn all() -> Vec<Self> {
        // Where the platform says what the team may.
        let line = PLATFORM.lines().position(|line| line == "[team.payments]").unwrap() + 1;
        let cases = CASES.replace("TEAM", &format!("claviger.toml:{line}:7"));
        cases.trim_end().split("\n\n").map(Self::parse).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_beyond_a_team_is_said_at_its_place() {
    let stage = Stage::new().await;
    stage.world.write("keys/k", &stage.world.canary);
    assert_eq!(stage.check(&[]), (0, Vec::new()));
    let cases = Case::all();
    assert!(cases.len() >= 60, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        stage.world.write("teams/payments/app.toml", &case.text);
        let (code, found) = stage.check(&[]);
        let title = &case.title;
        assert_eq!(code, 2, "{title}: {found:#?}");
        let errors: Vec<&Value> = found.iter().filter(|one| one["severity"] == "error").collect();
        let first = errors.first().unwrap_or_else(|| panic!("{title}"));
        let text = |key: &str| first[key].as_str().unwrap_or_default();
        let said = format!("{}: {}", text("key"), text("message").lines().next().unwrap());
        let place = (text("file"), first["line"].as_u64().unwrap(), first["column"].as_u64().unwrap());
        let expected = (("teams/payments/app.toml", case.line, case.column), case.said.as_str(), case.help.as_str());
        if (place, said.as_str(), text("help")) != expected {
            wrong.push(format!("{title}: {place:?} {said}\n? {}", text("help")));
        }
        // Nobody else is to blame, or the platform's file would be refused for it.
        assert!(errors.iter().all(|one| one["team"] == "payments"), "{title}: {found:#?}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Under a running proxy each of them changes nothing: not for the team, and not for the other.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_beyond_a_team_freezes_that_team_only() {
    let stage = Stage::new().await;
    let proxy = stage.start();
    // A few: each reload takes its time, and the table above has shown that all of them are blamed alike.
    for (number, case) in Case::all().into_iter().enumerate().filter(|(number, _)| number % 8 == 0) {
        let title = &case.title;
        stage.world.write("teams/payments/app.toml", &case.text);
        let said = proxy.wait_for_line("team `payments` is frozen");
        assert!(said.contains("its files of generation"), "{title}: {said}");
        proxy.wait_for_line("is in force");
        for (who, status) in [("payments/app", 200), ("ads/app", 200), ("docs/x", 200), ("other/x", 403)] {
            assert_eq!(stage.ask(&proxy, who, "GET", "/api/v1/x").await, status, "{title}: {who}");
        }
        // A comment makes it another text, so that each case is a change.
        stage.world.write("teams/payments/app.toml", format!("{PAYMENTS}# {number}\n"));
        proxy.wait_for_line("team `payments` is no longer frozen");
        proxy.wait_for_line("is in force");
    }
}
