//! Development certificates: one authority, a server, and an identity a person or program.
//!
//! It exists so that mutual TLS works on the first start. It is no replacement for an
//! authority of one's own: keys lie in plain files, nothing is revoked. A directory is made
//! whole or not at all, and no file in it is ever overwritten.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::grant::GRANT_OID;
use super::{Grant, GrantError, IdentityName, IdentityNameError, Role};
use crate::domain::Namespace;
use crate::limits::{GRANT_NAMESPACES_MAX, PEM_BYTES_MAX};

/// The authority's certificate.
pub const CA_CERTIFICATE: &str = "ca.pem";
/// The authority's key.
pub const CA_KEY: &str = "ca.key";
/// The server's certificate.
pub const SERVER_CERTIFICATE: &str = "server.pem";
/// The server's key.
pub const SERVER_KEY: &str = "server.key";
/// The directory of the namespaces' keys.
pub const NAMESPACES: &str = "namespaces";
/// The namespace that everybody is granted at first.
pub const DEFAULT_NAMESPACE: &str = "default";

/// How long certificates of servers and identities last, days.
const LEAF_DAYS: u64 = 365;
/// How long the authority lasts, days.
const CA_DAYS: u64 = 3_650;
/// How far back validity starts, days: clocks of other machines may be behind.
const BACKDATED_DAYS: u64 = 1;

/// Why a PKI could not be made, extended or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// There is no PKI.
    #[error("{0} holds no certificates: make them with `hexcast pki init {0}`, or name another --pki")]
    NoPki(String),
    /// There is something, but not a whole PKI.
    #[error(
        "{dir} has something in it but no {missing}: name an empty directory, or remove it and try again"
    )]
    Incomplete {
        /// The directory.
        dir: String,
        /// The first file that is missing.
        missing: String,
    },
    /// An identity is there already.
    #[error("{0} exists: choose another name, or remove its .pem and .key")]
    Exists(String),
    /// An identity is not there.
    #[error(
        "{dir} has no identity \"{name}\": make it with `hexcast pki issue --dir {dir} --role ROLE --name {name}`, or choose another --as"
    )]
    NoIdentity {
        /// The directory.
        dir: String,
        /// The name.
        name: String,
    },
    /// A namespace has no key there.
    #[error(
        "{dir} has no key for the namespace \"{namespace}\": `hexcast pki issue` with --namespace {namespace} makes it"
    )]
    NoNamespaceKey {
        /// The directory.
        dir: String,
        /// The namespace.
        namespace: String,
    },
    /// A file is not what its name says.
    #[error("{path} cannot be used: {why}")]
    Unusable {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// Too many namespaces for one identity.
    #[error("{0} namespaces for one identity: at most {GRANT_NAMESPACES_MAX}")]
    Namespaces(usize),
    /// A name that cannot be a file's.
    #[error(transparent)]
    Name(#[from] IdentityNameError),
    /// A grant that does not fit a certificate.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// Keys could not be made.
    #[error("making a key or certificate failed: {0}")]
    Making(String),
}

/// What [`init`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// A new PKI was made.
    Made,
    /// A whole PKI was there already, and was left alone.
    Already,
}

/// An identity's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

/// Makes a PKI in `dir`: authority, server (for this machine), the key of the namespace
/// `default`, and an identity a role, named as the role and granted `default`. The directory
/// appears whole or not at all.
///
/// # Errors
/// Where `dir` has something in it that is not a whole PKI, or cannot be written.
pub fn init(dir: &Path) -> Result<Init, PkiError> {
    init_for(dir, &[])
}

/// [`init`] for a server that is also reached by other names or addresses.
///
/// # Errors
/// As [`init`].
pub fn init_for(dir: &Path, hosts: &[String]) -> Result<Init, PkiError> {
    let has_something = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_some(),
        Err(why) if why.kind() == io::ErrorKind::NotFound => false,
        Err(source) => return Err(io_error(dir, source)),
    };
    if has_something {
        return match first_missing(dir) {
            None => Ok(Init::Already),
            Some(missing) => Err(PkiError::Incomplete { dir: dir.display().to_string(), missing }),
        };
    }
    let making = sibling(dir);
    let result =
        make(&making, hosts).and_then(|()| fs::rename(&making, dir).map_err(|source| io_error(dir, source)));
    if result.is_err() {
        // What was half made has no use; the first error is the one to tell.
        let _ = fs::remove_dir_all(&making);
    }
    result.map(|()| Init::Made)
}

