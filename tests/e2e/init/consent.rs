//! What is asked at a terminal, and what answers do.

use crate::project::Project;
use crate::terminal::Terminal;

fn with_key() -> Project {
    let mut project = Project::new();
    let key = project.key("sk-proj-");
    project.write(".env", format!("OPENAI_API_KEY={key}\n"));
    project
}

const SEAL: &str = "seal it as `openai`, for api.openai.com:443 alone? [Y/n/another name] ";
const WRITE: &str = "Write `claviger.toml`, and let it be used here? [Y/n] ";

#[test]
fn enter_is_yes() {
    let project = with_key();
    let mut terminal = Terminal::open(&project, &["init"]);
    terminal.answer(SEAL, "").answer(WRITE, "");
    let said = terminal.end().ok();
    assert!(said.out.contains("begins with `sk-proj-`") && said.out.contains("wrote `claviger.toml`"), "{}", said.out);
    assert_eq!(project.sealed().keys().collect::<Vec<_>>(), ["openai"]);
    project.run(&["check"]).ok();
}

#[test]
fn no_is_no() {
    let project = with_key();
    let mut terminal = Terminal::open(&project, &["init"]);
    terminal.answer(SEAL, "y").answer(WRITE, "n");
    let said = terminal.end();
    assert!(said.code == 1 && said.out.contains("nothing was changed"), "{}", said.out);
    assert!(!project.has("claviger.toml") && !project.state().exists());

    let mut terminal = Terminal::open(&project, &["init"]);
    terminal.answer(SEAL, "n").answer(WRITE, "y");
    let said = terminal.end().ok();
    assert!(said.out.contains("claviger secret set openai --for openai"), "{}", said.out);
    assert!(project.sealed().is_empty() && project.has("claviger.toml"));
}

#[test]
fn another_name() {
    let project = with_key();
    let mut terminal = Terminal::open(&project, &["init"]);
    terminal.answer(SEAL, "../x").answer(SEAL, "work/llm").answer(WRITE, "yes");
    terminal.end().ok();
    assert_eq!(project.sealed().keys().collect::<Vec<_>>(), ["work/llm"]);
    project.run(&["check"]).ok();
    // A name that another key has is not taken.
    let mut other = with_key();
    let key = other.key("ghp_");
    other.write(".env.more", format!("GITHUB_TOKEN={key}\n"));
    let mut terminal = Terminal::open(&other, &["init"]);
    let seal = "seal it as `github`, for ";
    terminal.answer(seal, "openai").answer("is another secret's name already", "gh").answer(SEAL, "").answer(WRITE, "");
    terminal.end();
}

/// A key can be typed where none was found; it is not shown.
#[test]
fn a_key_is_typed() {
    let mut project = Project::new();
    let key = project.key("sk-proj-");
    project.write("requirements.txt", "openai\n");
    let mut terminal = Terminal::open(&project, &["init"]);
    terminal.answer("or Enter to go on without: ", "short").answer("or Enter to go on without: ", &key);
    terminal.answer(WRITE, "");
    let said = terminal.end().ok();
    assert!(said.out.contains("taken: ") && said.out.contains("sealed `openai`"), "{}", said.out);
    assert_eq!(project.sealed()["openai"], ["api.openai.com:443"]);
}
