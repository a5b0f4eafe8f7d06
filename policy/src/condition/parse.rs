//! The grammar of a condition:
//!
//! ```text
//! source.ip in CIDR[, CIDR]   source.ip not in […]   time in SCHEDULE   time not in SCHEDULE
//! NAME == VALUE   NAME != VALUE   NAME in […]   NAME not in […]   NAME < INTEGER   (also <= > >=)
//! ```
//!
//! NAME is an attribute (`github.ref`) or a fact of a JSON body (`body.model`); VALUE is a quoted
//! text, an integer, `true` or `false`; in a list a `*` in a text is any run of characters.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::{Condition, Kind, ORDERS, equals};
use crate::document::nearest;
use crate::schedule::Schedule;
use crate::value::{Literal, ValueTest};

/// What a condition can name.
pub(crate) struct Names<'a> {
    pub(crate) schedules: &'a BTreeMap<String, Arc<Schedule>>,
    /// The names of all schedules, also of those that are wrong.
    pub(crate) written: &'a [String],
}

/// Why a text is no condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConditionError {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    /// What is wrong stands elsewhere, and is reported there.
    pub(crate) elsewhere: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Quoted(String),
    Symbol(&'static str),
}

impl Token {
    fn shown(&self) -> String {
        match self {
            Self::Word(word) => format!("`{word}`"),
            Self::Quoted(text) => format!("`\"{text}\"`"),
            Self::Symbol(symbol) => format!("`{symbol}`"),
        }
    }
}

/// Parses one condition.
pub(crate) fn parse(text: &str, names: &Names<'_>) -> Result<Condition, ConditionError> {
    let mut parser = Parser { text, tokens: tokens(text)?, at: 0 };
    let kind = parser.condition(names)?;
    if let Some((column, token)) = parser.peek() {
        return Err(parser.error(column, format!("nothing may follow here, found {}", token.shown())));
    }
    Ok(Condition { text: text.into(), kind })
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(usize, Token)>,
    at: usize,
}

