//! The rows: `scale/GROWING/SIZE/CARRIED`.

use fastrpc::Compression;

use crate::rows::{Carried, Figure, Payload, Row, Setting, Weigh, Wire};

/// Files that a process of a row opens besides its connections.
const OTHER_FILES: usize = 100;

/// Which processes a row has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Client and server in one.
    Together,
    /// One for each.
    Apart,
    /// One for each, each on a core of its own.
    Pinned,
}

/// One row of the bench.
#[derive(Clone, Debug)]
pub struct ScaleRow {
    /// What is measured.
    pub row: Row,
    /// Where.
    pub place: Place,
}

impl ScaleRow {
    /// Why this row cannot run with so many open files and cores, if it cannot.
    #[must_use]
    pub fn unmet(&self, files: usize, cores: usize) -> Option<String> {
        let ends = if self.place == Place::Together { 2 } else { 1 };
        let wanted = ends * self.row.clients * self.row.connections + OTHER_FILES;
        let on_cores = if self.place == Place::Pinned { 2 } else { self.row.setting.workers.unwrap_or(1) };
        if wanted > files {
            return Some(format!("needs {wanted} open files, {files} are allowed: raise the hard limit (ulimit -Hn)"));
        }
        (on_cores > cores).then(|| format!("needs {on_cores} cores, may use {cores}: do not narrow them (taskset)"))
    }
}

/// Every row by what grows in it, in the order they run. Rows of one group take turns.
#[must_use]
pub fn groups() -> Vec<Vec<ScaleRow>> {
    vec![callers(), pools(), cores(), bodies(), connections()]
}

/// The rows whose name begins with one of `only`; all if there is none.
#[must_use]
pub fn select(only: &[String]) -> Vec<Vec<ScaleRow>> {
    let chosen = |row: &ScaleRow| only.is_empty() || only.iter().any(|prefix| row.row.name.starts_with(prefix));
    let groups = groups().into_iter().map(|group| group.into_iter().filter(chosen).collect::<Vec<_>>());
    groups.filter(|group| !group.is_empty()).collect()
}

fn new(growing: &str, size: &str, carried: Carried, callers: usize) -> ScaleRow {
    let row = Row {
        name: format!("scale/{growing}/{size}/{}", carried.name()),
        figure: Figure::Calls,
        setting: Setting { wire: Wire::Tcp, workers: None },
        weigh: Weigh::Peak,
        ..Row::new(carried, "", callers)
    };
    ScaleRow { row, place: Place::Together }
}

/// For each size both workloads, one after the other.
fn each<T: Copy>(sizes: &[T], row: impl Fn(T, Carried) -> ScaleRow) -> Vec<ScaleRow> {
    sizes.iter().flat_map(|&size| Carried::ALL.map(|carried| row(size, carried))).collect()
}

fn callers() -> Vec<ScaleRow> {
    each(&[1, 10, 100, 1000, 10_000, 100_000], |callers: usize, carried| {
        new("callers", &callers.to_string(), carried, callers)
    })
}

fn pools() -> Vec<ScaleRow> {
    each(&[1, 2, 4, 8], |connections: usize, carried| {
        let scale = new("pool", &connections.to_string(), carried, 1000);
        ScaleRow { row: Row { connections, ..scale.row }, ..scale }
    })
}

/// Worker threads of one process, and two processes of one thread on a core each.
fn cores() -> Vec<ScaleRow> {
    let mut rows = each(&[1, 2], |workers: usize, carried| {
        let scale = new("cores", &workers.to_string(), carried, 100);
        let setting = Setting { workers: Some(workers), ..scale.row.setting };
        ScaleRow { row: Row { setting, ..scale.row }, ..scale }
    });
    rows.extend(each(&["apart"], |size, carried| ScaleRow {
        place: Place::Pinned,
        ..new("cores", size, carried, 100)
    }));
    rows
}

/// Echoed, so each body crosses twice. One caller a connection: a large body keeps those behind it waiting.
fn bodies() -> Vec<ScaleRow> {
    let sizes = [64, 1 << 10, 16 << 10, 64 << 10, 1 << 20, 16 << 20, 64 << 20];
    let rows = each(&sizes, |bytes: usize, carried| {
        let scale = new("body", &bytes.to_string(), carried, 2);
        ScaleRow { row: Row { payload: Payload::Echo(bytes), ..scale.row }, ..scale }
    });
    // A TLV value has 1 MiB at the most.
    let fits = |row: &Row| row.carried != Carried::Tlv || row.payload <= Payload::Echo(fastrpc::codec::tlv::MAX_LEN);
    rows.into_iter().filter(|scale| fits(&scale.row)).collect()
}

/// Clients with one connection each, and one caller on each; last, those that need two processes.
fn connections() -> Vec<ScaleRow> {
    let of = |connections: usize, carried, place| {
        let scale = new("connections", &connections.to_string(), carried, connections);
        let row = Row { clients: connections, connections: 1, weigh: Weigh::Connections, ..scale.row };
        ScaleRow { row, place }
    };
    let mut rows = each(&[1, 10, 100, 1000, 9000], |connections, carried| of(connections, carried, Place::Together));
    for compression in [Compression::Snappy, Compression::Flate] {
        let scale = of(1000, Carried::Http, Place::Together);
        let name = format!("{}/{compression}", scale.row.name);
        rows.push(ScaleRow { row: Row { name, compression, ..scale.row }, ..scale });
    }
    rows.extend([1000, 18_000].map(|connections| {
        let scale = of(connections, Carried::Http, Place::Apart);
        ScaleRow { row: Row { name: format!("{}/apart", scale.row.name), ..scale.row }, ..scale }
    }));
    rows
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_tell_what_grows() {
        let names: Vec<_> = groups().into_iter().flatten().map(|scale| scale.row.name).collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
        for name in
            ["scale/callers/100000/http", "scale/connections/9000/fastrpc", "scale/connections/18000/http/apart"]
        {
            assert!(names.iter().any(|found| found == name), "{name}");
        }
        assert!(names.iter().any(|name| name == "scale/body/67108864/http"));
        assert!(!names.iter().any(|name| name == "scale/body/16777216/fastrpc"));
    }

    #[test]
    fn a_choice_keeps_the_groups() {
        let chosen = select(&["scale/pool/4".into(), "scale/callers/100/".into()]);
        let names: Vec<Vec<_>> =
            chosen.iter().map(|group| group.iter().map(|scale| scale.row.name.as_str()).collect()).collect();
        assert_eq!(
            names,
            [
                ["scale/callers/100/fastrpc", "scale/callers/100/http", "scale/callers/100/lazy"],
                ["scale/pool/4/fastrpc", "scale/pool/4/http", "scale/pool/4/lazy"],
            ]
        );
    }

    #[test]
    fn what_a_row_lacks_is_told() {
        let row = |name: &str| select(&[name.to_owned()]).remove(0).remove(0);
        let why = row("scale/connections/9000/http").unmet(1024, 2).expect("too few files");
        assert!(why.contains("18100 open files, 1024 are allowed"), "{why}");
        assert_eq!(row("scale/connections/18000/http").unmet(20_000, 1), None);
        assert!(row("scale/cores/2/").unmet(20_000, 1).expect("one core").contains("needs 2 cores"));
        assert!(row("scale/cores/apart/").unmet(20_000, 1).is_some());
        assert_eq!(row("scale/cores/1/").unmet(20_000, 1), None);
    }
}
