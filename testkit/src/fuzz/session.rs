//! Fuzz targets `session_server` and `session_damage`: whole framed connections that hear any bytes.

use std::time::Duration;

use bytes::Bytes;
use fastrpc::BoxError;
use fastrpc::internals::framed::Role;
use fastrpc::internals::session::{Caller, Driver, Incoming, NoCalls, Options, SendBody, Serve};
use fastrpc::wire::framed::codec::RecordCodec;
use fastrpc::wire::framed::record::RecordEncoder;
use fastrpc::wire::framed::settings::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::pipe::{End, duplex};

/// Longer than any limit of these connections: nothing may take so long.
const NEVER: Duration = Duration::from_secs(600);
/// How long a program waits for the next piece of a body, which is its own affair: one whose end was lost never comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server hears `input`: an even first byte has the rest taken as it is, an odd one as plain bytes of records, each as long
/// as its first byte says. It has to answer or to end, without a panic and within its limits.
///
/// # Panics
///
/// A fault was found.
pub fn session_server(input: &[u8]) {
    let Some((kind, rest)) = input.split_first() else { return };
    let wire = if kind % 2 == 0 { rest.to_vec() } else { as_records(rest) };
    block_on(async {
        let (mut near, far) = duplex();
        near.outgoing().set_capacity(usize::MAX);
        near.incoming().set_capacity(usize::MAX);
        let (_, server) = driver(Role::Server, far, RecordCodec::None, echo);
        let serving = tokio::spawn(server);
        near.write_all(&wire).await.expect("it fits the pipe");
        near.shutdown().await.expect("a pipe");
        let mut said = Vec::new();
        let heard = timeout(NEVER, near.read_to_end(&mut said)).await;
        drop(heard.expect("it ends"));
        let _ = timeout(NEVER, serving).await.expect("it ends").expect("no panic, whatever the peer says");
    });
}

/// A client and a server with a line between them that flips bits: `input` is pairs of a distance in bytes and a mask, for
/// both directions in turn. Every call has to end; without a flip, well.
///
/// # Panics
///
/// A fault was found.
pub fn session_damage(input: &[u8]) {
    let Some((kind, flips)) = input.split_first() else { return };
    let codec = RecordCodec::ALL[usize::from(*kind) % RecordCodec::ALL.len()];
    let flips: Vec<_> = flips.chunks_exact(2).map(|flip| (usize::from(flip[0]) * 7, flip[1])).collect();
    let whole = flips.iter().all(|(_, mask)| *mask == 0);
    block_on(async {
        let ((near, near_line), (far_line, far)) = (duplex(), duplex());
        let (caller, client) = driver(Role::Client, near, codec, NoCalls);
        let (_, server) = driver(Role::Server, far, codec, echo);
        let drivers = [tokio::spawn(client), tokio::spawn(server)];
        let (from_client, to_client) = tokio::io::split(near_line);
        let (from_server, to_server) = tokio::io::split(far_line);
        let (up, down) = flips.iter().partition(|(distance, _)| distance % 2 == 0);
        tokio::spawn(carry(from_client, to_server, up));
        tokio::spawn(carry(from_server, to_client, down));
        for n in 0..8usize {
            let ended = timeout(NEVER, call(&caller, n)).await.expect("every call ends");
            assert!(ended || !whole, "a call failed on a whole line");
        }
        caller.drain();
        for driver in drivers {
            let _ = timeout(NEVER, driver).await.expect("it ends").expect("no panic, whatever comes");
        }
    });
}

/// Whether the call had its own reply.
async fn call(caller: &Caller, n: usize) -> bool {
    let body: Vec<u8> = (0..n * 5000).map(|at| (at ^ n).to_le_bytes()[0]).collect();
    let head = |out: &mut Vec<u8>| -> Result<(), BoxError> {
        out.push(n.to_le_bytes()[0]);
        Ok(())
    };
    let limit = Some(Duration::from_secs(60));
    let Ok((reply, _)) = caller.call(head, SendBody::Whole(Bytes::from(body.clone())), limit) else { return false };
    let Ok(mut reply) = reply.await else { return false };
    let mut back = Vec::new();
    loop {
        match timeout(PATIENCE, reply.body.piece()).await {
            Ok(Some(Ok(piece))) => back.extend_from_slice(&piece),
            Ok(Some(Err(_))) | Err(_) => return false,
            Ok(None) => return reply.head[..] == [n.to_le_bytes()[0]] && back == body,
        }
    }
}

async fn carry(
    mut from: impl tokio::io::AsyncRead + Unpin,
    mut to: impl tokio::io::AsyncWrite + Unpin,
    flips: Vec<(usize, u8)>,
) {
    let mut flips = flips.into_iter();
    let mut next = flips.next();
    let mut bytes = vec![0; 4096];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let mut at = 0;
        while let Some((distance, mask)) = &mut next {
            if *distance >= read - at {
                *distance -= read - at;
                break;
            }
            at += *distance;
            bytes[at] ^= *mask;
            next = flips.next();
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

async fn echo(mut call: Incoming) {
    let head = call.head.clone();
    let write = |out: &mut Vec<u8>| -> Result<(), BoxError> {
        out.extend_from_slice(&head);
        Ok(())
    };
    let Ok(Some(mut writer)) = call.responder.reply(write, SendBody::Pieces) else { return };
    while let Some(Ok(piece)) = call.body.piece().await {
        if writer.write(piece).await.is_err() {
            return;
        }
    }
    let _ = writer.finish(call.body.trailers());
}

fn driver<S: Serve>(role: Role, io: End, codec: RecordCodec, serve: S) -> (Caller, Driver<S>) {
    let settings = Settings {
        codecs: vec![1, 2],
        connection_credit: 100_000,
        stream_credit: 20_000,
        calls: 100,
        ..Settings::default()
    };
    let options =
        Options { settings: settings.clone(), codec, most_window: 400_000, max_unread: 50_000, ..Options::default() };
    Driver::new(role, Box::new(io), options, settings, serve)
}

/// Raw records of the plain bytes, each as long as the byte in front of it says.
fn as_records(mut rest: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    while let Some((length, more)) = rest.split_first() {
        let (plain, more) = more.split_at(more.len().min(usize::from(*length).max(1)));
        if !plain.is_empty() {
            RecordEncoder::new(RecordCodec::None, 22).encode_raw(plain, &mut wire);
        }
        rest = more;
    }
    wire
}

fn block_on(future: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(future);
}
