//! The request id on answers, by which a support case is looked up.

use std::cell::RefCell;

use bytes::{BufMut as _, BytesMut};
use claviger_contract::event::RequestId;
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Carries the request id on every answer; what upstream says under this name is replaced.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("claviger-request-id");

/// Hexadecimal digits of an id.
const DIGITS: usize = 32;

/// Ids written one behind the other into a buffer that their headers share: an id costs no allocation of its own.
const ROOM: usize = 128 * DIGITS;

/// Writes ids as header values; one for each data core.
#[derive(Default)]
pub(crate) struct IdHeaders(RefCell<BytesMut>);

impl IdHeaders {
    /// Sets the header, instead of whatever stood there.
    pub(crate) fn set(&self, id: RequestId, headers: &mut HeaderMap) {
        if let Some(value) = self.value(id) {
            headers.insert(REQUEST_ID, value);
        } else {
            headers.remove(REQUEST_ID);
        }
    }

    fn value(&self, id: RequestId) -> Option<HeaderValue> {
        let mut room = self.0.borrow_mut();
        if room.capacity() < DIGITS {
            *room = BytesMut::with_capacity(ROOM);
        }
        room.put_slice(&id.to_hex());
        HeaderValue::from_maybe_shared(room.split().freeze()).ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_as_in_the_ledger() {
        let ids = IdHeaders::default();
        for id in [0, 7, u128::MAX, 0x0198_0000_0000_7000_8000_0000_00ab_cdef] {
            let mut headers = HeaderMap::new();
            headers.append(REQUEST_ID, HeaderValue::from_static("of-upstream"));
            headers.append(REQUEST_ID, HeaderValue::from_static("again"));
            ids.set(RequestId(id), &mut headers);
            let all: Vec<_> = headers.get_all(REQUEST_ID).iter().collect();
            assert_eq!(all, [RequestId(id).to_string().as_str()]);
        }
    }

    #[test]
    fn ids_share_buffers() {
        let ids = IdHeaders::default();
        let values: Vec<_> = (0..1_000_u128).map(|id| ids.value(RequestId(id)).unwrap()).collect();
        for (id, value) in values.iter().enumerate() {
            assert_eq!(value.to_str().unwrap(), format!("{id:032x}"));
        }
        let starts: Vec<usize> = values.iter().map(|value| value.as_bytes().as_ptr() as usize).collect();
        let apart = starts.windows(2).filter(|pair| pair[1] != pair[0] + DIGITS).count();
        assert_eq!(apart, 1_000 / 128, "a new buffer only where the last one is full");
    }
}
