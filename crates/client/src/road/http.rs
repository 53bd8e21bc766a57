//! Requests of HTTP (gitprotocol-http).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT,
};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use wire::client::Advertised;
use wire::{Protocol, Service};

use super::body::{Body, BodyReader};
use super::{Answer, read_advertised, tcp, tls};
use crate::credentials::{Login, Verdict};
use crate::packets::Packets;
use crate::{Error, HttpUrl, Options, RemoteUrl};

/// Of what a server says about a failure so much is read, bytes.
const WORDS_BYTES_MAX: usize = 16 << 10;
/// And so much is shown, characters.
const WORDS_MAX: usize = 200;

/// A repository that HTTP reaches.
pub(crate) struct HttpRoad {
    url: HttpUrl,
    login: Option<Login>,
    connection: Option<Connection>,
    options: Options,
}

/// A connection that takes one request after another.
pub(super) struct Connection {
    pub sender: SendRequest<Body>,
    task: Arc<Task>,
}

/// What moves the bytes of a connection; it ends when nobody wants them any more.
pub(super) struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Asks a server what it has first.
pub(super) async fn open(
    url: &HttpUrl,
    service: Service,
    options: &Options,
) -> Result<(HttpRoad, Advertised), Error> {
    let mut road =
        HttpRoad { url: url.clone(), login: None, connection: None, options: options.clone() };
    let silence = Error::Silent(options.connect_timeout);
    let asked = tokio::time::timeout(options.connect_timeout, road.ask_first(service));
    let advertised = asked.await.unwrap_or(Err(silence))?;
    Ok((road, advertised))
}

impl HttpRoad {
    async fn ask_first(&mut self, service: Service) -> Result<Advertised, Error> {
        let tail = format!("/info/refs?service={}", service.name());
        let mut redirects = 0;
        let mut found = None;
        let response = loop {
            let response = self.get(&tail).await?;
            match response.status() {
                StatusCode::OK => break response,
                StatusCode::UNAUTHORIZED if found.is_none() => {
                    let login = self.find_login().await?;
                    self.login = Some(login.clone());
                    found = Some(login);
                }
                StatusCode::UNAUTHORIZED => {
                    self.tell(found.as_ref(), Verdict::Bad).await;
                    return Err(Error::Unauthorized { url: self.url.to_string() });
                }
                status if status.is_redirection() => {
                    redirects += 1;
                    if redirects > self.options.http.redirects_max {
                        let words = format!("{}: too many other addresses", self.url);
                        return Err(Error::Unsupported(words));
                    }
                    self.follow(&response, &tail)?;
                    found = None;
                }
                _ => return Err(self.refused(response).await),
            }
        };
        self.tell(found.as_ref(), Verdict::Good).await;
        let expected = format!("application/x-{}-advertisement", service.name());
        if response.headers().get(CONTENT_TYPE).is_none_or(|found| found != expected.as_str()) {
            let words = format!("{}: the server does not speak git's smart protocol", self.url);
            return Err(Error::Unsupported(words));
        }
        let mut packets =
            Packets::new(Box::new(BodyReader::new(response.into_body())), self.options.silence_max);
        let advertised = read_advertised(&mut packets, &self.options).await?;
        // Read to its end, the connection can be used again.
        while !matches!(packets.next().await?, wire::Packet::Eof) {}
        Ok(advertised)
    }

    /// A login from the address, or whoever knows one.
    async fn find_login(&self) -> Result<Login, Error> {
        if let (Some(user), Some(password)) = (&self.url.user, &self.url.password) {
            return Ok(Login { user: user.clone(), password: password.clone() });
        }
        let found = self.options.credentials.find(&self.url).await;
        found.ok_or_else(|| Error::Unauthorized { url: self.url.to_string() })
    }

    /// Those who know logins are told about theirs.
    async fn tell(&self, login: Option<&Login>, verdict: Verdict) {
        if let Some(login) = login.filter(|_| self.url.password.is_none()) {
            self.options.credentials.tell(&self.url, login, verdict).await;
        }
    }

    /// Goes on at another address.
    fn follow(&mut self, response: &Response<Incoming>, tail: &str) -> Result<(), Error> {
        let target = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let target = target.unwrap_or_default();
        let whole = match target.starts_with('/') {
            true => format!("{}://{}{target}", self.url.scheme(), self.url.authority()),
            false => target.to_owned(),
        };
        let other = whole.strip_suffix(tail).and_then(|base| base.parse().ok());
        let Some(RemoteUrl::Http(other)) = other else {
            let shown = crate::url::without_password(&whole);
            let words = format!("{}: the server sends elsewhere, to '{shown}'", self.url);
            return Err(Error::Unsupported(words));
        };
        let is_same = (other.is_tls, other.host_name(), other.port())
            == (self.url.is_tls, self.url.host_name(), self.url.port());
        // What is known of a login is for the place it was given for.
        let (user, password) = match is_same {
            true => (self.url.user.take(), self.url.password.take()),
            false => {
                self.login = None;
                self.connection = None;
                (other.user.clone(), other.password.clone())
            }
        };
        self.url = HttpUrl { user, password, ..other };
        Ok(())
    }

