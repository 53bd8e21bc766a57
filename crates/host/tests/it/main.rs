//! The host as a front-end meets it.

mod turns;
