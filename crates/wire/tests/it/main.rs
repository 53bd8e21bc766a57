//! Conversations of the wire protocol, as text, against our parsers and against stock git.

mod advertise;
mod cuts;
mod fetch;
mod git;
mod push;
mod refusals;
mod round_trip;
mod transcript;
