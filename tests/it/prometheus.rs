//! The files in `deploy/prometheus/` and `deploy/grafana/`: the rules by promtool, and every expression by a real
//! Prometheus that scrapes a real crosslink.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Client, Program, Reply, Service, crosslink, eventually, find, log_file, needs, own_host, repository,
};

const PAIR: &str =
    "pairs: [{ name: own, origin: www.yoursite.com, destination: ok.example, links: { checkout: / }, landing: {} }]";

#[test]
fn promtool_is_content_with_the_rules() {
    if !needs(&["promtool"]) {
        return;
    }
    for arguments in
        [["check", "config", "prometheus.yml"], ["check", "rules", "rules.yml"], ["test", "rules", "rules_test.yml"]]
    {
        let mut promtool = Command::new(find("promtool").unwrap());
        let said = promtool.args(arguments).current_dir(repository("deploy/prometheus")).output().unwrap();
        assert!(said.status.success(), "{arguments:?}: {said:?}");
    }
}

#[test]
fn every_alert_is_tried_and_in_the_handbook() {
    let names = |text: &str, mark: &str| -> BTreeSet<String> {
        text.lines().filter_map(|line| line.trim().strip_prefix(mark)).map(str::to_owned).collect()
    };
    let tests = read("deploy/prometheus/rules_test.yml");
    for alert in names(&read("deploy/prometheus/rules.yml"), "- alert: ") {
        let fires = tests.contains(&format!(r#"ALERTS{{alertname="{alert}", alertstate="firing""#));
        let has_words = tests.split("alertname: ").any(|test| test.starts_with(&alert) && test.contains("exp_alerts"));
        assert!(fires || has_words, "no test fires {alert}");
        assert!(
            read("docs/monitoring.md").contains(&format!("`{alert}`")),
            "docs/monitoring.md does not tell of {alert}"
        );
    }
}

#[test]
fn rules_and_dashboard_name_only_what_there_is() {
    let served = Served::start();
    served.visit();
    let metrics = served.metrics();
    let there: BTreeSet<&str> = metrics.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
    for (family, kind) in metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')) {
        let family = match kind {
            "counter" => format!("{family}_total"),
            "info" => format!("{family}_info"),
            _ => family.to_owned(),
        };
        assert!(
            read("docs/monitoring.md").contains(&format!("`{family}`")),
            "docs/monitoring.md does not tell of {family}"
        );
    }
    for file in ["prometheus/rules.yml", "prometheus/rules_test.yml", "grafana/crosslink.json"] {
        let text = read(&format!("deploy/{file}"));
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && !"_:".contains(letter));
        let names: BTreeSet<&str> = words.filter(|word| word.starts_with("crosslink_")).collect();
        assert!(names.len() > 5, "{names:?}");
        for name in names {
            assert!(there.contains(name), "`{name}` in deploy/{file} is no metric");
        }
        for label in ["identity", "outcome", "le"] {
            for value in asked_for(&text, label) {
                let known = metrics.contains(&format!(r#"{label}="{value}""#));
                assert!(known, r#"{label}="{value}" in deploy/{file} is never counted"#);
            }
        }
    }
}

/// The values that expressions name for a label, with the quotes of YAML or of JSON.
fn asked_for(text: &str, label: &str) -> Vec<String> {
    let text = text.replace("\\\"", "\"");
    let named = text.split(['{', ' ']).filter_map(|part| part.strip_prefix(label)?.strip_prefix('='));
    let quoted = named.filter_map(|rest| rest.trim_start_matches('~').strip_prefix('"'));
    let values = quoted.flat_map(|rest| rest.split('"').next().unwrap_or_default().split('|'));
    let values: Vec<_> = values.map(str::to_owned).collect();
    assert!(!values.is_empty(), "no {label}");
    values
}

#[test]
fn the_dashboard_is_one_that_grafana_can_import() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "crosslink");
    assert!(dashboard["schemaVersion"].as_u64() >= Some(39) && dashboard["id"].is_null());
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert_eq!((&variables[0]["name"], &variables[0]["type"]), (&"datasource".into(), &"datasource".into()));
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    let mut cells = BTreeSet::new();
    for panel in panels {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + w <= 24, "{} is too wide", panel["title"]);
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{} lies on another panel", panel["title"]);
        }
        for place in panel["targets"].as_array().into_iter().flatten().chain([panel]) {
            let source = &place["datasource"]["uid"];
            assert!(panel["type"] == "row" || source == "${datasource}", "{} asks {source}", panel["title"]);
        }
    }
}

#[test]
fn every_expression_returns_series() {
    if !needs(&["prometheus", "curl"]) {
        return;
    }
    let served = Served::start();
    served.visit();
    let prometheus = Prometheus::start(served.service.admin());
    eventually("a scrape", || prometheus.has_answer("up{job=\"crosslink\"} == 1").then_some(()));
    served.service.program.signal("HUP");
    let expressions = expressions(&dashboard());
    assert!(expressions.len() > 20);
    for expression in expressions.iter().map(|expression| substituted(expression)).chain(recorded()) {
        eventually(&expression, || {
            served.visit();
            prometheus.has_answer(&expression).then_some(())
        });
    }
    for (metric, label) in variables(&dashboard()) {
        let path = format!("label/{label}/values");
        let values = prometheus.ask(&path, &[("match[]", &substituted(&metric))]);
        assert!(!values["data"].as_array().unwrap().is_empty(), "{metric}, {label}");
    }
    prometheus.demand_sane_rules();
}

fn read(file: &str) -> String {
    fs::read_to_string(repository(file)).unwrap()
}

fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/grafana/crosslink.json")).unwrap()
}

/// Every `expr` in a dashboard, wherever it stands.
fn expressions(part: &Value) -> Vec<String> {
    let own = part.get("expr").and_then(Value::as_str).map(str::to_owned);
    let below: Vec<&Value> = match part {
        Value::Object(fields) => fields.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    own.into_iter().chain(below.into_iter().flat_map(expressions)).collect()
}

/// What the variables of a dashboard look for: series, and a label.
fn variables(dashboard: &Value) -> Vec<(String, String)> {
    let queries = dashboard["templating"]["list"].as_array().unwrap().iter();
    let found: Vec<_> = queries
        .filter_map(|variable| variable["query"]["query"].as_str()?.strip_prefix("label_values(")?.strip_suffix(')'))
        .map(|inner| inner.rsplit_once(", ").unwrap())
        .map(|(series, label)| (series.to_owned(), label.to_owned()))
        .collect();
    assert!(found.len() >= 3, "{found:?}");
    found
}

/// What Grafana puts in place of its variables, where everything is chosen.
fn substituted(expression: &str) -> String {
    let values = [
        ("$__rate_interval", "1m"),
        ("$__interval", "1m"),
        ("$__range", "5m"),
        ("$job", "crosslink"),
        ("$instance", ".*"),
        ("$pair", ".*"),
    ];
    let full = values.iter().fold(expression.to_owned(), |text, (name, value)| text.replace(name, value));
    assert!(!full.contains('$'), "a variable that nobody knows in {full}");
    full
}

/// The series that the rules record.
fn recorded() -> Vec<String> {
    let rules = read("deploy/prometheus/rules.yml");
    let records: Vec<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).map(str::to_owned).collect();
    assert!(!records.is_empty());
    records
}

/// A crosslink that is used.
struct Served {
    service: Service,
    address: SocketAddr,
}

impl Served {
    fn start() -> Self {
        let mut service =
            Service::serve(crosslink(), &format!("listen: 127.0.0.1:0\noutbox: {{ directory: . }}\n{PAIR}"), None);
        let address = service.listening(1)[0];
        Self { service, address }
    }

    /// A hand-off, a landing and a refusal.
    fn visit(&self) {
        let [left, arrived, refused] =
            [("www.yoursite.com", "/go/checkout"), ("ok.example", "/?kmi=bob"), ("evil.example", "/")]
                .map(|(host, target)| get(self.address, host, target).status);
        assert_eq!([left, arrived, refused], [302, 302, 421]);
    }

    fn metrics(&self) -> String {
        get(self.service.admin(), "localhost", "/metrics").body
    }
}

fn get(address: SocketAddr, host: &str, target: &str) -> Reply {
    let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nCookie: km_ni=bob\r\n\r\n");
    Client::connect(address).ask(head.as_bytes()).expect("a reply")
}

/// A Prometheus with the shipped files, which keeps what it finds in a folder of its own.
struct Prometheus {
    address: String,
    _program: Program,
    _folder: TempDir,
}

impl Prometheus {
    fn start(target: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = read("deploy/prometheus/prometheus.yml");
        for (place, own) in [
            ("          - 10.0.0.1:8081\n", &*format!("          - {target}\n")),
            ("          - 10.0.0.2:8081\n", ""),
            ("          - 10.0.0.3:8081\n", ""),
            ("scrape_interval: 15s", "scrape_interval: 200ms"),
            ("evaluation_interval: 15s", "evaluation_interval: 200ms"),
        ] {
            assert_eq!(config.matches(place).count(), 1, "`{place}` in deploy/prometheus/");
            config = config.replace(place, own);
        }
        fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        fs::copy(repository("deploy/prometheus/rules.yml"), folder.path().join("rules.yml")).unwrap();
        let address = format!("{}:9090", own_host());
        let program = Self::launch(folder.path(), &address);
        Self { address, _program: program, _folder: folder }
    }

    fn launch(folder: &Path, address: &str) -> Program {
        let mut command = Command::new(find("prometheus").unwrap());
        command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
        command.arg(format!("--web.listen-address={address}")).current_dir(folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log_file("prometheus").into_file());
        Program::spawn(&mut command)
    }

    /// Asks its API; null before it answers.
    fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let mut curl = Command::new("curl");
        curl.args(["--disable", "--silent", "--noproxy", "*", "--max-time", "30", "--get"]);
        for (name, value) in parameters {
            curl.args(["--data-urlencode", &format!("{name}={value}")]);
        }
        let output = curl.arg(format!("http://{}/api/v1/{path}", self.address)).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Whether an expression has a value now that is a finite number.
    fn has_answer(&self, expression: &str) -> bool {
        let answer = self.ask("query", &[("query", expression)]);
        assert_ne!(answer["status"], "error", "{expression}: {answer}");
        let series = answer["data"]["result"].as_array();
        let values = series.into_iter().flatten().filter_map(|series| series["value"][1].as_str()?.parse::<f64>().ok());
        values.into_iter().any(f64::is_finite)
    }

    /// Every rule was evaluated, and nothing is wrong with a crosslink that just does its work.
    fn demand_sane_rules(&self) {
        let answer = self.ask("rules", &[]);
        let groups = answer["data"]["groups"].as_array().unwrap().iter();
        let rules: Vec<&Value> = groups.flat_map(|group| group["rules"].as_array().unwrap()).collect();
        assert!(rules.len() > 15);
        for rule in rules {
            assert_eq!(rule["health"], "ok", "{rule}");
            assert!(rule["type"] == "recording" || rule["state"] == "inactive", "{rule}");
        }
    }
}
