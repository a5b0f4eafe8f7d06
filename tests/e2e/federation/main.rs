//! `kind = "federation"`: destinations that need no stored secret; canary placeholders.
