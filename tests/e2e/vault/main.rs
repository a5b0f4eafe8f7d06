//! Vault and OpenBao as a store and as a source, against a real OpenBao.

mod database;
mod kv;
mod logins;
mod outage;
mod pki;
mod scene;
