//! The app: an ordinary HTTP client that this machine has anyway, or the bundled one.

pub(crate) mod bundled;

use std::path::{Path, PathBuf};

use http::{Method, Uri};

use crate::command::Failure;
use crate::command::quickstart::child::Children;

/// What Python is given to run: nothing but its standard library.
const PYTHON: &str = include_str!("client/client.py");

/// The file of it.
const PYTHON_FILE: &str = "client.py";

/// One request of the app.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Uri,
    /// An `http` URL is asked through this Unix socket; for an `https` URL it is the root to trust, and
    /// the host is this machine, whatever its name.
    pub(crate) via: String,
}

/// What the app got.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// Where all of it is kept.
    pub(crate) record: PathBuf,
}

/// Which client plays the app.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Client {
    Curl(PathBuf),
    Python(PathBuf),
    Bundled(PathBuf),
}

impl Client {
    /// curl, else Python, else the bundled one. A program counts only if it works as it will be run.
    pub(crate) async fn find(folder: &Path, children: &mut Children) -> Result<Self, Failure> {
        for curl in on_path("curl") {
            if works(children, &curl, &["-q", "--version"]).await {
                return Ok(Self::Curl(curl));
            }
        }
        for python in on_path("python3") {
            if works(children, &python, &["-I", "-c", "import http.client, ssl"]).await {
                let file = folder.join(PYTHON_FILE);
                std::fs::write(file, PYTHON).map_err(|error| Failure::doing("write the Python client")(&error))?;
                return Ok(Self::Python(python));
            }
        }
        Ok(Self::Bundled(children.claviger().to_owned()))
    }

    /// What the reader is told about it.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Curl(_) => "this machine's own curl",
            Self::Python(_) => "this machine's own Python, with nothing but its standard library",
            Self::Bundled(_) => "a client bundled with claviger, as this machine has neither curl nor Python",
        }
    }

    /// The command as a user would type it in the folder.
    pub(crate) fn line(&self, call: &Call) -> String {
        let name = match self {
            Self::Curl(_) => "curl",
            Self::Python(_) => "python3",
            Self::Bundled(_) => "claviger",
        };
        format!("{name} {}", self.args(call).join(" "))
    }

    /// Makes the request.
    pub(crate) async fn call(&self, call: &Call, children: &mut Children) -> Result<Answer, Failure> {
        let (Self::Curl(program) | Self::Python(program) | Self::Bundled(program)) = self;
        let ended = children.run(program, &self.args(call)).await?;
        let read = ended.status.success().then(|| Answer::read(&ended.stdout, ended.record)).flatten();
        read.ok_or_else(|| {
            let said = ended.stderr.trim_end();
            Failure::Other(format!("`{}` got no answer ({}): {said}", self.line(call), ended.status))
        })
    }

    fn args(&self, call: &Call) -> Vec<String> {
        let Call { method, url, via } = call;
        let (method, url, via) = (method.to_string(), url.to_string(), via.clone());
        let mut args: Vec<String> = match self {
            // -q: no settings of the user's. -i: the answer's head is searched for the key as well.
            Self::Curl(_) => ["-q", "-sSi"].map(str::to_owned).into(),
            Self::Python(_) => ["-I", PYTHON_FILE].map(str::to_owned).into(),
            Self::Bundled(_) => ["quickstart", "--client"].map(str::to_owned).into(),
        };
        let Self::Curl(_) = self else {
            args.extend([method, url, via]);
            return args;
        };
        if call.method != Method::GET {
            args.extend(["-X".to_owned(), method]);
        }
        match call.url.authority().filter(|_| call.url.scheme_str() == Some("https")) {
            Some(authority) => {
                args.extend(["--cacert".to_owned(), via, "--resolve".to_owned(), format!("{authority}:127.0.0.1")]);
            }
            None => args.extend(["--unix-socket".to_owned(), via]),
        }
        args.push(url);
        args
    }
}

impl Answer {
    /// Reads what all three clients print: the head, an empty line, the body.
    fn read(printed: &str, record: PathBuf) -> Option<Self> {
        let (head, body) = printed.split_once("\r\n\r\n").or_else(|| printed.split_once("\n\n"))?;
        let status = head.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some(Self { status, body: body.trim_end().to_owned(), record })
    }
}

/// Every file of that name in the folders of `PATH`.
pub(crate) fn on_path(name: &str) -> Vec<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let files = std::env::split_paths(&folders).filter(|folder| folder.is_absolute()).map(|folder| folder.join(name));
    files.filter(|file| file.is_file()).collect()
}

/// Not all that is on `PATH` runs in a bare environment: version managers leave shims that do not.
async fn works(children: &mut Children, program: &Path, args: &[&str]) -> bool {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    children.run(program, &args).await.is_ok_and(|ended| ended.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(client: &Client, method: Method, url: &'static str, via: &str, expected: &str) {
        let call = Call { method, url: Uri::from_static(url), via: via.to_owned() };
        assert_eq!(client.line(&call), expected);
    }

    #[test]
    fn every_client_gets_what_it_needs_and_no_key() {
        let curl = Client::Curl("/usr/bin/curl".into());
        let gateway = "http://localhost/demo/v1/hello";
        let direct = "https://demo.example:8443/v1/hello";
        let expected = "curl -q -sSi --unix-socket gateway.sock http://localhost/demo/v1/hello";
        check(&curl, Method::GET, gateway, "gateway.sock", expected);
        let expected = "curl -q -sSi -X DELETE --unix-socket gateway.sock http://localhost/demo/v1/hello";
        check(&curl, Method::DELETE, gateway, "gateway.sock", expected);
        let expected = "curl -q -sSi --cacert ca.pem --resolve demo.example:8443:127.0.0.1 \
                        https://demo.example:8443/v1/hello";
        check(&curl, Method::GET, direct, "ca.pem", expected);
        let python = Client::Python("/usr/bin/python3".into());
        check(&python, Method::GET, gateway, "s", "python3 -I client.py GET http://localhost/demo/v1/hello s");
        let bundled = Client::Bundled("/claviger".into());
        let expected = "claviger quickstart --client DELETE http://localhost/demo/v1/hello s";
        check(&bundled, Method::DELETE, gateway, "s", expected);
    }

    #[test]
    fn an_answer_is_read_from_what_a_client_prints() {
        let read = |printed: &str| Answer::read(printed, PathBuf::new()).map(|answer| (answer.status, answer.body));
        assert_eq!(read("HTTP/2 401 \r\ncontent-type: x\r\n\r\n{\"a\":1}\n"), Some((401, "{\"a\":1}".to_owned())));
        assert_eq!(read("HTTP/1.1 200 OK\nx: y\n\nbody\n\nmore"), Some((200, "body\n\nmore".to_owned())));
        for broken in ["", "HTTP/1.1 200 OK", "HTTP/1.1\r\n\r\n", "HTTP/1.1 two\r\n\r\n"] {
            assert_eq!(read(broken), None, "{broken}");
        }
    }
}
