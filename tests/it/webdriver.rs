//! A real browser, driven by the `WebDriver` protocol and nothing else.

use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{PATIENCE, Program, find};

/// Which browser.
#[derive(Clone, Copy)]
pub enum Kind {
    Chromium,
    Firefox,
}

impl Kind {
    /// What a test needs that drives it.
    pub fn programs(self) -> [&'static str; 2] {
        match self {
            Self::Chromium => ["chromium", "chromedriver"],
            Self::Firefox => ["firefox-esr", "geckodriver"],
        }
    }
}

/// A browser with a profile of its own, which ends when it is dropped, after a panic too.
pub struct Browser {
    address: SocketAddr,
    session: String,
    // Dropped in this order: nothing writes into the folder any more when it is removed.
    _driver: Program,
    _home: TempDir,
}

impl Browser {
    /// Starts Chromium.
    pub fn start() -> Self {
        Self::of(Kind::Chromium)
    }

    /// Starts a browser.
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Chromium => Self::chromium(&json!({})),
            Kind::Firefox => Self::open("geckodriver", "Listening on 127.0.0.1:", firefox_capabilities),
        }
    }

    /// Starts Chromium with JavaScript switched off for pages; [`Browser::script`] works all the same.
    pub fn without_javascript() -> Self {
        Self::chromium(&json!({ "profile.managed_default_content_settings.javascript": 2 }))
    }

    fn chromium(preferences: &Value) -> Self {
        Self::open("chromedriver", "started successfully on port ", |home| chromium_capabilities(home, preferences))
    }

    /// Starts a driver, which says its port behind `mark`, and opens a session with it.
    fn open(driver: &str, mark: &str, capabilities: impl Fn(&Path) -> Value) -> Self {
        let home = tempfile::tempdir().unwrap();
        // Chromium's looks for a port that is free in IPv6, and ends if that is taken in IPv4: then another one may be
        // free in both.
        let started = (0..5).find_map(|_| start_driver(driver, mark, home.path()));
        let (driver, port) = started.expect("a driver that listens");
        let mut capabilities = capabilities(home.path());
        capabilities["timeouts"] = json!({ "implicit": 10_000, "pageLoad": 30_000, "script": 10_000 });
        // Whatever is not on this machine would be asked for there, where nobody is. Loopback, to which all names below
        // `localhost` belong, is never asked for through a proxy.
        capabilities["proxy"] = json!({ "proxyType": "manual", "httpProxy": NOBODY, "sslProxy": NOBODY });
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut browser = Self { address, session: String::new(), _driver: driver, _home: home };
        let created = browser.ask("POST", "/session", &json!({ "capabilities": { "alwaysMatch": capabilities } }));
        created.unwrap()["sessionId"].as_str().expect("a session").clone_into(&mut browser.session);
        browser
    }

    /// Opens a page and waits until it is loaded.
    pub fn go(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// The address in the address bar.
    pub fn url(&self) -> String {
        text_of(self.get("/url"))
    }

    /// Goes one page back in the history.
    pub fn back(&self) {
        self.post("/back", &json!({}));
    }

    /// Goes one page forward in the history.
    pub fn forward(&self) {
        self.post("/forward", &json!({}));
    }

    /// Gives the window a size.
    pub fn resize(&self, width: u32, height: u32) {
        self.post("/window/rect", &json!({ "width": width, "height": height }));
    }

    /// Clicks what a CSS selector finds first.
    pub fn click(&self, css: &str) {
        self.post(&format!("{}/click", self.element(css)), &json!({}));
    }

    /// Clicks what a CSS selector finds first with a button of the mouse (0 is the left one, 1 the middle one), while a
    /// key is held if one is given.
    pub fn click_with(&self, css: &str, button: u32, key: Option<&str>) {
        let element = json!({ ELEMENT: self.element(css).trim_start_matches("/element/") });
        let keys = |kind: &str| key.map_or(json!({ "type": "pause" }), |key| json!({ "type": kind, "value": key }));
        let pause = json!({ "type": "pause" });
        let mouse = [
            json!({ "type": "pointerMove", "origin": element, "x": 0, "y": 0 }),
            pause.clone(),
            json!({ "type": "pointerDown", "button": button }),
            json!({ "type": "pointerUp", "button": button }),
            pause.clone(),
        ];
        let board = [&pause, &keys("keyDown"), &pause, &pause, &keys("keyUp")];
        self.post(
            "/actions",
            &json!({ "actions": [
                { "type": "key", "id": "keys", "actions": board },
                { "type": "pointer", "id": "mouse", "parameters": { "pointerType": "mouse" }, "actions": mouse },
            ] }),
        );
        self.done("DELETE", "/actions", &Value::Null);
    }

    /// Types into what a CSS selector finds first.
    pub fn type_into(&self, css: &str, text: &str) {
        self.post(&format!("{}/value", self.element(css)), &json!({ "text": text }));
    }

    /// The text of what a CSS selector finds first, as it is shown.
    pub fn text(&self, css: &str) -> String {
        text_of(self.get(&format!("{}/text", self.element(css))))
    }

    /// An attribute of what a CSS selector finds first.
    pub fn attribute(&self, css: &str, name: &str) -> Option<String> {
        self.get(&format!("{}/attribute/{name}", self.element(css))).as_str().map(str::to_owned)
    }

    /// Runs a script in the page, with arguments, and gives what it returns. In Firefox it has globals of its own: one
    /// of the page is set through `window`.
    pub fn script(&self, script: &str, arguments: &[&str]) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": arguments }))
    }

    /// All cookies that the page's address gets, `HttpOnly` ones too.
    pub fn cookies(&self) -> Vec<Value> {
        self.get("/cookie").as_array().expect("a list of cookies").clone()
    }

    /// Puts in a cookie of the site of the page.
    pub fn add_cookie(&self, cookie: &Value) {
        self.post("/cookie", &json!({ "cookie": cookie }));
    }

    /// Removes all cookies that the page's address gets.
    pub fn forget_cookies(&self) {
        self.done("DELETE", "/cookie", &Value::Null);
    }

    /// Whether the browser says `Sec-GPC: 1` from now on, in every request of this tab and after every redirect. Unlike
    /// a browser that has the opt-out itself, it does not tell scripts of it.
    pub fn send_gpc(&self, send: bool) {
        let headers = if send { json!({ "Sec-GPC": "1" }) } else { json!({}) };
        // While the domain `Network` is not enabled, the fields are accepted and never sent.
        self.devtools("Network.enable", &json!({}));
        self.devtools("Network.setExtraHTTPHeaders", &json!({ "headers": headers }));
    }

    /// Shows pages as to somebody who wants them `light` or `dark`.
    pub fn prefer_color_scheme(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Runs a command of Chromium's `DevTools` protocol, in a session with the tab that stays open between commands.
    fn devtools(&self, command: &str, parameters: &Value) {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }));
    }

    /// The path of an element, for which the driver waits a little.
    fn element(&self, css: &str) -> String {
        let found = self.post("/element", &json!({ "using": "css selector", "value": css }));
        format!("/element/{}", found[ELEMENT].as_str().expect("an element"))
    }

    fn get(&self, path: &str) -> Value {
        self.done("GET", path, &Value::Null)
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.done("POST", path, body)
    }

    fn done(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.ask(method, &format!("/session/{}{path}", self.session), body);
        answer.unwrap_or_else(|error| panic!("{method} {path} {body}: {error}"))
    }

    /// Sends one command; does not panic, so that it can be used after a panic.
    fn ask(&self, method: &str, path: &str, body: &Value) -> io::Result<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(self.address)?;
        // Longer than the driver's own limits, whose errors say more.
        stream.set_read_timeout(Some(PATIENCE * 3))?;
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        let fields = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        stream.write_all(format!("{head}{fields}\r\n{body}").as_bytes())?;
        // The browser, once started, keeps the driver's sockets open: there is no waiting for the end of a connection.
        let mut reply = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reply.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let fields = head.to_ascii_lowercase();
        let length = fields.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length = length.and_then(|length| length.trim().parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        let mut body = vec![0; length];
        reply.read_exact(&mut body)?;
        let value = serde_json::from_slice::<Value>(&body)?["value"].take();
        if head.starts_with("HTTP/1.1 200") {
            Ok(value)
        } else {
            Err(io::Error::other(format!("{}: {}", value["error"], value["message"])))
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser itself; the driver is killed after that.
        let _ = self.ask("DELETE", &format!("/session/{}", self.session), &Value::Null);
    }
}

