//! Tokens that tools keep in files of their own (npm, PyPI), and where a repository's remotes lead.

use claviger_contract::Secret;

/// A token in such a file.
#[derive(Debug)]
pub(super) struct Login {
    /// Its line, from 1.
    pub(super) line: usize,
    /// What it is called there.
    pub(super) key: String,
    /// Where it is sent, as far as the file says.
    pub(super) host: Option<String>,
    pub(super) value: Secret,
}

/// `//registry.npmjs.org/:_authToken=…`; what comes from a variable is none.
pub(super) fn npmrc(text: &str) -> Vec<Login> {
    let login = |(at, line): (usize, &str)| {
        let line = line.trim();
        let (key, value) = line.split_once('=')?;
        let (key, value) = (key.trim(), unquoted(value));
        let (place, key) = key.rsplit_once(':').unwrap_or(("", key));
        if line.starts_with(['#', ';']) || key != "_authToken" || value.is_empty() || value.contains("${") {
            return None;
        }
        let host = place.strip_prefix("//").and_then(|place| place.split('/').next()).filter(|host| !host.is_empty());
        // Without a place it is sent to npm's own registry.
        let host = host.unwrap_or("registry.npmjs.org").to_owned();
        Some(Login { line: at + 1, key: key.to_owned(), host: Some(host), value: Secret::from(value.to_owned()) })
    };
    text.lines().enumerate().filter_map(login).collect()
}

/// The passwords of a `.pypirc`: sections with `repository` and `password`.
pub(super) fn pypirc(text: &str) -> Vec<Login> {
    let (mut found, mut section, mut repository): (Vec<Login>, String, Option<String>) =
        (Vec::new(), String::new(), None);
    let mut pending: Option<(usize, String)> = None;
    let mut finish = |section: &str, repository: &mut Option<String>, pending: &mut Option<(usize, String)>| {
        let named = match section {
            "pypi" => Some("upload.pypi.org".to_owned()),
            "testpypi" => Some("test.pypi.org".to_owned()),
            _ => None,
        };
        let host = repository.take().and_then(|url| host_of(&url)).or(named);
        if let Some((line, value)) = pending.take() {
            found.push(Login { line, key: format!("password of [{section}]"), host, value: Secret::from(value) });
        }
    };
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.split(']').next()) {
            finish(&section, &mut repository, &mut pending);
            name.trim().clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once(['=', ':']).filter(|_| !line.starts_with(['#', ';'])) {
            match (key.trim(), value.trim()) {
                ("repository", value) => repository = Some(value.to_owned()),
                ("password", value) if !value.is_empty() && !value.contains("%(") => {
                    pending = Some((at + 1, value.to_owned()))
                }
                _ => {}
            }
        }
    }
    finish(&section, &mut repository, &mut pending);
    found
}

/// A remote of a repository.
#[derive(Debug)]
pub(super) struct Remote {
    /// `origin`.
    pub(super) name: String,
    pub(super) host: String,
    /// Whether git speaks HTTPS to it: what a proxy can see.
    pub(super) is_https: bool,
    /// A password in its URL.
    pub(super) login: Option<Login>,
}

/// The remotes in a `.git/config`.
pub(super) fn remotes(text: &str) -> Vec<Remote> {
    let (mut found, mut name) = (Vec::new(), None);
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            let remote = line.strip_prefix("[remote \"").and_then(|rest| rest.split('"').next());
            name = remote.map(ToOwned::to_owned);
        } else if let (Some(name), Some((key, url))) = (&name, line.split_once('='))
            && key.trim() == "url"
        {
            found.extend(remote(name, at + 1, unquoted(url)));
        }
    }
    found
}

fn remote(name: &str, line: usize, url: &str) -> Option<Remote> {
    if let Some(rest) = url.strip_prefix("https://") {
        let (place, _) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = place.rsplit_once('@').map_or((None, place), |(user, host)| (Some(user), host));
        // `https://TOKEN@host` and `https://user:TOKEN@host`.
        let password = user.map(|user| user.split_once(':').map_or(user, |(_, password)| password));
        let host = plain_host(host)?;
        let login = password.filter(|password| password.len() >= super::value::SHORTEST).map(|password| Login {
            line,
            key: format!("the URL of remote `{name}`"),
            host: Some(host.clone()),
            value: Secret::from(password.to_owned()),
        });
        return Some(Remote { name: name.to_owned(), host, is_https: true, login });
    }
    // `ssh://git@host/…` and `git@host:path`.
    let place = match url.strip_prefix("ssh://") {
        Some(rest) => rest.split('/').next()?,
        None => url.split_once(':').filter(|(place, _)| !place.contains('/')).map(|(place, _)| place)?,
    };
    let host = plain_host(place.rsplit_once('@').map_or(place, |(_, host)| host))?;
    Some(Remote { name: name.to_owned(), host, is_https: false, login: None })
}

