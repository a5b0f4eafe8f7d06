//! How bytes move: listeners, interception, the request pipeline, upstream connections.