/// Whether `dir` holds a whole PKI.
pub fn is_complete(dir: &Path) -> bool {
    first_missing(dir).is_none()
}

/// Makes the identity `name`, and keys for those of its namespaces that have none yet.
///
/// # Errors
/// Where the identity exists, `dir` holds no authority, or cannot be written.
pub fn issue(
    dir: &Path,
    role: Role,
    name: &str,
    namespaces: &[Namespace],
) -> Result<IdentityFiles, PkiError> {
    let name = IdentityName::new(name)?;
    if namespaces.len() > GRANT_NAMESPACES_MAX {
        return Err(PkiError::Namespaces(namespaces.len()));
    }
    let files = files_of(dir, name.as_str());
    if files.certificate.exists() {
        return Err(PkiError::Exists(files.certificate.display().to_string()));
    }
    let authority = authority(dir)?;
    for namespace in namespaces {
        let path = namespace_key_path(dir, namespace);
        if !path.exists() {
            write_namespace_key(&path)?;
        }
    }
    issue_identity(&authority, &files, Grant::new(name, role, namespaces.to_vec()))?;
    Ok(files)
}

/// The key that makes pseudonyms of a namespace's device names; operator and partner hold it.
///
/// # Errors
/// Where there is none or the file is not 64 hexadecimal digits.
pub fn namespace_key(dir: &Path, namespace: &Namespace) -> Result<[u8; 32], PkiError> {
    let path = namespace_key_path(dir, namespace);
    if !path.exists() {
        return Err(PkiError::NoNamespaceKey {
            dir: dir.display().to_string(),
            namespace: namespace.to_string(),
        });
    }
    let text = read(&path)?;
    let mut key = [0; 32];
    let digits = std::str::from_utf8(&text).unwrap_or_default().trim();
    let readable = digits.len() == 64 && digits.bytes().all(|c| c.is_ascii_hexdigit());
    for (index, byte) in key.iter_mut().enumerate() {
        let pair = digits.get(2 * index..2 * index + 2).unwrap_or_default();
        *byte = u8::from_str_radix(pair, 16).unwrap_or_default();
    }
    if readable { Ok(key) } else { Err(unusable(&path, &"it is not 64 hexadecimal digits")) }
}

/// The files of an identity that exists.
pub(super) fn identity_files(dir: &Path, name: &str) -> Result<IdentityFiles, PkiError> {
    let name = IdentityName::new(name)?;
    let files = files_of(dir, name.as_str());
    if files.certificate.exists() {
        return Ok(files);
    }
    let dir_text = dir.display().to_string();
    if dir.join(CA_CERTIFICATE).exists() {
        Err(PkiError::NoIdentity { dir: dir_text, name: name.to_string() })
    } else {
        Err(PkiError::NoPki(dir_text))
    }
}

/// The certificates of a PEM file.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(&read_of_pki(path)?)
        .collect::<Result<_, _>>()
        .map_err(|why| unusable(path, &why))?;
    if found.is_empty() { Err(unusable(path, &"it holds no certificate")) } else { Ok(found) }
}

/// The private key of a PEM file.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PkiError> {
    PrivateKeyDer::from_pem_slice(&read_of_pki(path)?).map_err(|why| unusable(path, &why))
}

type Authority = Issuer<'static, KeyPair>;