/// The host of an `https://` URL.
pub(super) fn host_of(url: &str) -> Option<String> {
    let url = url::Url::parse(url.trim()).ok().filter(|url| url.scheme() == "https")?;
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

fn plain_host(text: &str) -> Option<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':');
    let is_plain = !text.is_empty() && text.len() <= 255 && text.chars().all(is_part);
    is_plain.then(|| text.to_ascii_lowercase())
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inner.unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(found: &[Login], expected: &[(usize, &str, Option<&str>, &str)]) {
        #[allow(clippy::disallowed_methods, reason = "the test looks at what was read")]
        let value = |login: &Login| String::from_utf8(login.value.expose().to_vec()).unwrap();
        let found: Vec<_> = found.iter().map(|one| (one.line, one.key.clone(), one.host.clone(), value(one))).collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(line, key, host, value)| (*line, (*key).to_owned(), host.map(str::to_owned), (*value).to_owned()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn tokens_of_npm() {
        let text = "registry=https://registry.npmjs.org/\n; //x/:_authToken=no\n//registry.npmjs.org/:_authToken=npm_abc\n\
            //npm.pkg.github.com/:_authToken = \"ghp_def\"\n//x.test/:_authToken=${NPM_TOKEN}\n_authToken=npm_old\n\
            //x.test/:_authToken=\n//x.test:8443/path/:_authToken=ghi\n";
        check(
            &npmrc(text),
            &[
                (3, "_authToken", Some("registry.npmjs.org"), "npm_abc"),
                (4, "_authToken", Some("npm.pkg.github.com"), "ghp_def"),
                (6, "_authToken", Some("registry.npmjs.org"), "npm_old"),
                (8, "_authToken", Some("x.test:8443"), "ghi"),
            ],
        );
    }

    #[test]
    fn tokens_of_pypi() {
        let text = "[distutils]\nindex-servers =\n    pypi\n[pypi]\nusername = __token__\npassword = pypi-abc\n\n[testpypi]\n\
            password: pypi-def\n[acme]\nrepository = https://pypi.acme.test/legacy/\npassword = ghi\n[none]\npassword =\n[x]\npassword=%(y)s\n";
        check(
            &pypirc(text),
            &[
                (6, "password of [pypi]", Some("upload.pypi.org"), "pypi-abc"),
                (9, "password of [testpypi]", Some("test.pypi.org"), "pypi-def"),
                (12, "password of [acme]", Some("pypi.acme.test"), "ghi"),
            ],
        );
    }

    #[test]
    fn remotes_of_a_repository() {
        let check = |url: &str, expected: Option<(&str, bool, bool)>| {
            let found =
                remotes(&format!("[core]\n\tbare = false\n[remote \"origin\"]\n\turl = {url}\n\tfetch = +refs\n"));
            let found: Vec<_> =
                found.iter().map(|one| (one.host.as_str(), one.is_https, one.login.is_some())).collect();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{url}");
        };
        check("https://github.com/acme/shop.git", Some(("github.com", true, false)));
        check("https://ghp_0123456789abcdef@github.com/acme/shop", Some(("github.com", true, true)));
        check("https://oauth2:glpat-0123456789@GitLab.com/acme/shop", Some(("gitlab.com", true, true)));
        check("https://me@github.com/acme/shop", Some(("github.com", true, false)));
        check("git@github.com:acme/shop.git", Some(("github.com", false, false)));
        check("ssh://git@gitlab.com:22/acme/shop.git", Some(("gitlab.com:22", false, false)));
        check("../shop.git", None);
        check("/srv/git/shop.git", None);
        check("https://", None);
        check("https://a b/c", None);
    }

    proptest! {
        #[test]
        fn any_text(text in "(\\PC|[\\[\\]=:@/\"\n ]|url|password|https://){0,200}") {
            npmrc(&text);
            pypirc(&text);
            remotes(&text);
            remotes(&format!("[remote \"o\"]\nurl={text}"));
        }
    }
}
