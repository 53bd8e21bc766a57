//! When a certificate has to be replaced (RFC 5280).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// When two thirds of the lifetime of the first certificate in a PEM file are over; `None` where it is to
/// be replaced whatever the time: it is none, of this server's own making, or not for all these names.
pub(super) fn due(pem: &[u8], names: &[String]) -> Option<SystemTime> {
    let der = CertificateDer::pem_slice_iter(pem).next()?.ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    if certificate.issuer() == certificate.subject() {
        return None;
    }
    let alternatives = certificate.subject_alternative_name().ok()??;
    let has = |name: &String| {
        alternatives.value.general_names.iter().any(|known| match known {
            GeneralName::DNSName(known) => known.eq_ignore_ascii_case(name),
            _ => false,
        })
    };
    if !names.iter().all(has) {
        return None;
    }
    let validity = certificate.validity();
    let (begin, end) =
        (time(validity.not_before.timestamp())?, time(validity.not_after.timestamp())?);
    let lifetime = end.duration_since(begin).ok()?;
    end.checked_sub(lifetime / 3)
}

fn time(seconds: i64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
    };

    fn issued(names: &[&str]) -> String {
        let authority = KeyPair::generate().expect("a key");
        let mut above = CertificateParams::default();
        above.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        above.distinguished_name.push(DnType::CommonName, "authority");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2026, 3, 32 - 1);
        let key = KeyPair::generate().expect("a key");
        let issuer = Issuer::new(above, authority);
        params.signed_by(&key, &issuer).expect("a certificate").pem()
    }

    #[test]
    fn two_thirds_of_a_lifetime() {
        let pem = issued(&["a.example", "b.example"]);
        let names = ["A.example".to_owned(), "b.example".to_owned()];
        let due = due(pem.as_bytes(), &names).expect("a time");
        // The 1st of January, and 59 of 89 days and a third.
        let begin = UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        let passed = due.duration_since(begin).expect("later");
        let lifetime = Duration::from_secs(89 * 86_400);
        assert_eq!(passed, lifetime - lifetime / 3);
    }

    #[test]
    fn what_does_not_count() {
        let names = ["a.example".to_owned()];
        assert_eq!(due(b"", &names), None);
        assert_eq!(
            due(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &names),
            None
        );
        let own = rcgen::generate_simple_self_signed(names.clone()).expect("a certificate");
        assert_eq!(due(own.cert.pem().as_bytes(), &names), None);
        assert_eq!(due(issued(&["b.example"]).as_bytes(), &names), None);
    }
}
