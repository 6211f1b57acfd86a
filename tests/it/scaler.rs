//! The external scaler on loopback: the whole port with TLS, driven by a real gRPC client.

mod calls;
mod certificates;
mod streams;
mod world;
