//! A shop's REST interface, called by browsers.

use fastrand::Rng;
use http::{Method, StatusCode};

use super::words::{address, amount, base64url, hex, list, name, pick, prose, skewed, slug, token, traceparent};
use super::words::{user_agent, uuid, word};
use super::{DATE, Exchange, request, response};

const USERS: u32 = 1000;
const ORIGIN: &str = "https://www.store.example";

#[derive(Debug)]
pub(super) struct Exchanges {
    random: Rng,
    users: Vec<User>,
}

/// What a browser sends with every request.
#[derive(Debug)]
struct User {
    id: String,
    agent: String,
    language: &'static str,
    authorization: String,
    cookie: String,
    forwarded_for: String,
}

impl User {
    fn new(random: &mut Rng) -> User {
        let id = uuid(random);
        let since = random.u32(1_767_100_000..1_767_225_000);
        let claims = format!(
            r#"{{"iss":"https://login.store.example/","sub":"{id}","aud":["store-api"],"iat":{since},"exp":{},"scope":"openid profile email orders:read orders:write cart:write","azp":"{}","roles":["customer"],"sid":"{}"}}"#,
            since + 3600,
            token(random, 16),
            hex(random, 24)
        );
        let header = base64url(br#"{"alg":"RS256","typ":"JWT","kid":"2026-01-a"}"#);
        let language = pick(random, &["en-US,en;q=0.9", "en-GB,en;q=0.8", "de-DE,de;q=0.9,en;q=0.7", "es,en;q=0.6"]);
        User {
            agent: user_agent(random),
            language,
            authorization: format!("Bearer {header}.{}.{}", base64url(claims.as_bytes()), token(random, 342)),
            cookie: format!(
                "_ga=GA1.2.{}.{since}; session={}; csrf={}; locale={}; consent=1",
                random.u32(100_000_000..),
                token(random, 32),
                token(random, 22),
                &language[..2]
            ),
            forwarded_for: format!("{}, 10.0.7.21", address(random)),
            id,
        }
    }
}

/// Method, target, request body, status, reply body.
type Call = (Method, String, String, StatusCode, String);

impl Exchanges {
    pub(super) fn new(mut random: Rng) -> Exchanges {
        let users = (0..USERS).map(|_| User::new(&mut random)).collect();
        Exchanges { random, users }
    }