fn make(dir: &Path, hosts: &[String]) -> Result<(), PkiError> {
    make_dir(dir)?;
    make_dir(&dir.join(NAMESPACES))?;
    let key = new_key()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name("hexcast development authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, CA_DAYS);
    let certificate = params.self_signed(&key).map_err(making)?;
    write_private(&dir.join(CA_KEY), key.serialize_pem().as_bytes())?;
    write_public(&dir.join(CA_CERTIFICATE), certificate.pem().as_bytes())?;
    let authority = Issuer::new(params, key);

    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(String::from).into();
    names.extend(hosts.iter().cloned());
    let mut params = CertificateParams::new(names).map_err(making)?;
    params.distinguished_name = common_name("hexcast server");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let files = IdentityFiles { certificate: dir.join(SERVER_CERTIFICATE), key: dir.join(SERVER_KEY) };
    issue_leaf(&authority, &files, params)?;

    let namespace = Namespace::new(DEFAULT_NAMESPACE).map_err(|why| PkiError::Making(why.to_string()))?;
    write_namespace_key(&namespace_key_path(dir, &namespace))?;
    for role in Role::ALL {
        let grant = Grant::new(IdentityName::new(role.as_str())?, role, vec![namespace.clone()]);
        issue_identity(&authority, &files_of(dir, role.as_str()), grant)?;
    }
    Ok(())
}

fn issue_identity(authority: &Authority, files: &IdentityFiles, grant: Grant) -> Result<(), PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(grant.name());
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    // Not critical: path validation refuses critical extensions that it does not know.
    params.custom_extensions = vec![CustomExtension::from_oid_content(&GRANT_OID, grant.to_extension()?)];
    issue_leaf(authority, files, params)
}

fn issue_leaf(
    authority: &Authority,
    files: &IdentityFiles,
    mut params: CertificateParams,
) -> Result<(), PkiError> {
    let key = new_key()?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, LEAF_DAYS);
    let certificate = params.signed_by(&key, authority).map_err(making)?;
    // The key first: an identity exists from its certificate on.
    write_private(&files.key, key.serialize_pem().as_bytes())?;
    write_public(&files.certificate, certificate.pem().as_bytes())
}

fn authority(dir: &Path) -> Result<Authority, PkiError> {
    let text = |name: &str| {
        let path = dir.join(name);
        String::from_utf8(read_of_pki(&path)?).map_err(|why| unusable(&path, &why))
    };
    let key = KeyPair::from_pem(&text(CA_KEY)?).map_err(|why| unusable(&dir.join(CA_KEY), &why))?;
    Issuer::from_ca_cert_pem(&text(CA_CERTIFICATE)?, key)
        .map_err(|why| unusable(&dir.join(CA_CERTIFICATE), &why))
}

fn new_key() -> Result<KeyPair, PkiError> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(making)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn set_validity(params: &mut CertificateParams, days: u64) {
    let day = |days| Duration::from_secs(days * 86_400);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(day(BACKDATED_DAYS));
    params.not_after = epoch + (now + day(days));
}

fn write_namespace_key(path: &Path) -> Result<(), PkiError> {
    let mut key = [0; 32];
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut key)
        .map_err(|why| PkiError::Making(format!("{why:?}")))?;
    let mut text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    text.push('\n');
    write_private(path, text.as_bytes())
}

fn first_missing(dir: &Path) -> Option<String> {
    let own = [CA_CERTIFICATE, CA_KEY, SERVER_CERTIFICATE, SERVER_KEY, NAMESPACES].map(String::from);
    let identities = Role::ALL.into_iter().flat_map(|role| [format!("{role}.pem"), format!("{role}.key")]);
    own.into_iter().chain(identities).find(|name| !dir.join(name).exists())
}

fn files_of(dir: &Path, name: &str) -> IdentityFiles {
    IdentityFiles { certificate: dir.join(format!("{name}.pem")), key: dir.join(format!("{name}.key")) }
}

fn namespace_key_path(dir: &Path, namespace: &Namespace) -> PathBuf {
    dir.join(NAMESPACES).join(format!("{namespace}.key"))
}

/// A name beside `path` that nobody else uses.
fn sibling(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.new", std::process::id()));
    path.with_file_name(name)
}

fn make_dir(path: &Path) -> Result<(), PkiError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| io_error(path, source))
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<(), PkiError> {
    write(path, bytes, 0o600)
}

fn write_public(path: &Path, bytes: &[u8]) -> Result<(), PkiError> {
    write(path, bytes, 0o644)
}

/// Writes beside and renames: a reader sees the whole file or none.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), PkiError> {
    let new = sibling(path);
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&new)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&new, path));
    written.map_err(|source| {
        let _ = fs::remove_file(&new);
        io_error(path, source)
    })
}

