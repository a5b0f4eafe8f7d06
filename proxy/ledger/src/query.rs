//! Reading a ledger: its records, and whether its chain is whole.
