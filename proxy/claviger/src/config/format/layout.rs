//! How the lines of a file stand to each other.

/// One line; a value may span several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Blank,
    /// A comment that has its line for itself.
    Comment(String),
    /// `[service.api]`
    Header(String, Option<Trailing>),
    /// A key and its value.
    Value(String, String, Option<Trailing>),
}

/// A comment behind something, and the column where it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trailing {
    text: String,
    column: usize,
}

/// Between a value and its comment.
const GAP: usize = 1;

impl Line {
    pub(super) fn header(text: String) -> Self {
        Self::Header(text, None)
    }

    pub(super) fn value(key: String, value: String) -> Self {
        Self::Value(key, value, None)
    }

    /// Adds the comment that ends the line.
    pub(super) fn comment(&mut self, text: &str, column: usize) {
        let comment = Trailing { text: text.to_owned(), column };
        match self {
            Self::Blank | Self::Comment(_) => *self = Self::Comment(comment.text),
            Self::Header(_, trailing) | Self::Value(_, _, trailing) => *trailing = Some(comment),
        }
    }

    fn is_short(&self) -> bool {
        matches!(self, Self::Value(_, value, _) if !value.contains('\n'))
    }
}

/// The lines as one text.
pub(super) fn lay_out(lines: Vec<Line>) -> String {
    let mut text = String::new();
    let mut rest = spaced(lines).into_iter().peekable();
    while let Some(line) = rest.next() {
        match line {
            Line::Blank => text.push('\n'),
            Line::Comment(comment) => text.push_str(&format!("{comment}\n")),
            Line::Header(header, comment) => {
                let comment = comment.map(|comment| format!("{}{}", " ".repeat(GAP), comment.text)).unwrap_or_default();
                text.push_str(&format!("{header}{comment}\n"));
            }
            Line::Value(key, value, comment) => {
                let mut run = vec![(key, value, comment)];
                // Values that span lines stand for themselves.
                if run.iter().all(|(_, value, _)| !value.contains('\n')) {
                    while let Some(Line::Value(key, value, comment)) = rest.next_if(Line::is_short) {
                        run.push((key, value, comment));
                    }
                }
                text.push_str(&aligned(&run));
            }
        }
    }
    text
}

/// Lines that stand together: their `=` below each other, and comments that began in one column in one column.
fn aligned(run: &[(String, String, Option<Trailing>)]) -> String {
    let width = run.iter().map(|(key, _, _)| key.chars().count()).max().unwrap_or_default();
    let code: Vec<String> = run.iter().map(|(key, value, _)| format!("{key:width$} = {value}")).collect();
    let least = |code: &str| code.lines().last().map_or(0, |line| line.chars().count()) + GAP;
    let mut text = String::new();
    for (line, (_, _, comment)) in code.iter().zip(run) {
        text.push_str(line);
        if let Some(comment) = comment {
            let fellows = code
                .iter()
                .zip(run)
                .filter(|(_, (_, _, other))| other.as_ref().is_some_and(|other| other.column == comment.column));
            let column = fellows.map(|(line, _)| least(line)).max().unwrap_or_default().max(comment.column);
            text.push_str(&" ".repeat((column + GAP).saturating_sub(least(line))));
            text.push_str(&comment.text);
        }
        text.push('\n');
    }
    text
}

/// A blank line before each table and the comments that stand right above it; nowhere two, and none at the ends.
fn spaced(lines: Vec<Line>) -> Vec<Line> {
    let mut all: Vec<Line> = Vec::with_capacity(lines.len());
    for line in lines {
        if line == Line::Blank && all.last().is_none_or(|last| *last == Line::Blank) {
            continue;
        }
        if matches!(line, Line::Header(..)) {
            let above = all.iter().rev().take_while(|line| matches!(line, Line::Comment(_))).count();
            let at = all.len() - above;
            if at.checked_sub(1).and_then(|before| all.get(before)).is_some_and(|before| *before != Line::Blank) {
                all.insert(at, Line::Blank);
            }
        }
        all.push(line);
    }
    while all.last() == Some(&Line::Blank) {
        all.pop();
    }
    all
}