/// A driver and its port, unless it ends at once.
fn start_driver(name: &str, mark: &str, home: &Path) -> Option<(Program, u16)> {
    let mut words = bound().into_iter().chain(find(name));
    let mut driver = Command::new(words.next().expect("a driver"));
    // Whatever the browser leaves behind goes into the folder, and nothing comes from the user's own.
    driver.args(words).arg("--port=0").env("HOME", home).env("TMPDIR", home);
    driver.env_remove("XDG_CONFIG_HOME").env_remove("XDG_CACHE_HOME");
    let mut driver = Program::spawn(driver.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()));
    let line = announced(&mut driver, mark)?;
    let (_, port) = line.split_once(mark).expect("the mark");
    Some((driver, port.trim_end_matches('.').parse().expect("a port")))
}

/// What a program is started by so that it ends, even if what has started it is killed; nothing where there is no
/// `setpriv`.
fn bound() -> Vec<PathBuf> {
    find("setpriv").map_or_else(Vec::new, |setpriv| vec![setpriv, "--pdeathsig".into(), "KILL".into()])
}

/// What a program says in the line that holds `mark`; `None` if it ends before. It is read on until it ends, so that it
/// never waits to be heard.
fn announced(program: &mut Program, mark: &str) -> Option<String> {
    let lines = BufReader::new(program.child.stdout.take().expect("a pipe")).lines();
    let (say, said) = mpsc::channel();
    thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(say.send(line))));
    loop {
        match said.recv_timeout(PATIENCE) {
            Ok(line) if line.contains(mark) => return Some(line.trim().to_owned()),
            Ok(_) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => panic!("{mark} was not said"),
        }
    }
}

