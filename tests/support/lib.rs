//! Harness of the end-to-end tests: the real binary, upstreams that check, clients that are unmodified.

pub mod binary;
pub mod canary;
pub mod issuer;
pub mod origin;
pub mod peers;
pub mod proxy;
pub mod svid;
pub mod wait;

pub use binary::binary;
pub use origin::Origin;
pub use proxy::{CI, GATEWAY, PATIENCE, Proxy, World, app_and_api};
pub use wait::until;
