use proptest::prelude::*;

use super::*;

fn said(text: &[u8], entry: &Entry) -> String {
    let quote = entry.quote.map(|quote| char::from(quote).to_string()).unwrap_or_default();
    let span = String::from_utf8_lossy(&text[entry.span.clone()]).into_owned();
    let value = match &entry.reading {
        #[allow(clippy::disallowed_methods, reason = "the test looks at what was read")]
        Reading::Value(value) => String::from_utf8_lossy(value.expose()).into_owned(),
        Reading::Made => "MADE".to_owned(),
        Reading::Unclear(_) => "UNCLEAR".to_owned(),
    };
    assert!(span == value || quote == "\"" || !matches!(entry.reading, Reading::Value(_)), "{span} {value}");
    format!("{}:{}={quote}{value}", entry.line, entry.name)
}

fn check_as(shell: bool, text: impl AsRef<[u8]>, expected: &[&str]) {
    let text = text.as_ref();
    let found: Vec<String> = parse(text, shell).iter().map(|entry| said(text, entry)).collect();
    assert_eq!(found, expected, "{}", String::from_utf8_lossy(text));
}

fn check(text: impl AsRef<[u8]>, expected: &[&str]) {
    check_as(false, text, expected);
}

#[test]
fn what_all_readers_read() {
    check("A=b", &["1:A=b"]);
    check("A=b\nC=d\n", &["1:A=b", "2:C=d"]);
    check("A=b\r\nC=d\r\n", &["1:A=b", "2:C=d"]);
    check("A=b\rC=d", &["1:A=b", "2:C=d"]);
    check("\u{feff}A=b", &["1:A=b"]);
    check("  A = b  ", &["1:A=b"]);
    check("export A=b\n\texport  C=d", &["1:A=b", "2:C=d"]);
    check("export=b", &["1:export=b"]);
    check("A: b\nB:c", &["1:A=b"]);
    check("# A=b\n\n  # C=d\nE=f # comment\nG= # nothing", &["4:E=f", "5:G="]);
    check("A=\nB=''\nC=\"\"", &["1:A=", "2:B='", "3:C=\""]);
    check("A='b # c'\nB=\"d # e\" # f\nC=`g'\"h`", &["1:A='b # c", "2:B=\"d # e", "3:C=`g'\"h"]);
    check("A='b$c'\nB=`$d`", &["1:A='b$c", "2:B=`$d"]);
    check("A=sk-proj_x/y+z==\nB=a:b@c,d", &["1:A=sk-proj_x/y+z==", "2:B=a:b@c,d"]);
    check("a.b-c_1=d\n1A=b\n=b\nA\nA b=c", &["1:a.b-c_1=d"]);
    check("A=b$\nC=d", &["1:A=b$", "2:C=d"]);
}

#[test]
fn values_of_several_lines() {
    check("A=\"-----BEGIN\nb\n-----END\"\nC=d", &["1:A=\"-----BEGIN\nb\n-----END", "4:C=d"]);
    check("A='b\r\nc'\r\nD=e", &["1:A='b\r\nc", "3:D=e"]);
    check("A=\"b\\nc\"\nD=e", &["1:A=\"b\nc", "2:D=e"]);
    check("A=`b\n\nc` # x\nD=e", &["1:A=`b\n\nc", "4:D=e"]);
}

#[test]
fn what_is_made_of_other_things_is_left_alone() {
    for value in ["$B", "${B}", "x${B:-c}y", "\"$B\"", "\"x${B}\"", "$(pass show b)", "a$$b", "x`pass`"] {
        check(format!("A={value}"), &[&format!("1:A={}MADE", if value.starts_with('"') { "\"" } else { "" })[..]]);
    }
    check_as(true, "export A=`pass show a`\nB=\"`x`\"", &["1:A=`MADE", "2:B=\"MADE"]);
}

#[test]
fn what_readers_differ_about_is_not_decided() {
    for (value, quote) in [
        ("b#c", ""),
        ("b\\c", ""),
        ("b\"c", ""),
        ("b c", ""),
        ("'b'c", "'"),
        ("\"b\"'c'", "\""),
        ("`b`c", "`"),
        ("\"b\\tc\"", "\""),
        ("\"b\\\"c\"", "\""),
        ("'b\\'c'", "'"),
        ("'b\\c'", "'"),
        ("\"b", ""),
        ("'b", ""),
        ("\"b\\\"", ""),
    ] {
        check(format!("A={value}"), &[&format!("1:A={quote}UNCLEAR")[..]]);
        // Nothing of it reaches into the next line.
        if !value.starts_with(['"', '\'', '`']) {
            check(format!("A={value}\nD=e"), &["1:A=UNCLEAR", "2:D=e"]);
        }
    }
    check("A=\"b\nC=d", &["1:A=UNCLEAR", "2:C=d"]);
}

