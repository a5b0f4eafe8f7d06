//! The page: each cell is the outcome of a run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use crate::relay::Met;
use crate::rows::{ROWS, Row};
use crate::scene::{Outcome, Scene, Way};

/// Rewrites the committed page instead of comparing with it.
const REWRITE: &str = "CLAVIGER_REWRITE_CLIENTS_PAGE";

/// What stands before and after the table.
const HEAD: &str = include_str!("head.md");
const TAIL: &str = include_str!("tail.md");

/// How many clients run at once, each with a scene of its own.
const AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn the_page_says_what_clients_do() {
    let only = std::env::var("CLAVIGER_CLIENTS_ONLY").unwrap_or_default();
    let wanted: Vec<&Row> = ROWS.iter().filter(|row| row.name.contains(only.as_str())).collect();
    let (rows, lines) = (Mutex::new(wanted.iter().enumerate()), Mutex::new(BTreeMap::new()));
    let work = || async {
        let scene = Scene::start().await;
        loop {
            let next = rows.lock().unwrap().next();
            let Some((at, row)) = next else { break };
            let cells = [exec(&scene, row).await, forward(&scene, row).await, gateway(&scene, row).await];
            println!("{}: {cells:?}", row.name);
            lines.lock().unwrap().insert(at, cells);
        }
        scene.end();
    };
    futures_util::future::join_all((0..AT_ONCE.min(wanted.len())).map(|_| work())).await;
    let lines = lines.into_inner().unwrap();
    let otherwise: Vec<String> = lines
        .iter()
        .flat_map(|(at, cells)| cells.iter().map(|cell| (wanted[*at].name, cell)).collect::<Vec<_>>())
        .filter_map(|(name, cell)| Some(format!("{name}: {}", cell.as_ref().err()?)))
        .collect();
    assert!(otherwise.is_empty(), "clients that do other than their rows say:\n\n{}", otherwise.join("\n\n"));
    let mut page = HEAD.to_owned();
    page.push_str("\n| client | `claviger exec` | forward listener | gateway listener |\n|---|---|---|---|\n");
    for (at, cells) in lines {
        page.push_str(&format!("| {} | {} |\n", wanted[at].name, cells.map(Result::unwrap).join(" | ")));
    }
    page.push_str(TAIL);
    println!("{page}");
    if only.is_empty() {
        compare(&page);
    }
}

/// What stands in a cell; or why it can't be filled, since the client does other than its row says.
type Cell = Result<String, String>;

async fn exec(scene: &Scene, row: &Row) -> Cell {
    let outcome = scene.run(row, Way::Exec, &[]).await;
    if !outcome.works {
        return Err(format!("under exec: {}", outcome.told));
    }
    if row.needs.is_empty() {
        // What variables alone do shows in the next cell.
        return Ok("works".to_owned());
    }
    // Otherwise the page would name what has no effect.
    match scene.run(row, Way::Exec, row.needs).await.works {
        true => Err(format!("works under exec without {:?} too", row.needs)),
        false => Ok(format!("works, by {}", names(row.needs))),
    }
}

async fn forward(scene: &Scene, row: &Row) -> Cell {
    let Outcome { works, met, told } = scene.run(row, Way::Forward, &[]).await;
    let with = names(row.forward);
    match met {
        Some(Met::Request) if works => Ok(format!("works with {with}")),
        Some(Met::Request) => Err(format!("forward: {told}")),
        _ if row.needs.is_empty() => Err(format!("forward, so its row must say what it needs of exec: {met:?} {told}")),
        Some(Met::NoTrust) => Ok(format!("no: takes the proxy, and does not trust its certificate ({with})")),
        Some(Met::NoProof) => {
            Ok(format!("no: takes the proxy, and shows it no proof, also when asked by 407 ({with})"))
        }
        Some(Met::Nothing) | None => Ok(format!("no: ignores the proxy ({with})")),
    }
}

async fn gateway(scene: &Scene, row: &Row) -> Cell {
    let Outcome { works, told, .. } = scene.run(row, Way::Gateway, &[]).await;
    match row.gateway {
        Ok(how) if works => Ok(format!("works: {how}")),
        Ok(_) => Err(format!("through a gateway: {told}")),
        Err(why) if !works => Ok(format!("no: {why}")),
        Err(_) => Err("works through a gateway".to_owned()),
    }
}

fn names(variables: &[&str]) -> String {
    variables.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn compare(page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/clients.md");
    if std::env::var_os(REWRITE).is_some() {
        std::fs::write(&path, page).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let differs: Vec<String> = committed
        .lines()
        .filter(|line| !page.lines().any(|new| new == *line))
        .map(|line| format!("- {line}"))
        .chain(page.lines().filter(|line| !committed.lines().any(|old| old == *line)).map(|line| format!("+ {line}")))
        .collect();
    assert!(
        page == committed,
        "docs/clients.md says otherwise:\n{}\n\nrewrite it: {REWRITE}=1 cargo test -p claviger-tests --test clients",
        differs.join("\n")
    );
}
