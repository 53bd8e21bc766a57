//! The program as its users meet it: stock git, curl and rude clients against real processes.

#![allow(clippy::print_stdout)] // Figures, and why a test was skipped.

mod accounts;
mod acme;
mod annex_notify;
mod archive;
mod bad_packs;
mod bad_requests;
mod bad_services;
mod budgets;
mod circle;
mod client;
mod command_line;
mod daemon;
mod damage;
mod dumb;
mod fetch;
mod fire;
mod git_port;
mod http;
mod http2;
mod http_backend;
mod https;
mod maintain;
mod memory;
mod names;
mod no_room;
mod push;
mod raw;
mod reftable;
mod refused_early;
mod remote_daemon;
mod repo;
mod service;
mod serving;
mod shapes;
mod signed_pushes;
mod ssh_client;
mod ssh_port;
mod startup;
mod stdio;
mod stop;
mod store;
mod table;
mod watch;
mod webhooks;
