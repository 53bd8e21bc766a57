//! One request, from the environment to the end of its answer.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use host::{
    Admitted, Caller, Catalogue, Credential, DumbFile, Exchange, Host, Identity, PathRules,
};
use host::{Refusal, RepositoryName, Request, Road, Settings, Switch, Task};
use wire::{Protocol, Service, Sink, WriteSink};

use crate::asked::{Asked, FileKind, NoWay, Variables, What, asked, method_status};
use crate::body::{BodyError, BodyFacts, REQUEST_BYTES_MAX, body, content_length, setting};
use crate::date::rfc2822;
use crate::head::{self, Head, HeadedSink};
use crate::{ANSWERED, FAILED, complain, text};

/// Why there is another answer than what was asked for.
enum Failure {
    /// A head that says so, and words for the server's log.
    Told { head: Head, words: String, body: String },
    /// Something is wrong here; words for the server's log.
    Fatal(String),
    /// The answer did not come to its end; words for the server's log.
    Cut(String),
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        Failure::Fatal(error.to_string())
    }
}

/// Answers a request; the exit status.
pub(crate) fn answer(variables: Variables<'_>, input: Box<dyn Read>, mut output: File) -> u8 {
    let failure = match serve(variables, input, &output) {
        Ok(()) => return ANSWERED,
        Err(failure) => failure,
    };
    let (head, words, body) = match failure {
        Failure::Told { head, words, body } => (head, words, body),
        Failure::Fatal(words) => {
            let mut head = Head::status(500, "Internal Server Error");
            head.no_cache();
            (head, format!("fatal: {words}"), String::new())
        }
        Failure::Cut(words) => {
            complain(&format!("fatal: {words}"));
            return FAILED;
        }
    };
    let written = head::write(&mut output, &head, &body);
    if !words.is_empty() {
        complain(&words);
    }
    if written.is_ok() { ANSWERED } else { FAILED }
}

fn serve(variables: Variables<'_>, input: Box<dyn Read>, output: &File) -> Result<(), Failure> {
    let Asked { directory, what } = asked(variables).map_err(|no| no_way(no, variables))?;
    let admitted = admit(variables, &directory, &what)?;
    match what {
        What::NoService(name) => Err(told(403, "Forbidden", no_service(&name))),
        // They are asked for without a word before.
        What::Advertisement(Service::UploadArchive) => {
            Err(told(403, "Forbidden", no_service(Service::UploadArchive.name())))
        }
        What::File { path, kind } => send_file(&admitted, &path, kind, output),
        What::Advertisement(service) => {
            let head = smart_head(service, "advertisement");
            let first = (protocol(variables) != Protocol::V2).then(|| service_line(service));
            converse(admitted, head, first, &mut io::empty(), output)
        }
        What::Round(service) => {
            check_type(service, &text(variables("CONTENT_TYPE")))?;
            let facts = body_facts(variables, service, &admitted)?;
            let mut input = body(input, facts)?;
            converse(admitted, smart_head(service, "result"), None, &mut *input, output)
        }
    }
}

fn told(code: u16, status: &str, words: String) -> Failure {
    let mut head = Head::status(code, status);
    head.no_cache();
    Failure::Told { head, words, body: String::new() }
}

fn no_way(no: NoWay, variables: Variables<'_>) -> Failure {
    match no {
        NoWay::Server(words) => Failure::Fatal(words),
        NoWay::NotFound(path) => told(404, "Not Found", format!("Request not supported: '{path}'")),
        NoWay::Method { allowed } => {
            let (code, status) = method_status(variables);
            let mut head = Head::status(code, status);
            if code == 405 {
                head.add("Allow", allowed);
            }
            head.no_cache();
            Failure::Told { head, words: String::new(), body: String::new() }
        }
    }
}

/// Words about a service that is not there.
fn no_service(name: &str) -> String {
    format!("Unsupported service: '{name}'")
}

