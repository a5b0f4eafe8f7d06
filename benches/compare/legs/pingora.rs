//! pingora as a gateway: `benches/compare/peers/pingora`.

use std::process::Command;

use super::{Leg, PREFIX, door};
use crate::door::{HOST, Layer, Problem};
use crate::scene::{Scene, WORKERS, free_port};
use crate::server::{Server, program};

/// In clear text, and with client certificates.
pub(crate) fn start(scene: &Scene) -> Result<Leg, Problem> {
    let (clear, mutual) = (free_port(), free_port());
    let server = gateway(scene, clear, mutual)?.listening(clear)?;
    Ok(Leg {
        name: "pingora",
        running: Box::new(server),
        clear: door(clear, Layer::Clear, PREFIX),
        mutual: door(mutual, Layer::Tls(scene.mutual(&["http/1.1"])), PREFIX),
        mutual_h2: door(mutual, Layer::Tls(scene.mutual(&["h2"])), PREFIX),
        connect: None,
    })
}

/// Starts the gateway at these ports.
pub(crate) fn gateway(scene: &Scene, clear: u16, mutual: u16) -> Result<Server, Problem> {
    let pingora = program("peer-pingora")?;
    Server::spawn(|folder| {
        let mut command = Command::new(pingora);
        command.args([
            format!("listen=127.0.0.1:{clear}"),
            format!("mutual=127.0.0.1:{mutual}"),
            format!("certificate={}", scene.server.cert.display()),
            format!("key={}", scene.server.key.display()),
            format!("clients={}", scene.bundle().display()),
            format!("upstream=127.0.0.1:{}", scene.upstream),
            format!("sni={HOST}"),
            format!("ca={}", scene.world.ca.path().display()),
            format!("authorization={}", scene.authorization()),
            format!("prefix={PREFIX}"),
            format!("workers={WORKERS}"),
            format!("log={}", folder.join("access.log").display()),
        ]);
        command
    })
}
