//! The client programs that are tried, each by the smallest request that it can be made to send.

use std::path::{Path, PathBuf};

/// A program, or a library in one.
#[derive(Debug)]
pub(super) struct Runtime {
    /// What it is called; also the first label of the host that it asks, so that its request is known by that.
    pub(super) name: &'static str,
    /// Its file on `PATH`: the first that is there.
    pub(super) program: &'static [&'static str],
    /// What it is given. `{url}` is an address below which it may ask for anything, `{folder}` one to write into.
    pub(super) arguments: &'static [&'static str],
    /// Variables that keep it from writing elsewhere, from asking others, and from waiting for somebody.
    pub(super) variables: &'static [(&'static str, &'static str)],
    /// A file that it is to find in `{folder}`.
    pub(super) file: Option<(&'static str, &'static str)>,
    /// What makes it trust the authority where the system's store does not do.
    pub(super) trust: &'static str,
}

/// A library that is not installed is told by this exit code.
pub(super) const ABSENT: i32 = 42;

const SYSTEM: &str = "`claviger trust install`, or start it by `claviger exec -- CMD`";

const REQUESTS: &str = "\
import sys
try:
    import requests
except ImportError:
    sys.exit(42)
requests.get(sys.argv[1], timeout=15)
";
const HTTPX: &str = "\
import sys
try:
    import httpx
except ImportError:
    sys.exit(42)
httpx.get(sys.argv[1], timeout=15)
";
const URLLIB3: &str = "\
import sys
try:
    import urllib3
except ImportError:
    sys.exit(42)
urllib3.PoolManager().request('GET', sys.argv[1], timeout=15, retries=False)
";
const AIOHTTP: &str = "\
import asyncio, sys
try:
    import aiohttp
except ImportError:
    sys.exit(42)
async def ask():
    async with aiohttp.ClientSession() as session:
        await session.get(sys.argv[1])
asyncio.run(ask())
";
const NODE: &str =
    "fetch(process.argv[1]).catch(error => { console.error(String(error.cause ?? error)); process.exit(1) })";
const JAVA: &str = "\
import java.net.URI;
import java.net.http.*;
class Ask {
    public static void main(String[] given) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(given[0])).build();
        HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.discarding());
    }
}
";

const PYTHON: &[(&str, &str)] = &[("PYTHONDONTWRITEBYTECODE", "1")];

