//! Small JSON-RPC calls.

use fastrand::Rng;
use http::{Method, StatusCode};

use super::words::{amount, hex, pick, uuid};
use super::{DATE, Exchange, request, response};

#[derive(Debug)]
pub(super) struct Exchanges {
    random: Rng,
    id: u64,
}

impl Exchanges {
    pub(super) fn new(random: Rng) -> Exchanges {
        Exchanges { random, id: 0 }
    }

    pub(super) fn next(&mut self) -> Exchange {
        self.id += 1;
        let (method, params, result) = self.call();
        let id = self.id;
        let call = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
        let reply = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
        let json = "application/json";
        let fields =
            [("host", "ledger.rpc.internal:8545"), ("content-type", json), ("user-agent", "ledger-client/2.3")];
        Exchange {
            request: request(Method::POST, "/rpc", &fields, call),
            response: response(StatusCode::OK, &[("content-type", json), ("date", DATE)], reply),
        }
    }

    /// Method, parameters and result.
    fn call(&mut self) -> (&'static str, String, String) {
        let random = &mut self.random;
        match random.u8(..10) {
            0..3 => {
                let account = hex(random, 40);
                (
                    "account.balance",
                    format!(r#"["0x{account}","latest"]"#),
                    format!(r#""0x{:x}""#, random.u64(..1_000_000_000_000_000_000)),
                )
            }
            3..5 => (
                "ledger.call",
                format!(r#"[{{"to":"0x{}","data":"0x70a08231{:0>64}"}},"latest"]"#, hex(random, 40), hex(random, 40)),
                format!(r#""0x{:064x}""#, random.u64(..1_000_000_000_000)),
            ),
            5..7 => (
                "order.status",
                format!(
                    r#"{{"order_id":"{}","account":{},"verbose":false}}"#,
                    uuid(random),
                    random.u32(100_000..1_000_000)
                ),
                format!(
                    r#"{{"state":"{}","filled":{},"price":{},"ts":1767225{}}}"#,
                    pick(random, &["open", "filled", "partial", "cancelled"]),
                    amount(random, 100),
                    amount(random, 1000),
                    random.u32(100_000..1_000_000)
                ),
            ),
            7..9 => (
                "feature.lookup",
                format!(r#"{{"key":"user.{}","fields":["segment","score","ttl"]}}"#, random.u32(100_000..1_000_000)),
                format!(r#"{{"segment":{},"score":0.{:06},"ttl":3600}}"#, random.u8(..100), random.u32(..1_000_000)),
            ),
            _ => (
                "block.header",
                format!(r#"["0x{:x}",false]"#, random.u32(20_000_000..21_000_000)),
                format!(r#"{{"hash":"0x{}","size":"0x{:x}"}}"#, hex(random, 64), random.u32(10_000..200_000)),
            ),
        }
    }
}