impl Parser<'_> {
    fn condition(&mut self, names: &Names<'_>) -> Result<Kind, ConditionError> {
        let (column, name) = self.word("a name, such as `source.ip`, `time` or an attribute")?;
        match name.as_str() {
            "source.ip" => {
                let negated = self.membership()?;
                let nets = self.list(|parser| parser.net())?.into();
                Ok(Kind::SourceIp { nets, negated })
            }
            "time" => {
                let negated = self.membership()?;
                let schedule = self.schedule(names)?;
                Ok(Kind::Time { schedule, negated })
            }
            _ => {
                self.check_name(column, &name)?;
                let test = self.value_test(&name)?;
                let name: Arc<str> = name.into();
                let body = name.starts_with("body.");
                Ok(if body { Kind::Body { name, test } } else { Kind::Attribute { name, test } })
            }
        }
    }

    /// Attributes and body facts: dotted words.
    fn check_name(&self, column: usize, name: &str) -> Result<(), ConditionError> {
        let dotted = name.split('.').all(|part| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        });
        if !dotted || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.error(column, format!("`{name}` is not a name")));
        }
        let (first, rest) = name.split_once('.').unwrap_or((name, ""));
        if matches!(first, "source" | "time") || (first == "body" && rest.is_empty()) {
            return Err(self
                .error(column, format!("`{name}` is unknown"))
                .help("known: `source.ip`, `time`, attributes such as `github.ref`, and facts such as `body.model`"));
        }
        Ok(())
    }

    fn value_test(&mut self, name: &str) -> Result<ValueTest, ConditionError> {
        const WANTED: &str = "`==`, `!=`, `in`, `not in`, `<`, `<=`, `>` or `>=`";
        let Some((column, token)) = self.next() else { return Err(self.end(WANTED)) };
        match &token {
            Token::Symbol("==") => Ok(equals(self.literal(false)?, false)),
            Token::Symbol("!=") => Ok(equals(self.literal(false)?, true)),
            Token::Symbol(symbol) if ORDERS.iter().any(|(order, _)| order == symbol) => {
                let order = ORDERS.iter().find(|(order, _)| order == symbol).map(|(_, order)| *order);
                match (order, self.literal(false)?) {
                    (Some(order), Literal::Integer(value)) => Ok(ValueTest::Compare(order, value)),
                    (_, other) => {
                        Err(self
                            .error(column, format!("`{symbol}` compares integers, `{name}` is compared to {other}")))
                    }
                }
            }
            Token::Word(word) if word == "in" || word == "not" => {
                self.at -= 1;
                let negated = self.membership()?;
                // `tiem in business-hours` is a misspelt name rather than a missing quote.
                if let Some((_, Token::Word(value))) = self.peek()
                    && literal_word(&value).is_none()
                    && let Some(near) = nearest(name, ["source.ip", "time"])
                {
                    let error = self.error(1, format!("`{name}` is unknown"));
                    return Err(error.help(format!("did you mean `{near}`?")));
                }
                let any = self.list(|parser| parser.literal(true))?;
                Ok(ValueTest::In { any: any.into(), negated })
            }
            Token::Symbol("=") => Err(self.error(column, "expected `==`, found `=`".into())),
            other => Err(self.error(column, format!("expected {WANTED}, found {}", other.shown()))),
        }
    }

    /// `in` or `not in`; whether it is negated.
    fn membership(&mut self) -> Result<bool, ConditionError> {
        match self.next() {
            Some((_, Token::Word(word))) if word == "in" => Ok(false),
            Some((_, Token::Word(word))) if word == "not" => match self.next() {
                Some((_, Token::Word(word))) if word == "in" => Ok(true),
                Some((column, other)) => {
                    Err(self.error(column, format!("expected `in` after `not`, found {}", other.shown())))
                }
                None => Err(self.end("`in` after `not`")),
            },
            Some((column, other)) => {
                Err(self.error(column, format!("expected `in` or `not in`, found {}", other.shown())))
            }
            None => Err(self.end("`in` or `not in`")),
        }
    }

    /// `[a, b]` or `a, b`
    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Result<T, ConditionError>) -> Result<Vec<T>, ConditionError> {
        let bracket = self.symbol("[");
        let mut items = Vec::new();
        loop {
            items.push(item(self)?);
            if self.symbol(",") {
                continue;
            }
            if !bracket || self.symbol("]") {
                return Ok(items);
            }
            return Err(match self.peek() {
                Some((column, other)) => self.error(column, format!("expected `,` or `]`, found {}", other.shown())),
                None => self.end("`,` or `]`"),
            });
        }
    }

    fn net(&mut self) -> Result<IpNet, ConditionError> {
        let (column, text) = match self.next() {
            Some((column, Token::Word(word) | Token::Quoted(word))) => (column, word),
            Some((column, other)) => {
                return Err(self.error(column, format!("expected an address range, found {}", other.shown())));
            }
            None => return Err(self.end("an address range, as `10.0.0.0/8`")),
        };
        let net = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        match net {
            Some(net) if net.trunc() == net => Ok(net),
            // 10.8.1.0/16 could mean 10.8.0.0/16 or 10.8.1.0/24.
            Some(net) => Err(self
                .error(column, format!("`{text}` has bits behind its prefix"))
                .help(format!("write `{}`", net.trunc()))),
            None => Err(self
                .error(column, format!("`{text}` is not an address range"))
                .help("write CIDR notation, as `10.0.0.0/8` or `2001:db8::/32`")),
        }
    }

    fn schedule(&mut self, names: &Names<'_>) -> Result<Arc<Schedule>, ConditionError> {
        let (column, name) = self.word("the name of a schedule")?;
        if let Some(schedule) = names.schedules.get(&name) {
            return Ok(schedule.clone());
        }
        let error = self.error(column, format!("there is no schedule `{name}`"));
        if names.written.contains(&name) {
            return Err(ConditionError { elsewhere: true, ..error });
        }
        Err(match nearest(&name, names.schedules.keys().map(String::as_str)) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error.help(format!("define `[schedule.{name}]`")),
        })
    }

    fn literal(&mut self, listed: bool) -> Result<Literal, ConditionError> {
        const WANTED: &str = "a quoted text, an integer, `true` or `false`";
        match self.next() {
            Some((_, Token::Quoted(text))) if listed => Ok(Literal::listed(&text)),
            Some((_, Token::Quoted(text))) => Ok(Literal::Text(text.into())),
            Some((column, Token::Word(word))) => literal_word(&word).ok_or_else(|| {
                self.error(column, format!("expected {WANTED}, found `{word}`")).help(format!("write `\"{word}\"`"))
            }),
            Some((column, other)) => Err(self.error(column, format!("expected {WANTED}, found {}", other.shown()))),
            None => Err(self.end(WANTED)),
        }
    }

    fn word(&mut self, wanted: &str) -> Result<(usize, String), ConditionError> {
        match self.next() {
            Some((column, Token::Word(word))) => Ok((column, word)),
            Some((column, other)) => Err(self.error(column, format!("expected {wanted}, found {}", other.shown()))),
            None => Err(self.end(wanted)),
        }
    }

    fn symbol(&mut self, symbol: &'static str) -> bool {
        let found = matches!(self.peek(), Some((_, Token::Symbol(next))) if next == symbol);
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<(usize, Token)> {
        self.tokens.get(self.at).cloned()
    }

    fn next(&mut self) -> Option<(usize, Token)> {
        let next = self.peek();
        self.at += usize::from(next.is_some());
        next
    }

    fn end(&self, wanted: &str) -> ConditionError {
        self.error(self.text.chars().count() + 1, format!("expected {wanted}, found the end"))
    }

    fn error(&self, column: usize, message: String) -> ConditionError {
        ConditionError {
            message: format!("{message} (character {column} of `{}`)", self.text),
            help: None,
            elsewhere: false,
        }
    }
}

