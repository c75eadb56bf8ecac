//! What this process tells of itself over HTTP, at an address of its own: metrics, health, and a page for people.

use std::collections::VecDeque;
use std::future::pending;
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
use tokio::time::sleep;

use self::answer::Answer;
use self::own_host::OwnHost;
use self::spare::{Refilled, Spare};
use self::token::Token;
pub(crate) use self::token::TokenFile;
use crate::announced;
use crate::config;
use crate::listen::{self, Given, Ports, Socket};
use crate::listening::Listening;
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

/// The first pause before the usual address is tried again where somebody else has it; each further one is twice as long.
const SOONEST: Duration = Duration::from_secs(1);
/// But no longer than this.
const LATEST: Duration = Duration::from_secs(15);

/// The admin address; nothing is accepted yet.
pub(crate) struct Admin {
    settings: config::Admin,
    metrics: Arc<Metrics>,
    token: Option<Arc<TokenFile>>,
    /// None while the usual address is somebody else's.
    ports: Option<Ports>,
    spare: Arc<Spare>,
}

impl Admin {
    /// Opens the address, or takes the socket that is there already. If nobody has asked for one and the usual one is not to be had, there is none
    /// as yet, and a warning in the log.
    ///
    /// # Errors
    ///
    /// One line that names the option and says what to do.
    pub(crate) async fn open(
        settings: &config::Admin,
        metrics: &Arc<Metrics>,
        given: &mut Given,
    ) -> anyhow::Result<Admin> {
        let token = settings.token_file.as_deref().map(TokenFile::open).transpose()?.map(Arc::new);
        let (host, port) = &settings.address;
        // Whose host is unknown is told below.
        let there = given.take(&settings.endpoint()).await.unwrap_or_default();
        let ports = match open(host, *port, there).await {
            Ok(ports) => Some(ports),
            Err(why) if settings.asked_for => anyhow::bail!("--admin {settings}: {why}; choose another address"),
            Err(why) => {
                tracing::warn!(
                    "metrics are not served: {settings}: {why}; it is tried again; choose another address with --admin, or turn them off \
                     with --admin ''"
                );
                None
            }
        };
        let admin = Admin {
            settings: settings.clone(),
            metrics: Arc::clone(metrics),
            token,
            ports,
            spare: Arc::new(Spare::new()),
        };
        admin.warn_if_exposed();
        Ok(admin)
    }

    /// Its sockets.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.ports.iter().flat_map(Ports::sockets)
    }

    /// The token that whoever reads has to give, if any.
    pub(crate) fn token(&self) -> Option<Arc<TokenFile>> {
        self.token.clone()
    }

    /// Says where it is, if it is open, as a line of the start.
    pub(crate) fn announce(&self, process: &config::Process) {
        if let Some(ports) = &self.ports {
            announced::say(process, &format!("admin page and metrics at http://{}/", ports.address()));
        }
    }

    /// Serves until it is dropped, also while the process drains; opens the address first if it could not be had. Where there are too many
    /// connections the oldest ends: who has something to ask, probes above all, asks at once, so those who say nothing shut nobody out.
    pub(crate) async fn serve(mut self, listening: Arc<Listening>) {
        let ports = match self.ports.take() {
            Some(ports) => ports,
            None => self.wait(&listening).await,
        };
        let (answer, spare) = (Arc::new(self.answer(&ports)), Arc::clone(&self.spare));
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let mut open = VecDeque::<JoinHandle<()>>::new();
        loop {
            let (stream, spared) = accept(&ports, &spare, &mut open).await;
            open.retain(|connection| !connection.is_finished());
            if places.available_permits() == 0
                && let Some(oldest) = open.pop_front()
            {
                oldest.abort();
            }
            let place = Arc::clone(&places).acquire_owned().await;
            let (answer, spare) = (Arc::clone(&answer), Refilled(Arc::clone(&spare)));
            let served = tokio::spawn(async move {
                let _held = (place, spare);
                // Files that are few are for others again as soon as it is answered.
                connection(stream, answer, !spared).await;
            });
            open.push_back(served);
        }
    }

    /// Opens the address as soon as whoever has it lets it go, such as a process before this one that drains. One that drains itself leaves it to
    /// others.
    async fn wait(&self, listening: &Listening) -> Ports {
        let (host, port) = &self.settings.address;
        let mut pause = SOONEST;
        loop {
            sleep(pause).await;
            pause = (pause * 2).min(LATEST);
            // Nobody is handed over what there is without it, or settings that want it.
            let steady = listening.steady().await;
            if self.metrics.shutdown.is_leaving() {
                drop(steady);
                return pending().await;
            }
            let Ok(ports) = open(host, *port, Vec::new()).await else { continue };
            if listening.add_admin(ports.sockets()).is_ok() {
                tracing::info!("metrics are served now, at http://{}/", ports.address());
                return ports;
            }
        }
    }

    fn answer(&self, ports: &Ports) -> Answer {
        // Whoever gives a token is no stranger.
        let own_host =
            (self.token.is_none() && exposed(ports).is_none()).then(|| OwnHost::new(&self.settings.address.0));
        Answer::new(Arc::clone(&self.metrics), self.token.clone(), own_host, self.settings.price_per_gb)
    }

    fn warn_if_exposed(&self) {
        let exposed = self.ports.as_ref().and_then(exposed);
        if let Some(address) = exposed.filter(|_| self.token.is_none()) {
            tracing::warn!(
                "ANYBODY WHO REACHES {address} CAN READ WHAT THIS PROCESS TELLS OF ITSELF: give --admin-token-file, or a loopback \
                 address with --admin"
            );
        }
    }
}

