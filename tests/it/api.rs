//! The server API: a site's own programs tell KISSmetrics something, and hear when it is safe.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};

use crate::kissmetrics::{Kissmetrics, Mood};
use crate::readme::block;
use crate::support::{Client, Reply, Service, crosslink, eventually, needs};

const KEY: &str = "fedcba9876543210fedcba9876543210fedcba98";
const TOKEN: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
/// Anonymous by its shape.
const X: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAA=";

struct Site {
    service: Kissmetrics,
    crosslink: Service,
    admin: SocketAddr,
}

impl Site {
    fn start() -> Self {
        Self::with("", "")
    }

    /// `outbox` stands under `outbox`, `pairs` behind the one pair.
    fn with(outbox: &str, pairs: &str) -> Self {
        let service = Kissmetrics::start(Mood::Fine);
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("journal")).unwrap();
        for (name, text) in [("key", KEY), ("other", "other"), ("token", TOKEN)] {
            fs::write(folder.path().join(name), format!("{text}\n")).unwrap();
        }
        let endpoint = service.endpoint();
        let config = format!(
            "listen: 127.0.0.1:0
outbox: {{ directory: journal{outbox} }}
api: {{ token_file: token }}
pairs:
  - name: shop
    origin: www.yoursite.com
    destination: checkout.yoursite.com
    kissmetrics: {{ key_file: key, endpoint: '{endpoint}' }}
{}",
            pairs.replace("ENDPOINT", &endpoint),
        );
        let mut crosslink = Service::serve_in(folder, crosslink(), &config, None);
        crosslink.listening(1);
        let admin = crosslink.admin();
        Self { service, crosslink, admin }
    }

    /// What is answered to a request with these fields in place of the usual ones.
    fn raw(&self, first: &str, fields: &str, body: &str) -> Reply {
        let length = body.len();
        let ask = format!("{first} HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {length}\r\n\r\n{body}");
        Client::connect(self.admin).send(ask.as_bytes()).reply().unwrap()
    }

    fn post(&self, path: &str, more: &str, body: &str) -> Reply {
        let fields = format!("Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n{more}");
        self.raw(&format!("POST {path}"), &fields, body)
    }

    fn tell(&self, path: &str, body: &Value) -> (u16, Value) {
        let reply = self.post(path, "", &body.to_string());
        (reply.status, serde_json::from_str(&reply.body).unwrap())
    }

    /// Stops it, and gives all that the service was told.
    fn told(mut self) -> Vec<String> {
        self.crosslink.program.signal("TERM");
        assert_eq!(self.crosslink.exit(), Some(0));
        let log = self.crosslink.events() + &fs::read_to_string(&self.crosslink.stdout).unwrap();
        assert!(!log.contains("bob@bob.com") && !log.contains(X) && !log.contains(TOKEN), "{log}");
        let mut told: Vec<_> =
            self.service.told().iter().map(|target| target.replace(&format!("_k={KEY}&"), "")).collect();
        told.sort();
        told
    }
}