/// The version the client asks for; what the web server sets by itself wins.
fn protocol(variables: Variables<'_>) -> Protocol {
    let value = variables("GIT_PROTOCOL").or_else(|| variables("HTTP_GIT_PROTOCOL"));
    value.map_or(Protocol::V0, |value| Protocol::from_git_protocol(value.as_encoded_bytes()))
}

/// Asks the host.
fn admit(variables: Variables<'_>, directory: &[u8], what: &What) -> Result<Admitted, Failure> {
    let user = text(variables("REMOTE_USER"));
    let address = text(variables("REMOTE_ADDR"));
    let smart = |service: Service, exchange| Task::Smart {
        service,
        exchange,
        protocol: protocol(variables).of_service(service),
    };
    let task = match what {
        What::File { path, .. } => Task::File { path: path.clone() },
        What::Advertisement(service) => smart(*service, Exchange::Advertise),
        What::Round(service) => smart(*service, Exchange::Round),
        // Whether the repository is there is answered first.
        What::NoService(_) => Task::File { path: "HEAD".to_owned() },
    };
    // Whoever the web server knows may push and ask for archives, if nobody said otherwise.
    let of_somebody = matches!(
        what,
        What::Advertisement(Service::ReceivePack | Service::UploadArchive)
            | What::Round(Service::ReceivePack | Service::UploadArchive)
    );
    let on = !of_somebody || !user.is_empty();
    let identity = (!user.is_empty()).then(|| Identity {
        user: user.clone(),
        email: None,
        credential: Credential::Other("REMOTE_USER".to_owned()),
    });
    let settings = settings(&user, &address);
    let rules = PathRules {
        owner: Some(settings.owner_context()),
        exported_only: variables("GIT_HTTP_EXPORT_ALL").is_none(),
        ..PathRules::default()
    };
    let path = Path::new(OsStr::from_bytes(directory));
    let home = variables("HOME");
    let path =
        host::expand_user(path, home.as_deref().map(Path::new)).unwrap_or_else(|| path.to_owned());
    let host = Host::new(Catalogue::of_any_path(rules, &settings), settings);
    let request = Request {
        repository: RepositoryName::local_path(&path),
        task,
        caller: Caller { identity, address: address.parse().ok() },
        road: Road::Cgi(Switch { on, repository_decides: true }),
    };
    let directory = String::from_utf8_lossy(directory);
    host.admit(request).map_err(|refusal| match refusal {
        Refusal::NotARepository { .. } => {
            told(404, "Not Found", format!("Not a git repository: '{directory}'"))
        }
        Refusal::NotExported { .. } => {
            told(404, "Not Found", format!("Repository not exported: '{directory}'"))
        }
        Refusal::NotEnabled { service } => {
            let words = match what {
                What::NoService(name) => no_service(name),
                What::File { .. } => "Unsupported service: getanyfile".to_owned(),
                _ => format!("Service not enabled: '{service}'"),
            };
            told(403, "Forbidden", words)
        }
        other => Failure::Fatal(other.to_string()),
    })
}

/// The settings of this process, and who stands in reflogs: whom the web server knows, unless it says more.
fn settings(user: &str, address: &str) -> Settings {
    let mut settings = Settings::of_this_process();
    let or = |value: &str, other: &str| match value {
        "" => other.to_owned(),
        value => value.to_owned(),
    };
    let name = or(user, "anonymous");
    let email = format!("{name}@http.{}", or(address, "(none)"));
    let known = [("GIT_COMMITTER_NAME", name), ("GIT_COMMITTER_EMAIL", email)];
    for (variable, value) in &known {
        if settings.hook_environment.get(variable).is_none() {
            settings.hook_environment.set(*variable, value);
        }
    }
    let of_process = settings.variable.clone();
    settings.variable = Arc::new(move |variable| {
        let known = || known.iter().find(|(known, _)| *known == variable);
        of_process(variable).or_else(|| known().map(|(_, value)| OsString::from(value)))
    });
    settings
}

fn smart_head(service: Service, what: &str) -> Head {
    let mut head = Head::default();
    head.no_cache().add("Content-Type", &format!("application/x-{}-{what}", service.name()));
    head
}

