//! One entry of an archive, and the exchange that it stands for.

use std::fmt;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri};
use serde::Deserialize;

use super::body::{Content, PostData};
use super::headers::{Fields, headers};
use crate::traffic::Exchange;

/// As HAR 1.2 has it, as far as it matters here. Names that begin with `_` are a browser's own.
#[derive(Deserialize)]
pub(super) struct Entry {
    request: Asked,
    response: Answered,
    #[serde(rename = "_fromCache")]
    from_cache: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    method: String,
    url: String,
    headers: Fields,
    post_data: Option<PostData>,
    /// -1 where it is not known.
    #[serde(default)]
    body_size: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    status: i64,
    headers: Fields,
    content: Content,
    /// As the network carried it; -1 where it is not known.
    #[serde(default)]
    body_size: Option<f64>,
}

/// Why an entry is none of the exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LeftOut {
    Cached,
    Unanswered,
    NotHttp,
    Upgrade,
    WithoutBody,
    TooLarge,
    Malformed,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LeftOut::Cached => "from the browser's cache",
            LeftOut::Unanswered => "without a reply",
            LeftOut::NotHttp => "not of HTTP",
            LeftOut::Upgrade => "upgraded to another protocol",
            LeftOut::WithoutBody => "whose body is not in the file",
            LeftOut::TooLarge => "with a head over 60 KB or a body over 64 MiB",
            LeftOut::Malformed => "that are malformed",
        })
    }
}

impl Entry {
    /// The exchange, and whether the network carried its reply's body compressed.
    pub(super) fn into_exchange(self) -> Result<(Exchange, bool), LeftOut> {
        let Entry { request, response, from_cache } = self;
        if from_cache.is_some_and(|from| !from.is_null()) {
            return Err(LeftOut::Cached);
        }
        let status = status(response.status)?;
        let request = request.into_request()?;
        let (response, was_encoded) = response.into_response(status, request.method())?;
        Ok((Exchange { request, response }, was_encoded))
    }
}

fn status(status: i64) -> Result<StatusCode, LeftOut> {
    // Programs write 0, or -1, where no reply came.
    let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    match status.ok_or(LeftOut::Unanswered)? {
        StatusCode::SWITCHING_PROTOCOLS => Err(LeftOut::Upgrade),
        status if status.is_informational() => Err(LeftOut::Unanswered),
        status => Ok(status),
    }
}

impl Asked {
    fn into_request(self) -> Result<Request<Bytes>, LeftOut> {
        let uri: Uri = self.url.parse().map_err(|_| LeftOut::NotHttp)?;
        let method: Method = self.method.parse().map_err(|_| LeftOut::Malformed)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || method == Method::CONNECT {
            return Err(LeftOut::NotHttp);
        }
        let (mut fields, _) = headers(&self.headers)?;
        fields.entry(HOST).or_insert(host(&uri)?);
        let body = match self.post_data {
            Some(data) => data.into_bytes(self.body_size)?,
            None if self.body_size.is_some_and(|size| size > 0.0) => return Err(LeftOut::WithoutBody),
            None => Bytes::new(),
        };
        // A request without a body tells no length, unless it is of a method that is made for one.
        let bodily = matches!(method, Method::POST | Method::PUT | Method::PATCH);
        set_length(&mut fields, &body, bodily);
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri.into_parts().path_and_query.unwrap_or(PathAndQuery::from_static("/")).into();
        *request.headers_mut() = fields;
        Ok(request)
    }
}

impl Answered {
    fn into_response(self, status: StatusCode, method: &Method) -> Result<(Response<Bytes>, bool), LeftOut> {
        let (mut fields, was_encoded) = headers(&self.headers)?;
        // What a browser shows with these comes from its cache.
        let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) || method == Method::HEAD;
        let body = if bodiless { Bytes::new() } else { self.content.into_bytes(self.body_size)? };
        set_length(&mut fields, &body, !bodiless);
        let was_encoded = was_encoded && !body.is_empty();
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = fields;
        Ok((response, was_encoded))
    }
}

/// `Host`, as a client makes it of the URL.
fn host(uri: &Uri) -> Result<HeaderValue, LeftOut> {
    let authority = uri.authority().ok_or(LeftOut::NotHttp)?.as_str();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    HeaderValue::from_str(host).map_err(|_| LeftOut::Malformed)
}