/// All of them, those first that answer at once.
pub(super) const RUNTIMES: [Runtime; 14] = [
    Runtime {
        name: "curl",
        program: &["curl"],
        arguments: &["-sS", "--max-time", "15", "-o", "/dev/null", "{url}"],
        variables: &[],
        file: None,
        trust: SYSTEM,
    },
    Runtime {
        name: "wget",
        program: &["wget"],
        arguments: &["-nv", "-T", "15", "-t", "1", "--no-hsts", "-O", "/dev/null", "{url}"],
        variables: &[],
        file: None,
        trust: SYSTEM,
    },
    Runtime {
        name: "git",
        program: &["git"],
        arguments: &["ls-remote", "{url}repository.git"],
        variables: &[("GIT_TERMINAL_PROMPT", "0"), ("GIT_ASKPASS", "true")],
        file: None,
        trust: SYSTEM,
    },
    Runtime {
        name: "requests",
        program: &["python3", "python"],
        arguments: &["-c", REQUESTS, "{url}"],
        variables: PYTHON,
        file: None,
        trust: "start it by `claviger exec -- CMD`, or name the file of `claviger ca --bundle` in REQUESTS_CA_BUNDLE",
    },
    Runtime {
        name: "httpx",
        program: &["python3", "python"],
        arguments: &["-c", HTTPX, "{url}"],
        variables: PYTHON,
        file: None,
        trust: "start it by `claviger exec -- CMD`, or name the file of `claviger ca --bundle` in SSL_CERT_FILE",
    },
    Runtime {
        name: "aiohttp",
        program: &["python3", "python"],
        arguments: &["-c", AIOHTTP, "{url}"],
        variables: PYTHON,
        file: None,
        trust: SYSTEM,
    },
    Runtime {
        name: "urllib3",
        program: &["python3", "python"],
        arguments: &["-c", URLLIB3, "{url}"],
        variables: PYTHON,
        file: None,
        trust: SYSTEM,
    },
    Runtime {
        name: "node",
        program: &["node"],
        arguments: &["-e", NODE, "{url}"],
        variables: &[],
        file: None,
        trust: "start it by `claviger exec -- CMD`, or name the file of `claviger ca` in NODE_EXTRA_CA_CERTS",
    },
    Runtime {
        name: "npm",
        program: &["npm"],
        arguments: &["ping", "--registry", "{url}", "--fetch-retries", "0", "--cache", "{folder}"],
        variables: &[("npm_config_update_notifier", "false"), ("npm_config_logs_max", "0")],
        file: None,
        trust: "start it by `claviger exec -- CMD`, or `npm config set cafile` with the file of `claviger ca --bundle`",
    },
    Runtime {
        name: "pip",
        program: &["pip3", "pip"],
        arguments: &[
            "download",
            "--no-deps",
            "--no-cache-dir",
            "--disable-pip-version-check",
            "--no-input",
            "--retries",
            "0",
            "--index-url",
            "{url}simple/",
            "--dest",
            "{folder}",
            "claviger-doctor",
        ],
        variables: PYTHON,
        file: None,
        trust: "start it by `claviger exec -- CMD`, or name the file of `claviger ca --bundle` in PIP_CERT",
    },
    Runtime {
        name: "uv",
        program: &["uv"],
        arguments: &[
            "pip",
            "compile",
            "--no-cache",
            "--no-config",
            "--default-index",
            "{url}simple/",
            "{folder}/doctor.in",
        ],
        variables: &[("UV_HTTP_RETRIES", "0"), ("UV_PYTHON_DOWNLOADS", "never")],
        file: Some(("doctor.in", "claviger-doctor\n")),
        trust: "start it by `claviger exec -- CMD`, or name the file of `claviger ca --bundle` in SSL_CERT_FILE",
    },
    Runtime {
        name: "cargo",
        program: &["cargo"],
        arguments: &["search", "claviger-doctor", "--index", "sparse+{url}"],
        variables: &[("CARGO_HOME", "{folder}"), ("CARGO_NET_RETRY", "0"), ("CARGO_TERM_COLOR", "never")],
        file: None,
        trust: SYSTEM,
    },
    Runtime {
        name: "go",
        program: &["go"],
        arguments: &["list", "-m", "-versions", "doctor.invalid/nothing"],
        variables: &[
            ("GOPROXY", "{url}"),
            ("GONOSUMDB", "*"),
            ("GOFLAGS", "-mod=mod"),
            ("GOMODCACHE", "{folder}/mod"),
            ("GOCACHE", "{folder}/cache"),
            ("GOTOOLCHAIN", "local"),
        ],
        file: None,
        trust: SYSTEM,
    },
    Runtime {
        name: "java",
        program: &["java"],
        // A file of source needs a JDK; what has none says so.
        arguments: &["-XX:TieredStopAtLevel=1", "{folder}/Ask.java", "{url}"],
        variables: &[],
        file: Some(("Ask.java", JAVA)),
        trust: "`claviger trust install --java`, or start it by `claviger exec -- CMD`",
    },
];

impl Runtime {
    /// Its file, if this machine has it.
    pub(super) fn find(&self, path: &std::ffi::OsStr) -> Option<PathBuf> {
        let folders = || std::env::split_paths(path).filter(|folder| folder.is_absolute());
        self.program.iter().find_map(|name| folders().map(|folder| folder.join(name)).find(|file| is_program(file)))
    }
}

fn is_program(file: &Path) -> bool {
    file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
}
