//! What a child of `claviger exec` cannot reach.
