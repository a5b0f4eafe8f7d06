//! Machines that are set up for something else, and programs that are: nothing of it leads around the proxy, and nothing
//! of a program breaks.

use std::fs;
use std::path::Path;

use claviger_tests::peers::Installed;

use crate::rows::ROWS;
use crate::scene::Scene;

/// Where nobody listens: whoever is led there fails.
const ELSEWHERE: &str = "http://127.0.0.1:9";

/// Configuration files of a user, which lead elsewhere.
const FILES: [(&str, &str); 6] = [
    (".curlrc", "proxy = http://127.0.0.1:9\ncacert = /nowhere\n"),
    (".wgetrc", "https_proxy = http://127.0.0.1:9\nuse_proxy = off\nca_certificate = /nowhere\n"),
    (
        ".gitconfig",
        "[http]\nproxy = http://127.0.0.1:9\nsslCAInfo = /nowhere\n[http \"https://git.test\"]\nproxy = http://127.0.0.1:9\n",
    ),
    (".npmrc", "https-proxy = http://127.0.0.1:9\nproxy = http://127.0.0.1:9\ncafile = /nowhere\n"),
    (".config/pip/pip.conf", "[global]\nproxy = http://127.0.0.1:9\ncert = /nowhere\n"),
    (".cargo/config.toml", "[http]\nproxy = \"http://127.0.0.1:9\"\ncainfo = \"/nowhere\"\n"),
];

/// Variables that lead elsewhere.
const VARIABLES: [&str; 11] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "grpc_proxy",
    "npm_config_https_proxy",
    "NPM_CONFIG_HTTPS_PROXY",
    "PIP_PROXY",
    "CARGO_HTTP_PROXY",
    "GIT_CONFIG_VALUE_0",
    "WSS_PROXY",
    "YARN_HTTPS_PROXY",
];

fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    for (name, text) in FILES {
        let path = home.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    home
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_leads_elsewhere_changes_nothing() {
    let scene = Scene::start().await;
    let home = home();
    let names = [
        "curl",
        "wget",
        "git",
        "requests",
        "grpcio",
        "Node 24 https",
        "stripe (Node 20)",
        "Java HttpClient",
        "pip",
        "uv",
        "npm",
        "cargo",
    ];
    for row in names.map(|name| ROWS.iter().find(|row| row.name == name).unwrap()) {
        let line = Scene::command_line(row);
        let mut client = scene.exec(&line.iter().map(String::as_str).collect::<Vec<_>>()).env("HOME", home.path());
        for name in VARIABLES {
            client = client.env(name, ELSEWHERE);
        }
        for name in ["ALL_PROXY", "all_proxy", "socks_proxy"] {
            client = client.env(name, "socks5://127.0.0.1:9");
        }
        // The services of the session are in it, by names and by their endings.
        for name in ["NO_PROXY", "no_proxy", "npm_config_noproxy", "no_grpc_proxy"] {
            client = client.env(name, "*,.test,test,api.test,git.test:443");
        }
        for name in ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAPATH", "NODE_EXTRA_CA_CERTS"] {
            client = client.env(name, "/nowhere");
        }
        client = client.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "http.proxy");
        client = client.env("GIT_PROXY_SSL_CERT", "/nowhere").env("GIT_HTTP_PROXY_AUTHMETHOD", "negotiate");
        client = client.env("_JAVA_OPTIONS", "-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=9 -Dhttp.nonProxyHosts=*");
        let ran = client.run_without(&[scene.key()]).await;
        assert_eq!(ran.stdout.trim(), scene.said(), "{}: {} {}", row.name, ran.status, ran.stderr);
    }
    scene.end();
}

