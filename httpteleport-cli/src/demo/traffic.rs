//! Realistic traffic, made up: pairs of a request and its reply, for the demo and for benches.
//!
//! Four [`Shape`]s of what servers say to each other. Everything comes from a seed: the same shape and seed give the same
//! exchanges on every machine. Sizes, and how well the text compresses, are like those of real services of the kind:
//! identifiers and tokens are random, users and sites come back now and then, conversations resend their history.

use std::fmt;

use bytes::Bytes;
use fastrand::Rng;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};

mod chat;
mod rest;
mod rpc;
mod rtb;
mod words;

/// The `Date` of every reply: traffic does not depend on the day it is made.
const DATE: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

/// A kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// OpenRTB bid requests of about 2.3 KB; three of four replies are an empty 204.
    Rtb,
    /// REST with JSON: browsers' fields, tokens, cookies, trace ids, lists.
    Rest,
    /// Small JSON-RPC calls.
    Rpc,
    /// Chat completions that resend their history.
    Chat,
}

impl Shape {
    /// Every shape, in the order in which tables show them.
    pub const ALL: [Shape; 4] = [Shape::Rtb, Shape::Rest, Shape::Rpc, Shape::Chat];

    /// A short name, for tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Rtb => "rtb",
            Shape::Rest => "rest",
            Shape::Rpc => "rpc",
            Shape::Chat => "chat",
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A request and the reply it gets.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// In origin form, with `Host` and, when it has a body, `Content-Length`.
    pub request: Request<Bytes>,
    /// With `Content-Length` when it has a body.
    pub response: Response<Bytes>,
}

/// Makes exchanges of one shape, without end.
#[derive(Debug)]
pub struct Generator(Kind);

#[derive(Debug)]
enum Kind {
    Rtb(rtb::Exchanges),
    Rest(rest::Exchanges),
    Rpc(rpc::Exchanges),
    Chat(chat::Exchanges),
}

impl Generator {
    /// A generator of the shape; equal seeds give equal exchanges.
    pub fn new(shape: Shape, seed: u64) -> Generator {
        let random = Rng::with_seed(seed);
        Generator(match shape {
            Shape::Rtb => Kind::Rtb(rtb::Exchanges::new(random)),
            Shape::Rest => Kind::Rest(rest::Exchanges::new(random)),
            Shape::Rpc => Kind::Rpc(rpc::Exchanges::new(random)),
            Shape::Chat => Kind::Chat(chat::Exchanges::new(random)),
        })
    }

    /// The next exchange.
    pub fn next_exchange(&mut self) -> Exchange {
        match &mut self.0 {
            Kind::Rtb(exchanges) => exchanges.next(),
            Kind::Rest(exchanges) => exchanges.next(),
            Kind::Rpc(exchanges) => exchanges.next(),
            Kind::Chat(exchanges) => exchanges.next(),
        }
    }
}

/// How many bytes the request is as HTTP/1.1 text, exactly: request line, fields, blank line, body.
pub fn request_size(request: &Request<Bytes>) -> usize {
    let target = request.uri().path_and_query().map_or(1, |target| target.as_str().len());
    let line = request.method().as_str().len() + " ".len() + target + " HTTP/1.1\r\n".len();
    line + fields_size(request.headers()) + request.body().len()
}

/// How many bytes the reply is as HTTP/1.1 text, exactly, with the usual reason phrase.
pub fn response_size(response: &Response<Bytes>) -> usize {
    let reason = response.status().canonical_reason().unwrap_or_default();
    "HTTP/1.1 200 ".len() + reason.len() + "\r\n".len() + fields_size(response.headers()) + response.body().len()
}

fn fields_size(headers: &HeaderMap) -> usize {
    let fields: usize = headers.iter().map(|(name, value)| name.as_str().len() + ": \r\n".len() + value.len()).sum();
    fields + "\r\n".len()
}

