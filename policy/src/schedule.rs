//! Weekly windows in a time zone.

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};

use crate::document::{Diagnostics, Located, Table, nearest};

/// `[schedule.NAME]`: windows that open on some days of the week, by the clock of one zone.
///
/// A window is a span of instants: it opens when the zone's clock first shows `from` and closes when
/// it first shows `to`, so that it opens once a day also where a clock is set back. A time that a
/// clock skips is read as the one that much later.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub(crate) name: Located<String>,
    /// By the weekday on which a window opens, from Monday.
    days: [bool; 7],
    from: Time,
    /// `None`: at midnight behind the day.
    to: Option<Time>,
    pub(crate) zone: TimeZone,
    pub(crate) zone_name: String,
}

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// Whether a schedule is open, and when that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) open: bool,
    /// The earliest moment (Unix seconds) at which `open` can change; `i64::MAX` if never.
    pub(crate) until: i64,
}

impl Schedule {
    pub(crate) fn take(name: Located<String>, mut table: Table, out: &mut Diagnostics) -> Option<Self> {
        let days = take_days(&mut table, out);
        let from = table.parsed("from", out, parse_time);
        let to = table.parsed("to", out, parse_time);
        let (has_from, has_to) = (from.is_some(), to.is_some());
        let zone = take_zone(&mut table, out);
        let from_time = from.map_or(Time::MIN, |from| from.value);
        if let Some(to) = &to
            && to.value == from_time
        {
            out.error(&to.location, table.key_of("to"), "the window is empty: `from` and `to` are the same")
                .help("leave both out for whole days");
            return None;
        }
        let broken = (table.has("from") && !has_from) || (table.has("to") && !has_to);
        table.finish(out);
        let (days, (zone, zone_name)) = (days?, zone?);
        (!broken).then_some(Self { name, days, from: from_time, to: to.map(|to| to.value), zone, zone_name })
    }

    /// Whether it is open at a moment; `None` for a moment beyond the calendar.
    pub(crate) fn state(&self, now: i64) -> Option<State> {
        let today = self.zone.to_datetime(Timestamp::from_second(now).ok()?).date();
        // A window of yesterday may reach over midnight. A week and two days on, every weekday was seen.
        let mut day = today.checked_sub(1.day()).ok()?;
        for _ in 0..10 {
            if self.opens_on(day)
                && let Some((start, end)) = self.window(day)
                && now < end
            {
                let open = now >= start;
                return Some(State { open, until: if open { end } else { start } });
            }
            day = day.tomorrow().ok()?;
        }
        Some(State { open: false, until: i64::MAX })
    }

    /// Whether this one is open whenever the other is. `false` where that was not shown.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        if self.days == [true; 7] && self.from == Time::MIN && self.to.is_none() {
            return true;
        }
        let days = self.days.iter().zip(other.days).all(|(mine, theirs)| *mine || !theirs);
        if !days || self.zone_name != other.zone_name {
            return false;
        }
        // Where clocks are set, a time that is skipped is read as a later one, which need not keep the order.
        let keeps_order = self.zone.to_fixed_offset().is_ok();
        let overnight = |schedule: &Self| schedule.to.is_some_and(|to| to < schedule.from);
        let ends = match (self.to, other.to) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(mine), Some(theirs)) => theirs <= mine,
        };
        let around = keeps_order && !overnight(self) && !overnight(other) && self.from <= other.from && ends;
        around || (self.from == other.from && self.to == other.to)
    }

    fn opens_on(&self, day: Date) -> bool {
        let at = usize::try_from(day.weekday().to_monday_zero_offset()).unwrap_or_default();
        self.days.get(at).copied().unwrap_or_default()
    }

    /// The moments at which the window of a day opens and closes.
    fn window(&self, day: Date) -> Option<(i64, i64)> {
        let (end_day, end_time) = match self.to {
            Some(to) if to > self.from => (day, to),
            Some(to) => (day.tomorrow().ok()?, to),
            None => (day.tomorrow().ok()?, Time::MIN),
        };
        let second = |day: Date, time| Some(self.zone.to_timestamp(day.to_datetime(time)).ok()?.as_second());
        Some((second(day, self.from)?, second(end_day, end_time)?))
    }
}

fn take_days(table: &mut Table, out: &mut Diagnostics) -> Option<[bool; 7]> {
    if !table.has("days") {
        return Some([true; 7]);
    }
    let key = table.key_of("days");
    let mut days = [false; 7];
    let mut right = true;
    let words = table.take("days")?;
    let location = words.location.clone();
    let words = words.into_strings(out)?;
    if words.is_empty() {
        out.error(&location, key, "the list is empty, so that the schedule never opens");
        return None;
    }
    for word in words {
        let Some(at) = DAYS.iter().position(|(name, _)| *name == word.value) else {
            let found = out.error(&word.location, key.clone(), format!("`{}` is not a day", word.value));
            let short = word.value.to_lowercase();
            match DAYS.iter().find(|(name, _)| short.starts_with(name)) {
                Some((name, _)) => found.help(format!("did you mean `{name}`?")),
                None => found.help("write `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`"),
            };
            right = false;
            continue;
        };
        if let Some(day) = days.get_mut(at) {
            *day = true;
        }
    }
    right.then_some(days)
}

