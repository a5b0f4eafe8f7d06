//! Tokens that Claviger mints: `[issuer]`, `kind = "jwt"`, `kind = "github-app"`.
