//! hudsucker, which intercepts: `benches/compare/peers/hudsucker`.

use std::process::Command;

use super::{Leg, door};
use crate::door::{Layer, Problem};
use crate::scene::{Scene, WORKERS, free_port};
use crate::server::{Server, program};

/// CONNECT, intercepted.
pub(crate) fn start(scene: &Scene) -> Result<Leg, Problem> {
    let port = free_port();
    let layer = Layer::Connect { port: 443, proof: None, tls: scene.intercepted() };
    let server = forward(scene, port)?.listening(port)?;
    Ok(Leg {
        name: "hudsucker",
        running: Box::new(server),
        clear: None,
        mutual: None,
        mutual_h2: None,
        connect: door(port, layer, ""),
    })
}

/// Starts it at this port.
pub(crate) fn forward(scene: &Scene, port: u16) -> Result<Server, Problem> {
    let hudsucker = program("peer-hudsucker")?;
    Server::spawn(|folder| {
        let mut command = Command::new(hudsucker);
        command.args([
            format!("listen=127.0.0.1:{port}"),
            format!("upstream=127.0.0.1:{}", scene.upstream),
            format!("ca={}", scene.world.ca.path().display()),
            format!("authorization={}", scene.authorization()),
            format!("authority={}", scene.authority.0.display()),
            format!("authority_key={}", scene.authority.1.display()),
            format!("workers={WORKERS}"),
            format!("log={}", folder.join("access.log").display()),
        ]);
        command
    })
}
