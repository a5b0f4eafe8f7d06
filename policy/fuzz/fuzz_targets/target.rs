//! What passes the canonicaliser is sent byte for byte, and has no dot segment in any reading.
#![no_main]

use claviger_policy::{Authority, PathMode, Scheme, Target};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, u8)| {
    let (authority, path, mode) = input;
    let Ok(authority) = Authority::parse(authority, 443) else { return };
    assert_eq!(Authority::parse(&authority.to_string(), 1).as_ref(), Ok(&authority));
    let mode = [PathMode::Strict, PathMode::EncodedSlash, PathMode::Opaque][usize::from(mode % 3)];
    let Ok(target) = Target::parse(Scheme::Https, authority, path, mode) else { return };
    assert_eq!(target.path_and_query(), path);
    assert_eq!(target.uri().path_and_query().map(|sent| sent.as_str()), Some(path));
    let decoded = target.path().to_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    assert!(!decoded.split('/').any(|segment| matches!(segment, "." | "..")));
    let _ = target.redacted_path();
});
