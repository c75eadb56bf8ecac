//! What a proxy has to change in a message's head.

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request, Response, StatusCode, Version};
use httpteleport::codec::framed::Protocol;
use hyper::ext::ReasonPhrase;

use crate::host;
use crate::refusal::{Reason, Refusal};
use crate::trailers;

/// Fields that belong to one connection and end there (RFC 9110, section 7.6.1), beside what `Connection` lists.
static HOP_BY_HOP: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];
/// Where `TE` is among them.
const TE_AT: usize = 3;

/// Fields that say where a message ends and what its connection is: no setting has a say in that.
pub(crate) const FRAMING: [HeaderName; 6] = [CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

/// What HTTP/2 counts for a field beside its bytes (RFC 9113, 6.5.2).
pub(crate) const OF_A_FIELD: usize = 32;

/// So many bytes over a limit heads and trailers are still read over HTTP/2, so that they are refused as any others, in words: of larger ones
/// the library drops what is beyond that, and of trailers does not say so.
pub(crate) const BEYOND: u32 = 64 * 1024;

/// How large fields are, as HTTP/2 counts them.
pub(crate) fn size_of_fields(fields: &HeaderMap) -> usize {
    fields.iter().map(|(name, value)| name.as_str().len() + value.len() + OF_A_FIELD).sum()
}

/// Removes the fields that belong to the connection the message came over. Tells whether its sender reads trailers.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) -> bool {
    // Few messages have more than one of them: to look at all names once costs less than to look each one up.
    let mut found = HOP_BY_HOP.each_ref().map(|_| false);
    for name in headers.keys() {
        if let Some(index) = HOP_BY_HOP.iter().position(|hop| hop == name) {
            found[index] = true;
        }
    }
    let trailers = found[TE_AT] && trailers::are_asked_for(headers);
    // `Connection` is the first of them.
    if found[0] {
        remove_listed(headers);
    }
    for (name, _) in HOP_BY_HOP.iter().zip(found).filter(|(_, found)| *found) {
        headers.remove(name);
    }
    trailers
}

/// Removes the fields that `Connection` lists.
fn remove_listed(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        // What nearly every reply says. That field is removed anyway.
        .filter(|value| !value.as_bytes().eq_ignore_ascii_case(b"keep-alive"))
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
        // Whoever lists these wants to confuse the next reader: the message makes no sense without them.
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
        .collect();
    for name in listed {
        headers.remove(name);
    }
}

/// Makes a client's request what an upstream should see: origin form, one `Host`, nothing of the client's connection.
///
/// `own_address` stands in for a missing `Host` of an HTTP/1.0 client. `length` is the body's, if it is known.
pub(crate) fn prepare_request<B>(
    request: &mut Request<B>,
    own_address: impl FnOnce() -> HeaderValue,
    length: Option<u64>,
) -> Result<(), Refusal> {
    if request.method() == Method::CONNECT && request.extensions().get::<Protocol>().is_none() {
        return Err(Refusal::new(Reason::Unsupported, "CONNECT is not supported"));
    }
    if request.extensions().get::<Protocol>().is_some_and(|protocol| carries_requests(protocol.as_str())) {
        return Err(Refusal::new(Reason::Unsupported, "another version of HTTP is not upgraded to"));
    }
    host::settle(request, own_address)?;
    if request.version() == Version::HTTP_2 {
        join_cookies(request.headers_mut());
    }
    let method = request.method().clone();
    let headers = request.headers_mut();
    let in_chunks = came_in_chunks(headers).map_err(|why| Refusal::new(Reason::Unsupported, why))?;
    let announced = in_chunks || headers.contains_key(CONTENT_LENGTH);
    if remove_hop_by_hop(headers) {
        headers.insert(TE, trailers::ASKED_FOR);
    }
    // The proxy answers it, when it begins to read the body.
    headers.remove(EXPECT);
    let expected = matches!(method, Method::POST | Method::PUT | Method::PATCH);
    match length {
        Some(length) if length > 0 || announced || expected => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Some(_) => {}
        None => {
            headers.remove(CONTENT_LENGTH);
        }
    }
    *request.version_mut() = Version::HTTP_11;
    Ok(())
}

