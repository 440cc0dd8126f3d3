//! The manifests in `deploy/kubernetes/`: rendered by kubectl, held against the schemas of Kubernetes and against each
//! other, and their configuration and their probes tried with the program itself.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use crosslink::config;
use serde_json::{Value, json};

use crate::support::{Client, Service, crosslink, eventually, needs, repository};

/// The first and the last of the versions that the manifests are for: 1.30 is the first that knows `sleep` by itself.
const VERSIONS: [&str; 2] = ["1.30", "1.37"];
const KEYS: &str = "/run/secrets/crosslink";

/// What kubectl makes of the folder, and what is wrong with it.
fn rendered(change: fn(String) -> String) -> Option<(Vec<Value>, Vec<Value>)> {
    let python = repository("target/interop/bin/python");
    if !needs(&["kubectl", python.to_str().unwrap()]) {
        return None;
    }
    let output = Command::new("kubectl").arg("kustomize").arg(repository("deploy/kubernetes")).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let manifests = tempfile::NamedTempFile::new().unwrap();
    fs::write(manifests.path(), change(String::from_utf8(output.stdout).unwrap())).unwrap();
    let mut check = Command::new(python);
    check.arg(repository("tests/interop/kubernetes.py")).args(VERSIONS).stdin(manifests.reopen().unwrap());
    let output = check.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut checked: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut list = |name: &str| checked[name].take().as_array().unwrap().clone();
    Some((list("manifests"), list("complaints")))
}

fn find<'a>(manifests: &'a [Value], kind: &str) -> &'a Value {
    manifests.iter().find(|manifest| manifest["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

#[test]
fn kubernetes_knows_every_field_of_the_manifests() {
    let Some((manifests, complaints)) = rendered(|manifests| manifests) else { return };
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert_eq!(manifests.len(), 7);
    let misspelt = rendered(|manifests| manifests.replace("readOnlyRootFilesystem", "readOnlyRootFileSystem"));
    assert_eq!(misspelt.unwrap().1.len(), VERSIONS.len(), "a field that Kubernetes would ignore is found");
}

#[test]
fn the_manifests_agree_with_each_other() {
    let Some((manifests, _)) = rendered(|manifests| manifests) else { return };
    let deployment = &find(&manifests, "Deployment")["spec"];
    let pod = &deployment["template"]["spec"];
    let container = &pod["containers"][0];
    let labels = &deployment["template"]["metadata"]["labels"];
    for selected in [
        &deployment["selector"]["matchLabels"],
        &find(&manifests, "Service")["spec"]["selector"],
        &find(&manifests, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        &find(&manifests, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        &pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ] {
        assert_eq!(selected, labels);
    }
    assert_eq!(deployment["replicas"], 3);
    assert_eq!(find(&manifests, "HorizontalPodAutoscaler")["spec"]["minReplicas"], 3);
    assert_eq!(container["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
    for (object, field, value) in [
        (&pod["securityContext"], "runAsNonRoot", json!(true)),
        (&pod["securityContext"]["seccompProfile"], "type", json!("RuntimeDefault")),
        (&container["securityContext"], "readOnlyRootFilesystem", json!(true)),
        (&container["securityContext"], "allowPrivilegeEscalation", json!(false)),
    ] {
        assert_eq!(object[field], value, "{field}");
    }

    let config = find(&manifests, "ConfigMap");
    assert_eq!(pod["volumes"][0]["configMap"]["name"], config["metadata"]["name"]);
    let config = config::parse(&configuration(&manifests, &key().path().display().to_string())).unwrap().fixed;
    let ports: Vec<u64> =
        container["ports"].as_array().unwrap().iter().map(|port| port["containerPort"].as_u64().unwrap()).collect();
    let listens = [config.listen.plain[0].port(), config.listen.admin.unwrap().port()].map(u64::from);
    assert_eq!(ports, listens);
    assert!(config.watch);
    // Whoever is still served is not killed.
    let sleep = Duration::from_secs(container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap());
    let grace = Duration::from_secs(pod["terminationGracePeriodSeconds"].as_u64().unwrap());
    assert!(sleep + config.limits.drain + config.limits.drain_delay < grace);
}

#[test]
fn a_pod_starts_answers_its_probes_and_takes_up_a_new_configuration() {
    let Some((manifests, _)) = rendered(|manifests| manifests) else { return };
    let container = &find(&manifests, "Deployment")["spec"]["template"]["spec"]["containers"][0];
    let key = key();
    let text = configuration(&manifests, &key.path().display().to_string())
        .replace("0.0.0.0:8080", "127.0.0.1:0")
        .replace("0.0.0.0:8081", "127.0.0.1:0");
    // As the kubelet lays out a ConfigMap: the file is a link into a folder, which is a link that is swapped.
    let folder = tempfile::tempdir().unwrap();
    let publish = |version: &str, text: &str| {
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("crosslink.yaml"), text).unwrap();
        std::os::unix::fs::symlink(version, at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
    };
    publish("..1", &text);
    std::os::unix::fs::symlink("..data/crosslink.yaml", folder.path().join("crosslink.yaml")).unwrap();
    let arguments = container["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap());
    let arguments = arguments.map(|argument| argument.replace("/etc/crosslink/", ""));
    let mut service = Service::start(crosslink().current_dir(&folder).args(arguments));
    let address = service.listening(1)[0];
    let admin = service.admin();
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let path = container[probe]["httpGet"]["path"].as_str().unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\n\r\n");
        let reply = Client::connect(admin).send(head.as_bytes()).reply().unwrap();
        assert_eq!(reply.status, 200, "{probe}");
    }
    let location = || {
        let head = b"GET /go/checkout HTTP/1.1\r\nHost: www.yourshop.example\r\n\r\n";
        Client::connect(address).send(head).reply().unwrap().location().unwrap().to_owned()
    };
    assert_eq!(location(), "https://checkout.yourshop.example/cart");
    publish("..2", &text.replace("/cart", "/basket"));
    eventually("the new rules", || location().ends_with("/basket").then_some(()));
}

/// The configuration that the pods get, with the folder of the Secret elsewhere.
fn configuration(manifests: &[Value], key: &str) -> String {
    let text = find(manifests, "ConfigMap")["data"]["crosslink.yaml"].as_str().unwrap();
    assert!(text.contains(&format!("{KEYS}/2026-11.key")));
    text.replace(&format!("{KEYS}/2026-11.key"), key)
}

/// A key, as docs/installing.md has the Secret filled.
fn key() -> tempfile::NamedTempFile {
    let key = tempfile::NamedTempFile::new().unwrap();
    let made = crosslink().arg("keygen").stdin(Stdio::null()).output().unwrap();
    fs::write(key.path(), made.stdout).unwrap();
    key
}
