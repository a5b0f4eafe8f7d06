//! What a page tells its reader to do.
//!
//! A fenced `toml` block whose first line is `# NAME` is a file. In a `console` block a line after `$ ` is typed, with
//! the lines after `> ` that follow it; what stands below is shown. `terminal=NAME` is another terminal than the first.
//! A block in which nothing is typed is what that terminal shows by and by. `…` stands for anything in a line, alone for
//! any number of lines.

/// One step.
#[derive(Debug)]
pub(crate) enum Step {
    /// A file is written.
    File { name: String, text: String },
    /// A command is typed.
    Command { terminal: String, line: usize, text: String, shown: Vec<String> },
    /// Something is shown by what runs in a terminal.
    Shown { terminal: String, line: usize, shown: Vec<String> },
}

pub(crate) fn parse(page: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((_, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let block: Vec<(usize, &str)> = lines.by_ref().take_while(|(_, line)| *line != "```").collect();
        let (language, rest) = info.split_once(' ').unwrap_or((info, ""));
        match language {
            "toml" => {
                let first = block.first().map(|(_, line)| *line).unwrap_or_default();
                let name = first.strip_prefix("# ").filter(|name| name.ends_with(".toml"));
                // Without a name it is part of a file, to be looked at.
                if let Some(name) = name {
                    let text = block.iter().map(|(_, line)| format!("{line}\n")).collect();
                    steps.push(Step::File { name: name.to_owned(), text });
                }
            }
            "console" => {
                let terminal = rest.strip_prefix("terminal=").unwrap_or_default();
                steps.extend(commands(terminal, &block));
            }
            _ => {}
        }
    }
    steps
}

fn commands(terminal: &str, block: &[(usize, &str)]) -> Vec<Step> {
    if let Some((at, _)) = block.first().filter(|_| !block.iter().any(|(_, line)| line.starts_with("$ "))) {
        let shown = block.iter().map(|(_, line)| (*line).to_owned()).collect();
        return vec![Step::Shown { terminal: terminal.to_owned(), line: at + 1, shown }];
    }
    let mut found: Vec<(usize, String, Vec<String>)> = Vec::new();
    for (at, line) in block {
        if let Some(text) = line.strip_prefix("$ ") {
            found.push((at + 1, text.to_owned(), Vec::new()));
            continue;
        }
        let (_, typed, shown) = found.last_mut().unwrap_or_else(|| panic!("line {}: nothing was typed", at + 1));
        match line.strip_prefix("> ").or_else(|| (*line == ">").then_some("")) {
            Some(more) if shown.is_empty() => {
                typed.push('\n');
                typed.push_str(more);
            }
            _ => shown.push((*line).to_owned()),
        }
    }
    let step = |(line, text, shown)| Step::Command { terminal: terminal.to_owned(), line, text, shown };
    found.into_iter().map(step).collect()
}

/// Whether a screen shows what a page says.
pub(crate) fn matches(shown: &[String], said: &str) -> bool {
    let said: Vec<&str> = said.lines().collect();
    let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
    lines_match(&shown, &said)
}

fn lines_match(shown: &[&str], said: &[&str]) -> bool {
    match shown.split_first() {
        None => said.is_empty(),
        Some((&"…", rest)) => (0..=said.len()).any(|skipped| lines_match(rest, &said[skipped..])),
        Some((first, rest)) => {
            said.split_first().is_some_and(|(line, more)| line_matches(first, line) && lines_match(rest, more))
        }
    }
}

fn line_matches(shown: &str, said: &str) -> bool {
    match shown.split_once('…') {
        None => shown == said,
        Some((before, after)) => said.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| line_matches(after, &rest[at..]))
        }),
    }
}

#[test]
fn what_matches() {
    for (shown, said, expected) in [
        ("a", "a", true),
        ("a", "b", false),
        ("a", "", false),
        ("", "a", false),
        ("a…c", "abc", true),
        ("a…c", "ac", true),
        ("a…c", "abd", false),
        ("a…c…e", "abcde", true),
        ("a\n…\nc", "a\nc", true),
        ("a\n…\nc", "a\nb\nb\nc", true),
        ("a\n…\nc", "a\nb", false),
        ("…", "", true),
        ("a\n…", "a\nb", true),
    ] {
        let lines: Vec<String> = shown.lines().map(str::to_owned).collect();
        assert_eq!(matches(&lines, said), expected, "{shown:?} {said:?}");
    }
}

#[test]
fn what_a_page_tells() {
    let page = "Text.\n\n```toml\n# x.toml\na = 1\n```\n\n```toml\n[part]\n```\n\n```console terminal=two\n$ cat > f <<'END'\n> x\n>\n> END\n$ ls\nf\n```\n\n```console terminal=two\nlater\n```\n";
    let steps = parse(page);
    assert!(matches!(&steps[0], Step::File { name, text } if name == "x.toml" && text == "# x.toml\na = 1\n"));
    assert!(matches!(&steps[1], Step::Command { terminal, text, shown, line: 13 }
        if terminal == "two" && text == "cat > f <<'END'\nx\n\nEND" && shown.is_empty()));
    assert!(matches!(&steps[2], Step::Command { text, shown, .. } if text == "ls" && shown == &["f"]));
    assert!(matches!(&steps[3], Step::Shown { terminal, shown, .. } if terminal == "two" && shown == &["later"]));
    assert_eq!(steps.len(), 4);
}
