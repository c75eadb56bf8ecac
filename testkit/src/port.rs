//! A port in memory whose server may change, and that notes how each connection to it began.

use std::future::{Ready, ready};
use std::io;
use std::sync::{Arc, Mutex};

use crate::pipe::{End, Way, duplex};

type Accept = Box<dyn Fn(End) + Send>;

/// Where a client dials, and what becomes of that.
#[derive(Clone)]
pub struct Port {
    accept: Arc<Mutex<Accept>>,
    dials: Arc<Mutex<Vec<(Way, Way)>>>,
}

impl Port {
    /// One at which this has each connection.
    pub fn new(accept: impl Fn(End) + Send + 'static) -> Self {
        Self { accept: Arc::new(Mutex::new(Box::new(accept))), dials: Arc::default() }
    }

    /// From now on connections go here.
    pub fn replace(&self, accept: impl Fn(End) + Send + 'static) {
        *self.accept.lock().unwrap() = Box::new(accept);
    }

    /// What a client dials with.
    pub fn dial(&self) -> impl Fn() -> Ready<io::Result<End>> + Send + Sync + use<> {
        let port = self.clone();
        move || {
            let (here, there) = duplex();
            here.outgoing().record();
            port.dials.lock().unwrap().push((here.outgoing(), here.incoming()));
            (port.accept.lock().unwrap())(there);
            ready(Ok(here))
        }
    }

    /// How the connections began: F with a framed hello, C with a classic one, S with a classic one that asks for TLS, T with
    /// TLS, - with less.
    pub fn wires(&self) -> String {
        self.dials.lock().unwrap().iter().map(|(up, _)| began(&up.recorded())).collect()
    }

    /// Connections that were dialled.
    pub fn dialled(&self) -> usize {
        self.dials.lock().unwrap().len()
    }

    /// What goes to the server on the nth connection, and what comes.
    pub fn ways(&self, n: usize) -> (Way, Way) {
        self.dials.lock().unwrap()[n].clone()
    }

    /// Ends the nth connection.
    pub fn cut(&self, n: usize) {
        let (up, down) = self.ways(n);
        up.end();
        down.end();
    }
}

fn began(bytes: &[u8]) -> char {
    if bytes.first() == Some(&0x16) {
        return 'T';
    }
    let hello = [&b"fastrpc"[..], b"httpteleport"].into_iter().find_map(|sniff| bytes.strip_prefix(sniff));
    match hello {
        Some([_, compression, ..]) if compression & 0x80 != 0 => 'F',
        Some([_, _, 0, ..]) => 'C',
        Some([_, _, _, ..]) => 'S',
        _ => '-',
    }
}
