//! TLV over fastrpc.

use anyhow::{Context as _, ensure};
use fastrpc::codec::tlv::{Reply, Request, Tlv};
use fastrpc::{Call, Client, Server};
use tokio::time::Instant;

use super::{Caller, Counters, Tls, Workload, client_settings, server_settings, text};
use crate::rows::{Payload, Row};
use crate::transport::{Dialer, Listening};

/// A client that sends one request over and over.
#[derive(Clone)]
pub struct TlvCalls {
    client: Client<Tlv>,
    request: Request,
    reply: usize,
    one_way: bool,
}

impl Workload for TlvCalls {
    fn serve(row: &Row, listening: Listening, tls: Option<&Tls>) -> anyhow::Result<Counters> {
        let server = Server::builder(Tlv::new())
            .wire(row.spoken())
            .framed_compression(row.framed.unwrap_or_default())
            .ping(None);
        let server = server_settings!(server, row, tls).build()?;
        let (small, payload) = (Reply::new(text(row.payload.reply())), row.payload);
        let handler = move |call: Call<Request>| {
            std::future::ready(match payload {
                Payload::Small | Payload::Down(_) => small.clone(),
                Payload::Echo(_) => Reply::new(call.into_request().value),
            })
        };
        tokio::spawn(server.serve(listening, handler).into_future());
        Ok(Box::new(move || server.stats()))
    }

    fn connect(row: &Row, dialer: Dialer, tls: Option<&Tls>) -> anyhow::Result<Self> {
        let client = Client::builder(Tlv::new())
            .wire(row.spoken())
            .framed_compression(row.framed.unwrap_or_default())
            .ping(None);
        let client = client_settings!(client, row, tls);
        let client = client.connect_with("bench", move || dialer.clone().dial())?;
        let request = match row.payload {
            Payload::Small | Payload::Down(_) => Request::new("", "foobar"),
            Payload::Echo(bytes) => Request::new("", text(bytes)),
        };
        Ok(Self { client, request, reply: row.payload.reply(), one_way: row.one_way })
    }

    fn stats(&self) -> fastrpc::Stats {
        self.client.stats()
    }
}

impl Caller for TlvCalls {
    async fn call(&self, deadline: Instant) -> anyhow::Result<()> {
        if self.one_way {
            while let Err(error) = self.client.send(&self.request) {
                ensure!(error.is_overload(), "a one-way call could not be sent: {error}");
                tokio::task::yield_now().await;
            }
            return Ok(());
        }
        let reply = self.client.call(self.request.clone()).deadline(deadline).await.context("a TLV call failed")?;
        ensure!(
            reply.value.len() == self.reply,
            "a reply of {} bytes came instead of {}",
            reply.value.len(),
            self.reply
        );
        Ok(())
    }
}
