//! A secret that must be nowhere, in any form.

use std::path::Path;

use base64::Engine;

/// A value that stands for an API key, unique per call.
pub fn canary() -> String {
    let mut bytes = [0_u8; 24];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    format!("sk-canary/{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}

/// The forms in which a value could leak, by name.
pub fn forms(secret: &str) -> Vec<(&'static str, Vec<u8>)> {
    let standard = base64::engine::general_purpose::STANDARD_NO_PAD;
    let url = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let mut forms = vec![
        ("plain", secret.as_bytes().to_vec()),
        ("reversed", secret.bytes().rev().collect()),
        ("hex", secret.bytes().map(|b| format!("{b:02x}")).collect::<String>().into_bytes()),
        ("HEX", secret.bytes().map(|b| format!("{b:02X}")).collect::<String>().into_bytes()),
        ("percent", secret.bytes().map(|b| format!("%{b:02X}")).collect::<String>().into_bytes()),
        ("percent-reserved", secret.replace('/', "%2F").into_bytes()),
    ];
    for shift in 0..3_usize {
        // The characters that do not depend on what stands around the value.
        let padded: Vec<u8> = std::iter::repeat_n(b'x', shift).chain(secret.bytes()).collect();
        let skip = [0, 2, 3][shift];
        let whole = padded.len() / 3 * 4;
        for encoded in [standard.encode(&padded), url.encode(&padded)] {
            forms.push(("base64", encoded.as_bytes()[skip..whole].to_vec()));
        }
    }
    forms
}

/// What an upstream that reflects a value could answer: the value as it is, and encoded among other bytes.
pub fn reflections(secret: &str) -> Vec<String> {
    let mut all = vec![
        secret.to_owned(),
        secret.bytes().map(|b| format!("{b:02x}")).collect(),
        secret.bytes().map(|b| format!("{b:02X}")).collect(),
        secret.bytes().map(|b| format!("%{b:02X}")).collect(),
        secret.replace('/', "%2F"),
    ];
    for before in ["", "a", "ab", "user:"] {
        for after in ["", "y", "yz"] {
            let text = format!("{before}{secret}{after}");
            all.push(base64::engine::general_purpose::STANDARD.encode(&text));
            all.push(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&text));
        }
    }
    all
}

/// Panics if the secret stands in `bytes` in any form.
pub fn assert_absent(secret: &str, place: &str, bytes: &[u8]) {
    for (form, needle) in forms(secret) {
        let found = bytes.windows(needle.len()).position(|window| window == needle);
        assert!(found.is_none(), "the canary stands in {place} ({form}) at byte {}", found.unwrap());
    }
}

/// Panics if the secret stands in any file below a folder.
pub fn assert_absent_below(secret: &str, folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_absent_below(secret, &path);
        } else if path.is_file() {
            assert_absent(secret, &path.display().to_string(), &std::fs::read(&path).unwrap());
        }
    }
}
