//! The token against others: a PASETO library that shares no code with ours, and the vectors of PASETO itself.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use pasetors::keys::SymmetricKey;
use pasetors::token::{Local, UntrustedToken};
use pasetors::version4::{LocalToken, V4};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::support::{App, Reply, needs, repository};

const KEY: &str = "k4.local.cHFyc3R1dnd4eXp7fH1-f4CBgoOEhYaHiImKi4yNjo8";
const KEY_ID: &str = "2026-11";

/// A value of an identity as a cookie holds it and as it is meant, its class in a token, and the cookie it lands in.
const VISITORS: &[(&str, &str, &str, &str)] = &[
    ("bob%40bob.com", "bob@bob.com", "n", "km_ni"),
    ("zo%C3%AB%F0%9F%98%80", "zo\u{eb}\u{1f600}", "n", "km_ni"),
    ("fTTEi%2BDx9uNZ%2FWYzrFM8hVkBqQY%3D", "fTTEi+Dx9uNZ/WYzrFM8hVkBqQY=", "a", "km_ai"),
];

/// A link, where it leads, and which browser is used on the way.
struct Way {
    link: &'static str,
    host: &'static str,
    destination: &'static str,
    user_agent: Option<&'static str>,
    /// What a token is bound to by the rule: nothing, or the browser, which may have no name.
    bound: Option<&'static str>,
}

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0 zo\u{eb}";
const FREE: Way =
    Way { link: "free", host: "ok.example", destination: "https://ok.example", user_agent: Some(FIREFOX), bound: None };
const BOUND: Way = Way {
    link: "bound",
    host: "bound.example:8443",
    destination: "https://bound.example:8443",
    user_agent: Some(FIREFOX),
    bound: Some(FIREFOX),
};
const NAMELESS: Way = Way { user_agent: None, bound: Some(""), ..BOUND };
const WAYS: &[Way] = &[FREE, BOUND, NAMELESS];

fn app() -> App {
    let key = NamedTempFile::new().unwrap();
    fs::write(key.path(), format!("{KEY}\n")).unwrap();
    App::with(&format!(
        "
keys: [{{ id: {KEY_ID}, file: {} }}]
defaults: {{ landing: {{ accept: sealed, anonymous_cookie: km_ai }} }}
pairs:
  - {{ origin: www.yoursite.com, destination: ok.example, hand_off: sealed, links: {{ free: / }}, landing: {{}} }}
  - origin: www.yoursite.com
    destination: bound.example:8443
    hand_off: sealed
    bind_user_agent: true
    links: {{ bound: / }}
    landing: {{}}
",
        key.path().display()
    ))
}

impl Way {
    /// A request of this way's browser.
    fn get(&self, app: &App, host: &str, target: &str, cookies: &str) -> Reply {
        let ask = app.get(host, target).cookie(cookies);
        let reply = match self.user_agent {
            Some(user_agent) => ask.field("User-Agent", user_agent.as_bytes()).send(),
            None => ask.send(),
        };
        assert_eq!(reply.status, 302, "{reply:?}");
        reply
    }

    /// The token that crosslink makes.
    fn token(&self, app: &App, cookies: &str) -> String {
        let reply = self.get(app, "www.yoursite.com", &format!("/go/{}", self.link), cookies);
        let prefix = format!("{}/?kmt=", self.destination);
        reply.location().unwrap().strip_prefix(&prefix).unwrap_or_else(|| panic!("{reply:?}")).to_owned()
    }

    fn open(&self, token: &str) -> Value {
        json!({"key": KEY, "destination": self.destination, "user_agent": self.bound, "token": token})
    }

    fn seal(&self, identity: &str, class: &str) -> Value {
        let payload = json!({"i": identity, "c": class, "e": now() + 120});
        json!({"key": KEY, "destination": self.destination, "user_agent": self.bound, "payload": payload, "footer": KEY_ID})
    }
}

fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// What pyseto makes of each job; `None` if it isn't installed.
fn pyseto(jobs: &[Value]) -> Option<Vec<Value>> {
    let python = repository("target/interop/bin/python");
    if !needs(&[python.to_str().unwrap()]) {
        return None;
    }
    let mut command = Command::new(python);
    command.arg(repository("tests/interop/kmt.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(json!(jobs).to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    let answers: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answers.len(), jobs.len());
    Some(answers)
}

#[test]
fn another_library_opens_our_tokens() {
    let app = app();
    let visits: Vec<_> = WAYS.iter().flat_map(|way| VISITORS.iter().map(move |visitor| (way, visitor))).collect();
    let before = now();
    let token = |(way, (value, .., cookie)): &(&Way, &(&str, _, _, &str))| {
        way.open(&way.token(&app, &format!("{cookie}={value}")))
    };
    let jobs: Vec<_> = visits.iter().map(token).collect();
    let lives = before + 120..=now() + 120;
    let Some(answers) = pyseto(&jobs) else { return };
    for ((_, (_, identity, class, _)), answer) in visits.iter().zip(answers) {
        assert_eq!(answer["footer"], KEY_ID, "{answer}");
        let payload: Value = serde_json::from_str(answer["payload"].as_str().unwrap()).unwrap();
        let expiry = payload["e"].as_u64().unwrap();
        assert!(lives.contains(&expiry), "{expiry} is not in {lives:?}");
        assert_eq!(payload, json!({"i": identity, "c": class, "e": expiry}));
    }
}

#[test]
fn we_open_the_tokens_of_another_library() {
    let app = app();
    let visits: Vec<_> = WAYS.iter().flat_map(|way| VISITORS.iter().map(move |visitor| (way, visitor))).collect();
    let jobs: Vec<_> = visits.iter().map(|(way, (_, identity, class, _))| way.seal(identity, class)).collect();
    let Some(answers) = pyseto(&jobs) else { return };
    for ((way, (value, .., cookie)), answer) in visits.iter().zip(answers) {
        let reply = way.get(&app, way.host, &format!("/?kmt={}", answer["token"].as_str().unwrap()), "");
        let set = reply.set_cookie().unwrap_or_else(|| panic!("{reply:?}"));
        assert!(set.starts_with(&format!("{cookie}={value}; ")), "{set}");
    }
}

#[test]
fn both_refuse_what_is_bound_to_something_else() {
    let app = app();
    let elsewhere = Way { destination: "https://bound.example", ..BOUND };
    let wrong = [FREE, Way { bound: None, ..BOUND }, Way { bound: Some("Chrome"), ..BOUND }, elsewhere, NAMELESS];
    let token = BOUND.token(&app, "km_ni=bob");
    let jobs: Vec<_> = wrong.iter().flat_map(|way| [way.open(&token), way.seal("bob", "n")]).collect();
    let Some(answers) = pyseto(&jobs) else { return };
    for answer in answers {
        if let Some(token) = answer["token"].as_str() {
            let reply = BOUND.get(&app, BOUND.host, &format!("/?kmt={token}"), "");
            assert_eq!(reply.set_cookie(), None);
        } else {
            assert_eq!(answer, json!({"refused": true}));
        }
    }
    assert!(BOUND.get(&app, BOUND.host, &format!("/?kmt={token}"), "").set_cookie().is_some());
    assert_eq!(app.log().matches(r#""outcome":"forged""#).count(), wrong.len());
}

/// `tests/data/paseto/v4.json` has the vectors of the PASETO project as the crate `pasetors` 0.8.1 ships them.
#[test]
fn the_vectors_of_paseto_hold() {
    let vectors = fs::read_to_string(repository("tests/data/paseto/v4.json")).unwrap();
    let vectors: Value = serde_json::from_str(&vectors).unwrap();
    let (mut opened, mut refused) = (0, 0);
    // Those with a `key` are of `v4.local`, the others of `v4.public`.
    for vector in vectors["tests"].as_array().unwrap().iter().filter(|vector| vector["key"].is_string()) {
        let text = |name: &str| vector[name].as_str().unwrap();
        let bytes = text("key").as_bytes().chunks(2).map(|hex| u8::from_str_radix(str::from_utf8(hex).unwrap(), 16));
        let key = SymmetricKey::<V4>::from(&bytes.collect::<Result<Vec<_>, _>>().unwrap()).unwrap();
        let token = UntrustedToken::<Local, V4>::try_from(text("token"));
        let assertion = Some(text("implicit-assertion").as_bytes());
        let trusted = token.and_then(|token| LocalToken::decrypt(&key, &token, None, assertion));
        if vector["expect-fail"].as_bool().unwrap() {
            assert!(trusted.is_err(), "{}", text("name"));
            refused += 1;
        } else {
            let trusted = trusted.unwrap_or_else(|error| panic!("{}: {error}", text("name")));
            assert_eq!((trusted.payload(), trusted.footer()), (text("payload"), text("footer").as_bytes()));
            opened += 1;
        }
    }
    assert_eq!((opened, refused), (10, 4));
}
