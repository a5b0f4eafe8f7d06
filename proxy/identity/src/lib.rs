//! Who is calling: attestors for X.509-SVIDs, JWTs and Unix peers.
