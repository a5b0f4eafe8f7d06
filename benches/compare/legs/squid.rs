//! Squid, which intercepts ("ssl-bump").

use std::path::Path;
use std::process::Command;

use super::{Doors, forward};
use crate::door::{HOST, Problem};
use crate::scene::{Scene, free_port};
use crate::server::{Server, library_path, program};

/// CONNECT, intercepted; one worker: several share no connections and need the system's shared memory.
pub(crate) fn launch(scene: &Scene) -> Result<(Server, Doors), Problem> {
    let port = free_port();
    let (squid, certgen) = (program("squid")?, program("security_file_certgen")?);
    let server = Server::spawn(|folder| {
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
                "error_directory {0}-langpack/templates\nicon_directory {0}/icons\nmime_table {0}/mime.conf\n",
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
             unlinkd_program /bin/true\nmax_filedescriptors 4096\n{own}{user}",
            authority = scene.authority.0.display(),
            key = scene.authority.1.display(),
            certgen = certgen.display(),
            ca = scene.world.ca.path().display(),
            authorization = scene.authorization(),
            own = share.map(own).unwrap_or_default(),
            user = user(folder),
            folder = folder.display(),
        );
        std::fs::write(folder.join("squid.conf"), config).unwrap();
        let mut command = run(&squid);
        // Its shared memory goes by this name.
        command.args(["-N", "-n", &format!("compare{port}"), "-f"]).arg(folder.join("squid.conf"));
        command
    })?;
    Ok((server, forward(scene, port, scene.upstream)))
}

/// It refuses to be root: then it becomes nobody, to whom its folder belongs.
fn user(folder: &Path) -> &'static str {
    if !rustix::process::geteuid().is_root() {
        return "";
    }
    let owned = Command::new("chown").args(["-R", "nobody"]).arg(folder).status();
    assert!(owned.is_ok_and(|status| status.success()), "chown");
    "cache_effective_user nobody\ncache_effective_group nogroup\n"
}
