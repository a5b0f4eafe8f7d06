//! Where the first of two equal keys stands, which the TOML parser does not say.

use std::ops::Range;

/// The dotted key at `span`, and where the text has defined it before; `None` where it was written in another form.
pub(super) fn find(text: &str, span: &Range<usize>) -> Option<(String, usize)> {
    let name = text.get(span.clone())?;
    let before = text.get(..span.start)?;
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = text.get(line_start..)?.lines().next()?;
    let lines = || {
        text.get(..line_start).unwrap_or_default().split_inclusive('\n').scan(0, |at, line| {
            let start = *at;
            *at += line.len();
            Some((start, line))
        })
    };
    if let Some(table) = header(line) {
        let (start, first) = lines().find(|(_, line)| header(line) == Some(table))?;
        return Some((table.to_owned(), start + first.find(table)? + table.len().checked_sub(name.len())?));
    }
    // The lines of the table that the duplicate is in.
    let table_start = lines().filter(|(_, line)| line.trim_start().starts_with('[')).last();
    let table = table_start.and_then(|(_, line)| header(line)).unwrap_or_default();
    let from = table_start.map_or(0, |(start, _)| start);
    let (start, first) = lines().find(|(start, line)| *start >= from && key(line) == Some(name))?;
    let dotted = if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") };
    Some((dotted, start + first.find(name)?))
}

/// `a.b` of `[a.b]`.
fn header(line: &str) -> Option<&str> {
    let inside = line.trim_start().strip_prefix('[')?;
    let (name, _) = inside.split_once(']')?;
    (!name.starts_with('[')).then_some(name.trim())
}

/// `a` of `a = 1`.
fn key(line: &str) -> Option<&str> {
    Some(line.split_once('=')?.0.trim())
}
