//! HTTP by way of a web server that starts a program for each request (RFC 3875): a drop-in for
//! git-http-backend(1).
//!
//! Floor 7: sees `host` and `wire`. The program runs with the web server's rights and believes what it says in
//! the environment; who may ask for what beyond that is the web server's to decide.

mod answer;
mod asked;
mod body;
mod date;
mod head;
mod query;

use std::ffi::OsString;
use std::io::{self, Write};

pub use asked::Variables;

/// Exit status when a request was answered, be it with a refusal.
pub const ANSWERED: u8 = 0;
/// Exit status when an answer did not come to its end.
pub const FAILED: u8 = 1;

/// Answers the request this process was started for: the environment and standard input are read, the answer
/// goes to standard output, and words for whoever looks after the server to standard error.
///
/// What comes back is the exit status.
pub fn serve_process() -> u8 {
    let variables = |name: &str| std::env::var_os(name);
    // Past the standard library's line buffer: packs are written as they lie.
    let stdout = match rustix::io::dup(rustix::stdio::stdout()) {
        Ok(stdout) => std::fs::File::from(stdout),
        Err(error) => {
            complain(&format!("fatal: standard output: {error}"));
            return FAILED;
        }
    };
    answer::answer(&variables, Box::new(io::stdin()), stdout)
}

/// Says something to whoever looks after the server.
pub(crate) fn complain(words: &str) {
    // There is nobody else to tell.
    let _ = writeln!(io::stderr(), "{words}");
}

/// A variable as text for words; what is not UTF-8 is replaced.
pub(crate) fn text(value: Option<OsString>) -> String {
    value.map(|value| value.to_string_lossy().into_owned()).unwrap_or_default()
}
