//! HAProxy as a gateway.

use std::process::Command;

use super::{Leg, PREFIX, door};
use crate::door::{HOST, Layer, Problem};
use crate::scene::{Scene, WORKERS, free_port};
use crate::server::{Server, library_path, program};

/// In clear text, and with client certificates.
pub(crate) fn start(scene: &Scene) -> Result<Leg, Problem> {
    let (clear, mutual) = (free_port(), free_port());
    let server = gateway(scene, clear, mutual)?.listening(clear)?;
    Ok(Leg {
        name: "haproxy",
        running: Box::new(server),
        clear: door(clear, Layer::Clear, PREFIX),
        mutual: door(mutual, Layer::Tls(scene.mutual(&["http/1.1"])), PREFIX),
        mutual_h2: door(mutual, Layer::Tls(scene.mutual(&["h2"])), PREFIX),
        connect: None,
    })
}

/// Starts the gateway at these ports.
pub(crate) fn gateway(scene: &Scene, clear: u16, mutual: u16) -> Result<Server, Problem> {
    let haproxy = program("haproxy")?;
    Server::spawn(|folder| {
        let read = |path| std::fs::read_to_string(path).unwrap();
        std::fs::write(folder.join("server.pem"), read(&scene.server.cert) + &read(&scene.server.key)).unwrap();
        let config = format!(
            "global\n  nbthread {WORKERS}\n  maxconn 8000\n  log stdout format raw local0\n\
             defaults\n  mode http\n  log global\n  option httplog\n  timeout connect 10s\n  timeout client 600s\n  timeout server 600s\n\
             frontend clear\n  bind 127.0.0.1:{clear}\n  default_backend upstream\n\
             frontend mutual\n  bind 127.0.0.1:{mutual} ssl crt {pem} ca-file {bundle} verify required alpn h2,http/1.1\n  default_backend upstream\n\
             backend upstream\n  http-reuse always\n  http-request replace-path {PREFIX}(/.*) \\1\n  http-request set-header Host {HOST}\n  \
             http-request set-header Authorization \"{authorization}\"\n  \
             server upstream 127.0.0.1:{upstream} ssl verify required ca-file {ca} sni str({HOST}) verifyhost {HOST} alpn http/1.1\n",
            pem = folder.join("server.pem").display(),
            bundle = scene.bundle().display(),
            authorization = scene.authorization(),
            upstream = scene.upstream,
            ca = scene.world.ca.path().display(),
        );
        std::fs::write(folder.join("haproxy.cfg"), config).unwrap();
        let mut command = Command::new(&haproxy);
        command.args(["-db", "-f"]).arg(folder.join("haproxy.cfg"));
        library_path(&haproxy).map(|path| command.env("LD_LIBRARY_PATH", path));
        command
    })
}