#[test]
fn what_programs_tell_arrives() {
    let site = Site::start();
    let at = 1_763_769_600;
    for (path, body, expected) in [
        ("/v1/alias", json!({ "person": "bob@bob.com", "alias": "77", "at": at }), "accepted"),
        (
            "/v1/alias",
            json!({ "person": "bob@bob.com", "cookie": format!("km_ni=null; km_ai={X}"), "at": at }),
            "accepted",
        ),
        ("/v1/identify", json!({ "person": "Zoë", "cookie": format!("km_ni={X}"), "at": at }), "accepted"),
        ("/v1/identify", json!({ "person": "Zoë", "properties": { "Plan": "Gold", "Age": 7 }, "at": at }), "accepted"),
        ("/v1/record", json!({ "person": "a+b", "event": "Cart Checkout", "pair": "shop", "at": at }), "accepted"),
        ("/v1/record", json!({ "cookie": "km_ni=eve%40eve.com", "event": "Paid", "at": at }), "accepted"),
        // No identity in the cookies, the same one, or a name: none of these is the person's own anonymous one.
        ("/v1/alias", json!({ "person": "bob@bob.com", "cookie": "" }), "nothing_to_tell"),
        ("/v1/alias", json!({ "person": X, "cookie": format!("km_ai={X}") }), "nothing_to_tell"),
        ("/v1/alias", json!({ "person": "bob@bob.com", "cookie": "km_ai=eve%40eve.com" }), "nothing_to_tell"),
        ("/v1/alias", json!({ "person": "b", "cookie": format!("km_ni=eve; km_ai={X}") }), "nothing_to_tell"),
        ("/v1/alias", json!({ "person": "b", "cookie": format!("km_ni=guest; km_ai={X}") }), "nothing_to_tell"),
        ("/v1/identify", json!({ "person": "b", "cookie": format!("km_ai={X}; km_ni=visitor") }), "nothing_to_tell"),
        ("/v1/identify", json!({ "person": "bob@bob.com", "cookie": "km_ai=eve" }), "nothing_to_tell"),
        ("/v1/record", json!({ "cookie": "km_ai=null", "event": "Paid" }), "nothing_to_tell"),
    ] {
        assert_eq!(site.tell(path, &body), (202, json!({ "results": [expected] })), "{path} {body}");
    }
    let x = X.replace('=', "%3D");
    assert_eq!(
        site.told(),
        [
            "/a?_p=77&_n=bob%40bob.com&_t=1763769600&_d=1".to_owned(),
            format!("/a?_p={x}&_n=Zo%C3%AB&_t=1763769600&_d=1"),
            format!("/a?_p={x}&_n=bob%40bob.com&_t=1763769600&_d=1"),
            "/e?_p=a%2Bb&_n=Cart%20Checkout&_t=1763769600&_d=1".to_owned(),
            "/e?_p=eve%40eve.com&_n=Paid&_t=1763769600&_d=1".to_owned(),
            "/s?_p=Zo%C3%AB&_t=1763769600&_d=1&Age=7&Plan=Gold".to_owned(),
        ]
    );
}

#[test]
fn who_is_slow_with_a_body_hears_so() {
    let site = Site::start();
    let head = format!(
        "POST /v1/record HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
    );
    let reply = Client::connect(site.admin).send(head.as_bytes()).reply().unwrap();
    assert_eq!(reply.status, 408);
    assert!(reply.body.contains("too_slow"), "{reply:?}");
}