/// Where others can reach it, if they can.
fn exposed(ports: &Ports) -> Option<SocketAddr> {
    ports.addresses().find(|address| !address.ip().is_loopback())
}

/// The next connection, and whether files had to be given up for it: those that are held back, and then those of the oldest that is open.
async fn accept(ports: &Ports, spare: &Spare, open: &mut VecDeque<JoinHandle<()>>) -> (TcpStream, bool) {
    let mut spared = false;
    loop {
        match ports.accept().await {
            Ok((stream, _)) => return (stream, spared),
            // The system says so before it looks whether anybody is there, and nobody is to leave for nobody.
            Err(error) if !is_of_files(&error) || !ports.has_client() => sleep(REST).await,
            Err(_) if spare.let_go() => spared = true,
            Err(_) => match open.pop_front() {
                Some(oldest) => {
                    oldest.abort();
                    // Its files are free once it has ended.
                    let _ = oldest.await;
                }
                None => sleep(REST).await,
            },
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

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::cli::{Action, parse};
    use crate::metrics::recent::Recent;
    use crate::shutdown::Shutdown;

    fn metrics(shutdown: &Shutdown) -> Arc<Metrics> {
        let args = ["httptp", "--in=http://127.0.0.1:0", "--out=http://127.0.0.1:1"].map(OsString::from);
        let Ok(Action::Proxy(settings, _)) = parse(args) else { panic!("settings") };
        Arc::new(Metrics::new(&settings.process, Arc::<Recent>::default(), None, None, shutdown.clone()))
    }

    fn usual(address: SocketAddr) -> config::Admin {
        let address = (address.ip().to_string(), address.port());
        config::Admin { address, asked_for: false, token_file: None, price_per_gb: None }
    }

    #[tokio::test]
    async fn the_usual_address_is_had_when_it_is_free() {
        let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = taken.local_addr().expect("an address");
        let admin = Admin::open(&usual(address), &metrics(&Shutdown::new()), &mut Given::default()).await;
        let admin = admin.expect("it is not asked for");
        assert_eq!(admin.sockets().count(), 0);
        let listening = Arc::<Listening>::default();
        let served = tokio::spawn(admin.serve(Arc::clone(&listening)));
        drop(taken);
        let mut stream = loop {
            match TcpStream::connect(address).await {
                Ok(stream) => break stream,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.expect("sent");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.expect("a reply");
        assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
        assert_eq!(listening.sockets().expect("files").len(), 1, "it goes along in a handover");
        served.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_does_not_take_it() {
        let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = taken.local_addr().expect("an address");
        let shutdown = Shutdown::new();
        let admin = Admin::open(&usual(address), &metrics(&shutdown), &mut Given::default()).await;
        let served = tokio::spawn(admin.expect("it is not asked for").serve(Arc::default()));
        shutdown.leave();
        drop(taken);
        sleep(LATEST * 4).await;
        drop(std::net::TcpListener::bind(address).expect("it is free"));
        served.abort();
    }
}
