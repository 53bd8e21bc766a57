//! Stock git pushes to receive-pack over a socket, and looks at what it left on disk.

mod bridge;
mod cut;
mod hooks;
mod proc_receive;
mod push;
mod races;
mod refusals;
mod shallow;
