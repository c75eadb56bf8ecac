//! OpenRTB 2.6 bid requests from an exchange, and the bids.

use fastrand::Rng;
use http::{Method, StatusCode};

use super::words::{address, domain, hex, list, name, pick, skewed, slug, token, traceparent, user_agent, uuid, word};
use super::{DATE, Exchange, request, response};

const SITES: u32 = 600;
const PEOPLE: u32 = 1500;
const SIZES: [(u16, u16); 6] = [(300, 250), (728, 90), (320, 50), (160, 600), (300, 600), (970, 250)];

#[derive(Debug)]
pub(super) struct Exchanges {
    random: Rng,
    sites: Vec<Site>,
    people: Vec<Person>,
}

/// Where an advertisement would be shown.
#[derive(Debug)]
struct Site {
    domain: String,
    publisher: u32,
    slots: Vec<String>,
    /// JSON of what never changes: the site without its page, and the categories and advertisers it blocks.
    about: String,
    blocked: String,
}

/// Who would see it.
#[derive(Debug)]
struct Person {
    /// JSON of the device and of the user.
    device: String,
    user: String,
}

impl Exchanges {
    pub(super) fn new(mut random: Rng) -> Exchanges {
        let sites = (0..SITES).map(|_| Site::new(&mut random)).collect();
        let people = (0..PEOPLE).map(|_| Person::new(&mut random)).collect();
        Exchanges { random, sites, people }
    }

    pub(super) fn next(&mut self) -> Exchange {
        let random = &mut self.random;
        let site = &self.sites[skewed(random, SITES)];
        let person = &self.people[random.usize(..PEOPLE as usize)];
        let (id, trace) = (uuid(random), traceparent(random));
        let body = bid_request(random, &id, site, person);
        let request = request(
            Method::POST,
            "/openrtb2/bid?ssp=market&zone=eu1",
            &[
                ("host", "bid.buyer.example"),
                ("user-agent", "market-bidder/5.12.0"),
                ("accept", "application/json"),
                ("accept-encoding", "gzip"),
                ("content-type", "application/json"),
                ("x-openrtb-version", "2.6"),
                ("x-request-id", &id),
                ("traceparent", &trace),
                ("x-forwarded-for", "10.9.3.44"),
                ("x-forwarded-proto", "https"),
            ],
            body,
        );
        let (time, node) = (random.u8(2..60).to_string(), format!("bid-{:02}.eu1", random.u8(1..17)));
        let mut fields = vec![("date", DATE), ("server", "buyer/4.1"), ("x-bid-time", &time), ("x-node", &node)];
        let response = if random.u8(..4) > 0 {
            fields.push(("x-nbr", pick(random, &["2", "8", "512", "513"])));
            response(StatusCode::NO_CONTENT, &fields, String::new())
        } else {
            fields.push(("content-type", "application/json"));
            let body = bid_response(random, &id);
            response(StatusCode::OK, &fields, body)
        };
        Exchange { request, response }
    }
}

