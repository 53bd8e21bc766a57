//! A server as a child process: started, found by the address it announces,
//! and never left behind.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

/// A running server program; killed and reaped on drop.
///
/// No port is chosen in advance: the program is asked to listen on port 0 and
/// says on its standard output where it ended up.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    address: String,
    printed: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl ServerProcess {
    /// Starts the program and waits for the first line of its standard output in
    /// which `find_address` finds an address. Standard error is inherited.
    ///
    /// # Panics
    /// When the program ends, or closes its output, before it announced one.
    pub fn spawn(
        mut command: Command,
        find_address: impl Fn(&str) -> Option<String>,
    ) -> ServerProcess {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|why| panic!("start {command:?}: {why}"));
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut seen = String::new();
        let address = loop {
            let start = seen.len();
            if lines.read_line(&mut seen).unwrap_or(0) == 0 {
                let _ = child.kill();
                let status = child.wait();
                panic!("{command:?} announced no address ({status:?}); it printed:\n{seen}");
            }
            if let Some(address) = find_address(&seen[start..]) {
                break address;
            }
        };
        let printed = Arc::new(Mutex::new(seen));
        let reader = Some(keep_reading(lines, Arc::clone(&printed)));
        ServerProcess { child, address, printed, reader }
    }

    /// [`ServerProcess::spawn`] for a program that prints a line with its base
    /// URL, `http://HOST:PORT/`; the address is that URL with the final slash.
    pub fn spawn_http(command: Command) -> ServerProcess {
        Self::spawn(command, |line| {
            let start = line.find("http://")?;
            let host = &line[start + "http://".len()..];
            let end = host.find(|c: char| c == '/' || c.is_whitespace()).unwrap_or(host.len());
            Some(format!("http://{}/", &host[..end]))
        })
    }

    /// What `find_address` found.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `HOST:PORT` of an HTTP base URL, for a plain TCP connection.
    pub fn authority(&self) -> &str {
        self.address.trim_start_matches("http://").trim_end_matches('/')
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything printed to standard output so far.
    pub fn printed(&self) -> String {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends SIGTERM, as an operator would.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGINT, as Ctrl-C would.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Waits for the program to end by itself, after [`ServerProcess::terminate`] say.
    pub fn wait(&mut self) -> ExitStatus {
        let status = self.child.wait().expect("wait for our own child");
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        status
    }

    fn signal(&self, signal: Signal) {
        // The child is not reaped yet (that takes &mut self), so its id is still its own.
        kill_process(Pid::from_child(&self.child), signal).expect("signal our own child");
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        // The reader is left to end by itself: a grandchild may still hold the pipe.
        let _ = self.child.wait();
    }
}

/// Drains the output, so that the server never blocks on a full pipe.
fn keep_reading(mut lines: BufReader<ChildStdout>, printed: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut line = Vec::new();
        while matches!(lines.read_until(b'\n', &mut line), Ok(count) if count > 0) {
            let mut printed = printed.lock().unwrap_or_else(PoisonError::into_inner);
            printed.push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}