impl ConditionError {
    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

fn literal_word(word: &str) -> Option<Literal> {
    match word {
        "true" => Some(Literal::Boolean(true)),
        "false" => Some(Literal::Boolean(false)),
        _ => word.parse().ok().map(Literal::Integer),
    }
}

const SYMBOLS: [&str; 10] = ["==", "!=", "<=", ">=", "<", ">", "=", ",", "[", "]"];

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '*')
}

/// Each token with its column, from 1.
fn tokens(text: &str) -> Result<Vec<(usize, Token)>, ConditionError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let column = text.chars().count() - rest.chars().count() + 1;
        if c.is_whitespace() {
            rest = rest.trim_start();
        } else if c == '"' || c == '\'' {
            let (quoted, behind) = quoted(rest, c).ok_or_else(|| ConditionError {
                message: format!("the quoted text is not closed (character {column} of `{text}`)"),
                help: None,
                elsewhere: false,
            })?;
            tokens.push((column, Token::Quoted(quoted)));
            rest = behind;
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            tokens.push((column, Token::Symbol(symbol)));
            rest = rest.strip_prefix(symbol).unwrap_or_default();
        } else if is_word(c) {
            let (word, behind) = rest.split_at(rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
            tokens.push((column, Token::Word(word.to_owned())));
            rest = behind;
        } else {
            return Err(ConditionError {
                message: format!("`{c}` has no meaning here (character {column} of `{text}`)"),
                help: None,
                elsewhere: false,
            });
        }
    }
    Ok(tokens)
}

/// The text between two quotes, `\` escaping the next character, and what stands behind.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut inside = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => inside.push(chars.next()?.1),
            c if c == quote => return Some((inside, text.get(at + c.len_utf8()..)?)),
            c => inside.push(c),
        }
    }
    None
}
