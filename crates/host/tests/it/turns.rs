//! Fetches that wait for each other.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use host::{Caller, Catalogue, Exchange, Host, RepositoryName, Request, Road, Settings, Task};
use testkit::{RealGit, Scenario};
use wire::{Protocol, Service, Sink};

/// How long something that must happen may take before it is called hung.
const HUNG: Duration = Duration::from_secs(120);

/// A client that takes nothing more from the first flush on, until it is told to go on.
struct Stubborn {
    blocked: Sender<()>,
    go_on: Receiver<()>,
}

impl Sink for Stubborn {
    fn send(&mut self, _: Bytes) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        // Nobody listens after the first time.
        if self.blocked.send(()).is_ok() {
            let _ = self.go_on.recv();
        }
        Ok(())
    }
}

/// A client that takes all it gets.
#[derive(Clone, Default)]
struct Eager(Arc<Mutex<Vec<u8>>>);

impl Eager {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }
}

impl Sink for Eager {
    fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        self.0.lock().expect("no panic").extend_from_slice(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn fetch(host: &Host, tip: &str, output: &mut dyn Sink) {
    let packet = |text: &str| format!("{:04x}{text}", text.len() + 4);
    let lines = [format!("want {tip}\n"), "done\n".into()].map(|line| packet(&line)).concat();
    let body = format!("{}0001{lines}0000", packet("command=fetch\n"));
    let admitted = host.admit(Request {
        repository: RepositoryName::new(b"a").expect("a name"),
        task: Task::Smart {
            service: Service::UploadPack,
            exchange: Exchange::Round,
            protocol: Protocol::V2,
        },
        caller: Caller::default(),
        road: Road::Http,
    });
    admitted.expect("anybody may read").run(&mut body.as_bytes(), output).expect("a pack");
}

#[test]
fn a_fetch_hears_that_it_waits_and_is_answered_in_its_turn() {
    let git = RealGit::new();
    let origin = Scenario::linear(20).build(&git, "srv/a.git");
    let tip = git.rev_parse(&origin, "HEAD").to_string();
    let mut settings = Settings::default();
    settings.turns.concurrent_fetches = 1;
    let catalogue = Catalogue::of_folder(&git.path("srv"), &settings).expect("a folder");
    let host = Host::new(catalogue, settings);

    let (blocked, is_blocked) = channel();
    let (release, go_on) = channel();
    let eager = Eager::default();
    thread::scope(|scope| {
        let (host, tip) = (&host, &tip);
        scope.spawn(move || fetch(host, tip, &mut Stubborn { blocked, go_on }));
        is_blocked.recv_timeout(HUNG).expect("the first fetch is being worked out");
        let mut output = eager.clone();
        let second = scope.spawn(move || fetch(host, tip, &mut output));
        let start = Instant::now();
        while !eager.text().contains("fetches ahead: 1\r") {
            assert!(start.elapsed() < HUNG, "{}", eager.text());
            thread::yield_now();
        }
        assert!(!eager.text().contains("PACK"), "it waits");
        drop(is_blocked);
        release.send(()).expect("the first client waits");
        second.join().expect("the second fetch ends");
    });
    let text = eager.text();
    assert!(text.contains("fetches ahead: 0, done.") && text.contains("PACK"), "{text}");
}
