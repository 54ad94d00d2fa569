//! The grant and its encoding in a certificate: a private X.509 extension that holds a DER
//! `UTF8String` of JSON. An unknown member is refused, because it may be a restriction that
//! this program would not keep.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use x509_parser::der_parser::asn1_rs::{FromDer, Utf8String};
use x509_parser::oid_registry::Oid;

use crate::domain::Namespace;
use crate::limits::{GRANT_BYTES_MAX, GRANT_NAMESPACES_MAX, IDENTITY_NAME_BYTES_MAX};

/// The extension's object identifier: `2.25` is the arc for identifiers drawn by their user
/// (ITU-T X.667), the number was drawn for this project.
pub(super) const GRANT_OID: [u64; 3] = [2, 25, 7_308_946_215_530_418_827];

/// The version of the JSON in the extension.
const GRANT_VERSION: u32 = 1;

/// What an identity is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Writes pings into its namespaces.
    Operator,
    /// Reads the matches of its namespaces and reports sightings.
    Partner,
    /// Raises alerts, and acts on its own.
    Authority,
    /// May do everything, in every namespace.
    Admin,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Operator, Self::Partner, Self::Authority, Self::Admin];

    /// The word on the command line and in certificates.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Partner => "partner",
            Self::Authority => "authority",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a word is no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no role: use operator, partner, authority or admin")]
pub struct RoleError(String);

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| RoleError(text.chars().take(80).collect()))
    }
}

/// An identity's name: the same characters as a namespace, so that it can be a file name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdentityName(Arc<str>);

/// Why a text is no identity's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no identity name: use 1 to 64 of the characters a-z, 0-9, '.', '_' and '-', starting with a letter or digit, but not \"ca\" or \"server\""
)]
pub struct IdentityNameError(String);

impl IdentityName {
    /// Checks a name; `ca` and `server` are the PKI's own.
    pub fn new(name: &str) -> Result<Self, IdentityNameError> {
        let bad = || IdentityNameError(name.chars().take(80).collect());
        let checked = Namespace::new(name).map_err(|_| bad())?;
        if matches!(name, "ca" | "server") || name.len() > IDENTITY_NAME_BYTES_MAX {
            return Err(bad());
        }
        Ok(Self(checked.as_str().into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdentityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a certificate gives no grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// Not a certificate that can be read.
    #[error("the certificate cannot be read: issue it with `hexcast pki issue`")]
    Certificate,
    /// No grant in it, or two.
    #[error("the certificate carries no hexcast grant: issue it with `hexcast pki issue`")]
    Missing,
    /// Larger than any grant.
    #[error(
        "the certificate's grant has {0} bytes, more than {GRANT_BYTES_MAX}: issue it for fewer namespaces"
    )]
    TooLarge(usize),
    /// Not a grant that this version knows.
    #[error("the certificate's grant cannot be read ({0}): it may come from a newer hexcast")]
    Unreadable(String),
}

/// What a peer may do. It comes only out of this room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    name: IdentityName,
    role: Role,
    namespaces: Vec<Namespace>,
}

/// The JSON in the extension. Jurisdiction and limits will be further members.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Encoded {
    v: u32,
    name: String,
    role: Role,
    namespaces: Vec<String>,
}

impl Grant {
    pub(super) fn new(name: IdentityName, role: Role, namespaces: Vec<Namespace>) -> Self {
        Self { name, role, namespaces }
    }

    /// A grant for a test of another room.
    #[cfg(test)]
    pub(crate) fn for_test(name: &str, role: Role, namespaces: &[&str]) -> Self {
        let namespaces = namespaces.iter().map(|ns| Namespace::new(ns).unwrap()).collect();
        Self::new(IdentityName::new(name).unwrap(), role, namespaces)
    }

