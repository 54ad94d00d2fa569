//! `hexcast pki`: certificates for development.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::args::{DEFAULT_PKI, namespace};
use super::output::say;
use crate::access::{IdentityName, Role, pki};
use crate::domain::Namespace;

/// Makes certificates for development.
///
/// An identity is a certificate that says its role and its namespaces. Operators stream pings,
/// partners read matches, authorities act on their own alerts, admins do everything.
#[derive(Debug, Args)]
pub(super) struct PkiArgs {
    #[command(subcommand)]
    command: PkiCommand,
}

#[derive(Debug, Subcommand)]
enum PkiCommand {
    /// Make a certificate authority, a server, the key of the namespace `default`, and one
    /// identity a role, granted that namespace.
    Init {
        /// A directory that does not exist yet.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Issue the certificate of a further identity, and the keys of namespaces that are new.
    Issue {
        /// The directory that `init` made.
        #[arg(long, value_name = "DIR", env = "HEXCAST_PKI", default_value = DEFAULT_PKI)]
        dir: PathBuf,
        /// What it may do.
        #[arg(long, value_name = "operator|partner|authority|admin")]
        role: Role,
        /// Its name, for `--as`.
        #[arg(long, value_name = "NAME", value_parser = identity)]
        name: String,
        /// A namespace granted to it; may be given several times.
        #[arg(long, value_name = "NS", value_parser = namespace)]
        namespace: Vec<Namespace>,
    },
}

fn identity(text: &str) -> Result<String, String> {
    IdentityName::new(text).map(|name| name.as_str().into()).map_err(|e| e.to_string())
}

pub(super) fn run(args: &PkiArgs) -> anyhow::Result<()> {
    match &args.command {
        PkiCommand::Init { dir } => {
            let shown = dir.display();
            let text = match pki::init(dir)? {
                pki::Init::Made => format!(
                    "made development certificates in {shown}: operator, partner, authority and admin, granted {}",
                    pki::DEFAULT_NAMESPACE
                ),
                pki::Init::Already => format!("{shown} holds certificates already: nothing was changed"),
            };
            say(&text)?;
        }
        PkiCommand::Issue { dir, role, name, namespace } => {
            let files = pki::issue(dir, *role, name, namespace)?;
            say(&format!(
                "issued {} ({role}); its key is {}",
                files.certificate.display(),
                files.key.display()
            ))?;
        }
    }
    Ok(())
}
