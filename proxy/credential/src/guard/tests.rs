#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const VALUE: &str = "sk-Test/+key=0123&<é>\"9";

fn guard(value: &[u8]) -> EchoGuard {
    EchoGuard::new(&[&Secret::new(value.to_vec())])
}

fn run<'a>(guard: &EchoGuard, chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, u32) {
    let mut scanner = guard.scanner();
    let mut out: Vec<Bytes> = Vec::new();
    for chunk in chunks {
        scanner.push(Bytes::copy_from_slice(chunk), &mut out);
    }
    scanner.finish(&mut out);
    assert!(out.iter().all(|piece| !piece.is_empty()), "an empty piece");
    assert_eq!(scanner.withheld(), 0);
    (out.concat(), scanner.masked())
}

fn every_percent(value: &[u8], upper: bool) -> String {
    value.iter().map(|byte| if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") }).collect()
}

/// The forms as a reflecting server would write them, made apart from the code under test.
fn reflections(value: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let text = String::from_utf8_lossy(value).into_owned();
    let component = url::form_urlencoded::byte_serialize(value).collect::<String>();
    let json = serde_json::to_string(&text).unwrap();
    let json = json[1..json.len() - 1].to_owned();
    let mut all: Vec<(&'static str, Vec<u8>)> = vec![
        ("plain", value.to_vec()),
        ("hex", value.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()),
        ("HEX", value.iter().map(|byte| format!("{byte:02X}")).collect::<String>().into()),
        ("percent, every byte", every_percent(value, false).into()),
        ("PERCENT, every byte", every_percent(value, true).into()),
        ("form", component.clone().into()),
    ];
    if std::str::from_utf8(value).is_ok() {
        all.push(("json, slashes escaped", json.replace('/', "\\/").into()));
        all.push(("json", json.into()));
    }
    all
}

#[test]
fn every_form_is_masked_at_the_same_length() {
    let guard = guard(VALUE.as_bytes());
    for (name, form) in reflections(VALUE.as_bytes()) {
        let body = [b"<<", form.as_slice(), b">>"].concat();
        let (masked, count) = run(&guard, [body.as_slice()]);
        let expected = format!("<<{}>>", "*".repeat(form.len()));
        assert_eq!(String::from_utf8_lossy(&masked), expected, "{name}");
        assert_eq!(count, 1, "{name}");
    }
}

#[test]
fn base64_is_masked_at_every_alignment_and_beside_any_neighbour() {
    let guard = guard(VALUE.as_bytes());
    for (engine, before, after) in [&STANDARD, &URL_SAFE]
        .into_iter()
        .flat_map(|engine| ["", "u", "us", "user", "user:"].map(move |before| (engine, before)))
        .flat_map(|(engine, before)| ["", "x", "xy", "xyz"].map(move |after| (engine, before, after)))
    {
        let encoded = engine.encode(format!("{before}{VALUE}{after}"));
        let (masked, count) = run(&guard, [encoded.as_bytes()]);
        assert_eq!((masked.len(), count), (encoded.len(), 1), "{before} {after}");
        // Whole characters of the value are gone: at most one shared character on either side is left.
        let stars = masked.iter().filter(|byte| **byte == b'*').count();
        assert!(stars + 2 >= VALUE.len() * 8 / 6, "{before} {after}: {}", String::from_utf8_lossy(&masked));
    }
}

#[test]
fn base64_escaped_again_by_json_or_a_url_is_masked() {
    // Its base64 has both of the characters that JSON writers and URL writers escape.
    let value = b"\xfb\xff\xbe\xfb\xff\xbe\xfb\xff\xbe\xfb\xff\xbe\x3f";
    let encoded = STANDARD.encode(value);
    assert!(encoded.contains('+') && encoded.contains('/'));
    let guard = guard(value);
    for escaped in [
        encoded.replace('/', "\\/"),
        encoded.replace('+', "\\u002B"),
        encoded.replace('+', "%2B").replace('/', "%2F"),
        encoded.replace('+', "%2b").replace('/', "%2f"),
    ] {
        let (masked, count) = run(&guard, [escaped.as_bytes()]);
        assert_eq!((masked.len(), count), (escaped.len(), 1), "{escaped}");
        assert!(masked.starts_with(b"****************"), "{escaped}");
    }
}

#[test]
fn near_misses_pass() {
    let guard = guard(VALUE.as_bytes());
    let short = &VALUE.as_bytes()[..VALUE.len() - 1];
    for body in [short.to_vec(), VALUE.to_lowercase().into_bytes(), VALUE.as_bytes()[1..].to_vec(), b"sk-Test".to_vec()]
    {
        assert_eq!(run(&guard, [body.as_slice()]), (body.clone(), 0), "{}", String::from_utf8_lossy(&body));
    }
}

#[test]
fn short_values_are_not_looked_for() {
    assert!(guard(b"elevenbytes").is_empty());
    assert!(!guard(b"twelve bytes").is_empty());
    assert!(!can_guard(&Secret::new(b"elevenbytes".to_vec())));
    assert_eq!(run(&guard(b"elevenbytes"), [b"elevenbytes".as_slice()]), (b"elevenbytes".to_vec(), 0));
}

#[test]
fn headers_are_masked_and_keep_their_mark() {
    let guard = guard(b"0123456789abcdef");
    let mut value = HeaderValue::from_static("Bearer 0123456789abcdef; ok");
    value.set_sensitive(true);
    let masked = guard.mask_header(&value).unwrap();
    assert_eq!(masked, "Bearer ****************; ok");
    assert!(masked.is_sensitive());
    assert!(guard.mask_header(&HeaderValue::from_static("Bearer 0123456789abcdeF")).is_none());
    assert!(guard.mask_header(&HeaderValue::from_static("short")).is_none());
}

#[test]
fn a_clean_chunk_is_passed_on_without_a_copy() {
    let guard = guard(b"0123456789abcdef");
    let chunk = Bytes::from(vec![b' '; 4096]);
    let mut out: Vec<Bytes> = Vec::new();
    guard.scanner().push(chunk.clone(), &mut out);
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].as_ptr(), chunk.as_ptr());
}

