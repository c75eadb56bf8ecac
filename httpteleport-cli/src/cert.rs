//! `httptp cert`: a private authority, and certificates for both sides of a teleports link.

use std::io::{self, Write as _};
use std::path::Path;

use rustls::pki_types::{IpAddr, ServerName};

use self::made::{Authority, Certificate};
use crate::cli::CertArgs;
use crate::files::{self, Secrecy, write};
use crate::misfit::Misfit;

mod made;

const CA_CERT: &str = "ca.crt";
const CA_KEY: &str = "ca.key";
/// The files of both sides.
const PAIRS: [&str; 4] = ["far.crt", "far.key", "near.crt", "near.key"];

/// Makes the files and says what to do with them.
///
/// # Errors
///
/// Files are there that it was not told to replace, or it cannot write them: one line that names the option.
pub(crate) fn run(options: &CertArgs) -> anyhow::Result<()> {
    let folder = options.dir.as_path();
    files::is_room(folder).map_err(|why| Misfit::new(format!("--dir {}: {why}", folder.display())))?;
    files::folder(folder, "--dir")?;
    let replace = options.overwrite || options.renew;
    if !replace {
        check_absent(folder)?;
    }
    let authority = if options.renew {
        Authority::read(&folder.join(CA_CERT), &folder.join(CA_KEY)).map_err(|error| Misfit::of(&error))?
    } else {
        Authority::new()?
    };
    let names: Vec<_> = options.names.iter().map(|name| name.to_str().into_owned()).collect();
    let far = authority.server(&names, options.days)?;
    let near = authority.client(options.near.as_ref(), options.days)?;

    if !options.renew {
        write_pair(folder, [CA_CERT, CA_KEY], authority.certificate(), replace)?;
    }
    write_pair(folder, [PAIRS[0], PAIRS[1]], &far, replace)?;
    write_pair(folder, [PAIRS[2], PAIRS[3]], &near, replace)?;
    // Nobody may be reading, which is no reason to stop.
    let _ = io::stdout().write_all(what_to_do(options).as_bytes());
    Ok(())
}

/// Nothing is overwritten by accident: a key that is gone is gone.
fn check_absent(folder: &Path) -> Result<(), Misfit> {
    let mut names = [CA_CERT, CA_KEY].into_iter().chain(PAIRS);
    if let Some(name) = names.find(|name| folder.join(name).symlink_metadata().is_ok()) {
        let line = format!(
            "--dir {}: {name} is there already; give another folder, --renew to keep its authority and replace the \
             certificates, or --overwrite to replace all",
            folder.display()
        );
        return Err(Misfit::new(line));
    }
    Ok(())
}

fn write_pair(folder: &Path, names: [&str; 2], made: &Certificate, replace: bool) -> anyhow::Result<()> {
    // The key first: whoever sees the certificate finds its key beside it.
    write(&folder.join(names[1]), &made.key, Secrecy::Owner, replace)?;
    write(&folder.join(names[0]), &made.certificate, Secrecy::Everybody, replace)
}

/// What was made, and the command line of either side.
fn what_to_do(options: &CertArgs) -> String {
    let (dir, days) = (options.dir.display(), options.days);
    let host = match &options.names[0] {
        name @ ServerName::IpAddress(IpAddr::V6(_)) => format!("[{}]", name.to_str()),
        name => name.to_str().into_owned(),
    };
    let near = options.near.as_ref();
    format!(
        "\
{dir}: an authority of your own (ca.crt, ca.key) and certificates of it, good for {days} days

On the far side, beside the servers, with ca.crt, far.crt and far.key:

  httptp --in teleports://:4443 --in-tls-cert {dir}/far.crt --in-tls-key {dir}/far.key \\
    --in-tls-client-ca {dir}/ca.crt --in-tls-client-names {near} --out http://127.0.0.1:80

On the near side, beside the clients, with ca.crt, near.crt and near.key:

  httptp --in http://127.0.0.1:8080 --out teleports://{host}:4443 \\
    --out-ca {dir}/ca.crt --out-tls-cert {dir}/near.crt --out-tls-key {dir}/near.key

Keep ca.key where neither side is: whoever has it can pass for both. httptp cert --renew needs it.
"
    )
}
