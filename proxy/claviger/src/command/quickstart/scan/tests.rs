use super::*;

const VALUE: &str = "key/+kX9_-pQ4vR7sT2uW5yZ8aB3cD6eF1gH0iJ4kL7mN-oP";

fn check(text: impl AsRef<[u8]>, expected: Option<(Form, Writing)>) {
    let text = text.as_ref();
    let shown = String::from_utf8_lossy(text);
    assert_eq!(Needles::of(VALUE.as_bytes()).look(text), expected, "{shown}");
}

fn percent(value: &str) -> String {
    value.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn finds_the_value_in_every_form() {
    use Form::{Base64, Hex, Plain};
    use Writing::{Broken, Json, Percent, Verbatim};
    check(VALUE, Some((Plain, Verbatim)));
    check(format!("Authorization: Bearer {VALUE}\r\n"), Some((Plain, Verbatim)));
    check(hex(VALUE.as_bytes()), Some((Hex, Verbatim)));
    check(hex(VALUE.as_bytes()).to_uppercase(), Some((Hex, Verbatim)));
    for before in ["", "u", "us", "usr", "Bearer "] {
        let text = format!("{before}{VALUE}:after");
        check(STANDARD_NO_PAD.encode(&text), Some((Base64, Verbatim)));
        check(base64::engine::general_purpose::URL_SAFE.encode(&text), Some((Base64, Verbatim)));
    }
    check(percent(VALUE), Some((Plain, Percent)));
    check(percent(VALUE).to_lowercase(), Some((Plain, Percent)));
    // Every other character escaped: no run of the value itself is long enough.
    let every_other: String = VALUE
        .chars()
        .enumerate()
        .map(|(at, c)| if at % 2 == 0 { percent(&c.to_string()) } else { c.to_string() })
        .collect();
    check(every_other, Some((Plain, Percent)));
    let escaped: String = VALUE.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    check(format!("{{\"key\":\"{escaped}\"}}"), Some((Plain, Json)));
    let wrapped: String = VALUE.chars().map(|c| format!("{c}\n")).collect();
    check(wrapped, Some((Plain, Broken)));
}

#[test]
fn finds_a_part_of_it_and_not_less() {
    for start in 0..=VALUE.len() - FRAGMENT {
        check(format!("…{}…", &VALUE[start..start + FRAGMENT]), Some((Form::Plain, Writing::Verbatim)));
        check(format!("…{}…", &VALUE[start..start + FRAGMENT - 1]), None);
    }
}

#[test]
fn takes_other_texts_for_nothing() {
    let other = "key/+0000000000000000000000000000000000000000000";
    for text in ["", "key/+", "%", "%4", "%zz", "\\", "\\u", "\\u12", other] {
        check(text, None);
    }
    check(STANDARD_NO_PAD.encode(other), None);
    check(hex(other.as_bytes()), None);
    check((0..=255).cycle().take(100_000).collect::<Vec<u8>>(), None);
}

#[test]
fn a_folder_is_searched_with_its_names_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("a/b")).unwrap();
    fs::write(folder.path().join("a/b/log"), format!("before {VALUE} after")).unwrap();
    fs::write(folder.path().join("a/clean"), "nothing").unwrap();
    fs::write(folder.path().join(VALUE.replace('/', "%2F")), "").unwrap();
    // A link to what lies outside, where the key may well be.
    let outside = tempfile::NamedTempFile::new().unwrap();
    fs::write(outside.path(), VALUE).unwrap();
    std::os::unix::fs::symlink(outside.path(), folder.path().join("link")).unwrap();

    let needles = Needles::of(VALUE.as_bytes());
    let mut scan = Scan::new(&needles);
    scan.folder(folder.path()).unwrap();

    assert_eq!(scan.files, 3);
    let findings: Vec<String> = scan.findings.iter().map(ToString::to_string).collect();
    assert_eq!(findings, ["a/b/log: as it is", "a file's name: as it is"]);
    let shown = format!("{findings:?} {:?}", scan.findings);
    assert_eq!(needles.look(shown.as_bytes()), None, "a finding must not repeat what was found");
}