#[test]
fn an_event_of_a_stream_is_withheld_only_where_it_may_begin_the_value() {
    let guard = guard(b"sk-0123456789abcdef");
    let mut scanner = guard.scanner();
    let mut out: Vec<Bytes> = Vec::new();
    for event in ["data: {\"text\":\"ask\"}\n\n", "data: it costs 3\n\n", ": ping\n\n", "data: [DONE]\n\n"] {
        scanner.push(Bytes::from_static(event.as_bytes()), &mut out);
        assert_eq!(out.concat(), event.as_bytes(), "withheld");
        assert_eq!(scanner.withheld(), 0);
        out.clear();
    }
    // A live prefix waits for its next byte, and no longer.
    scanner.push(Bytes::from_static(b"data: risk-"), &mut out);
    assert_eq!(out.concat(), b"data: ri");
    scanner.push(Bytes::from_static(b"free"), &mut out);
    assert_eq!(out.concat(), b"data: risk-free");
}

#[test]
fn an_occurrence_that_overlaps_a_longer_one_is_masked_with_it() {
    // The second value ends within the first, and the first goes on behind it.
    let [long, inner] = [b"aaaabbbbccccdddd".to_vec(), b"XXXXXXXXaaaabbbb".to_vec()].map(Secret::new);
    let guard = EchoGuard::new(&[&long, &inner]);
    let body = b"<XXXXXXXXaaaabbbbccccdddd>";
    for cut in 0..body.len() {
        let (masked, _) = run(&guard, [&body[..cut], &body[cut..]]);
        assert_eq!(masked, b"<************************>", "{cut}");
        let (masked, _) = run(&guard, [&body[..cut], &body[cut..20.max(cut)], &body[20.max(cut)..]]);
        assert_eq!(masked, b"<************************>", "{cut}");
    }
}

#[test]
fn more_heads_than_the_vector_search_takes_are_found_all_the_same() {
    let values: Vec<Secret> =
        (0..40_u8).map(|at| Secret::new((0..20).map(|step| at.wrapping_mul(6) ^ (step * 13)).collect())).collect();
    let guard = EchoGuard::new(&values.iter().collect::<Vec<_>>());
    for at in 0..40_u8 {
        let value: Vec<u8> = (0..20).map(|step| at.wrapping_mul(6) ^ (step * 13)).collect();
        let (masked, _) = run(&guard, [b"..".as_slice(), &value, b".."]);
        assert_eq!(masked, format!("..{}..", "*".repeat(20)).as_bytes());
    }
}

#[test]
fn nothing_of_the_value_is_in_debug_output() {
    let guard = guard(b"0123456789abcdef");
    let mut scanner = guard.scanner();
    scanner.push(Bytes::from_static(b"0123456"), &mut Vec::new());
    let shown = format!("{guard:?} {scanner:?}");
    assert_eq!(shown, "EchoGuard(…) EchoScanner { masked: 0, .. }");
}

