//! What a proxy has to change in a message's head.

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{Parts, PathAndQuery};
use http::{Method, Request, Response, Uri, Version};
use httpteleport::codec::framed::Protocol;

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
    check_host(request, own_address)?;
    if request.version() == Version::HTTP_2 {
        join_cookies(request.headers_mut());
    }
    let method = request.method().clone();
    let headers = request.headers_mut();
    let announced = headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
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

/// Sees to it that there is exactly one `Host`; the authority of an absolute target wins over it (RFC 9112, 3.2.2).
fn check_host<B>(request: &mut Request<B>, own_address: impl FnOnce() -> HeaderValue) -> Result<(), Refusal> {
    if let Some(authority) = request.uri().authority() {
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        let host = HeaderValue::from_str(host).map_err(|_| Refusal::new(Reason::Malformed, "bad target"))?;
        request.headers_mut().insert(HOST, host);
        *request.uri_mut() = origin_form(request.uri());
        return Ok(());
    }
    match request.headers().get_all(HOST).iter().count() {
        1 => Ok(()),
        0 if request.version() < Version::HTTP_11 => {
            request.headers_mut().insert(HOST, own_address());
            Ok(())
        }
        0 => Err(Refusal::new(Reason::Malformed, "no Host header")),
        _ => Err(Refusal::new(Reason::Malformed, "more than one Host header")),
    }
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

/// Path and query alone.
fn origin_form(uri: &Uri) -> Uri {
    let mut parts = Parts::default();
    parts.path_and_query = Some(uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    Uri::from_parts(parts).unwrap_or_else(|_| Uri::from_static("/"))
}

/// Makes an upstream's reply what a client should see.
pub(crate) fn prepare_reply<B>(reply: &mut Response<B>) {
    remove_hop_by_hop(reply.headers_mut());
    *reply.version_mut() = Version::HTTP_11;
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
    fn host_rules() {
        let mut request = head("/", &[]);
        assert_eq!(prepare_request(&mut request, own, Some(0)).expect_err("no host").0, Reason::Malformed);
        *request.version_mut() = Version::HTTP_10;
        prepare_request(&mut request, own, Some(0)).expect("1.0 needs none");
        assert_eq!(request.headers()[HOST], "10.0.0.1:80");
        assert_eq!(request.version(), Version::HTTP_11);

        let mut request = head("/", &[("host", "a"), ("host", "b")]);
        assert_eq!(prepare_request(&mut request, own, Some(0)).expect_err("two hosts").0, Reason::Malformed);
    }

    #[test]
    fn an_absolute_target_becomes_origin_form_and_its_host_wins() {
        let mut request = head("http://u:p@real.example:81/a%2Fb?q=%20", &[("host", "other")]);
        prepare_request(&mut request, own, Some(0)).expect("fine");
        assert_eq!(request.uri(), "/a%2Fb?q=%20");
        assert_eq!(request.headers()[HOST], "real.example:81");
        let mut request = head("http://real.example", &[]);
        prepare_request(&mut request, own, Some(0)).expect("fine");
        assert_eq!(request.uri(), "/");
    }

    #[test]
    fn connect_is_refused() {
        let mut request = head("h:443", &[]);
        *request.method_mut() = Method::CONNECT;
        assert_eq!(prepare_request(&mut request, own, Some(0)).expect_err("refused").0, Reason::Unsupported);
    }
}