fn chromium_capabilities(home: &Path, preferences: &Value) -> Value {
    let profile = format!("--user-data-dir={}", home.join("profile").display());
    let arguments = [
        "--headless=new",
        "--no-sandbox", // for root, in containers
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--remote-debugging-pipe", // the browser ends with its driver, however that ends
        &profile,
    ];
    json!({
        "goog:chromeOptions": { "binary": find("chromium").unwrap(), "args": arguments, "prefs": preferences },
    })
}

fn firefox_capabilities(home: &Path) -> Value {
    // A driver that is killed would leave it behind. Without the variable a release asks its maker for lists and
    // experiments whatever the preferences say.
    let program = home.join("firefox");
    let words: Vec<_> = bound().into_iter().chain(find("firefox-esr")).map(|word| word.display().to_string()).collect();
    let script = format!("#!/bin/sh\nMOZ_REMOTE_SETTINGS_DEVTOOLS=1 exec {} \"$@\"\n", words.join(" "));
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    // What it does unasked; the driver switches off updates, reports and the like.
    let preferences = json!({
        "app.normandy.enabled": false,
        "browser.safebrowsing.downloads.enabled": false,
        "dom.push.connection.enabled": false,
        "network.captive-portal-service.enabled": false,
        "network.connectivity-service.enabled": false,
        // Where nobody is, nobody else is asked instead.
        "network.proxy.allow_bypass": false,
        "network.proxy.failover_direct": false,
        "network.trr.mode": 5,
        // A clock that shows less than a millisecond.
        "privacy.reduceTimerPrecision": false,
    });
    json!({ "moz:firefoxOptions": { "binary": program, "args": ["-headless"], "prefs": preferences } })
}

fn text_of(value: Value) -> String {
    serde_json::from_value(value).expect("a text")
}

/// The port for what is thrown away.
const NOBODY: &str = "127.0.0.1:9";

/// The name that the W3C gives to references to elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
