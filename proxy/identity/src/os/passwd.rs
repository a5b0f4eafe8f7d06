//! Names of local users.

/// The name of a local user, from `/etc/passwd`.
///
/// Only there: a name service that answers over the network is no attested source, and asking it could block. The
/// first entry counts, as for `getpwuid`.
pub fn user_name(uid: u32) -> Option<String> {
    name_in(&std::fs::read_to_string("/etc/passwd").ok()?, uid)
}

fn name_in(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, number) = (fields.next()?, fields.next()?, fields.next()?);
        (number.parse() == Ok(uid) && !name.is_empty()).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::name_in;

    #[test]
    fn the_first_entry_of_a_uid_counts() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\n# comment\nbroken\na:x:1000:1000::/:/\nb:x:1000:1000::/:/\n:x:7:7::/:/\n";
        for (uid, name) in [(0, Some("root")), (1000, Some("a")), (1, None), (7, None)] {
            assert_eq!(name_in(passwd, uid).as_deref(), name, "{uid}");
        }
    }
}
