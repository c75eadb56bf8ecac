//! A real browser without a window, driven over WebDriver.

use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::programs::{Running, free_address, installed};

use crate::client::Client;
use crate::program::PATIENCE;

/// A new profile, no sandbox (tests may run as root), and nothing that a browser does of its own accord.
const ARGUMENTS: [&str; 10] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--window-size=1200,900",
];

/// A page in a browser of its own. It takes a few of WebDriver's commands, which are JSON over HTTP (W3C WebDriver).
pub(crate) struct Browser {
    address: String,
    /// The path of its session.
    session: String,
    _driver: Running,
    _profile: TempDir,
}

impl Browser {
    /// Lets `look` look with a new browser, which is gone afterwards, whatever became of it.
    pub(crate) async fn look(look: impl AsyncFnOnce(&Browser)) {
        let browser = Browser::start().await;
        let looked = std::panic::AssertUnwindSafe(look(&browser)).catch_unwind().await;
        // Without this it would outlive its driver.
        browser.send("DELETE", "", None).await;
        if let Err(panic) = looked {
            std::panic::resume_unwind(panic);
        }
    }

    async fn start() -> Browser {
        let [driver, chromium] =
            [("chromedriver", "chromium-driver"), ("chromium", "chromium")].map(|(program, package)| {
                installed(program).unwrap_or_else(|| {
                    panic!("{program} is not installed: `cargo xtask test` gets it, or `apt-get install {package}`")
                })
            });
        let (address, profile) = (free_address(), tempfile::tempdir().expect("a folder"));
        let mut command = Command::new(driver);
        command.arg(format!("--port={}", address.port()));
        let mut driver = Running::start(command);
        assert!(tokio::task::block_in_place(|| driver.accepts(address)), "{driver}");

        let mut arguments: Vec<String> = ARGUMENTS.map(str::to_owned).into();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let capabilities = json!({
            "goog:chromeOptions": { "binary": chromium, "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let mut browser =
            Browser { address: address.to_string(), session: String::new(), _driver: driver, _profile: profile };
        let asked = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let session = browser.send("POST", "/session", Some(asked)).await;
        browser.session = format!("/session/{}", session["sessionId"].as_str().expect("a session"));
        browser
    }

    pub(crate) async fn open(&self, url: &str) {
        self.command("url", json!({ "url": url })).await;
    }

    /// The value of an expression of JavaScript.
    pub(crate) async fn value(&self, expression: &str) -> Value {
        self.command("execute/sync", json!({ "script": format!("return {expression}"), "args": [] })).await
    }

    /// Waits until an expression is true.
    pub(crate) async fn until(&self, expression: &str) {
        let met = async { while self.value(expression).await != Value::Bool(true) {} };
        if tokio::time::timeout(PATIENCE, met).await.is_err() {
            panic!("{expression} is never true:\n{}", self.value("document.body.innerText").await);
        }
    }

    /// What the page has said on its console so far, mistakes of the browser's own among it.
    pub(crate) async fn console(&self) -> Vec<String> {
        let log = self.command("se/log", json!({ "type": "browser" })).await;
        log.as_array().expect("lines").iter().map(|line| line["message"].to_string()).collect()
    }

    /// As on a screen of this width, and by day or by night.
    pub(crate) async fn emulate(&self, width: u32, height: u32, phone: bool, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
        let scale = if phone { 2 } else { 1 };
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": phone });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Puts a picture of the whole page into the target folder.
    pub(crate) async fn picture(&self, name: &str) {
        let shot = self.devtools("Page.captureScreenshot", json!({ "captureBeyondViewport": true })).await;
        let text = shot["data"].as_str().expect("a picture");
        let bytes = STANDARD.decode(text).expect("base64");
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("..");
        std::fs::write(target.join(name), bytes).expect("written");
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.command("goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    async fn command(&self, path: &str, body: Value) -> Value {
        self.send("POST", &format!("/{path}"), Some(body)).await
    }

    /// What the driver says to a command.
    async fn send(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let (Browser { address, session, .. }, body) = (self, body.map(|body| body.to_string()).unwrap_or_default());
        let length = body.len();
        let head = format!("{method} {session}{path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n");
        let reply = Client::connect(address).await.ask(head + &body).await;
        let mut said: Value = serde_json::from_str(reply.text()).expect("JSON");
        assert_eq!(reply.status(), 200, "{method} {path}: {said}");
        said["value"].take()
    }
}