    async fn get(&mut self, tail: &str) -> Result<Response<Incoming>, Error> {
        let (request, _) = (self.request(Method::GET, tail, Protocol::V2)?, ());
        self.send(request.body(Body::whole(Default::default()))).await
    }

    /// Sends a request to a service; what comes is its answer.
    pub async fn post(
        &mut self,
        service: Service,
        protocol: Protocol,
        body: Body,
    ) -> Result<Answer, Error> {
        let name = service.name();
        let request = self.request(Method::POST, &format!("/{name}"), protocol)?;
        let request = request
            .header(CONTENT_TYPE, format!("application/x-{name}-request"))
            .header(ACCEPT, format!("application/x-{name}-result"));
        let response = self.send(request.body(body)).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => {
                return Err(Error::Unauthorized { url: self.url.to_string() });
            }
            _ => return Err(self.refused(response).await),
        }
        let reader = Box::new(BodyReader::new(response.into_body()));
        let packets = Packets::new(reader, self.options.silence_max);
        let task = self.connection.as_ref().map(|connection| connection.task.clone());
        Ok(Answer { packets, kept: Box::new(task) })
    }

    fn request(
        &self,
        method: Method,
        tail: &str,
        protocol: Protocol,
    ) -> Result<hyper::http::request::Builder, Error> {
        let unfit = |what: &str| Error::Unsupported(format!("{}: {what}", self.url));
        let path = format!("{}{tail}", self.url.path);
        let path: Uri = path.parse().map_err(|_| unfit("this is no address of HTTP"))?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.url.authority())
            .header(USER_AGENT, self.options.agent.as_str());
        if protocol == Protocol::V2 {
            request = request.header("git-protocol", "version=2");
        }
        for (name, value) in &self.options.http.headers {
            let name = HeaderName::try_from(name).map_err(|_| unfit("http.extraHeader"))?;
            let value = HeaderValue::try_from(value).map_err(|_| unfit("http.extraHeader"))?;
            request = request.header(name, value);
        }
        if let Some(Login { user, password }) = &self.login {
            let login = STANDARD.encode(format!("{user}:{password}"));
            let value = HeaderValue::try_from(format!("Basic {login}"));
            let mut value = value.map_err(|_| unfit("this login cannot be sent"))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        Ok(request)
    }

    async fn send(
        &mut self,
        request: Result<Request<Body>, hyper::http::Error>,
    ) -> Result<Response<Incoming>, Error> {
        let mut request = request.map_err(|error| Error::Unsupported(error.to_string()))?;
        let failed = |error: hyper::Error| std::io::Error::other(error_words(&error));
        // A connection that was used may have been closed by the server; then nothing was sent.
        if let Some(connection) = self.connection.as_mut().filter(|one| one.sender.is_ready()) {
            match connection.sender.try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(mut error) => match error.take_message() {
                    Some(again) => request = again,
                    None => return Err(failed(error.into_error()).into()),
                },
            }
        }
        let mut connection = connect(&self.url, &self.options).await?;
        let response = connection.sender.send_request(request).await.map_err(failed)?;
        self.connection = Some(connection);
        Ok(response)
    }

    async fn refused(&self, response: Response<Incoming>) -> Error {
        let status = response.status().as_u16();
        let is_text = response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|found| found.to_str().is_ok_and(|found| found.starts_with("text/plain")));
        let mut words = String::new();
        if is_text {
            let body = Limited::new(response.into_body(), WORDS_BYTES_MAX).collect();
            let body = tokio::time::timeout(self.options.connect_timeout, body).await;
            if let Ok(Ok(body)) = body {
                let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
                let line = text.lines().next().unwrap_or_default();
                let line = line.chars().filter(|one| !one.is_control()).take(WORDS_MAX);
                words = format!(": {}", line.collect::<String>());
            }
        }
        Error::Http { url: self.url.to_string(), status, words }
    }
}

/// A new connection to where an address leads.
pub(super) async fn connect(url: &HttpUrl, options: &Options) -> Result<Connection, Error> {
    let host = url.host_name();
    let stream = tcp::connect(host, url.port(), options).await?;
    if !url.is_tls {
        return begin(stream).await;
    }
    let tls = tls::begin(stream, host, &options.http);
    let tls = tokio::time::timeout(options.connect_timeout, tls).await;
    begin(tls.map_err(|_| Error::Silent(options.connect_timeout))??).await
}

async fn begin(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<Connection, Error> {
    let started = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = started.map_err(std::io::Error::other)?;
    let task = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection ended");
        }
    });
    Ok(Connection { sender, task: Arc::new(Task(task)) })
}

/// With what is below it, where the words about why are.
pub(super) fn error_words(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
