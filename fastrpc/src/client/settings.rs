//! Settings that clients of both kinds have.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{FAR, LinkConfig, MAX_PENDING, positive, within};
use crate::error::Error;
use crate::mux::admission::AtLimit;
use crate::mux::handshake::ClientTls;

/// What a client is told about its connections and its limits.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) link: LinkConfig,
    pub(crate) connections: usize,
    pub(crate) max_groups: usize,
    pub(crate) max_pending: usize,
    pub(crate) max_unsent: usize,
    pub(crate) max_abandoned: usize,
    pub(crate) at_limit: AtLimit,
    pub(crate) timeout: Duration,
    pub(crate) dial_timeout: Duration,
    pub(crate) backoff: (Duration, Duration),
    pub(crate) tls: Option<ClientTls>,
    pub(crate) observer: Option<Observer>,
}

/// Hears how each connection of the framed wire ended.
pub(crate) type Observer = Arc<dyn Fn(&Result<(), Error>) + Send + Sync>;

impl Settings {
    pub(crate) fn new() -> Self {
        Self {
            link: LinkConfig::new(Duration::from_secs(100)),
            connections: 1,
            max_groups: 64,
            max_pending: 32_768,
            max_unsent: 64 << 20,
            max_abandoned: 10_000,
            at_limit: AtLimit::default(),
            timeout: Duration::from_secs(30),
            dial_timeout: Duration::from_secs(5),
            backoff: (Duration::from_millis(50), Duration::from_secs(1)),
            tls: None,
            observer: None,
        }
    }

    pub(crate) fn check(&mut self) -> Result<(), Error> {
        self.link.check()?;
        self.dial_timeout = self.dial_timeout.min(FAR);
        self.backoff = (self.backoff.0.min(FAR), self.backoff.1.min(FAR));
        within("connections", self.connections, 1, 1024)?;
        within("max_groups", self.max_groups, 1, 65_536)?;
        within("max_pending", self.max_pending, 1, MAX_PENDING)?;
        within("max_unsent", self.max_unsent, 1, 1 << 40)?;
        // A batch that waits for more than may wait would wait for its delay.
        self.link.write_buffer = self.link.write_buffer.min(self.max_unsent);
        within("max_abandoned", self.max_abandoned, 1, MAX_PENDING / 2)?;
        positive("timeout", self.timeout)?;
        positive("dial_timeout", self.dial_timeout)?;
        positive("backoff", self.backoff.0.min(self.backoff.1))
    }
}

/// Checks that an address is `host:port`.
pub(crate) fn check_address(address: &str) -> Result<(), Error> {
    let has_port = address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if has_port {
        return Ok(());
    }
    Err(Error::config(format!("address {address:?} has no host or no port: give host:port")))
}

