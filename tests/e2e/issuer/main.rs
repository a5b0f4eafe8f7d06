//! Tokens that Claviger mints: `[issuer]`, `kind = "jwt"`, `kind = "github-app"`.

mod documents;
mod github;
mod github_double;
mod scene;
mod verified;
