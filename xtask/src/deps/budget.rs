//! How many crates a published crate brings along.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use crate::process::{cargo, output, root};

/// Counts are taken for one platform, so that they are the same wherever they are taken.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// One line for each crate over its budget; how many there are, and which come twice, is printed.
///
/// # Errors
///
/// `xtask/budget.toml` is no list of crates and numbers, or cargo cannot say what a crate depends on.
pub(super) fn check() -> Result<Vec<String>> {
    let budget = std::fs::read_to_string(root().join("xtask/budget.toml")).context("xtask/budget.toml")?;
    let budget: BTreeMap<String, usize> = toml::from_str(&budget).context("xtask/budget.toml")?;
    let mut complaints = Vec::new();
    let mut everything = BTreeSet::new();
    for (name, most) in &budget {
        let tree = output(&mut cargo([
            "tree",
            "--locked",
            "--package",
            name,
            "--edges=normal",
            "--no-dedupe",
            "--prefix=depth",
            "--format={p}",
            "--target",
            PLATFORM,
        ]))?;
        let tree = Tree::parse(&String::from_utf8(tree)?);
        println!("budget: {name} brings {} crates of {most}", tree.all().len());
        complaints.extend(tree.complaint(name, *most));
        everything.extend(tree.all().into_iter().map(str::to_owned));
    }
    for twice in twice(&everything) {
        println!("note: in several versions: {twice}");
    }
    Ok(complaints)
}

/// What a crate depends on: each direct dependency (`name v1.2.3`), with all that it brings, itself too.
#[derive(Default)]
struct Tree(BTreeMap<String, BTreeSet<String>>);

impl Tree {
    /// Reads lines of `cargo tree --prefix=depth`: `0` the crate, `1` a direct dependency, `2` and more what that brings.
    fn parse(lines: &str) -> Self {
        let mut tree = Self::default();
        let mut direct = String::new();
        for line in lines.lines() {
            let digits = line.chars().take_while(char::is_ascii_digit).count();
            let (depth, package) = line.split_at(digits);
            // What follows name and version: (proc-macro), or a path.
            let package = package.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
            match depth {
                "" | "0" => continue,
                "1" => direct.clone_from(&package),
                _ => {}
            }
            tree.0.entry(direct.clone()).or_default().insert(package);
        }
        tree
    }

    fn all(&self) -> BTreeSet<&str> {
        self.0.values().flatten().map(String::as_str).collect()
    }

    /// What to say if there are more than `most`: the count, and which direct dependency brings what no other brings.
    fn complaint(&self, name: &str, most: usize) -> Option<String> {
        let count = self.all().len();
        if count <= most {
            return None;
        }
        let mut text = format!(
            "{name} brings {count} crates along; xtask/budget.toml allows {most}. Do without one, or raise the number and \
             say why.\n  What only one direct dependency brings:"
        );
        for (direct, brought) in &self.0 {
            let elsewhere: BTreeSet<&String> =
                self.0.iter().filter(|(d, _)| *d != direct).flat_map(|(_, b)| b).collect();
            let own: Vec<&str> = brought.iter().filter(|b| !elsewhere.contains(b)).map(String::as_str).collect();
            if !own.is_empty() {
                text += &format!("\n    {direct}: {}", own.join(", "));
            }
        }
        Some(text)
    }
}

/// The crates that are there in several versions: `windows-sys v0.52.0, v0.61.2`.
fn twice(packages: &BTreeSet<String>) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, version) in packages.iter().filter_map(|package| package.split_once(' ')) {
        versions.entry(name).or_default().push(version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    versions.iter().map(|(name, versions)| format!("{name} {}", versions.join(", "))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "0ours v0.1.0 (/src/ours)\n1bytes v1.0.0\n1tokio v1.2.0\n2bytes v1.0.0\n2mio v1.0.0\n\
                         10deep v0.1.0\n2deep v0.2.0 (proc-macro)\n";

    #[test]
    fn a_tree_counts_each_crate_once() {
        let tree = Tree::parse(LINES);
        let all = ["bytes v1.0.0", "deep v0.1.0", "deep v0.2.0", "mio v1.0.0", "tokio v1.2.0"];
        assert!(tree.all().into_iter().eq(all));
        assert_eq!(tree.complaint("ours", 5), None);
        let complaint = tree.complaint("ours", 4).unwrap();
        assert!(complaint.starts_with("ours brings 5 crates along; xtask/budget.toml allows 4."), "{complaint}");
        assert!(
            complaint.ends_with("\n    tokio v1.2.0: deep v0.1.0, deep v0.2.0, mio v1.0.0, tokio v1.2.0"),
            "{complaint}"
        );
        assert_eq!(twice(&all.map(str::to_owned).into()), ["deep v0.1.0, v0.2.0"]);
    }
}
