//! Vault and OpenBao as a store and as a source, against a real OpenBao.

mod certificates;
mod clouds;
mod database;
mod discovery;
mod kubernetes;
mod kv;
mod logins;
mod namespaces;
mod outage;
mod pki;
mod scene;
