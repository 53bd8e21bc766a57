//! Stock git fetches from upload-pack over a socket; stock git's own server, fed the same
//! requests, says what should have come.

mod filters;
mod layouts;
mod limits;
mod objects_by_id;
mod refs;
mod rounds;
mod server;
mod shallow;
mod twins;
