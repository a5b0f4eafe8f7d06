//! Squid, which intercepts ("ssl-bump").

use std::path::Path;
use std::process::Command;

use super::{Leg, door};
use crate::door::{HOST, Layer, Problem};
use crate::scene::{Scene, free_port};
use crate::server::{Server, library_path, program};

/// CONNECT, intercepted.
pub(crate) fn start(scene: &Scene) -> Result<Leg, Problem> {
    let port = free_port();
    let layer = Layer::Connect { port: scene.upstream, proof: None, tls: scene.intercepted() };
    let server = forward(scene, port)?.listening(port)?;
    Ok(Leg {
        name: "squid",
        running: Box::new(server),
        clear: None,
        mutual: None,
        mutual_h2: None,
        connect: door(port, layer, ""),
    })
}

/// Starts it at this port, with one worker: several share no connections and need the system's shared memory.
fn forward(scene: &Scene, port: u16) -> Result<Server, Problem> {
    let (squid, certgen) = (program("squid")?, program("security_file_certgen")?);
    Server::spawn(|folder| {
        // As root it would become a user who may not read here.
        std::fs::write(folder.join("hosts"), format!("127.0.0.1 {HOST}\n")).unwrap();
        let libraries = library_path(&squid);
        let share = squid.parent().map(|sbin| sbin.join("../share/squid")).filter(|share| share.is_dir());
        let run = |program: &Path| {
            let mut command = Command::new(program);
            libraries.as_ref().map(|path| command.env("LD_LIBRARY_PATH", path));
            command
        };
        let _ = run(&certgen).arg("-c").arg("-s").arg(folder.join("certificates")).args(["-M", "4MB"]).output();
        let own = |share: std::path::PathBuf| {
            format!(
                "error_directory {0}/errors/templates\nicon_directory {0}/icons\nmime_table {0}/mime.conf\n",
                share.display()
            )
        };
        let config = format!(
            "http_port 127.0.0.1:{port} ssl-bump generate-host-certificates=on tls-cert={authority} tls-key={key}\n\
             sslcrtd_program {certgen} -s {folder}/certificates -M 4MB\nsslcrtd_children 1\nssl_bump bump all\n\
             tls_outgoing_options cafile={ca}\nhosts_file {folder}/hosts\nhttp_access allow all\ncache deny all\n\
             request_header_access Authorization deny all\nrequest_header_add Authorization \"{authorization}\"\n\
             access_log stdio:{folder}/access.log\ncache_log {folder}/cache.log\npid_filename none\nvia off\n\
             server_persistent_connections on\nclient_persistent_connections on\nforwarded_for delete\n\
             cache_mem 8 MB\ncoredump_dir {folder}\nnetdb_filename none\npinger_enable off\nshutdown_lifetime 0 seconds\n\
             unlinkd_program /bin/true\nmax_filedescriptors 4096\ncache_effective_user root\n{own}",
            authority = scene.authority.0.display(),
            key = scene.authority.1.display(),
            certgen = certgen.display(),
            ca = scene.world.ca.path().display(),
            authorization = scene.authorization(),
            own = share.map(own).unwrap_or_default(),
            folder = folder.display(),
        );
        std::fs::write(folder.join("squid.conf"), config).unwrap();
        let mut command = run(&squid);
        command.args(["-N", "-f"]).arg(folder.join("squid.conf"));
        command
    })
}
