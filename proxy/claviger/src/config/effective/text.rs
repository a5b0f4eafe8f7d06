//! The effective configuration as TOML that loads again beside the main file.

use std::path::Path;

use claviger_policy::document::{Location, Value};

use super::{Effective, Header, Leaf, Line, Node, Origin, Section};

/// Types of values that name something in the file system.
const PATHS: [&str; 3] = ["path", "file", "pattern"];

impl Effective {
    /// As TOML, with comments that say where each table and each filled-in value is from.
    ///
    /// What teams say stands there as comments: `files` of `[team.NAME]` brings it in again.
    pub(crate) fn to_toml(&self) -> String {
        let mut all = String::new();
        for section in &self.sections {
            let text = self.section(section);
            if text.is_empty() {
                continue;
            }
            if !all.is_empty() {
                all.push('\n');
            }
            match section.team() {
                None => all.push_str(&text),
                Some(_) => text.lines().for_each(|line| all.push_str(&format!("# {line}\n"))),
            }
        }
        all
    }

    fn section(&self, section: &Section) -> String {
        let from = match &section.location {
            None => "  # default".to_owned(),
            Some(location) if location.file() == self.main => String::new(),
            Some(location) => format!("  # from {}:{}", self.shorten(location.file()), location.line()),
        };
        let mut text = match &section.header {
            Header::Root => String::new(),
            Header::Table(table) => format!("[{}]{from}\n", key(table)),
            Header::Named(table, name) => format!("[{}.{}]{from}\n", key(table), key(name)),
            Header::Element(table) => format!("[[{}]]{from}\n", key(table)),
        };
        let width = section.lines.iter().map(|line| key(&line.key).chars().count()).max().unwrap_or_default();
        for line in &section.lines {
            let name = key(&line.key);
            let value = self.value(&line.node);
            let from = self.origin(line, section);
            text.push_str(&format!("{name:width$} = {value}{from}\n"));
        }
        text
    }

    fn origin(&self, line: &Line, section: &Section) -> &'static str {
        match line.origin {
            Origin::Preset => "  # preset",
            // The header says so already.
            Origin::Default if section.location.is_some() || section.header == Header::Root => "  # default",
            Origin::Default | Origin::Written => "",
        }
    }

    fn value(&self, node: &Node) -> String {
        match node {
            Node::Leaf(leaf) => self.leaf(leaf),
            Node::List(nodes) => {
                format!("[{}]", nodes.iter().map(|node| self.value(node)).collect::<Vec<_>>().join(", "))
            }
            Node::Table(entries) if entries.is_empty() => "{}".to_owned(),
            Node::Table(entries) => {
                let entries = entries.iter().map(|(name, node)| format!("{} = {}", key(name), self.value(node)));
                format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
            }
        }
    }

    fn leaf(&self, leaf: &Leaf) -> String {
        match &leaf.value {
            Value::String(text) => string(&self.moved(leaf, leaf.shown(text))),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => toml::Value::Float(*number).to_string(),
            Value::Boolean(yes) => yes.to_string(),
            Value::Datetime(text) => text.clone(),
            // They are nodes of their own.
            Value::Array(_) | Value::Table(_) => String::new(),
        }
    }

    /// A path as it must be written in the main file to mean the same.
    pub(super) fn moved(&self, leaf: &Leaf, text: String) -> String {
        let (Some(is), Some(location)) = (leaf.is, &leaf.location) else { return text };
        let (prefix, path) = match text.strip_prefix("unix:") {
            Some(path) if matches!(is, "bind" | "unix") => ("unix:", path),
            _ if PATHS.contains(&is) => ("", text.as_str()),
            _ => return text,
        };
        let folder = Path::new(location.file()).parent().unwrap_or(Path::new(""));
        if folder == self.folder {
            return text;
        }
        let moved = folder.join(path);
        let moved = moved.strip_prefix(&self.folder).unwrap_or(&moved);
        format!("{prefix}{}", moved.display())
    }

    /// A file as it is called from the main file's folder.
    pub(super) fn shorten<'f>(&self, file: &'f str) -> std::borrow::Cow<'f, str> {
        Path::new(file).strip_prefix(&self.folder).unwrap_or(Path::new(file)).to_string_lossy()
    }

    /// Where a value is from, for programs.
    pub(super) fn place(&self, location: &Location) -> String {
        format!("{}:{}", self.shorten(location.file()), location.line())
    }
}

fn key(name: &str) -> String {
    let is_bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if is_bare { name.to_owned() } else { string(name) }
}

fn string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
