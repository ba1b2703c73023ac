//! What a client's certificate says of itself, in the words of MySQL's REQUIRE SUBJECT and REQUIRE ISSUER: names as OpenSSL's
//! `X509_NAME_oneline` writes them, such as `/C=SE/O=Shop/CN=web`.
//!
//! Pure. TLS has verified the certificate before anybody looks here; what cannot be read matches nothing.

use super::stream::Channel;
use crate::config::{CertificateNames, Requirement};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const EXPLICIT_VERSION: u8 = 0xA0;

/// OpenSSL's short names. Others are written as numbers.
const SHORT_NAMES: [(&[u8], &str); 19] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 4], "SN"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "street"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 12], "title"),
    (&[0x55, 4, 13], "description"),
    (&[0x55, 4, 17], "postalCode"),
    (&[0x55, 4, 42], "GN"),
    (&[0x55, 4, 43], "initials"),
    (&[0x55, 4, 46], "dnQualifier"),
    (&[0x55, 4, 97], "organizationIdentifier"),
    (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 9, 1], "emailAddress"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 25], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 1], "UID"),
];

/// Whether a connection is what its user requires.
pub(super) fn meets(requirement: &Requirement, channel: &Channel) -> bool {
    match (requirement, channel.certificate.as_deref()) {
        (Requirement::Nothing, _) => true,
        (Requirement::Tls, _) => channel.encrypted,
        (Requirement::Certificate(_), None) => false,
        (Requirement::Certificate(CertificateNames { subject: None, issuer: None }), Some(_)) => true,
        (Requirement::Certificate(wanted), Some(certificate)) => {
            let Some((subject, issuer)) = names(certificate) else { return false };
            wanted.subject.as_ref().is_none_or(|wanted| *wanted == subject)
                && wanted.issuer.as_ref().is_none_or(|wanted| *wanted == issuer)
        }
    }
}

/// Subject and issuer.
fn names(certificate: &[u8]) -> Option<(String, String)> {
    let mut whole = Der(certificate);
    let mut certificate = Der(whole.take(SEQUENCE)?);
    let mut body = Der(certificate.take(SEQUENCE)?);
    if body.0.first() == Some(&EXPLICIT_VERSION) {
        body.next()?;
    }
    // The serial number and the algorithm of the signature.
    body.next()?;
    body.next()?;
    let issuer = one_line(body.take(SEQUENCE)?)?;
    // How long it is valid.
    body.next()?;
    let subject = one_line(body.take(SEQUENCE)?)?;
    Some((subject, issuer))
}

fn one_line(name: &[u8]) -> Option<String> {
    let mut out = String::new();
    let mut sets = Der(name);
    while !sets.0.is_empty() {
        let mut attributes = Der(sets.take(SET)?);
        while !attributes.0.is_empty() {
            let mut attribute = Der(attributes.take(SEQUENCE)?);
            let kind = attribute.take(OBJECT_IDENTIFIER)?;
            let (_, value) = attribute.next()?;
            out.push('/');
            match SHORT_NAMES.iter().find(|(identifier, _)| *identifier == kind) {
                Some((_, name)) => out.push_str(name),
                None => out.push_str(&numbers(kind)?),
            }
            out.push('=');
            for &byte in value {
                match byte {
                    b' '..=b'~' => out.push(char::from(byte)),
                    other => out.push_str(&format!("\\x{other:02X}")),
                }
            }
        }
    }
    Some(out)
}

/// An object identifier as numbers with dots (X.690, 8.19).
fn numbers(identifier: &[u8]) -> Option<String> {
    let mut numbers: Vec<u64> = Vec::new();
    let mut number = 0u64;
    for &byte in identifier {
        number = number.checked_mul(128)? | u64::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            if numbers.is_empty() {
                let first = (number / 40).min(2);
                numbers.push(first);
                number -= first * 40;
            }
            numbers.push(number);
            number = 0;
        }
    }
    Some(numbers.iter().map(u64::to_string).collect::<Vec<_>>().join("."))
}

/// Elements of DER, one after the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next element, which must have this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk::<2>()?;
        let (length, rest) = match first {
            short @ 0..=0x7F => (usize::from(short), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};

    use super::*;

    fn certificate() -> Vec<u8> {
        let mut ca = CertificateParams::new(Vec::<String>::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name = DistinguishedName::new();
        ca.distinguished_name.push(DnType::OrganizationName, "Shop");
        ca.distinguished_name.push(DnType::CommonName, "the CA");
        let issuer = Issuer::new(ca, KeyPair::generate().unwrap());
        let mut client = CertificateParams::new(Vec::<String>::new()).unwrap();
        client.distinguished_name = DistinguishedName::new();
        client.distinguished_name.push(DnType::CountryName, "SE");
        client.distinguished_name.push(DnType::CommonName, "wéb/1");
        client.distinguished_name.push(DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 99_999]), "own");
        client.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().der().to_vec()
    }

    fn wanted(subject: Option<&str>, issuer: Option<&str>) -> Requirement {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Requirement::Certificate(CertificateNames { subject: owned(subject), issuer: owned(issuer) })
    }

    fn channel(encrypted: bool, certificate: Option<&[u8]>) -> Channel {
        Channel { encrypted, certificate: certificate.map(std::sync::Arc::from) }
    }

    #[test]
    fn names_are_written_as_openssl_writes_them() {
        let (subject, issuer) = names(&certificate()).unwrap();
        assert_eq!(subject, "/C=SE/CN=w\\xC3\\xA9b/1/1.3.6.1.4.1.99999=own");
        assert_eq!(issuer, "/O=Shop/CN=the CA");
    }

    #[test]
    fn a_connection_must_be_what_its_user_requires() {
        let certificate = certificate();
        let shown = Some(&certificate[..]);
        assert!(meets(&Requirement::Nothing, &channel(false, None)));
        assert!(
            !meets(&Requirement::Tls, &channel(false, None))
                && meets(&Requirement::Tls, &channel(true, None))
        );
        assert!(
            !meets(&wanted(None, None), &channel(true, None))
                && meets(&wanted(None, None), &channel(true, shown))
        );
        assert!(meets(&wanted(None, Some("/O=Shop/CN=the CA")), &channel(true, shown)));
        assert!(!meets(&wanted(Some("/C=SE"), Some("/O=Shop/CN=the CA")), &channel(true, shown)));
        assert!(!meets(&wanted(None, Some("/o=shop/cn=the ca")), &channel(true, shown)));
        assert!(!meets(&wanted(None, Some("")), &channel(true, Some(b"nonsense"))));
    }

    proptest! {
        #[test]
        fn damaged_certificates_do_not_panic(at in 0usize..600, value: u8, length in 0usize..600) {
            let mut bytes = certificate();
            let at = at % bytes.len();
            bytes[at] = value;
            let _names = names(&bytes);
            let _names = names(&bytes[..length.min(bytes.len())]);
        }
    }
}
