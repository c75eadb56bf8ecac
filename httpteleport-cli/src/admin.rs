//! What this process tells of itself over HTTP, at an address of its own: metrics, health, and a page for people.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use self::answer::Answer;
use self::own_host::OwnHost;
use self::spare::{Refilled, Spare};
use self::token::Token;
pub(crate) use self::token::TokenFile;
use crate::announced;
use crate::config;
use crate::listen::{self, Given, Ports, Socket};
use crate::metrics::Metrics;
use crate::open_files::is_of_files;
use crate::outbound::plain;

mod answer;
mod cmdline;
mod now;
mod own_host;
mod page;
mod spare;
mod token;

/// Connections at a time.
const MOST_CONNECTIONS: usize = 64;
/// How long a head may take, and how long a connection may have nothing to say.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a head.
const LONGEST_HEAD: usize = 16 * 1024;
/// How long accepting rests when the system has no file or memory left.
const REST: Duration = Duration::from_millis(100);

/// The admin address, open; nothing is accepted yet.
pub(crate) struct Admin {
    ports: Ports,
    answer: Arc<Answer>,
    spare: Arc<Spare>,
}

impl Admin {
    /// Opens the address, or takes the socket that is there already. If nobody has asked for one and the usual one is not to be had, there is none, and a warning in the log.
    ///
    /// # Errors
    ///
    /// One line that names the option and says what to do.
    pub(crate) async fn open(
        settings: &config::Admin,
        metrics: &Arc<Metrics>,
        given: &mut Given,
    ) -> anyhow::Result<Option<Admin>> {
        let token = settings.token_file.as_deref().map(TokenFile::open).transpose()?.map(Arc::new);
        let (host, port) = &settings.address;
        // Whose host is unknown is told below.
        let there = given.take(&settings.endpoint()).await.unwrap_or_default();
        let ports = match open(host, *port, there).await {
            Ok(ports) => ports,
            Err(why) if settings.asked_for => anyhow::bail!("--admin {settings}: {why}; choose another address"),
            Err(why) => {
                tracing::warn!(
                    "metrics are not served: {settings}: {why}; choose another address with --admin, or turn them off with \
                     --admin ''"
                );
                return Ok(None);
            }
        };
        let exposed = ports.addresses().find(|address| !address.ip().is_loopback());
        if let Some(address) = exposed.filter(|_| token.is_none()) {
            tracing::warn!(
                "ANYBODY WHO REACHES {address} CAN READ WHAT THIS PROCESS TELLS OF ITSELF: give --admin-token-file, or a loopback \
                 address with --admin"
            );
        }
        // Whoever gives a token is no stranger.
        let own_host = (token.is_none() && exposed.is_none()).then(|| OwnHost::new(host));
        let answer = Arc::new(Answer::new(Arc::clone(metrics), token, own_host, settings.price_per_gb));
        Ok(Some(Admin { ports, answer, spare: Arc::new(Spare::new()) }))
    }

    /// Its sockets.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.ports.sockets()
    }

    /// The token that whoever reads has to give, if any.
    pub(crate) fn token(&self) -> Option<Arc<TokenFile>> {
        self.answer.token()
    }

    /// Says where it is, as a line of the start.
    pub(crate) fn announce(&self, process: &config::Process) {
        announced::say(process, &format!("admin page and metrics at http://{}/", self.ports.address()));
    }

    /// Serves until it is dropped, also while the process drains. Where there are too many connections the oldest ends: who has something to
    /// ask, probes above all, asks at once, so those who say nothing shut nobody out.
    pub(crate) async fn serve(self) {
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let mut open = VecDeque::<JoinHandle<()>>::new();
        loop {
            let (stream, spared) = self.accept(&mut open).await;
            open.retain(|connection| !connection.is_finished());
            if places.available_permits() == 0
                && let Some(oldest) = open.pop_front()
            {
                oldest.abort();
            }
            let place = Arc::clone(&places).acquire_owned().await;
            let (answer, spare) = (Arc::clone(&self.answer), Refilled(Arc::clone(&self.spare)));
            let served = tokio::spawn(async move {
                let _held = (place, spare);
                // Files that are few are for others again as soon as it is answered.
                connection(stream, answer, !spared).await;
            });
            open.push_back(served);
        }
    }

    /// The next connection, and whether files had to be given up for it: those that are held back, and then those of the oldest that is open.
    async fn accept(&self, open: &mut VecDeque<JoinHandle<()>>) -> (TcpStream, bool) {
        let mut spared = false;
        loop {
            match self.ports.accept().await {
                Ok((stream, _)) => return (stream, spared),
                Err(error) if is_of_files(&error) && self.spare.let_go() => spared = true,
                Err(error) => match open.pop_front().filter(|_| is_of_files(&error)) {
                    Some(oldest) => {
                        oldest.abort();
                        // Its files are free once it has ended.
                        let _ = oldest.await;
                    }
                    None => tokio::time::sleep(REST).await,
                },
            }
        }
    }
}

/// All that is wrong with what the admin address needs, each a line that begins with the option. It is not opened.
pub(crate) async fn faults(settings: &config::Admin) -> Vec<String> {
    let token = settings.token_file.as_deref().and_then(|path| Token::read(path).err());
    let (host, port) = &settings.address;
    // The usual one may be missing.
    let place = if settings.asked_for { try_to(host, *port).await.err() } else { None };
    let place = place.map(|why| format!("--admin {settings}: {why}; choose another address"));
    token.map(|error| format!("{error:#}")).into_iter().chain(place).collect()
}

async fn connection(stream: TcpStream, answer: Arc<Answer>, keep: bool) {
    let service = service_fn(|request| std::future::ready(Ok::<_, std::convert::Infallible>(answer.to(&request))));
    let mut http = http1::Builder::new();
    http.keep_alive(keep).timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(LONGEST_HEAD);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!("admin connection: {error}");
    }
}

/// The addresses of the admin address's host, those of IPv4 before others.
///
/// # Errors
///
/// Nobody knows the host.
pub(crate) async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut addresses = listen::addresses(host, port).await?;
    addresses.sort_by_key(SocketAddr::is_ipv6);
    Ok(addresses)
}

/// Listens at all of the host's addresses.
async fn open(host: &str, port: u16, there: Vec<Socket>) -> Result<Ports, String> {
    let addresses = resolve(host, port).await?;
    Ports::open(&addresses, there, false).map_err(|(address, error)| match address.filter(|_| addresses.len() > 1) {
        Some(address) => format!("{address}: {}", why(&error)),
        None => why(&error),
    })
}

/// Whether one of the host's addresses is of this machine.
async fn try_to(host: &str, port: u16) -> Result<(), String> {
    let mut failed = "it has no address".to_owned();
    for address in resolve(host, port).await? {
        match listen::is_here(address) {
            Ok(()) => return Ok(()),
            Err(error) => failed = why(&error),
        }
    }
    Err(failed)
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    addresses(host, port).await.map_err(|_| format!("cannot find the address of {host:?}"))
}

/// Why nobody can listen at an address.
fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "address in use: another program listens there".to_owned(),
        io::ErrorKind::AddrNotAvailable => "not an address of this machine".to_owned(),
        _ => plain(error),
    }
}
