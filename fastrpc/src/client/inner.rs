//! What the clones of a client share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::Client;
use super::dial::Dialer;
use super::door::{Behind, Door, Within};
use super::groups::Groups;
use super::pool::{Pool, runtime};
use super::route::{Attempt, Route};
use super::settings::Settings;
use crate::codec::Codec;
use crate::error::{Error, ErrorKind};
use crate::mux::admission::Admission;
use crate::mux::conn::{Conn, NotRegistered, closed};
use crate::mux::link::Peer;
use crate::stats::Counters;
use crate::stream::{Channel, NotFramed};

/// What the clones of a client share.
pub(crate) struct Inner<C: Codec> {
    pub(super) codec: Arc<C>,
    pub(super) settings: Settings,
    pub(super) peer: Peer,
    pub(super) route: Route,
    pub(super) admission: Arc<Admission>,
    pub(super) counters: Arc<Counters>,
    pub(super) door: Door,
    /// No connection is opened any more.
    pub(super) closed: AtomicBool,
    /// Connections of the classic wire.
    pub(super) pool: Pool<C>,
    /// And those of the framed one.
    pub(super) framed: Channel,
    pub(super) dialer: Option<Dialer>,
    pub(super) groups: Groups<Client<C>>,
}

impl<C: Codec> Inner<C> {
    pub(super) fn new(
        codec: Arc<C>,
        settings: Settings,
        route: Route,
        peer: Peer,
        dialer: Option<Dialer>,
        counters: Arc<Counters>,
    ) -> Arc<Self> {
        let admission = Arc::new(Admission::new(settings.max_pending, settings.max_unsent));
        Arc::new(Self {
            codec,
            peer: peer.clone(),
            route,
            groups: Groups::new(settings.max_groups, settings.link.idle_timeout),
            dialer: dialer.clone(),
            framed: Channel::new(&settings, peer, dialer.clone(), admission.clone(), counters.clone()),
            admission,
            counters,
            door: Door::default(),
            closed: AtomicBool::new(false),
            pool: Pool::new(if dialer.is_some() { settings.connections } else { 1 }, dialer, settings.backoff),
            settings,
        })
    }
}

impl<C: Codec> Behind for Inner<C> {
    fn door(&self) -> &Door {
        &self.door
    }

    /// Connections end after their last call.
    fn all_through(&self) {
        self.closed.store(true, Ordering::Release);
        for conn in self.pool.connections() {
            conn.drain();
        }
        self.framed.begin_drain();
    }
}

impl<C: Codec> Inner<C> {
    /// Runs `register` on a usable connection, opening one if need be.
    pub(super) fn on_connection<T>(
        &self,
        mut register: impl FnMut(&Conn<C>) -> Result<T, NotRegistered>,
    ) -> Result<(T, Arc<Conn<C>>), Error> {
        // A connection may end between being chosen and being used; that it happens time and again is not plausible.
        for _ in 0..8 {
            if self.is_closed() {
                return Err(closed());
            }
            let conn = self.pool.connection(self)?;
            match register(&conn) {
                Ok(registered) => return Ok((registered, conn)),
                Err(NotRegistered::Error(error)) => return Err(error.with_peer(self.peer.clone())),
                Err(NotRegistered::Unusable) => {}
            }
        }
        Err(Error::new(ErrorKind::Connection, "connections end as soon as they begin")
            .with_peer(self.peer.clone())
            .with_retry(true))
    }

    pub(super) fn send(&self, request: &C::Request) -> Result<(), Error> {
        if self.door.is_closed() {
            return Err(closed());
        }
        self.admit_now()?;
        let admitted = Admitted(self);
        self.on_connection(|conn| conn.send(request))?;
        std::mem::forget(admitted); // From here the connection gives the admission back.
        Ok(())
    }

    /// With what goes out next, if there is a connection, or else once there is one.
    pub(super) fn send_framed(self: &Arc<Self>, request: &C::Request, attempt: Attempt) -> Result<(), Error> {
        let within = Within::enter(&**self).ok_or_else(closed)?;
        self.admit_now()?;
        let admitted = Admitted(self);
        let mut message = Vec::new();
        let encoded = self.codec.encode_request(request, &mut message).map_err(Error::encode);
        encoded.inspect_err(|error| self.framed.count_error(error))?;
        let message = message.into();
        if let Some(sent) = self.framed.try_send(&message) {
            if sent.is_ok() {
                self.route.went_framed();
            }
            return sent.inspect_err(|error| self.framed.count_error(error));
        }
        let runtime = runtime()?;
        std::mem::forget(admitted);
        within.set_aside();
        let inner = self.clone();
        runtime.spawn(async move {
            let (_within, _attempt) = (Within::take_up(&*inner), attempt);
            let sent = inner.send_later(&message, Admitted(&inner)).await;
            let _ = sent.inspect_err(|error| inner.framed.count_error(error)); // Nobody waits for it.
        });
        Ok(())
    }

    /// Once there is a connection, of whichever wire. Of a fallback nothing is learnt unless a hello of the classic wire came:
    /// nobody hears whether what is sent arrives.
    async fn send_later(&self, message: &Bytes, admitted: Admitted<'_, C>) -> Result<(), Error> {
        let error = match self.framed.send(message).await {
            Ok(()) => {
                self.route.went_framed();
                return Ok(());
            }
            Err(error) => error,
        };
        match NotFramed::of(&error).filter(|_| self.route.may_fall_back()) {
            Some(NotFramed::Classic) => self.route.went_classic(),
            Some(NotFramed::NoTls) => {}
            None => return Err(error),
        }
        self.on_connection(|conn| conn.send_encoded(message))?;
        std::mem::forget(admitted); // From here the connection gives the admission back.
        Ok(())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn admit_now(&self) -> Result<(), Error> {
        self.admission.try_admit().map_err(|full| self.overload(full))
    }
}

pub(crate) fn no_groups() -> Error {
    Error::config("the client was given its one connection, so groups cannot have their own: use a client that dials")
}

/// Gives an admission back unless the call got onto a connection; on unwind of the codec too.
pub(super) struct Admitted<'a, C: Codec>(pub(super) &'a Inner<C>);

impl<C: Codec> Drop for Admitted<'_, C> {
    fn drop(&mut self) {
        self.0.admission.release(1);
    }
}

impl<C: Codec> Drop for Inner<C> {
    fn drop(&mut self) {
        self.all_through();
    }
}
