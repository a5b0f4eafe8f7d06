//! HAProxy as a gateway.

use std::process::Command;

use super::{Doors, PREFIX, gateway};
use crate::door::{HOST, Problem};
use crate::scene::{Scene, WORKERS, free_port};
use crate::server::{Server, library_path, program};

/// In clear text, and with client certificates.
pub(crate) fn launch(scene: &Scene) -> Result<(Server, Doors), Problem> {
    let (clear, mutual) = (free_port(), free_port());
    let haproxy = program("haproxy")?;
    let server = Server::spawn(|folder| {
        let read = |path| std::fs::read_to_string(path).unwrap();
        std::fs::write(folder.join("server.pem"), read(&scene.server.cert) + &read(&scene.server.key)).unwrap();
        let config = format!(
            "global\n  nbthread {WORKERS}\n  maxconn 8000\n  log stdout format raw local0\n\
             defaults\n  mode http\n  log global\n  option httplog\n  timeout connect 10s\n  timeout client 600s\n  timeout server 600s\n\
             frontend clear\n  bind 127.0.0.1:{clear}\n  use_backend events if {{ path_end /events }}\n  default_backend upstream\n\
             frontend mutual\n  bind 127.0.0.1:{mutual} ssl crt {pem} ca-file {bundle} verify required alpn h2,http/1.1\n  \
             default_backend upstream\n\
             backend upstream\n{backend}backend events\n  option http-no-delay\n{backend}",
            backend = format_args!(
                "  http-reuse always\n  http-request replace-path {PREFIX}(/.*) \\1\n  http-request set-header Host {HOST}\n  \
                 http-request set-header Authorization \"{authorization}\"\n  \
                 server upstream 127.0.0.1:{upstream} ssl verify required ca-file {ca} sni str({HOST}) verifyhost {HOST} \
                 alpn http/1.1\n",
                authorization = scene.authorization(),
                upstream = scene.upstream,
                ca = scene.world.ca.path().display(),
            ),
            pem = folder.join("server.pem").display(),
            bundle = scene.bundle().display(),
        );
        std::fs::write(folder.join("haproxy.cfg"), config).unwrap();
        let mut command = Command::new(&haproxy);
        command.args(["-db", "-f"]).arg(folder.join("haproxy.cfg"));
        library_path(&haproxy).map(|path| command.env("LD_LIBRARY_PATH", path));
        command
    })?;
    Ok((server, gateway(scene, clear, mutual)))
}
