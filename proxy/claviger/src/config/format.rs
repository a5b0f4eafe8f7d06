//! A configuration's text in the usual form. Only white space and the last comma of a list that spans lines change: what
//! stands in the file, its order and its comments stay as they are.

mod layout;
mod value;

use claviger_policy::document::{self, Diagnostics, SourceFile};
use toml_parser::parser::EventKind;

use super::comments::events;
use layout::Line;
use value::{Reader, Token};

/// The text in the usual form; `None` with the reason in `out`: it is not TOML.
///
/// The form: one space around `=`, and the `=` of lines that stand together below each other; lists and inline tables
/// on one line, or one row a line with four spaces; a blank line before a table, nowhere two, none at the ends.
pub(crate) fn format(name: &str, text: &str, out: &mut Diagnostics) -> Option<String> {
    document::parse(&SourceFile::new(name, text), out)?;
    // A mark of the byte order says nothing in UTF-8.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let formatted = layout::lay_out(lines(text));
    // No form is worth a change of meaning. None is known; should there be one, the file is left alone.
    if same(text, &formatted) {
        return Some(formatted);
    }
    out.error_nowhere(format!("`{name}` cannot be formatted without changing what it says")).help("it stays as it is");
    None
}

/// Whether both say the same, comments too.
fn same(before: &str, after: &str) -> bool {
    let values = |text: &str| toml::from_str::<toml::Table>(text).map(|table| format!("{table:?}")).ok();
    let comments = |text: &str| -> Vec<String> {
        let all = events(text).into_iter().filter(|event| event.kind() == EventKind::Comment);
        all.map(|event| text.get(event.span().start()..event.span().end()).unwrap_or_default().trim_end().to_owned())
            .collect()
    };
    values(before).is_some() && values(before) == values(after) && comments(before) == comments(after)
}

/// The lines of a text, a value that spans several as one.
fn lines(text: &str) -> Vec<Line> {
    let mut reader = Reader::new(text);
    let mut lines = vec![Line::Blank];
    while let Some(token) = reader.next() {
        match token {
            Token { kind: EventKind::Newline, .. } => lines.push(Line::Blank),
            Token { kind: EventKind::Comment, raw, start } => {
                let column =
                    text.get(..start).and_then(|before| before.lines().last()).map_or(0, |line| line.chars().count());
                if let Some(line) = lines.last_mut() {
                    line.comment(raw.trim_end(), column);
                }
            }
            Token { kind: EventKind::StdTableOpen | EventKind::ArrayTableOpen, raw, .. } => {
                let name = reader.header();
                let close = if raw == "[[" { "]]" } else { "]" };
                replace_last(&mut lines, Line::header(format!("{raw}{name}{close}")));
            }
            Token { kind: EventKind::SimpleKey, raw, .. } => {
                let (key, value) = reader.key_and_value(raw);
                replace_last(&mut lines, Line::value(key, value.to_string()));
            }
            _ => {}
        }
    }
    lines
}

fn replace_last(lines: &mut [Line], line: Line) {
    if let Some(last) = lines.last_mut() {
        *last = line;
    }
}

#[cfg(test)]
mod tests;
