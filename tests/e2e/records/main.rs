//! From a denial to a rule: what the ledger remembers of a request, why it was refused, which rule would allow it, and
//! what a listener that only observes lets pass.

mod explain;
mod observe;
mod query;
mod scene;
mod suggest;