fn take_zone(table: &mut Table, out: &mut Diagnostics) -> Option<(TimeZone, String)> {
    let key = table.key_of("zone");
    let name = table.required_string("zone", out)?;
    // The bundled database, never the machine's: the same file decides the same everywhere.
    let database = TimeZoneDatabase::bundled();
    if let Ok(zone) = database.get(&name.value) {
        return Some((zone, name.value));
    }
    let all: Vec<String> = database.available().map(|name| name.to_string()).collect();
    let found = out.error(&name.location, key, format!("`{}` is not a time zone", name.value));
    match nearest(&name.value, all.iter().map(String::as_str)) {
        Some(near) => found.help(format!("did you mean `{near}`?")),
        None => found.help("write an IANA name, as `Europe/Berlin` or `UTC`"),
    };
    None
}

/// `HH:MM`
fn parse_time(text: &str) -> Result<Time, String> {
    let wrong = || format!("`{text}` is not a time of day; write `HH:MM`, as `07:00`");
    let [h1, h2, b':', m1, m2] = text.as_bytes() else { return Err(wrong()) };
    let number = |high: u8, low: u8| -> Option<i8> {
        let digit = |b: u8| char::from(b).to_digit(10);
        i8::try_from(digit(high)? * 10 + digit(low)?).ok()
    };
    let (hour, minute) = number(*h1, *h2).zip(number(*m1, *m2)).ok_or_else(wrong)?;
    Time::new(hour, minute, 0, 0).map_err(|_| wrong())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::document::{SourceFile, parse};

    fn schedule(text: &str) -> Schedule {
        let mut out = Diagnostics::default();
        let mut root = parse(&SourceFile::new("x", format!("[schedule.s]\n{text}")), &mut out).unwrap();
        let (name, table) = root.named_tables("schedule", &mut out).pop().unwrap();
        let schedule = Schedule::take(name, table, &mut out);
        assert!(out.is_empty(), "{out:?}");
        schedule.unwrap()
    }

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    #[test]
    fn windows() {
        let office = "days = [\"mon\",\"tue\",\"wed\",\"thu\",\"fri\"]\nfrom = \"07:00\"\nto = \"19:00\"\nzone = \"Europe/Berlin\"";
        let night = "days = [\"fri\"]\nfrom = \"22:00\"\nto = \"06:00\"\nzone = \"America/New_York\"";
        let weekend = "days = [\"sat\",\"sun\"]\nzone = \"UTC\"";
        let gap = "from = \"02:30\"\nto = \"03:30\"\nzone = \"Europe/Berlin\"";
        for (text, now, open, until) in [
            (office, "2026-11-23T10:00:00+01:00", true, "2026-11-23T19:00:00+01:00"),
            (office, "2026-11-23T06:59:59+01:00", false, "2026-11-23T07:00:00+01:00"),
            (office, "2026-11-23T07:00:00+01:00", true, "2026-11-23T19:00:00+01:00"),
            (office, "2026-11-23T18:59:59+01:00", true, "2026-11-23T19:00:00+01:00"),
            (office, "2026-11-23T19:00:00+01:00", false, "2026-11-24T07:00:00+01:00"),
            // Friday evening to Monday, over the end of summer time.
            (office, "2026-10-23T20:00:00+02:00", false, "2026-10-26T07:00:00+01:00"),
            (office, "2026-07-01T05:00:00Z", true, "2026-07-01T17:00:00Z"),
            (office, "2026-12-01T05:30:00Z", false, "2026-12-01T06:00:00Z"),
            // Overnight: the day is the one on which the window opens.
            (night, "2026-11-20T23:00:00-05:00", true, "2026-11-21T06:00:00-05:00"),
            (night, "2026-11-21T05:59:59-05:00", true, "2026-11-21T06:00:00-05:00"),
            (night, "2026-11-21T06:00:00-05:00", false, "2026-11-27T22:00:00-05:00"),
            (night, "2026-11-20T05:00:00-05:00", false, "2026-11-20T22:00:00-05:00"),
            (weekend, "2026-11-21T00:00:00Z", true, "2026-11-22T00:00:00Z"),
            (weekend, "2026-11-22T23:59:59Z", true, "2026-11-23T00:00:00Z"),
            (weekend, "2026-11-23T00:00:00Z", false, "2026-11-28T00:00:00Z"),
            // The clock skips 02:30 on this day: read as 03:30, which leaves no window.
            (gap, "2026-03-29T01:00:00Z", false, "2026-03-29T01:30:00Z"),
            (gap, "2026-03-29T01:30:00Z", false, "2026-03-30T00:30:00Z"),
            // Set back: 02:30 comes twice; open from the first on, once.
            (gap, "2026-10-25T00:29:59Z", false, "2026-10-25T00:30:00Z"),
            (gap, "2026-10-25T01:00:00Z", true, "2026-10-25T02:30:00Z"),
            (gap, "2026-10-25T02:30:00Z", false, "2026-10-26T01:30:00Z"),
        ] {
            let state = schedule(text).state(at(now)).unwrap();
            assert_eq!(state, State { open, until: at(until) }, "{text} {now}");
        }
        assert_eq!(schedule(weekend).state(i64::MAX), None);
    }
}
