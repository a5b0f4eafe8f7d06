//! Tests of their own target.