/// What a program of its own says, run by Python or Node in a session.
async fn program(scene: &Scene, interpreter: &Path, text: &str, variables: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let suffix = if interpreter.ends_with("python") { "py" } else { "mjs" };
    let file = folder.path().join(format!("program.{suffix}"));
    fs::write(&file, text).unwrap();
    let mut client = scene.exec(&[interpreter.to_str().unwrap(), file.to_str().unwrap()]);
    for (name, value) in variables {
        client = client.env(name, value);
    }
    let ran = client.run_without(&[scene.key()]).await;
    // Session notes are not the program's: `API_KEY` looks like a secret, and is none.
    let told = ran.stderr.lines().filter(|line| !line.starts_with("claviger:"));
    let all: Vec<&str> = ran.stdout.lines().chain(told).collect();
    all.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_program_sets_up_itself_stays() {
    let scene = Scene::start().await;
    let modules = Installed::node_modules_parent().display().to_string();
    let said = scene.said().to_owned();
    let require =
        format!("import {{ createRequire }} from 'node:module'; const require = createRequire('{modules}/');");
    let cases = [
        (
            "a worker thread",
            "import { Worker, isMainThread, parentPort } from 'node:worker_threads';\n\
             import { fileURLToPath } from 'node:url';\n\
             if (isMainThread) new Worker(fileURLToPath(import.meta.url)).on('message', (m) => console.log(m));\n\
             else parentPort.postMessage((await (await fetch('https://api.test/v1/items')).json()).said);"
                .to_owned(),
            said.clone(),
        ),
        (
            "an undici with a dispatcher of its own",
            format!(
                "{require} const {{ MockAgent, setGlobalDispatcher, request }} = require('undici');\n\
                 const agent = new MockAgent(); agent.disableNetConnect(); setGlobalDispatcher(agent);\n\
                 agent.get('https://api.test').intercept({{ path: '/v1/items' }}).reply(200, 'mocked');\n\
                 console.log(await (await request('https://api.test/v1/items')).body.text());"
            ),
            "mocked".to_owned(),
        ),
        (
            "an agent with a connection of its own",
            "import https from 'node:https'; import tls from 'node:tls';\n\
             class Own extends https.Agent { createConnection() { throw new Error('own connection'); } }\n\
             try { https.get('https://api.test/v1/items', { agent: new Own() }).on('error', (e) => console.log(e.message)); }\n\
             catch (error) { console.log(error.message); }"
                .to_owned(),
            "own connection".to_owned(),
        ),
        (
            "a server of its own on localhost",
            "import http from 'node:http';\n\
             const server = http.createServer((_, answer) => answer.end('own server')).listen(0, '127.0.0.1', async () => {\n\
               const url = `http://127.0.0.1:${server.address().port}/`;\n\
               const by = await new Promise((done) => http.get(url, (a) => a.on('data', (d) => done(String(d)))));\n\
               console.log(by, await (await fetch(url)).text()); process.exit(); });"
                .to_owned(),
            "own server own server".to_owned(),
        ),
        (
            "keep-alive agents, several requests at once",
            "import https from 'node:https'; const agent = new https.Agent({ keepAlive: true, maxSockets: 2 });\n\
             const get = () => new Promise((done, fail) => https.get('https://api.test/v1/items', { agent }, async (a) => {\n\
               let t = ''; for await (const c of a) t += c; done(JSON.parse(t).said); }).on('error', fail));\n\
             const all = await Promise.all([1, 2, 3, 4, 5].map(get)); console.log(new Set(all).size, all[0]); agent.destroy();"
                .to_owned(),
            format!("1 {said}"),
        ),
        (
            "what the proxy refuses is said",
            "import https from 'node:https'; https.get('https://unknown.test/').on('error', (e) => console.log(e.code));".to_owned(),
            "ERR_PROXY_TUNNEL".to_owned(),
        ),
        ("options that were there", "console.log(process.execArgv.length, process.title)".to_owned(), "0 mine".to_owned()),
    ];
    for node in [Installed::node20(), Installed::node()] {
        for (about, text, expected) in &cases {
            let answer = program(&scene, &node, text, &[("NODE_OPTIONS", "--title=mine")]).await;
            assert_eq!(&answer, expected, "{about}, {}", node.display());
        }
    }
    scene.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_python_program_sets_up_itself_stays() {
    let scene = Scene::start().await;
    let own = tempfile::tempdir().unwrap();
    fs::write(own.path().join("sitecustomize.py"), "import sys\nsys.own = 'own sitecustomize'\n").unwrap();
    let said = scene.said().to_owned();
    let cases = [
        (
            "a sitecustomize that was there",
            "import sys, sitecustomize\nprint(sys.own, sitecustomize.__name__)",
            "own sitecustomize sitecustomize".to_owned(),
        ),
        (
            "nothing is imported or printed",
            "import sys\nprint([n for n in ('urllib3', 'ssl', 'certifi', 'urllib.request') if n in sys.modules])",
            "[]".to_owned(),
        ),
        (
            "a library is what it was",
            "import urllib3, certifi, inspect\nprint(urllib3.__spec__.loader is urllib3.__loader__, type(urllib3.__loader__).__name__, 'PoolManager' in inspect.getsource(urllib3), certifi.contents()[:10])",
            "True SourceFileLoader True -----BEGIN".to_owned(),
        ),
        (
            "urllib3 with headers, by a subclass, with the roots of certifi",
            "import urllib3, certifi, json\nfor it in (urllib3.PoolManager(headers={'X-A': 'b'}), urllib3.PoolManager(ca_certs=certifi.where())):\n  print(json.loads(it.request('GET', 'https://api.test/v1/items').data)['said'])\nprint(urllib3.request('GET', 'https://api.test/v1/items').status)",
            format!("{said}\n{said}\n200"),
        ),
        (
            "a server of its own on localhost",
            "import http.server, threading, urllib3, urllib.request\nclass H(http.server.BaseHTTPRequestHandler):\n  def do_GET(self):\n    self.send_response(200); self.end_headers(); self.wfile.write(b'own')\n  def log_message(self, *a): pass\ns = http.server.HTTPServer(('127.0.0.1', 0), H)\nthreading.Thread(target=s.serve_forever, daemon=True).start()\nurl = 'http://127.0.0.1:%d/' % s.server_port\nprint(urllib3.PoolManager().request('GET', url).data.decode(), urllib.request.urlopen(url).read().decode())",
            "own own".to_owned(),
        ),
        (
            "aiohttp, asked not to",
            "import asyncio, aiohttp\nasync def main():\n  async with aiohttp.ClientSession(trust_env=False) as s:\n    async with s.get('https://api.test/v1/items') as a:\n      print((await a.json())['said'])\nasyncio.run(main())",
            said.clone(),
        ),
        (
            "a child of a child",
            "import subprocess, sys\nprint(subprocess.run([sys.executable, '-c', 'import urllib3; print(urllib3.PoolManager().request(\"GET\", \"https://api.test/v1/items\").status)'], capture_output=True, text=True).stdout.strip())",
            "200".to_owned(),
        ),
    ];
    for (about, text, expected) in cases {
        let answer = program(&scene, &Installed::python(), text, &[("PYTHONPATH", own.path().to_str().unwrap())]).await;
        assert_eq!(answer, expected, "{about}");
    }
    scene.end();
}

/// What shows no proof is let in if it belongs to the session, and only then.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_proof_must_be_of_the_session() {
    let scene = Scene::start().await;
    let without_proof =
        "exec curl -sS -o /dev/null -w '%{http_connect}' --proxy http://${HTTPS_PROXY##*@} https://api.test/v1/said";
    let ran = scene.exec(&["bash", "-c", without_proof]).run().await;
    assert_eq!(ran.stdout, if cfg!(target_os = "linux") { "200" } else { "407" }, "{}", ran.stderr);
    // A stranger: this test itself, which found the port out. Without the sandbox, or it could not get there.
    let folder = tempfile::tempdir().unwrap();
    let (told, go) = (folder.path().join("told"), folder.path().join("go"));
    let tell = format!(
        "echo $HTTPS_PROXY >{0}.new && mv {0}.new {0}; until [ -e {1} ]; do sleep 0.05; done",
        told.display(),
        go.display()
    );
    let session = scene.exec_open(&["bash", "-c", &tell]);
    let session = tokio::spawn(session.run());
    claviger_tests::until("the session tells", async || told.exists()).await;
    let url = fs::read_to_string(&told).unwrap().trim().to_owned();
    let bare = format!("http://{}", url.rsplit('@').next().unwrap());
    let ask = |proxy: String| async move {
        let arguments =
            ["-sS", "-o", "/dev/null", "-w", "%{http_connect}", "--proxy", &proxy, "https://api.test/v1/said"];
        claviger_tests::peers::Client::new("curl").args(arguments).run().await.stdout
    };
    assert_eq!(ask(bare).await, "407");
    // Near miss: the same stranger with the session's own URL gets its tunnel.
    assert_eq!(ask(url).await, "200");
    fs::write(go, "").unwrap();
    assert!(session.await.unwrap().status.success());
    scene.end();
}
