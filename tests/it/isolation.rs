//! One site whose service is away keeps no event of another one waiting.

use std::fs;

use serde_json::json;

use crate::kissmetrics::{Kissmetrics, Mood};
use crate::support::{Client, Service, crosslink, eventually};

const TOKEN: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
/// More than there is room for in memory.
const BATCHES: usize = 35;

#[test]
fn a_site_whose_service_is_away_holds_up_no_other() {
    let (away, service) = (Kissmetrics::start(Mood::Fine).endpoint(), Kissmetrics::start(Mood::Fine));
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("journal")).unwrap();
    for (name, text) in [("one", "1"), ("two", "2"), ("token", TOKEN)] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let there = service.endpoint();
    let config = format!(
        "listen: 127.0.0.1:0
outbox: {{ directory: journal }}
api: {{ token_file: token }}
pairs:
  - {{ name: one, origin: www.one.example, destination: one.example, kissmetrics: {{ key_file: one, endpoint: '{away}' }} }}
  - {{ name: two, origin: www.two.example, destination: two.example, kissmetrics: {{ key_file: two, endpoint: '{there}' }} }}
"
    );
    let mut crosslink = Service::serve_in(folder, crosslink(), &config, None);
    crosslink.listening(1);
    let admin = crosslink.admin();
    let record = |body: &str| {
        let fields = format!("Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n");
        let length = body.len();
        let head = format!("POST /v1/record HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {length}\r\n\r\n");
        assert_eq!(Client::connect(admin).send(format!("{head}{body}").as_bytes()).reply().unwrap().status, 202);
    };
    for batch in 0..BATCHES {
        let person = |number| json!({ "person": format!("{batch}.{number}"), "event": "Paid", "pair": "one" });
        record(&(0..1000).map(person).collect::<serde_json::Value>().to_string());
    }
    for _ in 0..2 {
        record(&json!({ "person": "bob", "event": "Paid", "pair": "two" }).to_string());
    }
    eventually("both", || (service.told().len() == 2).then_some(()));
}
