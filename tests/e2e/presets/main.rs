//! Each preset, by the official client of its service, against a strict double of it.
