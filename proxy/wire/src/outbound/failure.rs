//! The one place that reads the client's boxed errors.

use std::error::Error;
use std::io;

use claviger_contract::outbound::OutboundFailure;

use crate::resolve::DialError;

/// What a failed call amounts to: the most telling cause in the chain, else what the client says of it.
pub(super) fn of(error: &reqwest::Error) -> OutboundFailure {
    if let Some(failure) = std::iter::successors(error.source(), |cause| (*cause).source()).find_map(telling) {
        return failure;
    }
    if error.is_timeout() {
        OutboundFailure::Timeout
    } else if error.is_connect() {
        OutboundFailure::Connect
    } else {
        OutboundFailure::Broken
    }
}

fn telling(cause: &(dyn Error + 'static)) -> Option<OutboundFailure> {
    if let Some(io) = cause.downcast_ref::<io::Error>() {
        // `source` of an I/O error skips the error that it wraps.
        return io.get_ref().and_then(|wrapped| telling(wrapped));
    }
    if let Some(dial) = cause.downcast_ref::<DialError>() {
        return Some(match dial {
            DialError::Refused(_) => OutboundFailure::AddressRefused,
            DialError::Timeout { .. } => OutboundFailure::Timeout,
            DialError::NoSuchHost { .. } | DialError::Connect { .. } => OutboundFailure::Connect,
        });
    }
    cause.is::<rustls::Error>().then_some(OutboundFailure::Tls)
}
