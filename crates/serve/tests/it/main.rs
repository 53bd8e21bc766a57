//! Stock git pushes to receive-pack and fetches from upload-pack over a socket.

mod borrowed;
mod bridge;
mod cut;
mod faults;
mod hooks;
mod proc_receive;
mod push;
mod races;
mod refusals;
mod shallow;
mod signed;
mod stateless;
mod update_instead;
mod upload;
