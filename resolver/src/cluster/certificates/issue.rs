//! Makes keys and certificates.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::OffsetDateTime;
use time::error::ComponentRange;

use super::material::{Authority, PrivateKey, Serving, Term};
use super::terms::Terms;

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IssueError {
    /// The library refused, a name that is none for example.
    #[error("can't make a certificate")]
    Make(#[from] rcgen::Error),
    /// A time outside what certificates can say.
    #[error("a certificate's time is out of range")]
    Time(#[from] ComponentRange),
    /// Every key is gone.
    #[error("the authority {0} has no key")]
    NoKey(String),
}

/// A new authority.
pub(super) fn authority(terms: &Terms, now: Timestamp) -> Result<Authority, IssueError> {
    let name = format!("knap-resolver {}", uuid::Uuid::new_v4().simple());
    let term = Term { made: now, expires: now + terms.authority };
    let key = KeyPair::generate()?;
    let mut params = signing(&name)?;
    limit(&mut params, term, terms)?;
    let certificate = params.self_signed(&key)?.pem();
    Ok(Authority { name, term, certificate, key: Some(PrivateKey::new(key.serialize_pem())) })
}

/// A new serving certificate, no longer valid than its authority.
pub(super) fn serving(
    authority: &Authority,
    names: &BTreeSet<String>,
    terms: &Terms,
    now: Timestamp,
) -> Result<Serving, IssueError> {
    let signing_key = authority.key.as_ref().ok_or_else(|| IssueError::NoKey(authority.name.clone()))?;
    let issuer = Issuer::new(signing(&authority.name)?, KeyPair::from_pem(signing_key.pem())?);
    let term = Term { made: now, expires: authority.term.expires.min(now + terms.serving) };
    let mut params = CertificateParams::new(names.iter().cloned().collect::<Vec<_>>())?;
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, "knap-resolver");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    limit(&mut params, term, terms)?;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?.pem();
    let key = PrivateKey::new(key.serialize_pem());
    Ok(Serving { authority: authority.name.clone(), names: names.clone(), term, certificate, key })
}

/// Who an authority is, the same whenever it signs.
fn signing(name: &str) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn limit(params: &mut CertificateParams, term: Term, terms: &Terms) -> Result<(), IssueError> {
    params.not_before = point(term.begins(terms))?;
    params.not_after = point(term.expires)?;
    Ok(())
}

fn point(time: Timestamp) -> Result<OffsetDateTime, IssueError> {
    Ok(OffsetDateTime::from_unix_timestamp(time.as_second())?)
}
