//! What each key means: the comments of `config.example.toml`, which are the only place where it is said.

use std::collections::BTreeMap;

use super::keys::{Key, Keys, Shape};
use toml_parser::parser::{Event, EventKind, parse_document};
use toml_parser::{ErrorSink, ParseError, Source};

const EXAMPLE: &str = include_str!("../../../../config.example.toml");

/// What the comments say, by the kind of table (`attestor.jwt`) and the key.
pub(crate) type Comments = BTreeMap<(String, String), String>;

/// The comments beside and right above each key of the example; the first of a kind of table counts.
pub(crate) fn comments(keys: &Keys) -> Comments {
    let mut all = Comments::new();
    for section in sections(EXAMPLE) {
        let first = section.header.first().map(String::as_str).unwrap_or_default();
        let key = keys.root().and_then(|root| root.get(first));
        let kind = key.and_then(|key| section.value_of(key.by.as_deref()?));
        let class = match (key.map(Key::shape), kind) {
            (_, Some(kind)) => format!("{first}.{kind}"),
            (None, None) => "root".to_owned(),
            // `[admin.remote]` is a table of its own, `[service.api]` one of those that have names.
            (Some(Shape::Table(_)), None) => section.header.join("."),
            (Some(_), None) => first.to_owned(),
        };
        for line in section.lines.into_iter().filter(|line| !line.comment.is_empty()) {
            all.entry((class.clone(), line.key)).or_insert(line.comment);
        }
    }
    all
}

/// What the comments of a file of its own say of its keys, by table (empty for the root) and key: a preset's.
pub(crate) fn remarks(text: &str) -> Comments {
    let mut all = Comments::new();
    for section in sections(text) {
        let table = section.header.join(".");
        for line in section.lines.into_iter().filter(|line| !line.comment.is_empty()) {
            all.insert((table.clone(), line.key), line.comment);
        }
    }
    all
}

/// One table of the example.
#[derive(Debug, Default)]
struct Section {
    /// `listener`, `egress` of `[listener.egress]`; empty for the root.
    header: Vec<String>,
    lines: Vec<Line>,
}

#[derive(Debug, Default)]
struct Line {
    key: String,
    value: String,
    comment: String,
}

impl Line {
    /// `svid = "…"  # what it means`: a key that cannot stand beside another one of the example.
    fn commented_out(text: &str) -> Option<Self> {
        let (key, rest) = text.split_once('=')?;
        let key = key.trim_end();
        let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let comment = rest.rsplit_once('#').map(|(_, comment)| comment.trim().to_owned()).unwrap_or_default();
        is_key.then(|| Self { key: key.to_owned(), value: String::new(), comment })
    }
}

impl Section {
    fn value_of(&self, key: &str) -> Option<&str> {
        self.lines.iter().find(|line| line.key == key).map(|line| line.value.as_str())
    }
}

/// Errors have been found by whoever parsed the text for its values.
struct Silent;

impl ErrorSink for Silent {
    fn report_error(&mut self, _: ParseError) {}
}

/// The events of a text, errors left aside.
pub(crate) fn events(text: &str) -> Vec<Event> {
    let tokens = Source::new(text).lex().into_vec();
    let mut events: Vec<Event> = Vec::new();
    parse_document(&tokens, &mut events, &mut Silent);
    events
}

fn sections(text: &str) -> Vec<Section> {
    let mut all = vec![Section::default()];
    let mut reader = Reader::default();
    for event in events(text) {
        let span = event.span();
        let raw = text.get(span.start()..span.end()).unwrap_or_default();
        if let Some(section) = reader.next(event.kind(), raw, all.last_mut()) {
            all.push(section);
        }
    }
    all
}

/// Where a reading is.
#[derive(Debug, Default)]
struct Reader {
    depth: usize,
    in_header: bool,
    header: Vec<String>,
    /// Comment lines that stand right above.
    above: String,
    /// Whether the line so far has a key and its value.
    in_line: bool,
    is_blank: bool,
}

impl Reader {
    fn next(&mut self, kind: EventKind, raw: &str, section: Option<&mut Section>) -> Option<Section> {
        match kind {
            EventKind::StdTableOpen | EventKind::ArrayTableOpen => self.in_header = true,
            EventKind::StdTableClose | EventKind::ArrayTableClose => {
                (self.in_header, self.in_line) = (false, false);
                self.above.clear();
                let header = std::mem::take(&mut self.header);
                return Some(Section { header, ..Section::default() });
            }
            EventKind::ArrayOpen | EventKind::InlineTableOpen => self.depth += 1,
            EventKind::ArrayClose | EventKind::InlineTableClose => self.depth = self.depth.saturating_sub(1),
            EventKind::SimpleKey if self.in_header => self.header.push(raw.to_owned()),
            EventKind::SimpleKey if self.depth == 0 => {
                let comment = std::mem::take(&mut self.above);
                section?.lines.push(Line { key: raw.to_owned(), comment, ..Line::default() });
                self.in_line = true;
            }
            EventKind::Scalar if self.depth == 0 => {
                raw.trim_matches('"').clone_into(&mut section?.lines.last_mut()?.value)
            }
            EventKind::Comment if self.depth == 0 => {
                let text = raw.trim_start_matches('#').trim();
                if let (false, Some(line)) = (self.in_line, Line::commented_out(text)) {
                    section?.lines.push(line);
                    return None;
                }
                let into = if self.in_line { &mut section?.lines.last_mut()?.comment } else { &mut self.above };
                if !into.is_empty() {
                    into.push(' ');
                }
                into.push_str(text);
            }
            EventKind::Newline if self.depth == 0 => {
                if self.is_blank {
                    self.above.clear();
                }
                (self.is_blank, self.in_line) = (true, false);
                return None;
            }
            _ => {}
        }
        if kind != EventKind::Whitespace {
            self.is_blank = false;
        }
        None
    }
}