fn read_of_pki(path: &Path) -> Result<Vec<u8>, PkiError> {
    match (path.exists(), path.parent()) {
        (false, Some(dir)) if !dir.join(CA_CERTIFICATE).exists() => {
            Err(PkiError::NoPki(dir.display().to_string()))
        }
        _ => read(path),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, PkiError> {
    let size = fs::metadata(path).map_err(|source| io_error(path, source))?.len();
    if size > PEM_BYTES_MAX {
        return Err(unusable(path, &format_args!("it has {size} bytes, more than {PEM_BYTES_MAX}")));
    }
    fs::read(path).map_err(|source| io_error(path, source))
}

fn io_error(path: &Path, source: io::Error) -> PkiError {
    PkiError::Io { path: path.display().to_string(), source }
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> PkiError {
    PkiError::Unusable { path: path.display().to_string(), why: why.to_string() }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn making(why: rcgen::Error) -> PkiError {
    PkiError::Making(why.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::access::{client_config, server_config};

    fn grant_of(dir: &Path, name: &str) -> Grant {
        let der = certificates(&dir.join(format!("{name}.pem"))).unwrap();
        Grant::from_certificate(&der[0]).unwrap()
    }

    #[test]
    fn init_makes_a_whole_pki_and_leaves_it_alone_afterwards() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("pki");
        assert!(matches!(
            client_config(&dir, "operator"),
            Err(super::super::TlsError::Pki(PkiError::NoPki(_)))
        ));
        assert_eq!(init(&dir).unwrap(), Init::Made);
        let before = fs::read(dir.join(CA_CERTIFICATE)).unwrap();
        assert_eq!(init(&dir).unwrap(), Init::Already);
        assert_eq!(fs::read(dir.join(CA_CERTIFICATE)).unwrap(), before);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1, "nothing else is left behind");

        for role in Role::ALL {
            let grant = grant_of(&dir, role.as_str());
            assert_eq!((grant.name(), grant.role()), (role.as_str(), role));
            assert_eq!(grant.namespaces(), [Namespace::new("default").unwrap()]);
            client_config(&dir, role.as_str()).unwrap();
        }
        server_config(&dir).unwrap();
        let server = certificates(&dir.join(SERVER_CERTIFICATE)).unwrap();
        assert_eq!(Grant::from_certificate(&server[0]), Err(GrantError::Missing));
        for key in ["ca.key", "server.key", "operator.key", "namespaces/default.key"] {
            assert_eq!(fs::metadata(dir.join(key)).unwrap().permissions().mode() & 0o777, 0o600, "{key}");
        }
        assert_ne!(namespace_key(&dir, &Namespace::new("default").unwrap()).unwrap(), [0; 32]);
    }

    #[test]
    fn an_incomplete_directory_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ca.pem"), "x").unwrap();
        let why = init(dir.path()).unwrap_err().to_string();
        assert!(why.contains("no ca.key"), "{why}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn issue_makes_an_identity_once_and_its_namespaces_keys() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("pki");
        let namespaces = ["mobile", "app"].map(|ns| Namespace::new(ns).unwrap());
        let why = issue(&dir, Role::Operator, "north", &namespaces).unwrap_err().to_string();
        assert!(why.contains("hexcast pki init"), "{why}");
        init(&dir).unwrap();
        issue(&dir, Role::Operator, "north", &namespaces).unwrap();
        assert_eq!(grant_of(&dir, "north").namespaces(), namespaces);
        let key = namespace_key(&dir, &namespaces[0]).unwrap();
        issue(&dir, Role::Partner, "south", &namespaces).unwrap();
        assert_eq!(namespace_key(&dir, &namespaces[0]).unwrap(), key, "a key is never replaced");
        let text = |result: Result<IdentityFiles, PkiError>| result.unwrap_err().to_string();
        assert!(text(issue(&dir, Role::Operator, "north", &namespaces)).contains("exists"));
        assert!(text(issue(&dir, Role::Operator, "../north", &[])).contains("no identity name"));
        assert!(text(issue(&dir, Role::Operator, "ca", &[])).contains("no identity name"));
        let absent = namespace_key(&dir, &Namespace::new("other").unwrap()).unwrap_err().to_string();
        assert!(absent.contains("no key for the namespace"), "{absent}");
        let absent = client_config(&dir, "west").unwrap_err().to_string();
        assert!(absent.contains("no identity \"west\""), "{absent}");
    }
}