    /// Reads the grant of a certificate (DER) whose chain was verified before.
    ///
    /// # Errors
    /// Where the certificate has no grant, or one that this version cannot keep to the letter.
    pub fn from_certificate(der: &[u8]) -> Result<Self, GrantError> {
        let (_, certificate) =
            x509_parser::parse_x509_certificate(der).map_err(|_| GrantError::Certificate)?;
        let oid = Oid::from(&GRANT_OID).map_err(|_| GrantError::Missing)?;
        let extension = certificate
            .get_extension_unique(&oid)
            .map_err(|_| GrantError::Missing)?
            .ok_or(GrantError::Missing)?;
        Self::from_extension(extension.value)
    }

    fn from_extension(value: &[u8]) -> Result<Self, GrantError> {
        if value.len() > GRANT_BYTES_MAX {
            return Err(GrantError::TooLarge(value.len()));
        }
        let unreadable = |why: &dyn fmt::Display| GrantError::Unreadable(why.to_string());
        let (rest, text) = Utf8String::from_der(value).map_err(|_| unreadable(&"not a UTF8String"))?;
        if !rest.is_empty() {
            return Err(unreadable(&"bytes after its text"));
        }
        let encoded: Encoded = serde_json::from_str(text.as_ref()).map_err(|why| unreadable(&why))?;
        if encoded.v != GRANT_VERSION {
            return Err(unreadable(&format_args!("version {}", encoded.v)));
        }
        if encoded.namespaces.len() > GRANT_NAMESPACES_MAX {
            return Err(unreadable(&format_args!("{} namespaces", encoded.namespaces.len())));
        }
        let name = IdentityName::new(&encoded.name).map_err(|why| unreadable(&why))?;
        let namespaces = encoded
            .namespaces
            .iter()
            .map(|ns| Namespace::new(ns).map_err(|why| unreadable(&why)))
            .collect::<Result<_, _>>()?;
        Ok(Self::new(name, encoded.role, namespaces))
    }

    /// The extension's value: DER of a `UTF8String` of JSON.
    pub(super) fn to_extension(&self) -> Result<Vec<u8>, GrantError> {
        let encoded = Encoded {
            v: GRANT_VERSION,
            name: self.name.as_str().into(),
            role: self.role,
            namespaces: self.namespaces.iter().map(|ns| ns.as_str().into()).collect(),
        };
        let json = serde_json::to_vec(&encoded).map_err(|why| GrantError::Unreadable(why.to_string()))?;
        let length = u16::try_from(json.len()).map_err(|_| GrantError::TooLarge(json.len()))?;
        let mut der = vec![UTF8_STRING];
        // DER lengths (X.690, 8.1.3): below 128 in a byte, else the count of length bytes first.
        let [high, low] = length.to_be_bytes();
        match (high, low) {
            (0, 0..=0x7f) => der.push(low),
            (0, _) => der.extend([0x81, low]),
            _ => der.extend([0x82, high, low]),
        }
        der.extend(json);
        if der.len() > GRANT_BYTES_MAX { Err(GrantError::TooLarge(der.len())) } else { Ok(der) }
    }

    /// Who it is: the name that alerts and the audit log carry.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The namespaces granted. An admin's rights do not end at them.
    pub fn namespaces(&self) -> &[Namespace] {
        &self.namespaces
    }

    fn covers(&self, namespace: &str) -> bool {
        self.role == Role::Admin || self.namespaces.iter().any(|ns| ns.as_str() == namespace)
    }

    /// May write pings into the namespace.
    pub fn may_ingest(&self, namespace: &str) -> bool {
        matches!(self.role, Role::Operator | Role::Admin) && self.covers(namespace)
    }

    /// May read the matches of the namespace.
    pub fn may_subscribe(&self, namespace: &str) -> bool {
        matches!(self.role, Role::Partner | Role::Admin) && self.covers(namespace)
    }

    /// May raise alerts, and act on those that it raised.
    pub fn may_act(&self) -> bool {
        matches!(self.role, Role::Authority | Role::Admin)
    }