/// Whether the body came in chunks.
///
/// # Errors
///
/// It has another coding, which would have to be undone here, or one that the next reader may see otherwise.
fn came_in_chunks(headers: &HeaderMap) -> Result<bool, &'static str> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err("the only transfer coding is chunked"),
    }
}

/// Looks whether all that a client expects before it sends its body is to be asked for it.
///
/// # Errors
///
/// It expects something else (RFC 9110, 10.1.1).
pub(crate) fn check_expectation(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.get_all(EXPECT).iter().all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Ok(());
    }
    Err(Refusal::new(Reason::Expectation, "100-continue is all that can be expected"))
}

/// Whether what is spoken in this protocol are requests, which would pass this proxy unseen.
pub(crate) fn carries_requests(protocol: &str) -> bool {
    let name = protocol.to_ascii_lowercase();
    matches!(&*name, "h2c" | "h2") || ["http/", "tls/"].iter().any(|begin| name.starts_with(begin))
}

/// HTTP/2 may cut the cookies into several fields, which others take for something else (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

/// Makes an upstream's reply what a client should see. Where its coding told where it ends, a length beside that says nothing
/// (RFC 9112, 6.3), and neither 204 nor 101 has one (RFC 9110, 8.6): over HTTP/2 it would be malformed.
///
/// # Errors
///
/// Its length is no number, or several, or it has a coding that would have to be undone here.
pub(crate) fn prepare_reply<B>(reply: &mut Response<B>) -> Result<(), &'static str> {
    let status = reply.status();
    let headers = reply.headers_mut();
    let in_chunks = came_in_chunks(headers).map_err(|_| "its reply has another transfer coding than chunked")?;
    if in_chunks || matches!(status, StatusCode::NO_CONTENT | StatusCode::SWITCHING_PROTOCOLS) {
        headers.remove(CONTENT_LENGTH);
    } else {
        settle_length(headers)?;
    }
    remove_hop_by_hop(headers);
    *reply.version_mut() = Version::HTTP_11;
    Ok(())
}

/// Leaves one length where the same was said several times, in several fields or in one (RFC 9110, 8.6).
fn settle_length(headers: &mut HeaderMap) -> Result<(), &'static str> {
    let mut fields = headers.get_all(CONTENT_LENGTH).iter();
    let said = match (fields.next(), fields.next()) {
        (None, _) => return Ok(()),
        (Some(one), None) if length(one.as_bytes()).is_some() => return Ok(()),
        _ => headers.get_all(CONTENT_LENGTH).iter(),
    };
    let mut lengths = said.flat_map(|field| field.as_bytes().split(|byte| *byte == b',')).map(length);
    match lengths.next().flatten() {
        Some(first) if lengths.all(|other| other == Some(first)) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(first));
            Ok(())
        }
        _ => Err("its reply has no length that can be believed"),
    }
}

