//! The keys of a rule that name nothing outside it.

use jiff::Timestamp;

use super::RuleKind;
use crate::Narrowing;
use crate::asked::{Asked, Wanted};
use crate::condition::{Condition, Names, parse};
use crate::document::{Diagnostics, Item, Located, Location, Table, Value};

/// The default of `body_limit`: 1 MiB.
const BODY_LIMIT: usize = 1 << 20;
/// The most that `body_limit` can be: 64 MiB; a judged body is held in memory.
const BODY_LIMIT_MAX: u64 = 64 << 20;

/// A rule whose names are not looked up yet.
pub(super) struct Draft {
    pub(super) kind: RuleKind,
    pub(super) name: Located<String>,
    pub(super) key: String,
    pub(super) who: Vec<Located<String>>,
    pub(super) to: Vec<Located<String>>,
    pub(super) ops: Vec<Located<String>>,
    pub(super) credential: Option<Located<String>>,
    pub(super) narrow: Option<Located<Narrowing>>,
    pub(super) conditions: Vec<Condition>,
    pub(super) priority: i64,
    /// Where the priority is written.
    pub(super) priority_at: Option<Location>,
    pub(super) from: Option<i64>,
    pub(super) until: Option<i64>,
    pub(super) enforce: bool,
    pub(super) why: Option<String>,
    pub(super) body_limit: usize,
    pub(super) asked: Vec<Asked>,
}

impl Draft {
    /// `None` if any key is wrong; every error is reported.
    pub(super) fn take(
        kind: RuleKind,
        name: Located<String>,
        mut table: Table,
        names: &Names<'_>,
        out: &mut Diagnostics,
    ) -> Option<Self> {
        let key = table.key().to_owned();
        let [who, to, ops] = ["who", "to", "ops"].map(|key| required_list(&mut table, key, out));
        let mut asked = Vec::new();
        let conditions = take_conditions(&mut table, names, &mut asked, out);
        let (credential, narrow, priority) = match kind {
            RuleKind::Allow => (
                table.string("use", out),
                take_narrow(&mut table, out),
                table.integer("priority", -1_000_000..=1_000_000, out),
            ),
            RuleKind::Deny => {
                refuse(&mut table, "use", "a deny injects nothing", out);
                refuse(&mut table, "narrow", "a deny injects nothing", out);
                refuse(&mut table, "priority", "a deny has no priority, it always wins", out);
                (None, None, None)
            }
        };
        let from = take_time(&mut table, "from", out);
        let until = take_time(&mut table, "until", out);
        if let (Some(from), Some(until)) = (&from, &until)
            && until.value <= from.value
        {
            out.error(
                &until.location,
                table.key_of("until"),
                "`until` is not behind `from`, so that the rule never holds",
            );
        }
        let enforce = table.boolean("enforce", out).is_none_or(|enforce| enforce.value);
        let why = table.string("why", out).map(|why| why.value);
        let body_limit = take_body_limit(&mut table, out);
        table.finish(out);
        Some(Self {
            kind,
            name,
            key,
            who: who?,
            to: to?,
            ops: ops?,
            credential,
            narrow,
            conditions: conditions?,
            priority: priority.as_ref().map_or(0, |priority| priority.value),
            priority_at: priority.map(|priority| priority.location),
            from: from.map(|from| from.value),
            until: until.map(|until| until.value),
            enforce,
            why,
            body_limit,
            asked,
        })
    }
}

fn required_list(table: &mut Table, name: &'static str, out: &mut Diagnostics) -> Option<Vec<Located<String>>> {
    if !table.has(name) {
        table.missing(name, out);
    }
    let list = table.strings(name, out)?;
    if list.is_empty() {
        out.error(table.location(), table.key_of(name), "the list is empty, so that the rule never matches");
        return None;
    }
    Some(list)
}

fn refuse(table: &mut Table, name: &'static str, why: &str, out: &mut Diagnostics) {
    // Not asked for where it is not written, so that no help names it as known.
    if table.has(name)
        && let Some(item) = table.take(name)
    {
        out.error(&item.location, item.key, why).help("leave it out");
    }
}

/// A table that says nothing would promise what it does not do.
fn take_narrow(table: &mut Table, out: &mut Diagnostics) -> Option<Located<Narrowing>> {
    let key = table.key_of("narrow");
    let narrow = table.table("narrow", out)?;
    let location = narrow.location().clone();
    if narrow.clone().into_entries().is_empty() {
        out.error(&location, key, "the table narrows nothing").help("leave it out, or say to what");
    }
    Some(Located { value: Narrowing::new(narrow), location })
}

fn take_conditions(
    table: &mut Table,
    names: &Names<'_>,
    asked: &mut Vec<Asked>,
    out: &mut Diagnostics,
) -> Option<Vec<Condition>> {
    let is_written = table.has("when");
    let mut conditions = Vec::new();
    let Some(texts) = table.strings("when", out) else { return (!is_written).then(Vec::new) };
    let key = table.key_of("when");
    for text in &texts {
        match parse(&text.value, names) {
            Ok(condition) => {
                let attribute = condition.attribute();
                let wanted = attribute.map(|name| Wanted::Attribute { name: name.into(), of: Vec::new() });
                let wanted = wanted.or_else(|| condition.is_address().then_some(Wanted::Address));
                asked.extend(wanted.map(|wanted| Asked { key: key.clone(), location: text.location.clone(), wanted }));
                conditions.push(condition);
            }
            Err(error) if error.elsewhere => {}
            Err(error) => {
                let found = out.error(&text.location, key.clone(), error.message);
                found.help = error.help;
            }
        }
    }
    (conditions.len() == texts.len()).then_some(conditions)
}

fn take_body_limit(table: &mut Table, out: &mut Diagnostics) -> usize {
    let Some(limit) = table.size("body_limit", out) else { return BODY_LIMIT };
    match usize::try_from(limit.value) {
        Ok(bytes) if (1..=BODY_LIMIT_MAX).contains(&limit.value) => bytes,
        _ => {
            out.error(&limit.location, table.key_of("body_limit"), "`body_limit` is from 1 byte to 64MiB");
            BODY_LIMIT
        }
    }
}

fn take_time(table: &mut Table, name: &'static str, out: &mut Diagnostics) -> Option<Located<i64>> {
    let item = table.take(name)?;
    moment(item, out)
}

/// RFC 3339 with an offset, as a TOML date-time or as a string; in Unix seconds.
pub(crate) fn moment(item: Item, out: &mut Diagnostics) -> Option<Located<i64>> {
    let Item { value, location, key } = item;
    let text = match value {
        Value::String(text) | Value::Datetime(text) => text,
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Array(_) | Value::Table(_) => {
            return wrong(&location, key, "expected a date-time".into(), out);
        }
    };
    match text.parse::<Timestamp>() {
        // jiff also reads RFC 9557 zones in brackets, which could contradict the offset.
        Ok(moment) if !text.contains('[') => Some(Located { value: moment.as_second(), location }),
        _ => wrong(&location, key, format!("`{text}` is not a moment"), out),
    }
}

fn wrong<T>(location: &Location, key: String, message: String, out: &mut Diagnostics) -> Option<T> {
    out.error(location, key, message)
        .help("write RFC 3339 with an offset, as `2026-11-23T10:00:00+01:00` or `2026-11-23T09:00:00Z`");
    None
}