/// The line in front of a v0 or v1 advertisement (gitprotocol-http).
fn service_line(service: Service) -> Bytes {
    let line = format!("# service={}\n", service.name());
    Bytes::from(format!("{:04x}{line}0000", line.len() + 4))
}

fn check_type(service: Service, actual: &str) -> Result<(), Failure> {
    let expected = format!("application/x-{}-request", service.name());
    if actual == expected {
        return Ok(());
    }
    let mut head = Head::status(415, "Unsupported Media Type");
    head.no_cache();
    let body =
        format!("Expected POST with Content-Type '{expected}', but received '{actual}' instead.\n");
    Err(Failure::Told { head, words: String::new(), body })
}

fn body_facts(
    variables: Variables<'_>,
    service: Service,
    admitted: &Admitted,
) -> Result<BodyFacts, Failure> {
    const MAX: &str = "GIT_HTTP_MAX_REQUEST_BUFFER";
    let said =
        admitted.request_bytes_max().map_err(|refusal| Failure::Fatal(refusal.to_string()))?;
    let max = match variables(MAX) {
        Some(value) => setting(MAX, &text(Some(value)))?,
        None => said.unwrap_or(REQUEST_BYTES_MAX),
    };
    let encoding = text(variables("HTTP_CONTENT_ENCODING"));
    Ok(BodyFacts {
        length: content_length(&text(variables("CONTENT_LENGTH")))?,
        gzip: matches!(encoding.as_str(), "gzip" | "x-gzip"),
        max: (service == Service::UploadPack).then_some(max),
    })
}

fn converse(
    admitted: Admitted,
    head: Head,
    first: Option<Bytes>,
    input: &mut dyn BufRead,
    output: &File,
) -> Result<(), Failure> {
    let cut = |error: io::Error| Failure::Cut(error.to_string());
    let mut sink = HeadedSink::new(head, WriteSink::new(output));
    if let Some(first) = first {
        sink.send(first).map_err(cut)?;
    }
    match admitted.run(input, &mut sink) {
        Ok(_) => sink.finish().map_err(cut),
        Err(error) => {
            let mut failed = Head::status(500, "Internal Server Error");
            failed.no_cache();
            // Nobody may be there to be told.
            let _ = sink.replace(failed);
            Err(Failure::Cut(error.to_string()))
        }
    }
}

fn send_file(
    admitted: &Admitted,
    path: &str,
    kind: FileKind,
    output: &File,
) -> Result<(), Failure> {
    let file = admitted.file().map_err(|refusal| match refusal {
        Refusal::NotFound { name } => {
            let words = format!("Cannot open '{name}/{path}': No such file or directory");
            told(404, "Not Found", words)
        }
        other => Failure::Fatal(other.to_string()),
    })?;
    let mut sink = WriteSink::new(output);
    send_pieces(&file, &file_head(&file, kind), &mut sink)
        .map_err(|error| Failure::Cut(error.to_string()))
}

fn file_head(file: &DumbFile, kind: FileKind) -> Head {
    let seconds =
        |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut head = Head::default();
    let media_type = match kind {
        FileKind::Head => "text/plain",
        FileKind::Text(media_type) => {
            head.no_cache();
            media_type
        }
        FileKind::Forever(media_type) => {
            head.cache_forever(seconds(SystemTime::now()));
            media_type
        }
    };
    head.add("Content-Length", &file.len().to_string()).add("Content-Type", media_type);
    if let Some(modified) = file.modified {
        head.add("Last-Modified", &rfc2822(seconds(modified)));
    }
    head
}

fn send_pieces(file: &DumbFile, head: &Head, sink: &mut dyn Sink) -> io::Result<()> {
    sink.send(head.end())?;
    if let Some(whole) = file.whole() {
        sink.send(whole.clone())?;
        return sink.flush();
    }
    let mut at = 0;
    while at < file.len() {
        let piece = file.read(at, file.len())?;
        at += piece.len() as u64;
        sink.send(piece)?;
    }
    sink.flush()
}
