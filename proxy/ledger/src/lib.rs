//! What happened: the append-only, hash-chained record of decisions and credential events.
