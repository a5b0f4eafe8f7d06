//! A token in a file that something else renews, as the kubelet does with projected tokens.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use claviger_contract::{Clock, Secret};
use claviger_wire::MachineProof;
use rustls::sign::CertifiedKey;

/// How long a reading holds.
const FRESH: Duration = Duration::from_secs(1);

/// More than any token has.
const SIZE_MAX: u64 = 64 * 1024;

pub(super) struct TokenFile {
    file: PathBuf,
    clock: Arc<dyn Clock>,
    read: Mutex<Option<(Instant, Arc<Secret>)>>,
}

impl TokenFile {
    pub(super) fn new(file: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self { file, clock, read: Mutex::default() }
    }

    fn read(&self) -> Result<Arc<Secret>, String> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, token)) = read.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(token.clone());
        }
        let name = self.file.display();
        let size = std::fs::metadata(&self.file).map_err(|error| format!("failed to read `{name}`: {error}"))?;
        if !size.is_file() || size.len() > SIZE_MAX {
            return Err(format!("`{name}` is no file with a token"));
        }
        let text = std::fs::read(&self.file).map_err(|error| format!("failed to read `{name}`: {error}"))?;
        let token = Arc::new(Secret::new(text.trim_ascii().to_vec()));
        *read = Some((Instant::now(), token.clone()));
        Ok(token)
    }
}

#[async_trait]
impl MachineProof for TokenFile {
    #[allow(clippy::disallowed_methods, reason = "read for its end; nothing of it is shown")]
    async fn token(&self) -> Result<Option<Arc<Secret>>, String> {
        let token = self.read()?;
        let name = self.file.display();
        if !claviger_identity::looks_like_token(token.expose()) {
            return Err(format!("`{name}` holds no token"));
        }
        match claviger_identity::token_end(token.expose()) {
            Some(ends) if ends <= self.clock.now() => {
                Err(format!("the token in `{name}` has expired, and nothing has renewed it"))
            }
            _ => Ok(Some(token)),
        }
    }

    fn certificate(&self) -> (u64, Option<Arc<CertifiedKey>>) {
        (0, None)
    }
}
