//! Where in a configuration text a key can be put in.

/// One table of a text, from its header to the next.
#[derive(Clone, Debug)]
pub(crate) struct Section<'t> {
    /// `listener.egress`, `test`; empty for the root.
    pub(crate) name: &'t str,
    /// Where it starts and ends in the text, header and all.
    pub(crate) text: &'t str,
    /// Where `text` starts.
    start: usize,
}

/// A place where a key can be put in.
#[derive(Clone, Debug)]
pub(crate) struct Insertion {
    /// What kind of table it is: `listener`, `attestor.jwt`, `listener.tls`.
    pub(crate) class: String,
    at: usize,
    what: &'static str,
}

impl Section<'_> {
    /// Tables of which the keys are the same. A kind has keys of its own; allow and deny are one.
    pub(crate) fn class(&self) -> String {
        // A preset has the keys of what it is a preset of.
        const PRESETS: &[&str] = &["kubernetes", "github-actions", "gitlab-ci"];
        match self.name.split('.').next().unwrap_or_default() {
            "attestor" if self.value("kind").is_some_and(|kind| PRESETS.contains(&kind)) => "attestor.jwt".to_owned(),
            "store" if self.value("kind") == Some("openbao") => "store.vault".to_owned(),
            table @ ("attestor" | "store" | "credential") => format!("{table}.{}", self.value("kind").unwrap_or("?")),
            "allow" | "deny" => "rule".to_owned(),
            // A table of its own in another, not one of those that have names.
            "admin" => self.name.to_owned(),
            table => table.to_owned(),
        }
    }

    /// Whether a key stands at the beginning of a line, perhaps commented out.
    pub(crate) fn has_key(&self, key: &str) -> bool {
        self.text.lines().any(|line| key_of(line.trim_start_matches('#')) == Some(key))
    }

    fn value(&self, key: &str) -> Option<&str> {
        let line = self.text.lines().find(|line| key_of(line) == Some(key))?;
        line.split('"').nth(1)
    }
}

impl Insertion {
    /// The text with `zzzz` put in here.
    pub(crate) fn put_into(&self, text: &str) -> String {
        format!("{}{}{}", &text[..self.at], self.what, &text[self.at..])
    }
}

/// The key that a line begins with.
pub(crate) fn key_of(line: &str) -> Option<&str> {
    let (key, _) = line.split_once('=')?;
    let key = key.trim();
    (!key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')).then_some(key)
}

/// The tables of a text in order, the root first.
pub(crate) fn sections(text: &str) -> Vec<Section<'_>> {
    let mut starts = vec![0];
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with('[') {
            starts.push(at);
        }
        at += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let section = |(start, end): (usize, usize)| {
        let text = &text[start..end];
        let header = text.lines().next().filter(|line| line.starts_with('[')).unwrap_or_default();
        let name = header.split('#').next().unwrap_or_default().trim().trim_matches(['[', ']']);
        Section { name, text, start }
    };
    starts.iter().copied().zip(ends).map(section).collect()
}

/// Every table of a text, also the inline ones.
pub(crate) fn insertions(text: &str) -> Vec<Insertion> {
    let mut all = Vec::new();
    for section in sections(text) {
        let class = section.class();
        let header = if section.name.is_empty() { 0 } else { section.text.find('\n').unwrap() + 1 };
        all.push(Insertion { class: class.clone(), at: section.start + header, what: "zzzz = 1\n" });
        let mut at = section.start;
        for line in section.text.split_inclusive('\n') {
            let key = key_of(line).unwrap_or_default();
            let mut open: Vec<usize> = Vec::new();
            for brace in braces(line) {
                let mut inline = format!("{class}.{key}");
                // One that stands in another has a key of its own.
                let count = |outer: usize, sign: char| line[outer..brace].matches(sign).count();
                open.retain(|outer| count(*outer, '}') < count(*outer, '{'));
                if let Some(outer) = open.last() {
                    let key = line[outer + 1..brace].split(['{', ',']).next_back().unwrap().replace('=', "");
                    inline = format!("{inline}.{}", key.trim());
                }
                open.push(brace);
                if key == "inject" {
                    let kind: String = line[brace + 1..].trim_start().chars().take_while(|c| *c != ' ').collect();
                    inline = format!("{inline}.{kind}");
                }
                all.push(Insertion { class: inline, at: at + brace + 1, what: " zzzz = 1," });
            }
            at += line.len();
        }
    }
    all
}

/// Where inline tables open in a line: not in texts, not in the comment.
fn braces(line: &str) -> Vec<usize> {
    let (mut found, mut quoted, mut escaped) = (Vec::new(), false, false);
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '#' if !quoted => break,
            '{' if !quoted => found.push(at),
            _ => {}
        }
    }
    found
}
