//! Places that one process would need twice: a port at an address and at one that covers it, or a path.
//!
//! A start, a check of a file and a reload all look here before anything is opened.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::{Admin, Listener, Located, Part, Process, Settings};
use crate::endpoint::Address;
use crate::listen::{Given, Place};

mod ports;

pub(crate) use ports::in_the_way;

/// What says where the admin address is.
const ADMIN: &str = "--admin";

/// A place that is needed.
struct Seat {
    part: Part,
    /// What says so.
    option: &'static str,
    /// The option's value.
    value: String,
    address: Address,
    /// Whether several sockets may have its port.
    shared: bool,
    /// Where it is open already.
    open: Vec<Place>,
}

/// A place that another one leaves nothing of.
struct Overlap<'a> {
    seat: &'a Seat,
    other: &'a Seat,
    how: How,
}

/// What two places have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// A path.
    Path,
    /// A port, at an address.
    Port,
    /// A port; the place is at every address of these.
    Covers(&'static str),
    /// A port; the other place is at every address of these.
    Covered(&'static str),
}

/// What is open before the settings are followed.
#[derive(Default)]
pub(crate) struct Open {
    /// Sockets for listeners, and perhaps for the admin address.
    pub(crate) given: Given,
    /// Where the admin address is open.
    pub(crate) admin: Vec<Place>,
}

/// Finds what cannot be opened, as something else of these settings has its place: each with the part that says it, in a line that begins
/// with its option. With a file, the line says where in it the other place stands.
pub(crate) async fn find(settings: &Settings, open: &Open, file: Option<&Located>) -> Vec<(Part, String)> {
    // The usual admin address gives way.
    let is_asked_for = |admin: &Admin| admin.asked_for || !open.admin.is_empty();
    let mut seats = seats(settings, settings.process.admin.as_ref().filter(|admin| is_asked_for(admin)), &open.admin);
    // Whose place cannot be read has none.
    seats.retain(|seat| file.is_none_or(|file| is_known(seat.part, file)));
    let mut found = paths(&seats);
    found.extend(ports::overlaps(&seats, &open.given).await);
    found.iter().map(|overlap| (overlap.seat.part, overlap.told(file))).collect()
}

/// A line for the log where the usual admin address, for which nobody has asked, gives way to a listener of these settings: there is none then.
pub(crate) async fn of_usual_admin(settings: &Settings, given: &Given, file: Option<&Located>) -> Option<String> {
    let admin = settings.process.admin.as_ref().filter(|admin| !admin.asked_for)?;
    let seats = seats(settings, Some(admin), &[]);
    let found = ports::overlaps(&seats, given).await;
    let other = found.iter().find(|overlap| overlap.seat.option == ADMIN)?.other.named(file);
    let advice = match file {
        Some(_) => "set admin to another address, or to \"\" for none",
        None => "choose another address with --admin, or none with --admin ''",
    };
    Some(format!("the admin page and metrics have no address: {other} has {admin}; {advice}"))
}

fn is_known(part: Part, file: &Located) -> bool {
    let unread = file.unread(part);
    !matches!(part, Part::Listener(_))
        || !unread.iter().any(|option| ["--in", "--reuse-port"].contains(&option.as_str()))
}

/// The same as lines; with a file, each with its own place there, and in the order of it.
pub(crate) async fn lines(settings: &Settings, open: &Open, file: Option<&Located>) -> Vec<String> {
    let found = find(settings, open, file).await;
    match file {
        Some(file) => file.told(found),
        None => found.into_iter().map(|(_, line)| line).collect(),
    }
}

/// The places of settings with this admin address, in the order in which they are opened.
fn seats(settings: &Settings, admin: Option<&Admin>, open_admin: &[Place]) -> Vec<Seat> {
    let Process { access_log, handover, .. } = &settings.process;
    let process = |option, value, address, open: &[Place]| Seat {
        part: Part::Process,
        option,
        value,
        address,
        shared: false,
        open: open.to_vec(),
    };
    let path = |option, path: &Path| process(option, path.display().to_string(), Address::Unix(path.to_owned()), &[]);
    let listener = |(index, listener): (usize, &Listener)| Seat {
        part: Part::Listener(index),
        option: "--in",
        value: listener.endpoint.to_string(),
        address: listener.endpoint.address.clone(),
        shared: listener.sharing.reuse_port,
        open: Vec::new(),
    };
    let log = access_log.iter().filter(|log| !log.is_stdout()).map(|log| path("--access-log", &log.path));
    let listeners = settings.listeners.iter().enumerate().map(listener);
    let admin = admin.map(|admin| process(ADMIN, admin.to_string(), admin.endpoint(), open_admin));
    log.chain(listeners).chain(admin).chain(handover.iter().map(|at| path("--handover", at))).collect()
}

/// Those that want the path of an earlier one.
fn paths(seats: &[Seat]) -> Vec<Overlap<'_>> {
    let (mut taken, mut found) = (HashMap::new(), Vec::new());
    for seat in seats {
        let Address::Unix(path) = &seat.address else { continue };
        match taken.entry(place(path)) {
            Entry::Vacant(free) => {
                free.insert(seat);
            }
            Entry::Occupied(other) => found.push(Overlap { seat, other: other.get(), how: How::Path }),
        }
    }
    found
}

/// Where a path leads, by whichever way it is written. There need be nothing yet.
fn place(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (fs::canonicalize(folder), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

impl Seat {
    /// What says that it is needed.
    fn named(&self, file: Option<&Located>) -> String {
        let Seat { part, option, value, .. } = self;
        file.and_then(|file| file.name(*part, option)).unwrap_or_else(|| format!("{option} {value}"))
    }
}

impl Overlap<'_> {
    fn told(&self, file: Option<&Located>) -> String {
        let other = self.other.named(file);
        let why = match self.how {
            How::Path => return self.line(&format!("is the path of {other} as well; give one of them another path")),
            How::Port => format!("listens where {other} does"),
            How::Covers(which) => format!("listens at every address of {which}, so where {other} does as well"),
            How::Covered(which) => format!("listens where {other} does, which is at every address of {which}"),
        };
        self.line(&format!("{why}; give one of them another port"))
    }

    fn line(&self, what: &str) -> String {
        format!("{} {}: {what}", self.seat.option, self.seat.value)
    }
}
