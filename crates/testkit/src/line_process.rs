//! A program that is talked with in lines, on its standard streams.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::HUNG;

/// A running program; killed when it is dropped.
#[derive(Debug)]
pub struct LineProcess {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Vec<u8>>,
    /// All that was said and listened to, for whoever has to find out why.
    heard: Vec<String>,
    errors: Arc<Mutex<Vec<u8>>>,
}

impl LineProcess {
    /// Starts a program.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|why| panic!("{command:?}: {why}"));
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("piped");
        let mut stderr = child.stderr.take().expect("piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n') {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let errors = Arc::new(Mutex::new(Vec::new()));
        let kept = errors.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stderr.read(&mut buffer) {
                kept.lock().expect("nobody panics").extend_from_slice(&buffer[..count]);
            }
        });
        LineProcess { child, stdin, lines, heard: Vec::new(), errors }
    }

    /// Sends bytes as they are. Nothing happens when the program does not listen any more.
    pub fn send(&mut self, bytes: &[u8]) {
        if let Some(stdin) = &mut self.stdin {
            let _ = stdin.write_all(bytes).and_then(|()| stdin.flush());
        }
    }

    /// Sends a line.
    pub fn say(&mut self, line: &str) {
        self.send(format!("{line}\n").as_bytes());
    }

    /// The next line, if there is one within this time.
    pub fn next_within(&mut self, time: Duration) -> Option<String> {
        let line = match self.lines.recv_timeout(time) {
            Ok(line) => String::from_utf8_lossy(&line).into_owned(),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
        };
        self.heard.push(line.clone());
        Some(line)
    }

    /// Waits for a line, passing others over.
    ///
    /// # Panics
    /// With all that was heard, when it never comes.
    pub fn expect(&mut self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        while start.elapsed() < HUNG {
            match self.next_within(Duration::from_millis(100)) {
                Some(line) if is_it(&line) => return line,
                Some(_) => {}
                None if self.has_ended() => break,
                None => {}
            }
        }
        panic!("never said: {what}\nheard: {:#?}\nerrors: {}", self.heard, self.errors());
    }

    /// Waits for a line that begins so.
    ///
    /// # Panics
    /// When it never comes.
    pub fn expect_start(&mut self, start: &str) -> String {
        self.expect(start, |line| line.starts_with(start))
    }

    /// What it wrote to standard error up to now.
    pub fn errors(&self) -> String {
        let errors = self.errors.lock().expect("nobody panics");
        String::from_utf8_lossy(&errors).into_owned()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Closes its standard input.
    pub fn close(&mut self) {
        self.stdin = None;
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it never ends.
    pub fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        while start.elapsed() < HUNG {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            thread::sleep(Duration::from_millis(2));
        }
        panic!("never ended\nheard: {:#?}\nerrors: {}", self.heard, self.errors());
    }
}

impl Drop for LineProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
