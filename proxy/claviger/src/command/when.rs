//! Moments as commands take them.

use claviger_policy::document::parse_duration;

use crate::command::Failure;

/// RFC 3339 with an offset, or a duration back from now, as `2h`; in milliseconds since the Unix epoch.
pub(crate) fn moment_ms(text: &str, now_ms: i64) -> Result<i64, Failure> {
    if text.starts_with(|c: char| c.is_ascii_digit())
        && let Ok(back) = parse_duration(text)
    {
        return Ok(now_ms.saturating_sub(i64::try_from(back.as_millis()).unwrap_or(i64::MAX)));
    }
    match text.parse::<jiff::Timestamp>() {
        // jiff also reads RFC 9557 zones in brackets, which could contradict the offset.
        Ok(moment) if !text.contains('[') => Ok(moment.as_millisecond()),
        _ => Err(Failure::Call(format!(
            "`{text}` is no moment; write RFC 3339 with an offset, as `2026-11-23T10:00:00+01:00`, or how long ago, as `2h` or `7d`"
        ))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let now = 1_795_341_600_000;
        for (text, expected) in [
            ("2h", Some(now - 7_200_000)),
            ("7d", Some(now - 7 * 86_400_000)),
            ("90s", Some(now - 90_000)),
            ("2026-11-22T11:00:00+01:00", Some(now)),
            ("2026-11-22T10:00:00Z", Some(now)),
            ("2026-11-22T10:00:00.250Z", Some(now + 250)),
            ("2026-11-22", None),
            ("2026-11-22T10:00:00", None),
            ("2026-11-22T11:00:00+01:00[Europe/Berlin]", None),
            ("yesterday", None),
            ("2", None),
            ("-2h", None),
            ("", None),
        ] {
            assert_eq!(moment_ms(text, now).ok(), expected, "{text}");
        }
        assert!(moment_ms("noon", now).unwrap_err().to_string().contains("`noon` is no moment"));
    }
}