fn set_length(fields: &mut HeaderMap, body: &Bytes, even_none: bool) {
    if even_none || !body.is_empty() {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(request: &str, response: &str) -> Result<(Exchange, bool), LeftOut> {
        let text = format!("{{\"request\":{request},\"response\":{response},\"timings\":{{}}}}");
        serde_json::from_str::<Entry>(&text).expect("an entry").into_exchange()
    }

    const GET: &str = r#"{"method":"GET","url":"https://me:pw@shop.example:8443/a%2Fb?x=1#top","httpVersion":"HTTP/2",
        "headers":[{"name":":authority","value":"x"},{"name":":path","value":"/"},{"name":"accept","value":"*/*"}]}"#;
    const OK: &str = r#"{"status":200,"headers":[],"content":{"size":2,"text":"{}"}}"#;

    #[test]
    fn a_request_is_as_a_client_sends_it_over_http1() {
        let (Exchange { request, .. }, _) = exchange(GET, OK).expect("an exchange");
        assert_eq!(request.uri().to_string(), "/a%2Fb?x=1");
        assert_eq!(request.headers()[HOST], "shop.example:8443");
        assert_eq!(request.headers().len(), 2, "no pseudo headers: {:?}", request.headers());

        let post = r#"{"method":"POST","url":"http://h","bodySize":-1,"postData":{"mimeType":"text/plain","text":"hello"},
            "headers":[{"name":"Content-Length","value":"99"},{"name":"Connection","value":"keep-alive"}]}"#;
        let (Exchange { request, .. }, _) = exchange(post, OK).expect("an exchange");
        assert_eq!((request.uri().path(), &request.body()[..]), ("/", &b"hello"[..]));
        assert_eq!(request.headers()[CONTENT_LENGTH], "5");
        assert_eq!(request.headers().len(), 2, "nothing of the connection: {:?}", request.headers());
    }

    #[test]
    fn a_reply_is_as_a_server_sends_it_that_does_not_compress() {
        let gzipped = r#"{"status":200,"headers":[{"name":"Content-Encoding","value":"gzip"},
            {"name":"transfer-encoding","value":"chunked"},{"name":"set-cookie","value":"a=1\nb=2"}],
            "content":{"text":"{\"a\":1}"},"bodySize":31}"#;
        let (Exchange { response, .. }, was_encoded) = exchange(GET, gzipped).expect("an exchange");
        assert!(was_encoded);
        assert_eq!(response.headers()[CONTENT_LENGTH], "7");
        assert_eq!(response.headers().get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
        assert_eq!(response.headers().len(), 3, "{:?}", response.headers());

        let binary = r#"{"status":200,"headers":[],"content":{"size":3,"text":"AP8B","encoding":"base64"}}"#;
        let (Exchange { response, .. }, was_encoded) = exchange(GET, binary).expect("an exchange");
        assert_eq!((&response.body()[..], was_encoded), (&[0, 255, 1][..], false));

        let unmodified = r#"{"status":304,"headers":[],"content":{"size":2,"text":"{}"}}"#;
        let (Exchange { response, .. }, _) = exchange(GET, unmodified).expect("an exchange");
        assert!(response.body().is_empty() && response.headers().is_empty());
    }

    #[test]
    fn sizes_may_be_missing_but_not_bodies() {
        for content in ["{}", r#"{"size":0}"#, r#"{"size":-1,"text":""}"#] {
            let reply = format!(r#"{{"status":200,"headers":[],"content":{content}}}"#);
            assert!(exchange(GET, &reply).expect(content).0.response.body().is_empty());
        }
        for reply in [
            r#"{"status":200,"headers":[],"content":{"size":5}}"#,
            r#"{"status":200,"headers":[],"content":{"size":5,"text":""}}"#,
            r#"{"status":200,"headers":[],"content":{},"bodySize":5}"#,
            r#"{"status":200,"headers":[],"content":{"text":"!","encoding":"base64"}}"#,
            r#"{"status":200,"headers":[],"content":{"text":"!","encoding":"rot13"}}"#,
        ] {
            assert_eq!(exchange(GET, reply).map(|_| ()), Err(LeftOut::WithoutBody), "{reply}");
        }
        let upload = r#"{"method":"POST","url":"http://h/","headers":[],"bodySize":9}"#;
        assert_eq!(exchange(upload, OK).map(|_| ()), Err(LeftOut::WithoutBody));
    }

    #[test]
    fn what_is_no_exchange_is_told_apart() {
        let request = |method: &str, url: &str| format!(r#"{{"method":"{method}","url":"{url}","headers":[]}}"#);
        for (request, response, want) in [
            (request("GET", "data:text/plain,hi"), OK.to_owned(), LeftOut::NotHttp),
            (request("GET", "wss://h/live"), OK.to_owned(), LeftOut::NotHttp),
            (request("CONNECT", "http://h:443/"), OK.to_owned(), LeftOut::NotHttp),
            (request("G T", "http://h/"), OK.to_owned(), LeftOut::Malformed),
            (GET.replace("accept", "a b"), OK.to_owned(), LeftOut::Malformed),
            (GET.to_owned(), OK.replace("200", "0"), LeftOut::Unanswered),
            (GET.to_owned(), OK.replace("200", "-1"), LeftOut::Unanswered),
            (GET.to_owned(), OK.replace("200", "101"), LeftOut::Upgrade),
            (GET.replace("*/*", &"y".repeat(60_001)), OK.to_owned(), LeftOut::TooLarge),
        ] {
            assert_eq!(exchange(&request, &response).map(|_| ()), Err(want), "{want}");
        }
    }
}