    pub(super) fn next(&mut self) -> Exchange {
        let random = &mut self.random;
        // Half of the requests come from a few busy users, the rest from anybody.
        let user = if random.bool() { skewed(random, USERS) } else { random.usize(..USERS as usize) };
        let user = &self.users[user];
        let (method, target, body, status, reply) = call(random, user);
        let (id, trace, tag) = (uuid(random), traceparent(random), format!("W/\"{}\"", hex(random, 16)));

        let mut fields = vec![
            ("host", "api.store.example"),
            ("user-agent", &user.agent),
            ("accept", "application/json, text/plain, */*"),
            ("accept-encoding", "gzip, deflate, br, zstd"),
            ("accept-language", user.language),
            ("authorization", &user.authorization),
            ("cookie", &user.cookie),
            ("origin", ORIGIN),
            ("referer", "https://www.store.example/"),
            ("sec-fetch-dest", "empty"),
            ("sec-fetch-mode", "cors"),
            ("sec-fetch-site", "same-site"),
            ("x-forwarded-for", &user.forwarded_for),
            ("x-forwarded-proto", "https"),
            ("x-request-id", &id),
            ("traceparent", &trace),
        ];
        if !body.is_empty() {
            fields.push(("content-type", "application/json"));
        }
        if status == StatusCode::NOT_MODIFIED {
            fields.push(("if-none-match", &tag));
        }
        let (remaining, time) = (random.u32(..1000).to_string(), random.u32(2..180).to_string());
        let all = [
            ("date", DATE),
            ("etag", &tag),
            ("cache-control", "private, max-age=0, must-revalidate"),
            ("x-request-id", &id),
            ("server", "envoy"),
            ("content-type", "application/json; charset=utf-8"),
            ("vary", "Accept-Encoding, Origin"),
            ("access-control-allow-origin", ORIGIN),
            ("access-control-allow-credentials", "true"),
            ("x-ratelimit-limit", "1000"),
            ("x-ratelimit-remaining", &remaining),
            ("x-content-type-options", "nosniff"),
            ("strict-transport-security", "max-age=31536000; includeSubDomains"),
            ("x-envoy-upstream-service-time", &time),
        ];
        let answered = if status == StatusCode::NOT_MODIFIED { &all[..5] } else { &all[..] };
        Exchange { request: request(method, &target, &fields, body), response: response(status, answered, reply) }
    }
}

fn call(random: &mut Rng, user: &User) -> Call {
    let get = |target, reply| (Method::GET, target, String::new(), StatusCode::OK, reply);
    match random.u8(..20) {
        0 => (Method::GET, "/v2/me".to_owned(), String::new(), StatusCode::NOT_MODIFIED, String::new()),
        1..3 => get("/v2/me".to_owned(), profile(random, user)),
        3..7 => {
            let items = list(random.usize(3..8), |_| order(random, user));
            let meta = format!(r#"{{"page":1,"per_page":8,"total":{}}}"#, random.u8(8..90));
            get(
                format!("/v2/users/{}/orders?page=1&per_page=8", user.id),
                format!(r#"{{"data":[{items}],"meta":{meta}}}"#),
            )
        }
        7..12 => {
            let number = product_number(random);
            get(format!("/v2/products/{number}"), format!(r#"{{"data":{}}}"#, product(random, number)))
        }
        12..16 => {
            let (page, category) = (random.u8(1..40), word(random));
            let items = list(10, |_| {
                let number = product_number(random);
                product(random, number)
            });
            let meta = format!(r#"{{"page":{page},"per_page":10,"total":{}}}"#, random.u16(400..900));
            get(
                format!("/v2/products?category={category}&page={page}&per_page=10&sort=-created_at"),
                format!(r#"{{"data":[{items}],"meta":{meta}}}"#),
            )
        }
        16..19 => {
            let body = format!(
                r#"{{"product_id":{},"quantity":{},"variant":null,"idempotency_key":"{}"}}"#,
                product_number(random),
                random.u8(1..4),
                uuid(random)
            );
            let reply = format!(
                r#"{{"data":{{"cart_id":"{}","item_count":{},"subtotal":{},"currency":"USD"}}}}"#,
                uuid(random),
                random.u8(1..9),
                amount(random, 900)
            );
            (Method::POST, "/v2/cart/items".to_owned(), body, StatusCode::CREATED, reply)
        }
        _ => {
            let body = format!(
                r#"{{"event":"page_view","path":"/p/{}","at":"{}","viewport":[{},{}]}}"#,
                slug(random, 3),
                moment(random),
                random.u16(360..1920),
                random.u16(600..1200)
            );
            let reply = format!(r#"{{"data":{{"accepted":true,"id":"{}"}}}}"#, uuid(random));
            (Method::POST, "/v2/events".to_owned(), body, StatusCode::CREATED, reply)
        }
    }
}

fn profile(random: &mut Rng, user: &User) -> String {
    format!(
        r#"{{"data":{{"id":"{}","name":"{}","email":"{}@{}.example","plan":"{}","created_at":"{}","preferences":{{"newsletter":{},"currency":"USD","theme":"{}"}}}}}}"#,
        user.id,
        name(random, 2),
        word(random),
        word(random),
        pick(random, &["free", "plus", "family"]),
        moment(random),
        random.bool(),
        pick(random, &["dark", "light"])
    )
}

fn order(random: &mut Rng, user: &User) -> String {
    let items = list(random.usize(1..4), |_| {
        format!(
            r#"{{"product_id":{},"sku":"{}","name":"{}","quantity":{},"unit_price":{}}}"#,
            product_number(random),
            hex(random, 10).to_uppercase(),
            name(random, 3),
            random.u8(1..4),
            amount(random, 900)
        )
    });
    format!(
        r#"{{"id":"{}","user_id":"{}","status":"{}","created_at":"{}","updated_at":"{}","total":{{"amount":{},"currency":"USD"}},"items":[{items}],"shipping":{{"method":"{}","tracking":"{}"}}}}"#,
        uuid(random),
        user.id,
        pick(random, &["pending", "paid", "shipped", "delivered"]),
        moment(random),
        moment(random),
        amount(random, 2000),
        pick(random, &["standard", "express"]),
        random.u64(10_000_000_000_000..100_000_000_000_000)
    )
}

fn product_number(random: &mut Rng) -> u32 {
    random.u32(100_000..1_000_000)
}

fn product(random: &mut Rng, number: u32) -> String {
    let length = random.usize(60..160);
    format!(
        r#"{{"id":{number},"sku":"{}","name":"{}","description":"{}","price":{{"amount":{},"currency":"USD"}},"category":"{}","tags":["{}","{}"],"stock":{},"rating":{}.{},"image":"https://cdn.store.example/p/{}.webp","created_at":"{}"}}"#,
        hex(random, 10).to_uppercase(),
        name(random, 3),
        prose(random, length),
        amount(random, 900),
        word(random),
        word(random),
        word(random),
        random.u16(..500),
        random.u8(1..5),
        random.u8(..10),
        hex(random, 16),
        moment(random)
    )
}

/// A moment of the last weeks of a year.
fn moment(random: &mut Rng) -> String {
    format!(
        "2025-{}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        random.u8(10..13),
        random.u8(1..31),
        random.u8(..24),
        random.u8(..60),
        random.u8(..60),
        random.u16(..1000)
    )
}