fn request(method: Method, target: &str, fields: &[(&'static str, &str)], body: String) -> Request<Bytes> {
    let mut request = Request::new(Bytes::from(body));
    *request.method_mut() = method;
    // Targets are made here, of characters that are allowed in them.
    *request.uri_mut() = target.parse().unwrap_or_default();
    let length = request.body().len();
    put_fields(request.headers_mut(), fields, length);
    request
}

fn response(status: StatusCode, fields: &[(&'static str, &str)], body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let length = response.body().len();
    put_fields(response.headers_mut(), fields, length);
    response
}

fn put_fields(headers: &mut HeaderMap, fields: &[(&'static str, &str)], length: usize) {
    headers.reserve(fields.len() + 1);
    for &(name, value) in fields {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    if length > 0 {
        headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: usize = 200;

    fn sample(shape: Shape, seed: u64) -> Vec<Exchange> {
        let mut generator = Generator::new(shape, seed);
        (0..SAMPLE).map(|_| generator.next_exchange()).collect()
    }

    fn as_text(exchange: &Exchange) -> (Vec<u8>, Vec<u8>) {
        let Exchange { request, response } = exchange;
        let mut first = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
        let mut second = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
        for (text, headers, body) in
            [(&mut first, request.headers(), request.body()), (&mut second, response.headers(), response.body())]
        {
            for (name, value) in headers {
                text.extend_from_slice(format!("{name}: ").as_bytes());
                text.extend_from_slice(value.as_bytes());
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"\r\n");
            text.extend_from_slice(body);
        }
        (first, second)
    }

    #[test]
    fn a_seed_decides_everything() {
        for shape in Shape::ALL {
            let text = |seed| sample(shape, seed).iter().map(as_text).collect::<Vec<_>>();
            assert!(text(7) == text(7), "{shape}");
            assert!(text(7) != text(8), "{shape}");
        }
    }

    #[test]
    fn sizes_are_exact_and_as_the_shape_says() {
        for shape in Shape::ALL {
            let (mut requests, mut responses) = (0, 0);
            for exchange in sample(shape, 1) {
                let (request, response) = as_text(&exchange);
                assert_eq!(request.len(), request_size(&exchange.request));
                assert_eq!(response.len(), response_size(&exchange.response));
                requests += request.len();
                responses += response.len();
            }
            let about = |total: usize, low, high| assert!((low..high).contains(&(total / SAMPLE)), "{shape}: {total}");
            match shape {
                Shape::Rtb => (about(requests, 2300, 3100), about(responses, 400, 700)),
                Shape::Rest => (about(requests, 1500, 2000), about(responses, 2200, 3600)),
                Shape::Rpc => (about(requests, 240, 330), about(responses, 170, 230)),
                Shape::Chat => (about(requests, 3400, 5400), about(responses, 1200, 2000)),
            };
        }
    }

    #[test]
    fn messages_fit_the_default_limits_and_name_their_host() {
        for shape in Shape::ALL {
            for Exchange { request, response } in sample(shape, 2) {
                assert_eq!(request.headers().get_all("host").iter().count(), 1);
                assert!(request_size(&request) - request.body().len() <= 4096, "{shape}");
                assert!(response_size(&response) - response.body().len() <= 4096, "{shape}");
                let empty = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&response.status());
                assert_eq!(response.body().is_empty(), empty, "{shape}");
            }
        }
    }

    #[test]
    fn three_of_four_bid_requests_get_no_bid() {
        let empty = sample(Shape::Rtb, 3).iter().filter(|e| e.response.status() == StatusCode::NO_CONTENT).count();
        assert!((SAMPLE * 70 / 100..SAMPLE * 80 / 100).contains(&empty), "{empty}");
    }

    #[test]
    fn bodies_are_json_as_far_as_brackets_tell() {
        for shape in Shape::ALL {
            for Exchange { request, response } in sample(shape, 4) {
                for body in [request.body(), response.body()] {
                    let text = std::str::from_utf8(body).expect("UTF-8");
                    assert!(text.is_empty() || balanced(text), "{shape}: {text}");
                }
            }
        }
    }

    /// Whether quotes, braces and brackets pair up, and nothing but them encloses the whole.
    fn balanced(text: &str) -> bool {
        let (mut open, mut quoted, mut escaped) = (Vec::new(), false, false);
        for c in text.chars() {
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                _ if quoted => {}
                '{' => open.push('}'),
                '[' => open.push(']'),
                '}' | ']' if open.pop() != Some(c) => return false,
                _ => {}
            }
        }
        !quoted && open.is_empty() && text.starts_with('{') && text.ends_with('}') && !text.contains(",}")
    }
}