    /// May act on the alerts of others.
    pub fn may_act_for_others(&self) -> bool {
        self.role == Role::Admin
    }

    /// May list, see and preview alerts.
    pub fn may_read_alerts(&self) -> bool {
        self.may_act()
    }

    /// May report an unconfirmed sighting.
    pub fn may_report(&self) -> bool {
        matches!(self.role, Role::Partner | Role::Authority | Role::Admin)
    }
}

/// DER tag of a `UTF8String` (X.690).
const UTF8_STRING: u8 = 0x0c;

#[cfg(test)]
mod tests {
    use super::*;

    fn der(json: &str) -> Vec<u8> {
        let mut der = vec![UTF8_STRING, 0x82, (json.len() >> 8) as u8, json.len() as u8];
        der.extend(json.as_bytes());
        if json.len() < 256 {
            der.splice(1..3, [0x81]);
        }
        if json.len() < 128 {
            der.remove(1);
        }
        der
    }

    #[test]
    fn a_grant_comes_back_from_its_extension_at_every_length_form() {
        for count in [0, 1, 4, 12, 50] {
            let names: Vec<String> = (0..count).map(|i| format!("namespace-{i}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let grant = Grant::for_test("lead", Role::Authority, &names);
            let value = grant.to_extension().unwrap();
            let json = format!(
                "{{\"v\":1,\"name\":\"lead\",\"role\":\"authority\",\"namespaces\":{}}}",
                serde_json::to_string(&names).unwrap()
            );
            assert_eq!(value, der(&json));
            assert_eq!(Grant::from_extension(&value), Ok(grant));
        }
    }

    #[test]
    fn what_is_not_wholly_understood_gives_no_grant() {
        let refused = |value: &[u8]| Grant::from_extension(value).unwrap_err().to_string();
        let good = r#"{"v":1,"name":"a","role":"partner","namespaces":["default"]}"#;
        assert!(Grant::from_extension(&der(good)).is_ok());
        for bad in [
            good.replace("\"v\":1", "\"v\":2"),
            good.replace("partner", "root"),
            good.replace("\"a\"", "\"../a\""),
            good.replace("\"a\"", "\"server\""),
            good.replace("default", "De fault"),
            good.replace("\"v\":1", "\"v\":1,\"jurisdiction\":[]"),
            good.replace("\"v\":1,", ""),
        ] {
            assert!(refused(&der(&bad)).contains("cannot be read"), "{bad}");
        }
        let mut trailing = der(good);
        trailing.push(0);
        assert!(refused(&trailing).contains("bytes after"));
        assert!(refused(good.as_bytes()).contains("not a UTF8String"));
        assert!(refused(&der(&" ".repeat(GRANT_BYTES_MAX))).contains("fewer namespaces"));
        assert_eq!(Grant::from_certificate(b"\x30\x00"), Err(GrantError::Certificate));
    }

    #[test]
    fn the_page_names_the_extension() {
        let oid = GRANT_OID.map(|arc| arc.to_string()).join(".");
        assert!(include_str!("../../docs/protocol.md").contains(&format!("object identifier {oid},")));
    }

    #[test]
    fn rights_by_role() {
        let rights = |role| {
            let grant = Grant::for_test("x", role, &["one"]);
            [
                grant.may_ingest("one"),
                grant.may_ingest("two"),
                grant.may_subscribe("one"),
                grant.may_subscribe("two"),
                grant.may_act(),
                grant.may_act_for_others(),
                grant.may_read_alerts(),
                grant.may_report(),
            ]
        };
        assert_eq!(rights(Role::Operator), [true, false, false, false, false, false, false, false]);
        assert_eq!(rights(Role::Partner), [false, false, true, false, false, false, false, true]);
        assert_eq!(rights(Role::Authority), [false, false, false, false, true, false, true, true]);
        assert_eq!(rights(Role::Admin), [true; 8]);
        assert!("root".parse::<Role>().is_err());
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
    }
}
