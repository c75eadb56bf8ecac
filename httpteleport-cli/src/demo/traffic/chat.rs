//! Chat completions: every turn of a conversation resends all earlier ones.

use std::fmt::Write as _;

use fastrand::Rng;
use http::{Method, StatusCode};

use super::words::{hex, list, pick, prose, skewed, slug, token, word};
use super::{DATE, Exchange, request, response};

/// Conversations that go on at the same time.
const ACTIVE: usize = 40;
/// Programs that use the service, each with a system prompt, perhaps tools, and keys of its own.
const PROGRAMS: u32 = 20;
const MOST_TURNS: usize = 7;

#[derive(Debug)]
pub(super) struct Exchanges {
    random: Rng,
    programs: Vec<Program>,
    conversations: Vec<Conversation>,
}

#[derive(Debug)]
struct Program {
    model: &'static str,
    system: String,
    /// What follows the messages.
    rest: String,
    keys: Vec<String>,
}

#[derive(Debug)]
struct Conversation {
    program: usize,
    key: usize,
    user: String,
    /// JSON of the messages so far, with commas between them.
    messages: String,
    turns_left: usize,
}

impl Exchanges {
    pub(super) fn new(mut random: Rng) -> Exchanges {
        let programs: Vec<_> = (0..PROGRAMS).map(|_| Program::new(&mut random)).collect();
        let conversations = (0..ACTIVE).map(|_| Conversation::new(&mut random, &programs)).collect();
        Exchanges { random, programs, conversations }
    }

    pub(super) fn next(&mut self) -> Exchange {
        let random = &mut self.random;
        let turn = random.usize(..ACTIVE);
        let conversation = &mut self.conversations[turn];
        let program = &self.programs[conversation.program];

        let length = skewed(random, 500) + 30;
        conversation.say("user", &prose(random, length));
        let body = format!(
            r#"{{"model":"{}","messages":[{}],"temperature":0.7,"max_tokens":1024,"stream":false,"user":"{}"{}}}"#,
            program.model, conversation.messages, conversation.user, program.rest
        );
        let prompt_tokens = body.len() / 4;
        let length = skewed(random, 2400) + 120;
        let answer = prose(random, length);
        conversation.say("assistant", &answer);

        let id = hex(random, 32);
        let authorization = format!("Bearer {}", program.keys[conversation.key]);
        let request = request(
            Method::POST,
            "/v1/chat/completions",
            &[
                ("host", "models.gateway.internal"),
                ("authorization", &authorization),
                ("content-type", "application/json"),
                ("accept", "application/json"),
                ("user-agent", "chat-client/1.9.2 python/3.12"),
                ("x-client-os", "linux"),
                ("x-client-arch", "x86_64"),
                ("x-client-runtime", "cpython 3.12.8"),
                ("x-request-id", &id),
            ],
            body,
        );
        let reply = completion(random, program.model, &answer, prompt_tokens);
        let response = reply_to(random, &id, reply);
        conversation.turns_left -= 1;
        if conversation.turns_left == 0 {
            *conversation = Conversation::new(random, &self.programs);
        }
        Exchange { request, response }
    }
}

impl Program {
    fn new(random: &mut Rng) -> Program {
        let model = pick(random, &["large-2026-01", "small-2026-01", "open-70b"]);
        let length = random.usize(500..1300);
        let system = prose(random, length);
        let rest = if random.bool() { format!(r#","tools":[{}]"#, list(3, |_| tool(random))) } else { String::new() };
        let keys = (0..3).map(|_| format!("sk-{}", token(random, 48))).collect();
        Program { model, system, rest, keys }
    }
}

impl Conversation {
    fn new(random: &mut Rng, programs: &[Program]) -> Conversation {
        let program = skewed(random, PROGRAMS);
        let mut conversation = Conversation {
            program,
            key: random.usize(..programs[program].keys.len()),
            user: hex(random, 24),
            messages: String::new(),
            turns_left: 1 + skewed(random, 12).min(MOST_TURNS),
        };
        conversation.say("system", &programs[program].system);
        conversation
    }

    fn say(&mut self, role: &str, text: &str) {
        let comma = if self.messages.is_empty() { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(self.messages, r#"{comma}{{"role":"{role}","content":"{text}"}}"#);
    }
}

fn tool(random: &mut Rng) -> String {
    let parameters = list(random.usize(2..5), |_| {
        let kind = pick(random, &["string", "number", "boolean"]);
        format!(r#""{}":{{"type":"{kind}","description":"{}"}}"#, slug(random, 2).replace('-', "_"), prose(random, 40))
    });
    format!(
        r#"{{"type":"function","function":{{"name":"{}_{}","description":"{}","parameters":{{"type":"object","properties":{{{parameters}}},"required":[],"additionalProperties":false}}}}}}"#,
        word(random),
        word(random),
        prose(random, 90)
    )
}

fn completion(random: &mut Rng, model: &str, answer: &str, prompt_tokens: usize) -> String {
    let tokens = answer.len() / 4;
    format!(
        r#"{{"id":"chatcmpl-{}","object":"chat.completion","created":1767225600,"model":"{model}","choices":[{{"index":0,"message":{{"role":"assistant","content":"{answer}","refusal":null,"annotations":[]}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":{prompt_tokens},"completion_tokens":{tokens},"total_tokens":{},"prompt_tokens_details":{{"cached_tokens":0,"audio_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0,"audio_tokens":0}}}},"service_tier":"default","system_fingerprint":"fp_{}"}}"#,
        token(random, 28),
        prompt_tokens + tokens,
        hex(random, 10)
    )
}

fn reply_to(random: &mut Rng, id: &str, body: String) -> http::Response<bytes::Bytes> {
    let (time, requests) = (random.u32(300..9000).to_string(), random.u32(..10_000).to_string());
    let (tokens, ray) = (random.u32(..1_000_000).to_string(), format!("{}-IAD", hex(random, 16)));
    response(
        StatusCode::OK,
        &[
            ("date", DATE),
            ("content-type", "application/json"),
            ("x-request-id", id),
            ("x-processing-ms", &time),
            ("x-ratelimit-limit-requests", "10000"),
            ("x-ratelimit-remaining-requests", &requests),
            ("x-ratelimit-remaining-tokens", &tokens),
            ("x-edge-ray", &ray),
            ("server", "envoy"),
        ],
        body,
    )
}
