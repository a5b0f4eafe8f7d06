//! `[limits]`.

use std::time::Duration;

use claviger_policy::document::{Diagnostics, Table};

use super::service::take_timeout;

/// `[limits]`: what one peer may cost. All have defaults.
#[derive(Clone, Debug)]
pub struct Limits {
    /// TLS handshake of a client, and from connecting to a whole request head; also how long an idle
    /// keep-alive connection is kept.
    pub header_timeout: Duration,
    /// Bytes of a request's head.
    pub header_size: usize,
    /// Number of request headers.
    pub headers_max: usize,
    /// TCP and TLS to an upstream.
    pub connect_timeout: Duration,
    /// No byte of a body for this long ends it.
    pub body_idle_timeout: Duration,
    /// How long an idle upstream connection is kept.
    pub pool_idle_timeout: Duration,
    /// Idle upstream connections per core and destination.
    pub pool_idle_max: usize,
    /// Upstream connections per core and destination.
    pub upstream_max: usize,
    /// h2 streams per client connection.
    pub streams_max: u32,
    /// Open requests of one caller, per data core.
    pub caller_requests_max: u32,
    /// Bytes of bodies that are held whole for policy or placeholders, per data core.
    pub buffer_max: usize,
    /// How long open requests may take after a stop was asked for.
    pub drain_timeout: Duration,
}

impl Limits {
    /// Takes the `[limits]` table.
    pub fn take(root: &mut Table, out: &mut Diagnostics) -> Self {
        let mut limits = Self::default();
        let Some(mut table) = root.table("limits", out) else { return limits };
        for (key, slot) in [
            ("drain_timeout", &mut limits.drain_timeout),
            ("header_timeout", &mut limits.header_timeout),
            ("connect_timeout", &mut limits.connect_timeout),
            ("body_idle_timeout", &mut limits.body_idle_timeout),
            ("pool_idle_timeout", &mut limits.pool_idle_timeout),
        ] {
            // To drain or to pool for no time is a wish; to wait for a head or a body no time is a mistake.
            let may_be_zero = matches!(key, "drain_timeout" | "pool_idle_timeout");
            let at = if may_be_zero { table.duration(key, out) } else { take_timeout(&mut table, key, out) };
            if let Some(at) = at {
                *slot = at.value;
            }
        }
        for (key, range, slot) in [
            ("headers_max", 16..=1_024, &mut limits.headers_max),
            ("pool_idle_max", 0..=100_000, &mut limits.pool_idle_max),
            ("upstream_max", 1..=100_000, &mut limits.upstream_max),
        ] {
            if let Some(at) = table.integer(key, range, out) {
                *slot = usize::try_from(at.value).unwrap_or(*slot);
            }
        }
        if let Some(at) = table.integer("caller_requests_max", 1..=1_000_000, out) {
            limits.caller_requests_max = u32::try_from(at.value).unwrap_or(limits.caller_requests_max);
        }
        if let Some(at) = table.size("buffer_max", out) {
            limits.buffer_max = usize::try_from(at.value).unwrap_or(limits.buffer_max);
        }
        if let Some(at) = table.size("header_size", out) {
            match usize::try_from(at.value) {
                Ok(size) if (8_192..=1_048_576).contains(&size) => limits.header_size = size,
                _ => {
                    let message = format!("`{}` bytes is not from 8KiB to 1MiB", at.value);
                    out.error(&at.location, table.key_of("header_size"), message).help("the default is `64KiB`");
                }
            }
        }
        if let Some(at) = table.integer("streams_max", 1..=10_000, out) {
            limits.streams_max = u32::try_from(at.value).unwrap_or(limits.streams_max);
        }
        table.finish(out);
        limits
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(30),
            header_size: 65_536,
            headers_max: 128,
            connect_timeout: Duration::from_secs(10),
            body_idle_timeout: Duration::from_secs(300),
            pool_idle_timeout: Duration::from_secs(60),
            pool_idle_max: 256,
            upstream_max: 4_096,
            streams_max: 128,
            caller_requests_max: 4_096,
            buffer_max: 256 << 20,
            drain_timeout: Duration::from_secs(30),
        }
    }
}