/// The setters of a client's builder, beside those of its connections, and the ways to get a client of it. The builder has
/// its [`Settings`] as `settings` and a function `with_dialer`.
macro_rules! client_setters {
    ($client:ty) => {
        /// Connections in the pool, 1 to 1,024. Default: 1. Each is dialled when a call first needs it; a call takes the
        /// one with the fewest pending calls.
        pub fn connections(mut self, n: usize) -> Self {
            self.settings.connections = n;
            self
        }

        /// Groups that may have a client of their own at a time, see `for_group` of the client, 1 to 65,536. Default: 64.
        pub fn max_groups(mut self, groups: usize) -> Self {
            self.settings.max_groups = groups;
            self
        }

        /// Most calls that may be pending over the whole pool, 1 to 1,048,575. Default: 32,768. Fire-and-forget calls count
        /// until their batch goes out, streamed calls until their reply's body has ended.
        pub fn max_pending(mut self, calls: usize) -> Self {
            self.settings.max_pending = calls;
            self
        }

        /// Most encoded bytes that may wait for the peer to read, over the whole pool; on the framed wire, heads that wait on
        /// one connection. Default: 64 MiB. The last message admitted may pass it by its own length.
        pub fn max_unsent(mut self, bytes: usize) -> Self {
            self.settings.max_unsent = bytes;
            self
        }

        /// Classic wire: most calls of one connection that were dropped or timed out while the peer still owes their reply.
        /// Default: 10,000. Past it the connection takes no new calls, finishes, and another takes its place.
        pub fn max_abandoned(mut self, calls: usize) -> Self {
            self.settings.max_abandoned = calls;
            self
        }

        /// What a call does when a limit is met. Default: it fails.
        pub fn at_limit(mut self, at_limit: $crate::AtLimit) -> Self {
            self.settings.at_limit = at_limit;
            self
        }

        /// The deadline of calls that are given none: of the whole reply on the classic wire, of its head where bodies stream.
        /// Default: 30 s. A peer that is silent for the read timeout ends its connection and its calls earlier; for calls that
        /// may take longer, raise both.
        pub fn timeout(mut self, limit: std::time::Duration) -> Self {
            self.settings.timeout = limit;
            self
        }

        /// The longest that reaching the peer may take, before the opening exchange. Default: 5 s.
        pub fn dial_timeout(mut self, limit: std::time::Duration) -> Self {
            self.settings.dial_timeout = limit;
            self
        }

        /// The pause after a dial that failed: `first`, then twice as long each time up to `most`, each shortened by up to
        /// half at random so that clients do not come in step. Default: 50 ms to 1 s.
        pub fn backoff(mut self, first: std::time::Duration, most: std::time::Duration) -> Self {
            self.settings.backoff = (first, most);
            self
        }

        /// Framed wire: tells `observer` how each connection ended, for a log: `Ok` after it was drained or closed in order, the
        /// cause otherwise, which also fails its calls. It runs on the connection's task and should be quick.
        pub fn on_connection_end(
            mut self,
            observer: impl Fn(&Result<(), $crate::Error>) + Send + Sync + 'static,
        ) -> Self {
            self.settings.observer = Some(std::sync::Arc::new(observer));
            self
        }

        /// Speaks TLS with this configuration to a server of this name. Default: clear text.
        pub fn tls(
            mut self,
            config: std::sync::Arc<tokio_rustls::rustls::ClientConfig>,
            name: tokio_rustls::rustls::pki_types::ServerName<'static>,
        ) -> Self {
            self.settings.tls = Some($crate::mux::handshake::ClientTls { config, name });
            self
        }

        /// A client of the server at `address`, `host:port`. Names are resolved at each dial. Nothing is dialled yet.
        ///
        /// # Errors
        ///
        /// [`ErrorKind::Config`](crate::ErrorKind::Config) names the setting that is unusable.
        pub fn connect(self, address: impl Into<String>) -> Result<$client, $crate::Error> {
            let address = address.into();
            $crate::client::settings::check_address(&address)?;
            let peer = Some(std::sync::Arc::from(address.as_str()));
            self.with_dialer(peer, move || $crate::client::dial::tcp(address.clone()))
        }

        /// A client of the server at the unix socket `path`.
        ///
        /// # Errors
        ///
        /// [`ErrorKind::Config`](crate::ErrorKind::Config) names the setting that is unusable.
        #[cfg(unix)]
        pub fn connect_unix(self, path: impl Into<std::path::PathBuf>) -> Result<$client, $crate::Error> {
            let path = path.into();
            let peer = Some(std::sync::Arc::from(path.display().to_string()));
            self.with_dialer(peer, move || tokio::net::UnixStream::connect(path.clone()))
        }

        /// A client over streams that `dial` makes: one for each connection, and one more whenever a connection has ended
        /// and a call needs it again. `name` is what errors call the peer.
        ///
        /// # Errors
        ///
        /// [`ErrorKind::Config`](crate::ErrorKind::Config) names the setting that is unusable.
        pub fn connect_with<D, F, S>(self, name: &str, dial: D) -> Result<$client, $crate::Error>
        where
            D: Fn() -> F + Send + Sync + 'static,
            F: Future<Output = std::io::Result<S>> + Send + 'static,
            S: $crate::Io,
        {
            self.with_dialer(Some(std::sync::Arc::from(name)), dial)
        }
    };
}
pub(crate) use client_setters;
