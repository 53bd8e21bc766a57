//! Stock git pushes to receive-pack and fetches from upload-pack over a socket.

mod bridge;
mod cut;
mod hooks;
mod proc_receive;
mod push;
mod races;
mod refusals;
mod shallow;
mod update_instead;
mod upload;