#[test]
fn what_is_wrong_is_said_with_a_code() {
    let site = Site::start();
    let bob = json!({ "person": "bob@bob.com", "alias": "77" }).to_string();
    let json = "Content-Type: application/json\r\n";
    let known = format!("Authorization: Bearer {TOKEN}\r\n");
    for (first, fields, body, status, code) in [
        ("POST /v1/alias", json.to_owned(), &*bob, 401, "unauthorized"),
        ("POST /v1/alias", format!("Authorization: Bearer {TOKEN}0\r\n{json}"), &bob, 401, "unauthorized"),
        (
            "POST /v1/alias",
            format!("Authorization: Bearer {}\r\n{json}", TOKEN.trim_start_matches('0')),
            &bob,
            401,
            "unauthorized",
        ),
        ("POST /v1/alias", format!("Authorization: Basic {TOKEN}\r\n{json}"), &bob, 401, "unauthorized"),
        ("POST /v1/else", format!("{known}{json}"), &bob, 404, "not_found"),
        ("GET /v1/alias", known.clone(), "", 405, "method_not_allowed"),
        ("POST /v1/alias", format!("{known}Content-Type: text/plain\r\n"), &bob, 415, "unsupported_media_type"),
        ("POST /v1/alias", known.clone(), &bob, 415, "unsupported_media_type"),
        ("POST /v1/alias", format!("{known}{json}"), &"[".repeat(1024 * 1024 + 1), 413, "too_large"),
        ("POST /v1/alias", format!("{known}{json}Idempotency-Key: a b\r\n"), &bob, 400, "bad_key"),
    ] {
        let reply = site.raw(first, &fields, body);
        let said: Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!((reply.status, said["error"].as_str()), (status, Some(code)), "{first} {fields}");
        assert!(said["message"].is_string() && reply.field("content-type") == Some("application/json"), "{reply:?}");
    }
    for (path, body, code) in [
        ("/v1/alias", "{", "bad_json"),
        ("/v1/alias", "", "bad_json"),
        ("/v1/alias", "[]", "bad_batch"),
        ("/v1/record", r#"["bob",null,"Paid",null,null,null]"#, "bad_json"),
        ("/v1/record", r#"[["bob",null,"Paid",null,null,null]]"#, "bad_json"),
        ("/v1/alias", r#"{"person":"bob","person":"eve","alias":"77"}"#, "bad_json"),
        ("/v1/record", r#"{"person":"bob","event":"Paid","properties":{"\u0000_p":"x"}}"#, "bad_properties"),
        ("/v1/alias", r#"{"person":"bob","alias":"77","x":1}"#, "bad_json"),
        ("/v1/alias", r#"{"person":"bob"}"#, "bad_alias"),
        ("/v1/alias", r#"{"person":"guest","alias":"77"}"#, "bad_identity"),
        ("/v1/alias", r#"{"person":"bob","alias":""}"#, "bad_identity"),
        ("/v1/alias", r#"{"person":"bob","alias":"77","pair":"none"}"#, "unknown_pair"),
        ("/v1/record", r#"{"event":"Paid"}"#, "missing_person"),
        ("/v1/record", r#"{"person":"bob","event":" "}"#, "bad_event"),
        ("/v1/record", r#"{"person":"bob","event":"Paid","properties":{"_k":"x"}}"#, "bad_properties"),
        ("/v1/record", r#"{"person":"bob","event":"Paid","properties":{"x":[]}}"#, "bad_properties"),
        ("/v1/record", r#"{"person":"bob","event":"Paid","at":99999999999}"#, "bad_time"),
    ] {
        let reply = site.post(path, "", body);
        let said: Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!((reply.status, said["error"].as_str()), (400, Some(code)), "{path} {body}: {reply:?}");
    }
    // What is sent is not sent back: it names somebody.
    for (path, body, expected) in [
        (
            "/v1/alias",
            r#"{"bob@bob.com":1}"#,
            "line 1, column 14: a field that is not known; there are `person`, `alias`",
        ),
        (
            "/v1/alias",
            r#"{", expected one of bob at line 3":1}"#,
            "line 1, column 34: a field that is not known; there are `person`, `alias`",
        ),
        ("/v1/record", r#"{"person":"bob"}"#, "line 1, column 16: missing field `event`"),
        ("/v1/record", r#"{"event":"Paid","at":"bob"}"#, "line 1, column 26: texts are expected, but for `at` a whole"),
        ("/v1/record", "{\n\"event\":bob}", "line 2, column 9: this is no JSON"),
    ] {
        let reply = site.post(path, "", body);
        let said: Value = serde_json::from_str(&reply.body).unwrap();
        assert!(said["message"].as_str().unwrap().starts_with(expected), "{path} {body}: {reply:?}");
        assert!(!reply.body.contains("bob"), "{reply:?}");
    }
    let list = json!([{ "person": "bob", "event": "Paid" }, { "person": "bob", "event": 1 }]);
    assert_eq!(site.tell("/v1/record", &list).1["item"], 1);
    let long = json!({ "person": "bob", "event": "Paid", "properties": { "x": "y".repeat(9000) } });
    assert_eq!(site.tell("/v1/record", &long).1["error"], "event_too_large");
    // All of a list or nothing of it.
    let list = json!([{ "person": "bob", "event": "Paid" }, { "person": "null", "event": "Paid" }]);
    let (status, said) = site.tell("/v1/record", &list);
    assert_eq!((status, &said["error"], &said["item"]), (400, &json!("bad_identity"), &json!(1)));
    assert_eq!(site.told(), [""; 0]);
}

#[test]
fn whether_all_is_well_can_be_asked_while_the_api_is_busy() {
    let site = Site::start();
    let fields = format!("Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n");
    let ask = format!("POST /v1/record HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: 10\r\n\r\n");
    // Each of them has a body that does not come.
    let _slow: Vec<_> = (0..64).map(|_| Client::connect(site.admin).send(ask.as_bytes())).collect();
    let reply = eventually("no place", || {
        let reply = site.post("/v1/record", "", "{}");
        (reply.status != 400).then_some(reply)
    });
    assert_eq!((reply.status, reply.field("retry-after")), (429, Some("1")), "{reply:?}");
    assert_eq!(site.raw("GET /livez", "", "").status, 200);
    assert_eq!(site.raw("GET /metrics", "", "").status, 200);
}

#[test]
fn without_an_api_that_is_said() {
    let mut crosslink = Service::serve(
        crosslink(),
        "listen: 127.0.0.1:0\npairs: [{ origin: a.example, destination: b.example }]",
        None,
    );
    crosslink.listening(1);
    let ask = "POST /v1/record HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}";
    let reply = Client::connect(crosslink.admin()).send(ask.as_bytes()).reply().unwrap();
    assert_eq!(reply.status, 404, "{reply:?}");
    assert!(reply.body.starts_with("{\"error\":\"no_api\""), "{reply:?}");
}

#[test]
fn a_list_is_taken_whole_and_the_same_key_gets_the_same_answer() {
    let site = Site::start();
    let list: Vec<_> = (0..1000).map(|n| json!({ "person": format!("{n}"), "event": "Paid" })).collect();
    let body = json!(list).to_string();
    let key = "Idempotency-Key: 4711\r\n";
    let replies: Vec<_> = (0..3).map(|_| site.post("/v1/record", key, &body)).collect();
    assert!(replies.iter().all(|reply| reply.status == 202 && reply.body == replies[0].body), "{:?}", replies[0]);
    let other = site.post("/v1/record", key, &json!(list[1..]).to_string());
    assert_eq!(other.status, 422, "{other:?}");
    let bad = |_| site.post("/v1/record", "Idempotency-Key: bad\r\n", "{}").body;
    assert_eq!(bad(1), bad(2));
    eventually("all of them", || (site.service.told().len() == 1000).then_some(()));
    assert_eq!(site.told().len(), 1000);
}

#[test]
fn a_full_outbox_says_when_to_come_again() {
    let site = Site::with(", max_bytes: 1MiB", "");
    site.service.is(Mood::Status(503));
    let long = "x".repeat(700);
    let list: Vec<_> =
        (0..1000).map(|n| json!({ "person": format!("{n}"), "event": "Paid", "properties": { "x": long } })).collect();
    let body = json!(list).to_string();
    let key = "Idempotency-Key: 4711\r\n";
    assert_eq!(site.post("/v1/record", "", &body).status, 202);
    let reply = eventually("a refusal", || {
        let reply = site.post("/v1/record", key, &body);
        (reply.status != 202).then_some(reply)
    });
    assert_eq!((reply.status, reply.field("retry-after")), (503, Some("60")), "{reply:?}");
    assert!(reply.body.starts_with("{\"error\":\"full\""), "{reply:?}");
    site.service.is(Mood::Fine);
    // What was refused for now is taken later, under the same key, however often it is asked for meanwhile.
    eventually("room", || (site.post("/v1/record", key, &body).status == 202).then_some(()));
}

#[test]
fn with_several_sites_a_pair_names_the_one() {
    let other = "  - name: blog
    origin: blog.example
    destination: other.example
    kissmetrics: { key_file: other, endpoint: 'ENDPOINT' }
";
    let site = Site::with("", other);
    let (status, said) = site.tell("/v1/record", &json!({ "person": "bob", "event": "Paid" }));
    assert_eq!((status, &said["error"]), (400, &json!("missing_pair")));
    let told = json!({ "person": "bob", "event": "Paid", "pair": "blog", "at": 7 });
    assert_eq!(site.tell("/v1/record", &told).0, 202);
    assert_eq!(site.told(), ["/e?_k=other&_p=bob&_n=Paid&_t=7&_d=1"]);
}

#[test]
fn the_handbooks_clients_work() {
    for (language, program) in [("sh", "curl"), ("php", "php"), ("js", "node"), ("python", "python3")] {
        if !needs(&[program]) {
            continue;
        }
        let site = Site::start();
        let text = block("docs/server-api.md", language);
        let text = text.replace("127.0.0.1:8081", &site.admin.to_string());
        let folder = site.crosslink.folder();
        let text = text.replace("/etc/yourshop/crosslink-token", &folder.join("token").display().to_string());
        let file = folder.join(format!("client.{language}"));
        fs::write(&file, text).unwrap();
        let runner = if language == "sh" { "sh" } else { program };
        let mut command = Command::new(runner);
        // As a server gives it to a PHP page.
        command.arg(&file).env("HTTP_COOKIE", format!("km_ai={X}"));
        let output = command.output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(said.contains("{\"results\":[\"accepted\"]}"), "{language}: {said}");
        // What is wrong is not lost.
        fs::write(folder.join("token"), "another").unwrap();
        let output = command.output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(said.contains("unauthorized"), "{language}: {said}");
        assert_eq!(site.told().len(), 1, "{language}");
    }
}

/// Tells the API so many events in lists, and kills the program so many times meanwhile. What was answered by 202 must
/// arrive, once by the rule of the vendor. For `endurance`.
pub fn is_killed(events: usize, kills: usize) {
    const LIST: usize = 100;
    let mut site = Site::with(", timeout: 500ms", "");
    site.service.is(Mood::Moody);
    let folder = site.crosslink.folder().to_owned();
    let mut ended = Vec::new();
    let (mut taken, mut number, mut random) = (Vec::new(), 0, 0x9e37_79b9_7f4a_7c15_u64);
    for kill in 1..=kills + 1 {
        let body = |number: usize| {
            let told = |n: usize| json!({ "person": format!("p{}", n % 97), "event": format!("e{n}"), "at": 1 + n });
            json!((number..number + LIST).map(told).collect::<Vec<_>>()).to_string()
        };
        while taken.len() < events * kill / (kills + 1) {
            let key = format!("Idempotency-Key: {number}\r\n");
            assert_eq!(site.post("/v1/record", &key, &body(number)).status, 202);
            taken.extend(number..number + LIST);
            number += LIST;
        }
        if kill > kills {
            break;
        }
        // One list is on its way when the end comes; nobody hears whether it was taken.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let list = body(number);
        let fields = format!("Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n");
        let length = list.len();
        let ask =
            format!("POST /v1/record HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {length}\r\n\r\n{list}");
        let _open = Client::connect(site.admin).send(ask.as_bytes());
        std::thread::sleep(std::time::Duration::from_micros(random % 5_000));
        site.crosslink.program.child.kill().unwrap();
        site.crosslink.program.child.wait().unwrap();
        number += LIST;
        let mut command = crosslink();
        command.current_dir(&folder).args(["serve", "--config", "crosslink.yaml", "--admin", "127.0.0.1:0"]);
        // The first one has the folder.
        ended.push(std::mem::replace(&mut site.crosslink, Service::start(&mut command)));
        site.crosslink.listening(1);
        site.admin = site.crosslink.admin();
    }
    site.service.is(Mood::Fine);
    let number_of = |target: &String| -> usize {
        target.split("&_n=e").nth(1).unwrap().split('&').next().unwrap().parse().unwrap()
    };
    let arrived = eventually("all of them", || {
        let told = site.service.told();
        let arrived: std::collections::HashSet<_> = told.iter().map(number_of).collect();
        taken.iter().all(|number| arrived.contains(number)).then_some(told)
    });
    for target in &arrived {
        let n = number_of(target);
        assert_eq!(*target, format!("/e?_k={KEY}&_p=p{}&_n=e{n}&_t={}&_d=1", n % 97, 1 + n));
    }
    println!("{} events taken, {kills} kills, {} requests taken note of", taken.len(), arrived.len());
}
