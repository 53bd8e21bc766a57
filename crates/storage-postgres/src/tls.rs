//! Encrypted connections: `sslmode` and its like in a URL, as PostgreSQL's own programs take them
//! (libpq, "SSL Support").

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use postgres::Socket;
use postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use storage::{Error, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Whom to take for the database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Verify {
    /// Whoever answers: who listens hears nothing, who stands between hears all.
    #[default]
    Nobody,
    /// Who has a certificate of somebody trusted, for whatever name.
    Authority,
    /// Who has one for the name in the URL.
    Name,
}

/// What a URL says of encryption.
#[derive(Debug, Default)]
pub(crate) struct TlsOptions {
    verify: Verify,
    root_certificates: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl TlsOptions {
    /// Takes from a URL what the client of the database does not know; the rest is given back.
    ///
    /// # Errors
    /// Words, for a mode that is none.
    pub fn split_off(url: &str) -> Result<(Self, String), String> {
        let mut options = TlsOptions::default();
        let Some((address, query)) = url.split_once('?') else {
            return Ok((options, url.to_owned()));
        };
        let mut rest = Vec::new();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let path = || Some(PathBuf::from(decoded(value)));
            match (name, value) {
                ("sslrootcert", _) => options.root_certificates = path(),
                ("sslcert", _) => options.certificate = path(),
                ("sslkey", _) => options.key = path(),
                ("sslmode", "verify-ca" | "verify-full") => {
                    options.verify =
                        if value == "verify-ca" { Verify::Authority } else { Verify::Name };
                    rest.push("sslmode=require");
                }
                ("sslmode", "allow") => {
                    return Err("sslmode=allow is not known here: prefer is".to_owned());
                }
                _ => rest.push(pair),
            }
        }
        // As with libpq, who names whom to trust wants it looked at.
        if options.root_certificates.is_some() && options.verify == Verify::Nobody {
            options.verify = Verify::Authority;
        }
        let rest = rest.join("&");
        Ok((
            options,
            if rest.is_empty() { address.to_owned() } else { format!("{address}?{rest}") },
        ))
    }

    /// What makes connections encrypted.
    ///
    /// # Errors
    /// [`Error::Unsupported`] and [`Error::Io`] for files that hold no certificate or key.
    pub fn connector(&self) -> Result<Tls> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match self.verify {
            Verify::Nobody => Arc::new(Lenient { provider: provider.clone(), authority: None }),
            verify => {
                let roots = Arc::new(self.roots()?);
                let inner = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
                let inner = inner.build().map_err(|error| unusable("root certificates", error))?;
                match verify {
                    Verify::Name => inner,
                    _ => Arc::new(Lenient { provider: provider.clone(), authority: Some(inner) }),
                }
            }
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable("TLS", error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate)?;
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| unusable(key.display(), error))?;
                let config = config.with_client_auth_cert(chain, key);
                config.map_err(|error| unusable(certificate.display(), error))?
            }
            _ => config.with_no_client_auth(),
        };
        Ok(Tls { config: Arc::new(config) })
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        match self.root_certificates.as_deref() {
            Some(file) if file != Path::new("system") => {
                for certificate in certificates(file)? {
                    roots.add(certificate).map_err(|error| unusable(file.display(), error))?;
                }
            }
            _ => {
                let _ =
                    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        match roots.is_empty() {
            false => Ok(roots),
            true => {
                Err(unusable("root certificates", "there are none; sslrootcert=FILE names some"))
            }
        }
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(unusable(file.display(), "there is no certificate in it")),
        Err(error) => Err(unusable(file.display(), error)),
    }
}

fn unusable(what: impl std::fmt::Display, why: impl std::fmt::Display) -> Error {
    Error::Unsupported { what: what.to_string(), detail: format!("{what}: {why}") }
}

/// RFC 3986, section 2.1; what is no such code stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let code = (*first == b'%').then(|| behind.get(..2)).flatten();
        let code =
            code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Takes certificates of any name, and without an authority of anybody.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    authority: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(authority) = &self.authority else { return Ok(ServerCertVerified::assertion()) };
        match authority.verify_server_cert(certificate, between, name, ocsp, now) {
            // Looked at last, when all else was found good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Makes connections encrypted, where the database can.
#[derive(Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Encrypted;
    type TlsConnect = Handshake;
    type Error = InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, InvalidDnsNameError> {
        // Over a socket of this machine there is no name, and no encryption either.
        let name = if host.is_empty() { "localhost" } else { host };
        let name = ServerName::try_from(name)?.to_owned();
        Ok(Handshake { config: self.config.clone(), name })
    }
}

/// One connection to be.
pub(crate) struct Handshake {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        let connector = tokio_rustls::TlsConnector::from(self.config);
        Box::pin(async move { Ok(Encrypted(connector.connect(self.name, socket).await?)) })
    }
}

/// An encrypted connection.
pub(crate) struct Encrypted(tokio_rustls::client::TlsStream<Socket>);

impl TlsStream for Encrypted {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_told_from_the_rest_of_a_url() {
        let split = |url: &str| TlsOptions::split_off(url).expect(url);
        let (options, rest) = split("postgres://h/d");
        assert_eq!((options.verify, &*rest), (Verify::Nobody, "postgres://h/d"));
        let (options, rest) = split("postgres://h/d?sslmode=verify-full&sslrootcert=%2Fa%20b&x=y");
        assert_eq!((options.verify, &*rest), (Verify::Name, "postgres://h/d?sslmode=require&x=y"));
        assert_eq!(options.root_certificates, Some(PathBuf::from("/a b")));
        let (options, rest) = split("postgres://h/d?sslrootcert=a&sslcert=b&sslkey=c%2");
        assert_eq!((options.verify, &*rest), (Verify::Authority, "postgres://h/d"));
        assert_eq!(options.key, Some(PathBuf::from("c%2")));
        let (options, rest) = split("postgres://h/d?sslmode=disable");
        assert_eq!((options.verify, &*rest), (Verify::Nobody, "postgres://h/d?sslmode=disable"));
        assert!(TlsOptions::split_off("postgres://h/d?sslmode=allow").is_err());
    }
}
