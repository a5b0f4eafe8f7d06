//! hudsucker, which intercepts: `benches/compare/peers/hudsucker`.

use std::process::Command;

use super::{Doors, forward};
use crate::door::Problem;
use crate::scene::{Scene, WORKERS, free_port};
use crate::server::{Server, program};

/// CONNECT, intercepted.
pub(crate) fn launch(scene: &Scene) -> Result<(Server, Doors), Problem> {
    let port = free_port();
    let hudsucker = program("peer-hudsucker")?;
    let server = Server::spawn(|folder| {
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
    })?;
    Ok((server, forward(scene, port, 443)))
}
