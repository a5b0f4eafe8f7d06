//! YAML as a tree that remembers where everything stands.
//!
//! Manifests are changed by splicing text at these places, never by printing a tree anew: comments, order, quoting
//! and fields that nobody here knows stay as they are.

use std::collections::BTreeSet;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// How deep a document may nest. Manifests stay far below; the parser of a hostile one must not exhaust the stack.
const DEPTH_MAX: usize = 128;

/// A text that is no YAML, or that cannot be edited safely.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {why}")]
pub(super) struct YamlError {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) why: String,
}

/// One node. Offsets are bytes of the text.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Its first byte: of a block collection that of its first entry.
    pub(super) start: usize,
    /// Behind its last byte of content. Comments and blank lines behind it are not part of it.
    pub(super) end: usize,
    /// From 1.
    pub(super) line: usize,
    /// In characters, from 0: the indentation of a block mapping's keys.
    pub(super) column: usize,
    /// `{…}` or `[…]`.
    pub(super) is_flow: bool,
    /// An alias elsewhere stands for this node too, or for one around it.
    pub(super) is_shared: bool,
    /// The parser's number of its anchor; 0: none.
    anchor: usize,
}

#[derive(Debug)]
pub(super) enum Kind {
    Scalar { value: String, is_plain: bool },
    Mapping(Vec<(Node, Node)>),
    Sequence(Vec<Node>),
    Alias,
}

impl Node {
    /// The value of a key. An absent key and an empty value are told apart: the second is a null scalar.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, value)| value)
    }

    /// A key and its value.
    pub(super) fn entry(&self, key: &str) -> Option<(&Node, &Node)> {
        let Kind::Mapping(entries) = &self.kind else { return None };
        entries.iter().find(|(name, _)| name.text() == Some(key)).map(|(name, value)| (name, value))
    }

    /// The value below a path of keys.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { value, .. } => Some(value),
            Kind::Mapping(_) | Kind::Sequence(_) | Kind::Alias => None,
        }
    }

    /// The text of a scalar below a path of keys.
    pub(super) fn text_at(&self, path: &[&str]) -> Option<&str> {
        self.at(path).and_then(Node::text)
    }

    /// The entries of a sequence; none of anything else.
    pub(super) fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::Sequence(items) => items,
            Kind::Mapping(_) | Kind::Scalar { .. } | Kind::Alias => &[],
        }
    }

    /// `null`, `~`, or nothing at all.
    pub(super) fn is_null(&self) -> bool {
        match &self.kind {
            Kind::Scalar { value, is_plain } => *is_plain && matches!(value.as_str(), "" | "~" | "null" | "Null"),
            Kind::Mapping(_) | Kind::Sequence(_) | Kind::Alias => false,
        }
    }
}

/// Every document of a text; `None` for an empty one.
pub(super) fn parse(text: &str) -> Result<Vec<Option<Node>>, YamlError> {
    let mut reader = Reader::new(text);
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            let mark = error.marker();
            YamlError { line: mark.line(), column: mark.col() + 1, why: error.info().to_owned() }
        })?;
        reader.take(event, span)?;
    }
    Ok(reader.finish())
}

/// A collection that is not closed yet.
struct Open {
    node: Node,
    /// In a mapping: the key that waits for its value.
    key: Option<Node>,
}

