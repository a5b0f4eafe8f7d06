//! Values, and how they are written.

use std::fmt;

use toml_parser::parser::{Event, EventKind};

use super::events;

/// How far a row of a list stands from its bracket.
const INDENT: usize = 4;

/// An event with its text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'t> {
    pub(super) kind: EventKind,
    pub(super) raw: &'t str,
    /// Where it starts.
    pub(super) start: usize,
}

/// Reads the events of a text, white space left out.
#[derive(Debug)]
pub(super) struct Reader<'t> {
    text: &'t str,
    events: std::iter::Peekable<std::vec::IntoIter<Event>>,
}

/// A value.
#[derive(Debug)]
pub(super) enum Written<'t> {
    /// As it stands.
    Scalar(&'t str),
    List(Vec<Piece<'t>>),
    Table(Vec<Piece<'t>>),
}

/// What stands in a list or an inline table.
#[derive(Debug)]
pub(super) enum Piece<'t> {
    /// With its key in a table.
    Item(Option<String>, Written<'t>),
    Comma,
    Comment(&'t str),
    Newline,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, events: events(text).into_iter().peekable() }
    }

    /// The next event.
    pub(super) fn next(&mut self) -> Option<Token<'t>> {
        loop {
            let event = self.events.next()?;
            let span = event.span();
            if event.kind() != EventKind::Whitespace {
                let raw = self.text.get(span.start()..span.end()).unwrap_or_default();
                return Some(Token { kind: event.kind(), raw, start: span.start() });
            }
        }
    }

    /// `a.b` of a header whose bracket was read, up to its end.
    pub(super) fn header(&mut self) -> String {
        let mut name = String::new();
        while let Some(token) = self.next() {
            if matches!(token.kind, EventKind::StdTableClose | EventKind::ArrayTableClose) {
                break;
            }
            name.push_str(token.raw);
        }
        name
    }

    /// The rest of a key whose first part was read, and its value.
    pub(super) fn key_and_value(&mut self, first: &str) -> (String, Written<'t>) {
        let mut key = first.to_owned();
        while let Some(token) = self.next() {
            if token.kind == EventKind::KeyValSep {
                break;
            }
            key.push_str(token.raw);
        }
        let value = self.next().map_or(Written::Scalar(""), |token| self.value(token));
        (key, value)
    }

    fn value(&mut self, token: Token<'t>) -> Written<'t> {
        match token.kind {
            EventKind::ArrayOpen => Written::List(self.pieces(EventKind::ArrayClose)),
            EventKind::InlineTableOpen => Written::Table(self.pieces(EventKind::InlineTableClose)),
            _ => Written::Scalar(token.raw),
        }
    }

    fn pieces(&mut self, close: EventKind) -> Vec<Piece<'t>> {
        let mut pieces = Vec::new();
        while let Some(token) = self.next() {
            pieces.push(match token.kind {
                kind if kind == close => break,
                EventKind::SimpleKey => {
                    let (key, value) = self.key_and_value(token.raw);
                    Piece::Item(Some(key), value)
                }
                EventKind::ValueSep => Piece::Comma,
                EventKind::Comment => Piece::Comment(token.raw.trim_end()),
                EventKind::Newline => Piece::Newline,
                _ => Piece::Item(None, self.value(token)),
            });
        }
        pieces
    }
}

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(0))
    }
}

impl Written<'_> {
    fn text(&self, indent: usize) -> String {
        let (open, close, pieces) = match self {
            Self::Scalar(raw) => return (*raw).to_owned(),
            Self::List(pieces) => ("[", "]", pieces),
            Self::Table(pieces) => ("{", "}", pieces),
        };
        let items = pieces.iter().filter(|piece| matches!(piece, Piece::Item(..))).count();
        let spans_lines = pieces.iter().any(|piece| matches!(piece, Piece::Newline | Piece::Comment(_)));
        // An empty list has nothing to spread, unless it holds a comment.
        let spans_lines = spans_lines && (items > 0 || pieces.iter().any(|piece| matches!(piece, Piece::Comment(_))));
        if !spans_lines {
            let items: Vec<String> = pieces.iter().filter_map(|piece| piece.item(indent)).collect();
            let items = items.join(", ");
            return match self {
                Self::Table(_) if !items.is_empty() => format!("{open} {items} {close}"),
                _ => format!("{open}{items}{close}"),
            };
        }
        let rows = rows(pieces, indent + INDENT, matches!(self, Self::List(_)));
        format!("{open}\n{rows}{:indent$}{close}", "")
    }
}

impl Piece<'_> {
    fn item(&self, indent: usize) -> Option<String> {
        match self {
            Self::Item(Some(key), value) => Some(format!("{key} = {}", value.text(indent))),
            Self::Item(None, value) => Some(value.text(indent)),
            Self::Comma | Self::Comment(_) | Self::Newline => None,
        }
    }
}

/// The lines between the brackets. What stood on one line stays on one line.
fn rows(pieces: &[Piece<'_>], indent: usize, is_list: bool) -> String {
    let last_item = pieces.iter().rposition(|piece| matches!(piece, Piece::Item(..)));
    let written_comma = last_item.is_some_and(|at| pieces.iter().skip(at).any(|piece| matches!(piece, Piece::Comma)));
    let (mut text, mut row, mut is_blank) = (String::new(), String::new(), false);
    let mut end = |row: &mut String, text: &mut String| {
        if row.is_empty() {
            is_blank = !text.is_empty();
            return;
        }
        if std::mem::take(&mut is_blank) {
            text.push('\n');
        }
        text.push_str(&format!("{:indent$}{row}\n", ""));
        row.clear();
    };
    for (at, piece) in pieces.iter().enumerate() {
        match piece {
            // Written behind its item, wherever it stood.
            Piece::Comma => {}
            Piece::Newline => end(&mut row, &mut text),
            Piece::Comment(comment) => {
                if !row.is_empty() {
                    row.push(' ');
                }
                row.push_str(comment);
            }
            Piece::Item(..) => {
                if !row.is_empty() {
                    row.push(' ');
                }
                row.push_str(&piece.item(indent).unwrap_or_default());
                // Behind the last item of an inline table a comma is not TOML 1.0.
                if Some(at) != last_item || is_list || written_comma {
                    row.push(',');
                }
            }
        }
    }
    if !row.is_empty() {
        end(&mut row, &mut text);
    }
    text
}
