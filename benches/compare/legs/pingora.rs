//! pingora as a gateway: `benches/compare/peers/pingora`.

use std::process::Command;

use super::{Doors, PREFIX, gateway};
use crate::door::{HOST, Problem};
use crate::scene::{Scene, WORKERS, free_port};
use crate::server::{Server, program};

/// In clear text, and with client certificates.
pub(crate) fn launch(scene: &Scene) -> Result<(Server, Doors), Problem> {
    let (clear, mutual) = (free_port(), free_port());
    let pingora = program("peer-pingora")?;
    let server = Server::spawn(|folder| {
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
    })?;
    Ok((server, gateway(scene, clear, mutual)))
}