impl Site {
    fn new(random: &mut Rng) -> Site {
        let (domain, name, publisher) = (domain(random), name(random, 2), random.u32(1_000_000..10_000_000));
        let categories = list(random.usize(2..4), |_| category(random));
        let blocked = list(random.usize(4..13), |_| category(random));
        let rivals = list(random.usize(2..10), |_| format!(r#""{}""#, super::words::domain(random)));
        let about = format!(
            r#""id":"{}","name":"{name}","domain":"{domain}","cat":[{categories}],"privacypolicy":1,"publisher":{{"id":"{publisher}","name":"{name}","domain":"{domain}"}}"#,
            random.u32(10_000_000..100_000_000)
        );
        Site {
            slots: (1..=3).map(|n| format!("{}_{n}", word(random))).collect(),
            about,
            blocked: format!(r#""bcat":[{blocked}],"badv":[{rivals}]"#),
            domain,
            publisher,
        }
    }
}

impl Person {
    fn new(random: &mut Rng) -> Person {
        let agent = user_agent(random);
        let mobile = agent.contains("Mobile");
        let (country, city) = pick_city(random);
        let (width, height) = if mobile { (pick_number(random, &[360, 375, 402, 412]), 874) } else { (1920, 1080) };
        let make =
            if agent.contains("iPhone") { "Apple" } else { pick(random, &["Samsung", "Xiaomi", "OPPO", "Google"]) };
        let phone = if mobile {
            let carrier = pick(random, &["T-Mobile", "Verizon", "Vodafone", "Orange"]);
            format!(r#","make":"{make}","model":"{}","carrier":"{carrier}","ifa":"{}""#, model(random), uuid(random))
        } else {
            String::new()
        };
        let device = format!(
            r#"{{"ua":"{agent}","geo":{{"lat":{:.4},"lon":{:.4},"type":2,"country":"{country}","city":"{city}","zip":"{:05}","utcoffset":{},"ipservice":3}},"dnt":0,"lmt":0,"ip":"{}","devicetype":{},"os":"{}","w":{width},"h":{height},"pxratio":{},"js":1,"language":"{}","connectiontype":{}{phone}}}"#,
            random.f64() * 120.0 - 60.0,
            random.f64() * 300.0 - 150.0,
            random.u32(..100_000),
            random.i32(-8..10) * 60,
            address(random),
            if mobile { 4 } else { 2 },
            if make == "Apple" {
                "iOS"
            } else if mobile {
                "Android"
            } else {
                "Windows"
            },
            random.u8(1..4),
            pick(random, &["en", "en", "es", "de", "pt"]),
            random.u8(2..8)
        );
        let buyer = if random.bool() { format!(r#","buyeruid":"{}""#, uuid(random)) } else { String::new() };
        let known = if random.bool() {
            let source = pick(random, &["ids.example", "shared-id.example", "graph.example"]);
            format!(
                r#","ext":{{"eids":[{{"source":"{source}","uids":[{{"id":"{}","atype":3}}]}}]}}"#,
                token(random, 64)
            )
        } else {
            String::new()
        };
        Person { device, user: format!(r#"{{"id":"{}"{buyer}{known}}}"#, hex(random, 32)) }
    }
}

fn bid_request(random: &mut Rng, id: &str, site: &Site, person: &Person) -> String {
    let slots = 1 + skewed(random, 3);
    let impressions = list(slots, |n| impression(random, n + 1, site));
    let page = format!("https://www.{}/{}", site.domain, slug(random, 3));
    let from = pick(random, &["", "https://www.google.com/", "https://news.example/"]);
    let nodes = list(random.usize(1..4), |_| {
        let seller = pick(random, &["market.example", "seller-one.example", "adhub.example"]);
        format!(r#"{{"asi":"{seller}","sid":"{}","hp":1,"rid":"{id}"}}"#, site.publisher)
    });
    format!(
        r#"{{"id":"{id}","imp":[{impressions}],"site":{{{},"page":"{page}","ref":"{from}"}},"device":{},"user":{},"test":0,"at":1,"tmax":{},"cur":["USD"],{},"source":{{"fd":0,"tid":"{}","ext":{{"schain":{{"ver":"1.0","complete":1,"nodes":[{nodes}]}}}}}},"regs":{{"coppa":0,"ext":{{"gdpr":{},"us_privacy":"1YNN"}}}},"ext":{{"ssp":"market","sdepth":{}}}}}"#,
        site.about,
        person.device,
        person.user,
        pick_number(random, &[120, 150, 200, 250]),
        site.blocked,
        uuid(random),
        random.u8(..2),
        1 + skewed(random, 6)
    )
}

fn impression(random: &mut Rng, number: usize, site: &Site) -> String {
    let slot = &site.slots[random.usize(..site.slots.len())];
    let start = random.usize(..SIZES.len());
    let (width, height) = SIZES[start];
    let formats = list(random.usize(1..4), |n| {
        let (w, h) = SIZES[(start + n) % SIZES.len()];
        format!(r#"{{"w":{w},"h":{h}}}"#)
    });
    let deals = if random.u8(..3) == 0 {
        let deal = format!(
            r#"{{"id":"{}-{}","bidfloor":{}.{:02},"at":1,"bidfloorcur":"USD"}}"#,
            pick(random, &["MK", "SO", "AH"]),
            random.u32(100_000..1_000_000),
            random.u8(1..9),
            random.u8(..100)
        );
        format!(r#","pmp":{{"private_auction":0,"deals":[{deal}]}}"#)
    } else {
        String::new()
    };
    let floor = format!("{}.{:02}", skewed(random, 4), random.u8(..100));
    format!(
        r#"{{"id":"{number}","tagid":"{slot}","bidfloor":{floor},"bidfloorcur":"USD","secure":1,"instl":0,"exp":300,"banner":{{"format":[{formats}],"w":{width},"h":{height},"pos":{},"btype":[4],"battr":[1,2,3,8,9,13],"api":[3,5,6,7],"topframe":{}}}{deals},"ext":{{"gpid":"/{}/{}/{slot}","tid":"{}","data":{{"pbadslot":"{slot}"}}}}}}"#,
        random.u8(..5),
        random.u8(..2),
        site.publisher,
        site.domain,
        uuid(random)
    )
}

fn bid_response(random: &mut Rng, id: &str) -> String {
    let (track, creative, campaign) =
        (token(random, 64), random.u32(10_000_000..100_000_000), random.u32(100_000..1_000_000));
    let (advertiser, page, (width, height)) = (domain(random), slug(random, 3), SIZES[random.usize(..SIZES.len())]);
    let query = format!("{track}?b={id}&cr={creative}");
    let markup = format!(
        r#"<a href=\"https://click.buyer.example/c/{query}&to=https%3A%2F%2Fwww.{advertiser}%2F{page}%3Fcampaign%3D{campaign}\" target=\"_blank\" rel=\"nofollow noopener\"><img src=\"https://cdn.buyer.example/cr/{creative}_{width}x{height}.jpg\" width=\"{width}\" height=\"{height}\" alt=\"{page}\"></a><img src=\"https://seen.buyer.example/i/{query}&p=${{AUCTION_PRICE}}\" width=\"1\" height=\"1\" style=\"display:none\"><script async src=\"https://cdn.buyer.example/v/measure-2.js?cr={creative}\"></script>"#
    );
    format!(
        r#"{{"id":"{id}","seatbid":[{{"bid":[{{"id":"{}","impid":"1","price":{}.{:04},"adid":"{creative}","nurl":"https://win.buyer.example/w/{query}&p=${{AUCTION_PRICE}}","burl":"https://bill.buyer.example/b/{query}&p=${{AUCTION_PRICE}}","adm":"{markup}","adomain":["{advertiser}"],"cid":"{campaign}","crid":"{creative}","cat":[{}],"attr":[],"w":{width},"h":{height},"exp":300,"mtype":1}}],"seat":"buyer-{}","group":0}}],"bidid":"{}","cur":"USD"}}"#,
        uuid(random),
        random.u8(..9),
        random.u16(..10_000),
        category(random),
        random.u8(1..20),
        hex(random, 24)
    )
}

fn category(random: &mut Rng) -> String {
    format!(r#""IAB{}-{}""#, random.u8(1..27), random.u8(1..20))
}

fn model(random: &mut Rng) -> String {
    format!("{}{}", pick(random, &["SM-", "CPH", "V2", "iPhone"]), random.u16(100..3000))
}

fn pick_number(random: &mut Rng, numbers: &[u16]) -> u16 {
    numbers[random.usize(..numbers.len())]
}

fn pick_city(random: &mut Rng) -> (&'static str, &'static str) {
    const CITIES: [(&str, &str); 24] = [
        ("IN", "Delhi"),
        ("IN", "Mumbai"),
        ("CN", "Shanghai"),
        ("CN", "Chengdu"),
        ("BR", "Recife"),
        ("BR", "Manaus"),
        ("US", "Chicago"),
        ("US", "Dallas"),
        ("US", "Seattle"),
        ("MX", "Puebla"),
        ("DE", "Hamburg"),
        ("DE", "Leipzig"),
        ("FR", "Lyon"),
        ("GB", "Leeds"),
        ("ES", "Valencia"),
        ("IT", "Turin"),
        ("PL", "Gdansk"),
        ("TR", "Izmir"),
        ("NG", "Ibadan"),
        ("EG", "Giza"),
        ("ID", "Bandung"),
        ("JP", "Sapporo"),
        ("KR", "Busan"),
        ("AU", "Perth"),
    ];
    CITIES[random.usize(..CITIES.len())]
}
