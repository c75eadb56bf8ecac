//! What a TLS server said last, where writing to it fails first.
//!
//! Over TLS 1.3 a server looks at a client's certificate when the client has begun to send. If it does not like what it sees it says so in
//! an alert and hangs up; a write that fails then comes before the read that would tell why.

use std::future::Future as _;
use std::io::{self, IoSlice, Read};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls;

/// Where a write fails the connection has ended, so that its last bytes are there, or all but; a stream that goes on to say nothing has so long.
const PATIENCE: Duration = Duration::from_secs(1);

/// The client's end of a TLS connection. A write to a peer that has hung up fails with the alert that the peer has sent before, if there is
/// one, as a read would.
#[derive(Debug)]
pub struct LastWords<IO> {
    stream: TlsStream<IO>,
    heard: Arc<OnceLock<rustls::Error>>,
    /// Why a write has failed, while it is found out whether the peer has more to say about that, and how long it has for that.
    failed: Option<(io::Error, Pin<Box<Sleep>>)>,
    /// Nothing more is to be written: that this cannot be is no news.
    shut: bool,
}

impl<IO> LastWords<IO> {
    /// A stream whose handshake is over.
    pub fn new(stream: TlsStream<IO>) -> Self {
        Self { stream, heard: Arc::default(), failed: None, shut: false }
    }

    /// Where a failed write leaves what the peer has said.
    pub fn heard(&self) -> Arc<OnceLock<rustls::Error>> {
        self.heard.clone()
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> LastWords<IO> {
    /// Writes, or goes on to listen after a write that has failed.
    fn poll_explained<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut TlsStream<IO>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        if self.failed.is_none() {
            match ready!(write(Pin::new(&mut self.stream), cx)) {
                Err(error)
                    if !self.shut && matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset) =>
                {
                    self.failed = Some((error, Box::pin(sleep(PATIENCE))));
                }
                done => return Poll::Ready(done),
            }
        }
        let alert = self.poll_alert(cx);
        let Some((_, patience)) = &mut self.failed else { return Poll::Ready(Err(BrokenPipe.into())) };
        if alert.is_pending() {
            ready!(patience.as_mut().poll(cx));
        }
        let failed = self.failed.take().map_or_else(|| BrokenPipe.into(), |(error, _)| error);
        Poll::Ready(Err(if let Poll::Ready(Some(alert)) = alert { alert } else { failed }))
    }

    /// Reads what is there of a connection that has ended, as far as its end, an alert, or more data than are kept: those stay for
    /// whoever reads on.
    fn poll_alert(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Error>> {
        let (io, session) = self.stream.get_mut();
        let mut unread = Unread { io, cx };
        loop {
            match session.read_tls(&mut unread) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Ok(0) | Err(_) => return Poll::Ready(None),
                Ok(_) => {}
            }
            if let Err(error) = session.process_new_packets() {
                let _ = self.heard.set(error.clone()); // It does not change.
                return Poll::Ready(Some(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
        }
    }
}

/// What is there to be read of a stream.
struct Unread<'a, 'b, IO> {
    io: &'a mut IO,
    cx: &'a mut Context<'b>,
}

impl<IO: AsyncRead + Unpin> Read for Unread<'_, '_, IO> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut *self.io).poll_read(self.cx, &mut buffer) {
            Poll::Ready(result) => result.map(|()| buffer.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for LastWords<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for LastWords<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_explained(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_explained(cx, |stream, cx| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_explained(cx, TlsStream::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shut = true;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use testkit::tls::Ca;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::Instant;
    use tokio_rustls::rustls::pki_types::ServerName;
    use tokio_rustls::rustls::{AlertDescription, Error, ServerConfig};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    /// Nobody hears what is written any more, and nobody says so.
    struct Deaf(DuplexStream, Arc<AtomicBool>);

    impl AsyncRead for Deaf {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buffer)
        }
    }

    impl AsyncWrite for Deaf {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            if self.1.load(Ordering::Relaxed) {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            Pin::new(&mut self.0).poll_write(cx, bytes)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_neither_speaks_nor_ends_is_not_waited_for() {
        let ca = Ca::new();
        let (ours, theirs) = duplex(1 << 16);
        let deaf = Arc::<AtomicBool>::default();
        let name = ServerName::try_from("localhost").unwrap();
        let acceptor = TlsAcceptor::from(ca.issue(&["localhost"]).server_config());
        let connector = TlsConnector::from(ca.client_config());
        let (connected, _theirs) =
            tokio::join!(connector.connect(name, Deaf(ours, deaf.clone())), acceptor.accept(theirs));
        let mut stream = LastWords::new(connected.unwrap());
        deaf.store(true, Ordering::Relaxed);
        let start = Instant::now();
        assert_eq!(stream.write_all(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(start.elapsed().as_secs(), 1);
    }

    /// A client without a certificate, whose server has had its say and hung up.
    async fn left(ca: &Ca, server: Arc<ServerConfig>) -> LastWords<TcpStream> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let serving = tokio::spawn(async move {
            if let Ok(mut stream) = TlsAcceptor::from(server).accept(accepted).await {
                stream.write_all(b"bye").await.unwrap();
            }
        });
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(ca.client_config()).connect(name, connecting).await.unwrap();
        serving.await.unwrap();
        LastWords::new(stream)
    }

    /// Writes as long as that can be done, and reads nothing.
    async fn write_on(stream: &mut LastWords<TcpStream>) -> io::Error {
        loop {
            if let Err(error) = stream.write_all(&[0; 4096]).await {
                return error;
            }
        }
    }

    #[tokio::test]
    async fn a_write_fails_with_the_alert_that_was_not_read() {
        let ca = Ca::new();
        let mut stream = left(&ca, ca.issue(&["localhost"]).asking_server_config(&ca)).await;
        let heard = stream.heard();
        assert_eq!(write_on(&mut stream).await.to_string(), "received fatal alert: CertificateRequired");
        assert_eq!(heard.get(), Some(&Error::AlertReceived(AlertDescription::CertificateRequired)));
        assert!(stream.read_u8().await.is_err_and(|error| error.to_string().contains("CertificateRequired")));
    }

    #[tokio::test]
    async fn without_one_it_fails_as_it_did_and_what_was_said_can_be_read() {
        let ca = Ca::new();
        let mut stream = left(&ca, ca.issue(&["localhost"]).server_config()).await;
        let error = write_on(&mut stream).await;
        assert!(matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset), "{error}");
        assert!(stream.heard().get().is_none());
        let mut said = [0; 3];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"bye");
    }
}
