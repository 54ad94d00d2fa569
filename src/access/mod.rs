//! access: placeholder until its branch lands.

use crate::domain::Namespace;

/// What an identity is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Streams pings.
    Operator,
    /// Receives matches.
    Partner,
    /// Acts on its own alerts.
    Authority,
    /// May do all.
    Admin,
}

impl Role {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Partner => "partner",
            Self::Authority => "authority",
            Self::Admin => "admin",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an identity may do.
#[derive(Clone, Debug)]
pub struct Grant {
    name: String,
    role: Role,
    namespaces: Vec<Namespace>,
}

impl Grant {
    /// A grant for a test of another room.
    #[cfg(test)]
    pub(crate) fn for_test(name: &str, role: Role, namespaces: &[&str]) -> Self {
        let namespaces = namespaces.iter().map(|ns| Namespace::new(ns).unwrap()).collect();
        Self { name: name.into(), role, namespaces }
    }
    /// The identity's name.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Its role.
    pub fn role(&self) -> Role {
        self.role
    }
    /// The namespaces granted.
    pub fn namespaces(&self) -> &[Namespace] {
        &self.namespaces
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
