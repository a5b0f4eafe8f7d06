//! What this machine or job proves itself by to a gateway: something that others issue and renew. Claviger keeps none.

mod file;
mod github;
mod svid;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use claviger_contract::{Clock, Outbound, Secret};
use claviger_wire::MachineProof;
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use self::file::TokenFile;
use self::github::GithubToken;
use self::svid::SvidFiles;

/// A token of GitLab's `id_tokens`, or of any job that was given one.
const TOKEN: &str = "CLAVIGER_TOKEN";
/// The file of a token that something renews, such as the kubelet.
const TOKEN_FILE: &str = "CLAVIGER_TOKEN_FILE";

/// Where the proof comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// GitHub's token service, as the runner's environment says: asked again before a token ends.
    Github,
    /// A variable, whose token lasts as long as the job.
    Variable(String),
    /// A file with a token, which is read again when it changes.
    TokenFile(PathBuf),
    /// An X.509-SVID and its key, which are read again when they change.
    Svid(PathBuf, PathBuf),
}

impl Origin {
    /// As written: `github`, `env:NAME`, `token:FILE`, `svid:CERTIFICATE,KEY`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let pair = || rest.split_once(',').filter(|(certificate, key)| !certificate.is_empty() && !key.is_empty());
        match (kind, rest) {
            ("github", "") => Ok(Self::Github),
            ("env", name) if !name.is_empty() => Ok(Self::Variable(name.to_owned())),
            ("token", file) if !file.is_empty() => Ok(Self::TokenFile(file.into())),
            ("svid", _) if let Some((certificate, key)) = pair() => Ok(Self::Svid(certificate.into(), key.into())),
            _ => {
                Err(format!("`{text}` is no proof: write `github`, `env:NAME`, `token:FILE` or `svid:CERTIFICATE,KEY`"))
            }
        }
    }

    /// What the environment offers, most specific first.
    pub(crate) fn find(environment: &dyn Fn(&str) -> Option<OsString>) -> Option<Self> {
        let has = |name: &str| environment(name).is_some_and(|value| !value.is_empty());
        if has(TOKEN) {
            return Some(Self::Variable(TOKEN.to_owned()));
        }
        if let Some(file) = environment(TOKEN_FILE).filter(|file| !file.is_empty()) {
            return Some(Self::TokenFile(file.into()));
        }
        github::VARIABLES.into_iter().all(has).then_some(Self::Github)
    }

    /// Variables that hold the proof, or the right to get one: not for the command.
    pub(crate) fn variables(&self) -> Vec<&str> {
        let mut all = vec![TOKEN];
        all.extend(github::VARIABLES);
        if let Self::Variable(name) = self {
            all.push(name);
        }
        all
    }

    /// Reads it for the first time: what cannot be had is said before anything starts.
    pub(crate) async fn open(
        &self,
        audience: &str,
        environment: &dyn Fn(&str) -> Option<OsString>,
        outbound: Arc<dyn Outbound>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<dyn MachineProof>, String> {
        let proof: Arc<dyn MachineProof> = match self {
            Self::Github => Arc::new(GithubToken::new(audience, environment, outbound, clock)?),
            Self::Variable(name) => Arc::new(JobToken::new(name, environment, clock)?),
            Self::TokenFile(file) => Arc::new(TokenFile::new(file.clone(), clock)),
            Self::Svid(certificate, key) => Arc::new(SvidFiles::open(certificate.clone(), key.clone())?),
        };
        proof.token().await?;
        Ok(proof)
    }
}

/// The token that this environment has, if it has one: in a variable, or in a file that a variable names.
pub(crate) fn token(environment: &dyn Fn(&str) -> Option<OsString>) -> Result<Option<Zeroizing<String>>, String> {
    let text = match Origin::find(environment) {
        Some(Origin::Variable(name)) => {
            environment(&name).and_then(|value| value.into_string().ok()).unwrap_or_default()
        }
        Some(Origin::TokenFile(file)) => {
            std::fs::read_to_string(&file).map_err(|error| format!("failed to read `{}`: {error}", file.display()))?
        }
        Some(Origin::Github | Origin::Svid(..)) | None => return Ok(None),
    };
    let text = Zeroizing::new(text);
    let token = text.trim();
    match claviger_identity::looks_like_token(token.as_bytes()) {
        true => Ok(Some(Zeroizing::new(token.to_owned()))),
        false => Err(format!("neither `{TOKEN}` nor the file of `{TOKEN_FILE}` holds a token")),
    }
}

/// A token in a variable: nobody renews it.
struct JobToken {
    name: String,
    token: Arc<Secret>,
    ends: Option<i64>,
    clock: Arc<dyn Clock>,
}

impl JobToken {
    fn new(name: &str, environment: &dyn Fn(&str) -> Option<OsString>, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let value = environment(name).and_then(|value| value.into_string().ok()).unwrap_or_default();
        let token = value.trim().as_bytes();
        if !claviger_identity::looks_like_token(token) {
            return Err(format!("the variable `{name}` holds no token"));
        }
        let ends = claviger_identity::token_end(token);
        Ok(Self { name: name.to_owned(), token: Arc::new(Secret::new(token.to_vec())), ends, clock })
    }
}

#[async_trait]
impl MachineProof for JobToken {
    async fn token(&self) -> Result<Option<Arc<Secret>>, String> {
        match self.ends {
            Some(ends) if ends <= self.clock.now() => Err(format!("the token in `{}` has expired", self.name)),
            _ => Ok(Some(self.token.clone())),
        }
    }

    fn certificate(&self) -> (u64, Option<Arc<CertifiedKey>>) {
        (0, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proofs_as_written() {
        let check = |text: &str, expected: Option<Origin>| assert_eq!(Origin::parse(text).ok(), expected, "{text}");
        check("github", Some(Origin::Github));
        check("env:ID_TOKEN", Some(Origin::Variable("ID_TOKEN".to_owned())));
        check("token:/run/token", Some(Origin::TokenFile("/run/token".into())));
        check("svid:c.pem,k.pem", Some(Origin::Svid("c.pem".into(), "k.pem".into())));
        for wrong in ["", "github:x", "env", "env:", "token:", "svid:c.pem", "svid:,k.pem", "svid:c.pem,", "file:x"] {
            check(wrong, None);
        }
    }

    #[test]
    fn what_the_environment_offers() {
        let check = |variables: &[(&str, &str)], expected: Option<Origin>| {
            let environment =
                |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
            assert_eq!(Origin::find(&environment), expected, "{variables:?}");
        };
        let github = [("ACTIONS_ID_TOKEN_REQUEST_URL", "https://x"), ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "y")];
        check(&[], None);
        check(&github[..1], None);
        check(&github, Some(Origin::Github));
        check(&[github[0], github[1], (TOKEN, "a.b.c")], Some(Origin::Variable(TOKEN.to_owned())));
        check(&[(TOKEN, ""), (TOKEN_FILE, "/run/token")], Some(Origin::TokenFile("/run/token".into())));
    }
}