/// The plain definition: whatever any form covers is masked.
fn naive(forms: &[Vec<u8>], text: &[u8]) -> Vec<u8> {
    let mut masked = text.to_vec();
    for form in forms {
        for start in (0..=text.len()).filter(|start| text[*start..].starts_with(form)) {
            masked[start..start + form.len()].fill(b'*');
        }
    }
    masked
}

/// The characters that every base64 text with the value at this alignment has in common.
fn common_base64(value: &[u8], lead: usize, engine: &impl base64::Engine) -> Vec<u8> {
    let around = |byte: u8| engine.encode([vec![byte; lead], value.to_vec(), vec![byte; 3]].concat()).into_bytes();
    let (low, high) = (around(0), around(255));
    let start = (0..low.len()).find(|at| low[*at..].iter().zip(&high[*at..]).take_while(|(a, b)| a == b).count() >= 12);
    let start = start.unwrap();
    low[start..].iter().zip(&high[start..]).take_while(|(a, b)| a == b).map(|(a, _)| *a).collect()
}

fn all_forms(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms: Vec<Vec<u8>> = reflections(value).into_iter().map(|(_, form)| form).collect();
    for lead in 0..3 {
        forms.push(common_base64(value, lead, &STANDARD));
        forms.push(common_base64(value, lead, &URL_SAFE));
    }
    forms
}

/// Values over few letters, so that texts are full of partial and overlapping matches.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(proptest::sample::select(b"abAB01".as_slice()), 12..40),
        proptest::collection::vec(proptest::sample::select(b"a".as_slice()), 12..20),
        proptest::collection::vec(0x20_u8..0x7f, 12..80),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_split_masks_what_the_plain_definition_masks(
        value in value(),
        plan in proptest::collection::vec((any::<proptest::sample::Index>(), any::<proptest::sample::Index>(), 0_u8..4), 0..12),
        cuts in proptest::collection::vec(1_usize..40, 1..40),
    ) {
        let forms = all_forms(&value);
        let mut text = Vec::new();
        for (which, cut, kind) in plan {
            let form = &forms[which.index(forms.len())];
            match kind {
                0 => text.extend_from_slice(form),
                1 => text.extend_from_slice(&form[..cut.index(form.len())]),
                2 => text.extend_from_slice(&form[cut.index(form.len())..]),
                _ => text.extend_from_slice(&[b"ab\"%*", form.as_slice()].concat()[..cut.index(form.len())]),
            }
        }
        let mut chunks = Vec::new();
        let mut rest = text.as_slice();
        for size in cuts.iter().cycle() {
            if rest.is_empty() { break; }
            let (chunk, behind) = rest.split_at((*size).min(rest.len()));
            chunks.push(chunk);
            rest = behind;
        }
        let guard = guard(&value);
        let (masked, count) = run(&guard, chunks);
        let (whole, _) = run(&guard, [text.as_slice()]);
        prop_assert_eq!(&masked, &whole, "the split matters");
        // The guard knows more forms than the definition here, so it may mask more, never less. (That no window of
        // the output equals a form cannot be asked: a value may hold the mask's own character.)
        let least = naive(&forms, &text);
        for (at, byte) in least.iter().enumerate() {
            prop_assert!(*byte == text[at] || masked[at] == b'*', "byte {} shows", at);
        }
        for (at, byte) in masked.iter().enumerate() {
            prop_assert!(*byte == text[at] || *byte == b'*', "byte {} changed", at);
        }
        prop_assert_eq!(masked.len(), text.len());
        prop_assert!(count > 0 || masked == text);
    }

    #[test]
    fn what_is_withheld_is_the_beginning_of_a_form_and_shorter_than_the_longest(
        value in value(),
        chunks in proptest::collection::vec(proptest::collection::vec(proptest::sample::select(b"abAB01%".as_slice()), 1..30), 1..10),
    ) {
        let guard = guard(&value);
        let mut scanner = guard.scanner();
        let mut out: Vec<Bytes> = Vec::new();
        let mut seen = Vec::new();
        for chunk in chunks {
            seen.extend_from_slice(&chunk);
            scanner.push(Bytes::from(chunk), &mut out);
            let withheld = &seen[seen.len() - scanner.withheld()..];
            prop_assert!(withheld.is_empty() || guard.needles.begins(withheld));
            prop_assert_eq!(out.iter().map(Bytes::len).sum::<usize>() + withheld.len(), seen.len());
        }
    }
}
