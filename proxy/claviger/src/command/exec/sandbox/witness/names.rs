//! A name server (RFC 1035) that has an address for every name, and remembers which it told for what.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

/// Where the addresses begin: 198.18.0.0/15, which no network uses (RFC 2544).
const FIRST: u32 = u32::from_be_bytes([198, 18, 0, 1]);

/// How many names are remembered: as many as there are addresses.
const MOST: usize = (1 << 17) - 2;

const HEADER: usize = 12;
const TYPE_A: u16 = 1;
const TYPE_PTR: u16 = 12;
const CLASS_IN: u16 = 1;
const NO_SUCH_NAME: u8 = 3;

/// Names and their addresses.
#[derive(Debug, Default)]
pub(super) struct Names {
    search: Vec<String>,
    by_name: HashMap<String, u32>,
    names: Vec<String>,
}

/// What a client asks.
#[derive(Debug, PartialEq, Eq)]
struct Question {
    name: String,
    kind: u16,
    class: u16,
    /// Where it ends in the message.
    end: usize,
}

impl Names {
    /// `resolv_conf` says which endings clients try (resolv.conf(5)).
    pub(super) fn new(resolv_conf: &str) -> Self {
        let lines =
            resolv_conf.lines().filter_map(|line| line.strip_prefix("search ").or(line.strip_prefix("domain ")));
        let endings = lines.flat_map(str::split_ascii_whitespace).map(|one| one.trim_matches('.').to_ascii_lowercase());
        Self { search: endings.filter(|one| !one.is_empty()).collect(), ..Self::default() }
    }

    /// The name for which this address was told.
    pub(super) fn name_of(&self, address: IpAddr) -> Option<&str> {
        let IpAddr::V4(address) = address else { return None };
        let at = u32::from(address).checked_sub(FIRST)?;
        self.names.get(at as usize).map(String::as_str)
    }

    /// The answer to a message; `None` if that is no question.
    pub(super) fn answer(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let question = read(message)?;
        let address = match (question.class, question.kind) {
            _ if self.is_a_try(&question.name) => Err(NO_SUCH_NAME),
            (CLASS_IN, TYPE_A) => Ok(Some(self.address_of(question.name))),
            (_, TYPE_PTR) => Err(NO_SUCH_NAME),
            // No address of that family, nothing of that kind: clients go on with what they were told.
            _ => Ok(None),
        };
        let mut answer = message.get(..2)?.to_vec();
        let failed = address.err().unwrap_or_default();
        // A recursive answer to one question, which is repeated; no additional records.
        answer.extend([0x81, 0x80 | failed, 0, 1, 0, u8::from(matches!(address, Ok(Some(_)))), 0, 0, 0, 0]);
        answer.extend(message.get(HEADER..question.end)?);
        if let Ok(Some(address)) = address {
            // The name of the question, A, IN, for a second, of four bytes.
            answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
            answer.extend(address.octets());
        }
        Some(answer)
    }

    /// A name that is whole already, with one of the machine's endings: the client tries the whole one next.
    fn is_a_try(&self, name: &str) -> bool {
        let before = |ending: &String| name.strip_suffix(ending.as_str()).and_then(|rest| rest.strip_suffix('.'));
        self.search.iter().filter_map(before).any(|rest| rest.contains('.'))
    }

    fn address_of(&mut self, name: String) -> Ipv4Addr {
        if let Some(known) = self.by_name.get(&name) {
            return Ipv4Addr::from(*known);
        }
        // Full: an address that stands for another name is better than none, and nothing is reached by it anyway.
        let at = u32::try_from(self.names.len().min(MOST - 1)).unwrap_or_default();
        if self.names.len() < MOST {
            self.names.push(name.clone());
            self.by_name.insert(name, FIRST + at);
        }
        Ipv4Addr::from(FIRST + at)
    }
}

fn read(message: &[u8]) -> Option<Question> {
    let flags = message.get(2..4)?;
    let is_query = flags.first()? & 0xf8 == 0;
    if !is_query || message.get(4..6)? != [0, 1] {
        return None;
    }
    let mut at = HEADER;
    let mut labels: Vec<String> = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        match length {
            0 => break,
            // A question has nothing before it that it could point back to.
            64.. => return None,
            _ => {
                labels.push(String::from_utf8_lossy(message.get(at..at + length)?).to_ascii_lowercase());
                at += length;
            }
        }
        if labels.len() > 127 {
            return None;
        }
    }
    let number = |at: usize| message.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes);
    Some(Question { name: labels.join("."), kind: number(at)?, class: number(at + 2)?, end: at + 4 })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn question(name: &str, kind: u16) -> Vec<u8> {
        let mut message = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.').filter(|label| !label.is_empty()) {
            message.push(u8::try_from(label.len()).unwrap());
            message.extend(label.as_bytes());
        }
        message.push(0);
        message.extend(kind.to_be_bytes());
        message.extend(1_u16.to_be_bytes());
        message
    }

    #[test]
    fn each_name_has_its_address_and_keeps_it() {
        let mut names = Names::default();
        let told = |names: &mut Names, name: &str| {
            let answer = names.answer(&question(name, TYPE_A)).unwrap();
            assert_eq!(answer[..4], [0xab, 0xcd, 0x81, 0x80]);
            let four: [u8; 4] = answer[answer.len() - 4..].try_into().unwrap();
            IpAddr::from(four)
        };
        let one = told(&mut names, "api.x.com");
        let other = told(&mut names, "api.y.com");
        assert_ne!(one, other);
        assert_eq!(told(&mut names, "API.x.com"), one);
        assert_eq!(names.name_of(one), Some("api.x.com"));
        assert_eq!(names.name_of(other), Some("api.y.com"));
        assert_eq!(names.name_of("198.18.0.3".parse().unwrap()), None);
        assert_eq!(names.name_of("127.0.0.1".parse().unwrap()), None);
    }

    #[test]
    fn other_questions_have_empty_answers() {
        let mut names = Names::new("nameserver 10.0.0.1\nsearch ns.svc.cluster.local corp.test\n");
        for (name, kind, code, answers) in [
            ("api.x.com", 28, 0, 0),
            ("api.x.com", 65, 0, 0),
            ("1.0.18.198.in-addr.arpa", TYPE_PTR, 3, 0),
            ("api.x.com.ns.svc.cluster.local", TYPE_A, 3, 0),
            ("db.corp.test", TYPE_A, 0, 1),
            ("corp.test", TYPE_A, 0, 1),
        ] {
            let answer = names.answer(&question(name, kind)).unwrap();
            assert_eq!((answer[3] & 0xf, answer[7]), (code, answers), "{name} {kind}");
        }
    }

    #[test]
    fn what_is_no_question_has_no_answer() {
        let mut names = Names::default();
        let mut pointing = question("a", TYPE_A);
        pointing[12] = 0xc0;
        let mut response = question("a", TYPE_A);
        response[2] |= 0x80;
        for message in [vec![], vec![0; 12], question("a.b", TYPE_A)[..14].to_vec(), pointing, response] {
            assert_eq!(names.answer(&message), None, "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn no_message_breaks_it(message in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Names::default().answer(&message);
        }
    }
}