#[test]
fn a_shell_reads_its_own_way() {
    check_as(true, "export A='b\\c'; export D=e\n", &["1:A='b\\c"]);
    check_as(true, "A=b;c\nD=~/x\nE=f", &["1:A=UNCLEAR", "2:D=UNCLEAR", "3:E=f"]);
    check_as(true, "A: b\nuse flake\nB=c", &["3:B=c"]);
}

#[test]
fn bytes_that_are_no_text_are_kept() {
    let text = b"# \xff\nA=\xfe\xfd\nB=c";
    let entries = parse(text, false);
    assert_eq!(entries.len(), 2);
    assert_eq!(replace(text, &[(entries[1].span.clone(), "x")]), b"# \xff\nA=\xfe\xfd\nB=x");
}

#[test]
fn only_values_are_replaced() {
    let check = |text: &str, with: &str, expected: &str| {
        let entries = parse(text.as_bytes(), false);
        let spans: Vec<_> = entries.iter().map(|entry| (entry.span.clone(), with)).collect();
        assert_eq!(String::from_utf8(replace(text.as_bytes(), &spans)).unwrap(), expected);
    };
    check("# a\r\nexport A = 'b'  # c\r\n\r\nD=e", "x", "# a\r\nexport A = 'x'  # c\r\n\r\nD=x");
    check("A=\"b\nc\"\n", "", "A=\"\"\n");
    check("A=b # c\n", "", "A= # c\n");
    check("A=\nB=", "x", "A=x\nB=x");
    check("", "x", "");
}

/// Opened quotes do not make the time grow with the square of the size.
#[test]
fn many_opened_quotes_are_searched_once() {
    for line in ["A=\"\\\"\n", "A='\\'\n", "A=\"x\n", "A=`x\n"] {
        let text = line.repeat(100_000);
        let entries = parse(text.as_bytes(), false);
        assert!(entries.len() >= 50_000, "{}", entries.len());
    }
}

proptest! {
    /// Whatever lies there: spans are in order and within the file, and replacing values by themselves changes nothing.
    #[test]
    fn any_bytes(text in proptest::collection::vec(any::<u8>(), 0..400), shell in any::<bool>()) {
        laws(&text, shell)?;
    }

    #[test]
    fn near_files(
        text in "((export )?[A-C]{1,2} ?[=:] ?[\"'`]?([a-c#$\\\\{} ]|\r|\n){0,8}[\"'`]?( #x)?(\n|\r\n|\r)){0,12}",
        shell in any::<bool>(),
    ) {
        laws(text.as_bytes(), shell)?;
    }

    /// A file that is written in the plain way is read back.
    #[test]
    fn plain_files(entries in proptest::collection::vec(("[A-Z][A-Z0-9_]{0,9}", "[a-zA-Z0-9/+=_.:-]{0,40}", 0..4_usize), 0..20)) {
        let quotes = ["", "\"", "'", "`"];
        let line = |(name, value, quote): &(String, String, usize)| {
            format!("{name}={}{value}{}\n", quotes[*quote], quotes[*quote])
        };
        let text: String = entries.iter().map(line).collect();
        let found: Vec<String> = parse(text.as_bytes(), false).iter().map(|entry| said(text.as_bytes(), entry)).collect();
        let expected: Vec<String> = entries.iter().enumerate()
            .map(|(at, (name, value, quote))| format!("{}:{name}={}{value}", at + 1, quotes[*quote])).collect();
        prop_assert_eq!(found, expected);
    }
}

fn laws(text: &[u8], shell: bool) -> Result<(), TestCaseError> {
    let entries = parse(text, shell);
    let (mut end, mut line) = (0, 0);
    for entry in &entries {
        prop_assert!(entry.span.start >= end && entry.span.start <= entry.span.end && entry.span.end <= text.len());
        prop_assert!(entry.line > line);
        (end, line) = (entry.span.end, entry.line);
    }
    let own: Vec<(Range<usize>, &str)> = entries
        .iter()
        .filter_map(|entry| Some((entry.span.clone(), std::str::from_utf8(&text[entry.span.clone()]).ok()?)))
        .collect();
    prop_assert_eq!(replace(text, &own), text);
    Ok(())
}
