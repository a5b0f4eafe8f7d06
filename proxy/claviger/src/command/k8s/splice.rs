//! Changes of a text at places that a parse of it named.

use std::cmp::Reverse;

use super::emit::{self, Value};
use super::yaml::{Kind, Node};

/// Why a place cannot be changed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stuck {
    #[error("is an alias, and what it stands for is used elsewhere too")]
    Alias,
    #[error("has an anchor that is used elsewhere too")]
    Shared,
    #[error("has a merge key (`<<`), which a change here would override")]
    Merge,
    #[error("is not a {0}")]
    NotA(&'static str),
    #[error("is written in a form that cannot be changed in place")]
    Form,
}

/// A text and the changes that are to be made to it. Changes never overlap: each inserts, or removes whole entries.
#[derive(Debug)]
pub(super) struct Splice<'t> {
    text: &'t str,
    newline: &'static str,
    changes: Vec<Change>,
}

/// `start..end` of the text is to be `new`.
#[derive(Debug)]
struct Change {
    start: usize,
    end: usize,
    /// Among insertions at one place: what is nested deeper ends first, and a list's items end before the next key.
    rank: (Reverse<usize>, bool),
    new: String,
}

impl<'t> Splice<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        Self { text, newline, changes: Vec::new() }
    }

    /// The text with all changes made.
    pub(super) fn finish(mut self) -> String {
        // Stable: what is inserted at one place and depth stays in the order in which it was asked for.
        self.changes.sort_by_key(|change| (change.start, change.rank));
        let mut out = String::with_capacity(self.text.len() + 4096);
        let mut done = 0;
        for Change { start, end, new, .. } in &self.changes {
            out.push_str(self.text.get(done..*start).unwrap_or_default());
            out.push_str(new);
            done = done.max(*end);
        }
        out.push_str(self.text.get(done..).unwrap_or_default());
        // The last lines of a text without a final line end were removed.
        if !self.text.ends_with('\n') && out.ends_with(self.newline) {
            out.truncate(out.len() - self.newline.len());
        }
        out
    }

    /// Whether a mapping may be changed here.
    fn mapping(node: &Node) -> Result<&[(Node, Node)], Stuck> {
        match &node.kind {
            Kind::Alias => Err(Stuck::Alias),
            Kind::Scalar { .. } | Kind::Sequence(_) => Err(Stuck::NotA("mapping")),
            Kind::Mapping(_) if node.is_shared => Err(Stuck::Shared),
            Kind::Mapping(entries) if entries.iter().any(|(key, _)| key.text() == Some("<<")) => Err(Stuck::Merge),
            Kind::Mapping(entries) => Ok(entries),
        }
    }

    /// Writes a new key at the end of a mapping.
    pub(super) fn add_key(&mut self, node: &Node, key: &'static str, value: &Value) -> Result<(), Stuck> {
        let entries = Self::mapping(node)?;
        if node.is_flow {
            let written = emit::flow(&Value::Map(vec![(key, value.clone())]));
            let inner = written.get(1..written.len() - 1).unwrap_or_default();
            self.add_to_flow(node, entries.last().map(|(_, value)| value), inner);
        } else {
            let lines = emit::entry(key, value, node.column, self.newline);
            self.after_line(node.end, node.column, true, &lines);
        }
        Ok(())
    }

    /// Adds a key to the mapping at `key` of a mapping. Makes that mapping if there is none.
    pub(super) fn add_below(
        &mut self,
        node: &Node,
        key: &'static str,
        name: &'static str,
        value: &Value,
    ) -> Result<(), Stuck> {
        Self::mapping(node)?;
        let new = Value::Map(vec![(name, value.clone())]);
        match node.entry(key) {
            None => self.add_key(node, key, &new),
            Some((written, at)) if at.is_null() => {
                self.replace_null(node, written, at, &new, &emit::entry(name, value, node.column + 2, self.newline))
            }
            Some((_, at)) => self.add_key(at, name, value),
        }
    }

    /// Adds items to the sequence at `key` of a mapping: at its end, or its front. Makes the sequence if there is none.
    pub(super) fn add_items(
        &mut self,
        node: &Node,
        key: &'static str,
        items: &[Value],
        at_front: bool,
    ) -> Result<(), Stuck> {
        Self::mapping(node)?;
        let Some((name, list)) = node.entry(key) else {
            return self.add_key(node, key, &Value::List(items.to_vec()));
        };
        match &list.kind {
            Kind::Alias => Err(Stuck::Alias),
            _ if list.is_shared => Err(Stuck::Shared),
            _ if list.is_null() => {
                let lines: String = items.iter().map(|one| emit::item(one, node.column + 2, self.newline)).collect();
                self.replace_null(node, name, list, &Value::List(items.to_vec()), &lines)
            }
            Kind::Scalar { .. } | Kind::Mapping(_) => Err(Stuck::NotA("list")),
            Kind::Sequence(present) if list.is_flow => {
                let written: Vec<String> = items.iter().map(emit::flow).collect();
                match present.first() {
                    Some(first) if at_front => {
                        self.change(first.start, first.start, format!("{}, ", written.join(", ")));
                    }
                    Some(_) | None => self.add_to_flow(list, present.last(), &written.join(", ")),
                }
                Ok(())
            }
            Kind::Sequence(present) => {
                let first = present.first().ok_or(Stuck::Form)?;
                let dash = self.dash(first).ok_or(Stuck::Form)?;
                let start = self.line_start(dash);
                let indent = self.indent_before(start, dash).ok_or(Stuck::Form)?;
                let lines: String = items.iter().map(|value| emit::item(value, indent, self.newline)).collect();
                if at_front {
                    self.change(start, start, lines);
                } else {
                    self.after_line(list.end, indent, false, &lines);
                }
                Ok(())
            }
        }
    }

    /// `key:` without a value gets one: as lines, or in place of a written `null`.
    fn replace_null(&mut self, node: &Node, name: &Node, value: &Node, new: &Value, lines: &str) -> Result<(), Stuck> {
        if value.start != value.end {
            self.change(value.start, value.end, emit::flow(new));
        } else if node.is_flow {
            return Err(Stuck::Form);
        } else {
            self.after_line(name.end, node.column + 2, true, lines);
        }
        Ok(())
    }

    /// Removes those items of a sequence for which `is_ours` holds; with the last one the key goes too.
    pub(super) fn remove_items(
        &mut self,
        node: &Node,
        key: &str,
        is_ours: &dyn Fn(&Node) -> bool,
    ) -> Result<(), Stuck> {
        let Some(list) = node.get(key) else { return Ok(()) };
        let items = list.items();
        let ours = items.iter().filter(|one| is_ours(one)).count();
        if ours == 0 {
            return Ok(());
        }
        if ours == items.len() {
            return self.remove_key(node, key);
        }
        if list.is_flow {
            let spans: Vec<(usize, usize)> = items.iter().map(|one| (one.start, one.end)).collect();
            return self.remove_from_flow(&spans, &items.iter().map(is_ours).collect::<Vec<_>>());
        }
        for one in items.iter().filter(|one| is_ours(one)) {
            let dash = self.dash(one).ok_or(Stuck::Form)?;
            let start = self.line_start(dash);
            self.indent_before(start, dash).ok_or(Stuck::Form)?;
            self.remove_lines(start, one.end);
        }
        Ok(())
    }

    /// Removes a key with its value.
    pub(super) fn remove_key(&mut self, node: &Node, key: &str) -> Result<(), Stuck> {
        let entries = Self::mapping(node)?;
        if !entries.iter().any(|(name, _)| name.text() == Some(key)) {
            return Ok(());
        }
        if node.is_flow {
            let spans: Vec<(usize, usize)> = entries.iter().map(|(name, value)| (name.start, value.end)).collect();
            let gone: Vec<bool> = entries.iter().map(|(name, _)| name.text() == Some(key)).collect();
            return self.remove_from_flow(&spans, &gone);
        }
        for (name, value) in entries.iter().filter(|(name, _)| name.text() == Some(key)) {
            let start = self.line_start(name.start);
            self.indent_before(start, name.start).ok_or(Stuck::Form)?;
            self.remove_lines(start, value.end.max(name.end));
        }
        Ok(())
    }

    fn remove_from_flow(&mut self, spans: &[(usize, usize)], gone: &[bool]) -> Result<(), Stuck> {
        let mut kept_before: Option<usize> = None;
        for (index, ((start, end), gone)) in spans.iter().zip(gone).enumerate() {
            if !gone {
                kept_before = Some(*end);
                continue;
            }
            match (kept_before, spans.get(index + 1)) {
                (Some(from), _) => {
                    let from = if index > 0 { spans.get(index - 1).map_or(from, |one| one.1) } else { from };
                    self.change(from, *end, String::new());
                }
                (None, Some((next, _))) => self.change(*start, *next, String::new()),
                (None, None) => self.change(*start, *end, String::new()),
            }
        }
        Ok(())
    }

    fn remove_lines(&mut self, start: usize, end: usize) {
        let end = self.line_end(end);
        self.change(start, end, String::new());
    }

    /// Before the closing bracket of a flow collection.
    fn add_to_flow(&mut self, node: &Node, last: Option<&Node>, written: &str) {
        match last {
            // Behind the last entry; a comma that stands there already then follows what is new.
            Some(last) => self.change(last.end, last.end, format!(", {written}")),
            None => {
                let at = node.end.saturating_sub(1);
                self.change(at, at, written.to_owned());
            }
        }
    }

    /// Whole lines behind the line that holds `offset`.
    fn after_line(&mut self, offset: usize, indent: usize, is_key: bool, lines: &str) {
        let at = self.line_end(offset);
        let has_end = at == 0 || self.text.get(..at).is_some_and(|before| before.ends_with('\n'));
        let new = if has_end {
            lines.to_owned()
        } else {
            format!("{}{}", self.newline, lines.strip_suffix(self.newline).unwrap_or(lines))
        };
        self.changes.push(Change { start: at, end: at, rank: (Reverse(indent), is_key), new });
    }

    fn change(&mut self, start: usize, end: usize, new: String) {
        self.changes.push(Change { start, end, rank: (Reverse(0), true), new });
    }

    fn line_start(&self, offset: usize) -> usize {
        self.text.get(..offset).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1)
    }

    /// Behind the line's end.
    fn line_end(&self, offset: usize) -> usize {
        self.text.get(offset..).and_then(|rest| rest.find('\n')).map_or(self.text.len(), |at| offset + at + 1)
    }

    /// The `-` of a block sequence's item.
    fn dash(&self, item: &Node) -> Option<usize> {
        let before = self.text.get(..item.start)?.trim_end_matches([' ', '\t', '\r', '\n']);
        before.ends_with('-').then(|| before.len() - 1)
    }

    /// How far `at` is indented, if nothing but spaces stands before it in its line.
    fn indent_before(&self, start: usize, at: usize) -> Option<usize> {
        self.text.get(start..at).filter(|before| before.chars().all(|one| one == ' ')).map(str::len)
    }
}