struct Reader<'t> {
    text: &'t str,
    /// The byte offset of each character: the parser counts characters.
    offsets: Vec<usize>,
    open: Vec<Open>,
    documents: Vec<(Option<Node>, BTreeSet<usize>)>,
    /// Anchors that aliases of this document refer to.
    aliased: BTreeSet<usize>,
    root: Option<Node>,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        let offsets = text.char_indices().map(|(offset, _)| offset).chain([text.len()]).collect();
        Self { text, offsets, open: Vec::new(), documents: Vec::new(), aliased: BTreeSet::new(), root: None }
    }

    fn offset(&self, index: usize) -> usize {
        self.offsets.get(index).copied().unwrap_or(self.text.len())
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlError> {
        let fail = |why: &str| YamlError { line: span.start.line(), column: span.start.col() + 1, why: why.to_owned() };
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd => {}
            Event::DocumentStart(_) => self.aliased = BTreeSet::new(),
            Event::DocumentEnd => {
                let root = self.root.take().filter(|root| !root.is_null());
                self.documents.push((root, std::mem::take(&mut self.aliased)));
            }
            Event::Alias(anchor) => {
                self.aliased.insert(anchor);
                self.put(self.leaf(Kind::Alias, span, 0))?;
            }
            Event::Scalar(value, style, anchor, _) => {
                let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                let is_plain = style == ScalarStyle::Plain;
                let is_kept = is_block && value.ends_with("\n\n");
                let kind = Kind::Scalar { value: value.into_owned(), is_plain };
                let mut node = self.leaf(kind, span, anchor);
                if is_block {
                    node.end = self.block_end(&node, is_kept);
                }
                self.put(node)?;
            }
            Event::SequenceStart(anchor, _) => self.enter(Kind::Sequence(Vec::new()), span, anchor, &fail)?,
            Event::MappingStart(anchor, _) => self.enter(Kind::Mapping(Vec::new()), span, anchor, &fail)?,
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { mut node, .. }) = self.open.pop() else {
                    return Err(fail("a collection ends that never began"));
                };
                if node.is_flow {
                    node.end = self.offset(span.end.index());
                }
                self.put(node)?;
            }
        }
        Ok(())
    }

    fn leaf(&self, kind: Kind, span: Span, anchor: usize) -> Node {
        Node {
            kind,
            start: self.offset(span.start.index()),
            end: self.offset(span.end.index()),
            line: span.start.line(),
            column: span.start.col(),
            is_flow: false,
            is_shared: false,
            anchor,
        }
    }

    /// The span of a block scalar reaches to what follows it.
    fn block_end(&self, node: &Node, is_kept: bool) -> usize {
        let content = self.text.get(node.start..node.end).unwrap_or_default();
        let length = if is_kept {
            content.rfind('\n').unwrap_or(content.len())
        } else {
            content.trim_end_matches([' ', '\t', '\r', '\n']).len()
        };
        node.start + length
    }

    fn enter(
        &mut self,
        kind: Kind,
        span: Span,
        anchor: usize,
        fail: &dyn Fn(&str) -> YamlError,
    ) -> Result<(), YamlError> {
        if self.open.len() >= DEPTH_MAX {
            return Err(fail("nested too deeply"));
        }
        let mut node = self.leaf(kind, span, anchor);
        let opened = self.text.get(node.start..node.end).unwrap_or_default();
        node.is_flow = opened.ends_with(['{', '[']);
        self.open.push(Open { node, key: None });
        Ok(())
    }

    /// Hands a node that is complete to the collection around it.
    fn put(&mut self, node: Node) -> Result<(), YamlError> {
        let Some(around) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        if !around.node.is_flow {
            around.node.end = around.node.end.max(node.end);
        }
        match &mut around.node.kind {
            Kind::Sequence(items) => items.push(node),
            Kind::Mapping(entries) => match around.key.take() {
                None if matches!(node.kind, Kind::Mapping(_) | Kind::Sequence(_)) => {
                    // `{{ … }}` of a template is one.
                    let why = "a key that is no text".to_owned();
                    return Err(YamlError { line: node.line, column: node.column + 1, why });
                }
                None => around.key = Some(node),
                Some(key) => {
                    // YAML 1.2 §3.2.1.3: keys are unique. Which of two would count differs between readers.
                    if let Some(name) = key.text()
                        && entries.iter().any(|(other, _)| other.text() == Some(name))
                    {
                        let why = format!("the key `{}` stands here twice", name.escape_debug());
                        return Err(YamlError { line: key.line, column: key.column + 1, why });
                    }
                    entries.push((key, node));
                }
            },
            Kind::Scalar { .. } | Kind::Alias => {}
        }
        Ok(())
    }

    fn finish(self) -> Vec<Option<Node>> {
        let settled = |(root, aliased): (Option<Node>, BTreeSet<usize>)| {
            root.map(|mut root| {
                settle(&mut root, false, &aliased);
                root
            })
        };
        self.documents.into_iter().map(settled).collect()
    }
}

/// Which nodes aliases stand for is known at the end of their document.
fn settle(node: &mut Node, inherited: bool, aliased: &BTreeSet<usize>) {
    node.is_shared = inherited || aliased.contains(&node.anchor);
    let is_shared = node.is_shared;
    match &mut node.kind {
        Kind::Mapping(entries) => entries.iter_mut().for_each(|(_, value)| settle(value, is_shared, aliased)),
        Kind::Sequence(items) => items.iter_mut().for_each(|item| settle(item, is_shared, aliased)),
        Kind::Scalar { .. } | Kind::Alias => {}
    }
}
