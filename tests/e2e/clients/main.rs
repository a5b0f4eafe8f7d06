//! Real clients, each by `exec`, through a forward and through a gateway listener; `docs/clients.md` is made of this.

mod hostile;
mod origin;
mod packages;
mod page;
mod relay;
mod rows;
mod scene;
