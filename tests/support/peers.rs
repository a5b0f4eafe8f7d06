//! Servers and clients that nobody here wrote, started for one test and gone after it.
//!
//! `tests/run --install-only` installs them under `tests/.peers`. Each starter has a `start` that returns once the server
//! answers, listens on a free loopback port, writes into a temporary folder of its own, and dies with its value (or with
//! the test process, however that ends). Where it serves TLS, its certificate comes from the [`TestCa`] that is passed in.
//!
//! | starter | what it is | key check |
//! |---|---|---|
//! | [`Llama`] | llama.cpp's server, cleartext and behind nginx's TLS: OpenAI and Anthropic APIs | API key |
//! | [`GitHttps`] | nginx with git's own HTTP backend | basic auth |
//! | [`OidcProvider`] | npm's oidc-provider | client secret, signed assertion, or certificate |
//! | [`Authgent`] | PyPI's authgent-server | identity token of an issuer, to exchange |
//! | [`LoginProvider`] | npm's oidc-provider, for people | code and PKCE, device code, each refresh token once |
//! | [`OpenBao`] | OpenBao over TLS, with raft storage | whatever a test sets up |
//! | [`Postgres`] | PostgreSQL | password (SCRAM) |
//! | [`JwtApi`] | an API behind Envoy's `jwt_authn` | access token: issuer, audience, signature, time |
//!
//! [`Client`] runs an unmodified client in an otherwise empty environment. What a server saw of it, the credential above
//! all, is told by the server's own access log: [`Sees`].

mod authgent;
pub mod ca;
mod client;
mod envoy;
mod git;
mod installed;
mod llama;
mod login;
mod nginx;
mod oidc;
mod openbao;
mod postgres;
mod seen;
mod server;

pub use authgent::Authgent;
pub use ca::{IssuedFiles, TestCa};
pub use client::{Client, Ran};
pub use envoy::{JwtApi, TrustedIssuer};
pub use git::GitHttps;
pub use installed::Installed;
pub use llama::Llama;
pub use login::{Browser, LoginProvider};
pub use nginx::{MutualTls, TlsFront};
pub use oidc::{OidcProvider, SecretIn};
pub use openbao::OpenBao;
pub use postgres::Postgres;
pub use seen::{Seen, Sees};
pub use server::{Endpoint, Server};
