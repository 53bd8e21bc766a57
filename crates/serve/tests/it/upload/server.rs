//! A `git://` server of one repository, inside the test: a thread per connection.

use std::io::{self, BufReader, Read as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use repository::{MemoryPool, Repository, Settings};
use serve::upload::{FetchBudget, FetchGate, Turn, UploadPack};
use serve::{Error, Exchange, Namespace, ServerInfo};
use wire::{Limits, PacketReader, Protocol, Sink, WriteSink};

/// Serves a namespace of a repository on a free port, for the life of the test process.
pub fn listen(served: PathBuf, namespace: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let served = served.clone();
            std::thread::spawn(move || {
                // How a session ends is seen from the client's side.
                let _ = session(&served, namespace, stream);
            });
        }
    });
    format!("git://{address}/served.git")
}

fn session(served: &Path, namespace: &str, stream: TcpStream) -> Result<(), Error> {
    let mut input = BufReader::new(stream.try_clone()?);
    let mut reader = PacketReader::new(&mut input);
    let request = reader.next()?;
    let extra = request.text().unwrap_or_default().rsplit(|byte| *byte == 0).nth(1);
    let protocol = Protocol::from_git_protocol(extra.unwrap_or_default());
    reader.into_inner();

    let namespace = Namespace::new(namespace.as_bytes()).map_err(Error::Refused)?;
    let mut output = WriteSink::new(stream.try_clone()?);
    let how = Exchange::Conversation;
    let end = upload(served, namespace, protocol, how, &mut input, &mut output);
    let _ = output.flush();
    // The client may still be sending: closing now would cut off what it has yet to read.
    stream.shutdown(Shutdown::Write)?;
    io::copy(&mut stream.take(u64::MAX), &mut io::sink())?;
    end
}

/// Runs one session over any pair of streams.
pub fn upload(
    served: &Path,
    namespace: Namespace,
    protocol: Protocol,
    exchange: Exchange,
    input: &mut dyn io::BufRead,
    output: &mut dyn Sink,
) -> Result<(), Error> {
    upload_within(&Limits::default(), served, namespace, (protocol, exchange), input, output)
}

/// As [`upload`], with limits of its own.
pub fn upload_within(
    limits: &Limits,
    served: &Path,
    namespace: Namespace,
    (protocol, exchange): (Protocol, Exchange),
    input: &mut dyn io::BufRead,
    output: &mut dyn Sink,
) -> Result<(), Error> {
    let parts = storage_disk::open(served, &storage_disk::OpenOptions::default())?;
    let server = ServerInfo {
        agent: "packhorse/test".into(),
        session_id: "session".into(),
        sideband_all: false,
    };
    UploadPack {
        repository: &Repository::open(parts, Settings::default()),
        protocol,
        exchange,
        limits,
        namespace,
        server: &server,
        gate: &Open,
        budget: &FetchBudget::default(),
        now: Instant::now,
        watch: false,
    }
    .run(input, output)
    .map(|asked| assert_eq!(asked, None, "nobody offers it"))
}

/// Lets everybody in.
struct Open;

impl FetchGate for Open {
    fn enter(
        &self,
        bytes: usize,
        _: &mut dyn FnMut(usize) -> io::Result<()>,
    ) -> Result<Turn, Error> {
        let memory = Arc::new(MemoryPool::unlimited()).take(bytes).expect("no end");
        Ok(Turn { work: Box::new(()), memory })
    }
}
