//! Every dependency, on every platform, has a licence that we allow.

use anyhow::Result;
use serde::Deserialize;
use spdx::{Expression, LicenseItem, LicenseReq, ParseMode};

use crate::process::{cargo, output};

/// What may be linked into a binary under MIT or Apache-2.0 without further duties than naming its authors.
/// `deny.toml` has the same list.
const ALLOWED: [&str; 8] =
    ["Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CDLA-Permissive-2.0", "ISC", "MIT", "Unicode-3.0", "Zlib"];

/// Allowed as an addition to Apache-2.0: it only takes duties away.
const ALLOWED_EXCEPTION: &str = "LLVM-exception";

/// What `cargo metadata` says, as far as it is used here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
}

/// One line for each package that we may not use.
///
/// # Errors
///
/// cargo cannot say what we depend on.
pub(super) fn check() -> Result<Vec<String>> {
    let metadata = output(&mut cargo(["metadata", "--format-version=1", "--all-features", "--locked"]))?;
    let metadata: Metadata = serde_json::from_slice(&metadata)?;
    let complaints: Vec<String> = metadata.packages.iter().filter_map(complaint).collect();
    println!("licences: {} packages, {} not allowed", metadata.packages.len(), complaints.len());
    Ok(complaints)
}

fn complaint(package: &Package) -> Option<String> {
    let Package { name, version, license } = package;
    let Some(licence) = license else {
        return Some(format!(
            "{name} {version} states no licence: read its licence file, and take another crate or ask"
        ));
    };
    // Cargo's old way to write OR.
    match Expression::parse_mode(licence, ParseMode::LAX) {
        Err(error) => Some(format!("{name} {version}: {licence:?} is no licence expression: {}", error.reason)),
        Ok(expression) if !expression.evaluate(allowed) => {
            Some(format!("{name} {version} has the licence {licence:?}, which is not in xtask/src/deps/licences.rs"))
        }
        Ok(_) => None,
    }
}

/// Whether one term of an expression is allowed.
fn allowed(term: &LicenseReq) -> bool {
    let LicenseItem::Spdx { id, .. } = &term.license else { return false };
    let addition = term.addition.as_ref().map(ToString::to_string);
    let harmless = match addition.as_deref() {
        None => true,
        Some(addition) => id.name == "Apache-2.0" && addition == ALLOWED_EXCEPTION,
    };
    ALLOWED.contains(&id.name) && harmless
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(licence: Option<&str>) -> bool {
        let license = licence.map(str::to_owned);
        let complaint = complaint(&Package { name: "left-pad".into(), version: "1.0.0".into(), license });
        assert!(complaint.as_ref().is_none_or(|text| text.contains("left-pad 1.0.0")));
        complaint.is_some()
    }

    #[test]
    fn expressions_are_understood() {
        for fine in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0-only OR MIT",
            "MIT AND BSD-3-Clause",
            "(MIT OR GPL-2.0-only) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(!refused(Some(fine)), "{fine}");
        }
        for bad in [
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            "GPL-2.0-only WITH Classpath-exception-2.0",
            "Apache-2.0 WITH Classpath-exception-2.0",
            "LicenseRef-mine",
            "free for all",
            "",
        ] {
            assert!(refused(Some(bad)), "{bad}");
        }
        assert!(refused(None));
    }
}