/// A length, which has nothing but digits.
fn length(text: &[u8]) -> Option<u64> {
    let digits = text.trim_ascii();
    let is_number = digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

/// Has a status that no standard names go to a client of HTTP/1.1 as its upstream has written it, or without a name: hyper would make one up.
pub(crate) fn leave_nameless<B>(reply: &mut Response<B>) {
    if reply.status().canonical_reason().is_none() && reply.extensions().get::<ReasonPhrase>().is_none() {
        reply.extensions_mut().insert(ReasonPhrase::from_static(b""));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(uri: &str, fields: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::get(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request")
    }

    fn own() -> HeaderValue {
        HeaderValue::from_static("10.0.0.1:80")
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        headers.keys().map(HeaderName::as_str).collect()
    }

    #[test]
    fn hop_by_hop_fields_end_here() {
        let mut request = head(
            "/",
            &[
                ("host", "h"),
                ("connection", "close, X-Mine"),
                ("connection", "keep-alive,host, ,content-length"),
                ("x-mine", "1"),
                ("x-yours", "2"),
                ("te", "gzip, trailers"),
                ("upgrade", "websocket"),
                ("transfer-encoding", "chunked"),
                ("proxy-connection", "x"),
                ("expect", "100-continue"),
            ],
        );
        prepare_request(&mut request, own, Some(5)).expect("fine");
        assert_eq!(names(request.headers()), ["host", "x-yours", "te", "content-length"]);
        assert_eq!(request.headers()[TE], "trailers", "but for that word, which the next one is asked as well");
        assert_eq!(request.headers()[CONTENT_LENGTH], "5");
    }

    #[test]
    fn a_length_is_told_where_one_is_due() {
        let mut request = head("/", &[("host", "h")]);
        prepare_request(&mut request, own, Some(0)).expect("fine");
        assert!(!request.headers().contains_key(CONTENT_LENGTH));
        *request.method_mut() = Method::POST;
        prepare_request(&mut request, own, Some(0)).expect("fine");
        assert_eq!(request.headers()[CONTENT_LENGTH], "0");
    }

    #[test]
    fn other_codings_than_chunked_are_refused() {
        for (codings, want) in [
            (&["Chunked"][..], true),
            (&["identity, chunked"], false),
            (&["gzip, chunked"], false),
            (&["chunked, chunked"], false),
            (&["chunked", "chunked"], false),
            (&["", "chunked"], false),
            (&[",chunked"], false),
        ] {
            let fields: Vec<_> = codings.iter().map(|coding| ("transfer-encoding", *coding)).collect();
            let mut request = head("/", &[&[("host", "h")], &fields[..]].concat());
            let refused = prepare_request(&mut request, own, Some(5)).map_err(|refusal| refusal.0);
            assert_eq!(refused, if want { Ok(()) } else { Err(Reason::Unsupported) }, "{codings:?}");
        }
    }

    #[test]
    fn a_reply_has_one_length_or_none() {
        let said = |status: u16, fields: &[(&str, &str)]| {
            let mut reply = Response::builder().status(status);
            for (name, value) in fields {
                reply = reply.header(*name, *value);
            }
            let mut reply = reply.body(()).expect("a reply");
            prepare_reply(&mut reply)?;
            let mut all = reply.headers().get_all(CONTENT_LENGTH).iter().map(|text| text.to_str().expect("text"));
            let text = all.next().unwrap_or_default().to_owned();
            assert_eq!(all.next(), None);
            Ok(text)
        };
        for (values, want) in [
            (&["5"][..], "5"),
            (&["0"], "0"),
            (&["18446744073709551615"], "18446744073709551615"),
            (&["5", "5"], "5"),
            (&["5, 5 ,\t5"], "5"),
            (&["5,5", "05"], "5"),
            (&[], ""),
        ] {
            let fields: Vec<_> = values.iter().map(|value| ("content-length", *value)).collect();
            assert_eq!(said(200, &fields).as_deref(), Ok(want), "{values:?}");
            assert_eq!(said(204, &fields).as_deref(), Ok(""), "{values:?}");
            let chunked = [&fields[..], &[("transfer-encoding", "chunked")]].concat();
            assert_eq!(said(200, &chunked).as_deref(), Ok(""), "{values:?}");
        }
        for values in [
            &["5", "6"][..],
            &["5, 6"],
            &["+5"],
            &["-5"],
            &["x"],
            &[""],
            &["5,"],
            &["5", "x"],
            &["18446744073709551616"],
        ] {
            let fields: Vec<_> = values.iter().map(|value| ("content-length", *value)).collect();
            assert_eq!(said(200, &fields), Err("its reply has no length that can be believed"), "{values:?}");
        }
        for coding in ["gzip, chunked", "chunked, gzip", "identity", "xchunked", "chunked, chunked"] {
            let why = "its reply has another transfer coding than chunked";
            assert_eq!(said(200, &[("transfer-encoding", coding)]), Err(why), "{coding}");
        }
    }

    #[test]
    fn other_versions_of_http_are_not_upgraded_to() {
        for (name, want) in
            [("websocket", true), ("h2c", false), ("H2C", false), ("TLS/1.3", false), ("HTTP/2.0", false)]
        {
            let mut request = head("/", &[("host", "h")]);
            request.extensions_mut().insert(Protocol::new(name).expect("a name"));
            let refused = prepare_request(&mut request, own, None).map_err(|refusal| refusal.0);
            assert_eq!(refused, if want { Ok(()) } else { Err(Reason::Unsupported) }, "{name}");
        }
    }

    #[test]
    fn connect_is_refused() {
        let mut request = head("h:443", &[]);
        *request.method_mut() = Method::CONNECT;
        assert_eq!(prepare_request(&mut request, own, Some(0)).expect_err("refused").0, Reason::Unsupported);
    }
}
