//! `deploy/Dockerfile`: its last stage, built and run. The binary comes from `tests/run`, built as the first stage
//! does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::machine::may_make_namespaces;
use crate::support::{Client, Service, needs, repository};

/// Where this test keeps images: nobody else sees them, and they go with it.
struct Images(TempDir);

impl Images {
    fn buildah(&self, arguments: &[&str]) -> String {
        let folder = |name| self.0.path().join(name);
        let mut command = Command::new("buildah");
        command.args(["--storage-driver", "vfs"]).arg("--root").arg(folder("root")).arg("--runroot").arg(folder("run"));
        let output = command.args(arguments).current_dir(repository("")).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Builds the image around a binary, and gives what it says of itself, and its files.
    fn build(&self, binary: &Path) -> (Value, PathBuf) {
        let context = format!("build={}", binary.parent().unwrap().parent().unwrap().display());
        let file = "deploy/Dockerfile";
        let build =
            ["build", "--isolation", "chroot", "--build-context", &context, "--file", file, "--tag", "crosslink"];
        self.buildah(&[&build[..], &["."]].concat());
        let container = self.buildah(&["from", "--pull-never", "crosslink"]);
        let about = serde_json::from_str(&self.buildah(&["inspect", "--type", "image", "crosslink"])).unwrap();
        (about, self.buildah(&["mount", &container]).into())
    }
}

#[test]
fn the_image_holds_one_file_and_runs_without_rights_on_a_disk_that_is_read_only() {
    let binary = repository("target/static/out/crosslink");
    if !needs(&["buildah", "setpriv", "chroot", binary.to_str().unwrap()]) || !may_make_namespaces() {
        return;
    }
    let images = Images(tempfile::tempdir().unwrap());
    let (about, files) = images.build(&binary);
    let names: Vec<_> = fs::read_dir(&files).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names, ["crosslink"]);
    let words = |name: &str| -> Vec<String> {
        let words = about["OCIv1"]["config"][name].as_array().unwrap();
        words.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let user = about["OCIv1"]["config"]["User"].as_str().unwrap();

    // As a container's runtime does: its own view of the files, which are read-only, its user, no rights.
    let config = tempfile::tempdir().unwrap();
    let pair = "pairs: [{ origin: www.yoursite.com, destination: ok.example, links: { checkout: / } }]";
    fs::write(config.path().join("crosslink.yaml"), format!("listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n{pair}\n"))
        .unwrap();
    let script = r#"
        files=$1 config=$2 user=$3; shift 3
        mkdir -p "$files/etc/crosslink"
        chmod 755 "$config"
        mount --bind "$files" "$files"
        mount --bind "$config" "$files/etc/crosslink"
        mount -o remount,bind,ro "$files/etc/crosslink"
        mount -o remount,bind,ro "$files"
        cd "$files"
        exec setpriv --no-new-privs --bounding-set=-all,+sys_chroot,+setuid,+setgid chroot --userspec "$user" "$files" "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-euc", script, "sh"]).arg(&files).arg(config.path()).arg(user);
    command.args(words("Entrypoint")).args(words("Cmd"));
    let mut service = Service::start(&mut command);
    let address = service.listening(1)[0];
    let ask = b"GET /go/checkout HTTP/1.1\r\nHost: www.yoursite.com\r\nCookie: km_ni=bob%40bob.com\r\n\r\n";
    let reply = Client::connect(address).send(ask).reply().unwrap();
    assert_eq!(reply.location(), Some("https://ok.example/?kmi=bob%40bob.com"));
    let admin = service.admin();
    let ready = format!("GET /readyz HTTP/1.1\r\nHost: {admin}\r\n\r\n");
    assert_eq!(Client::connect(admin).send(ready.as_bytes()).reply().unwrap().status, 200);
    let status = fs::read_to_string(format!("/proc/{}/status", service.program.id())).unwrap();
    for line in ["Uid:\t65532\t65532\t65532\t65532", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(status.lines().any(|known| known == line), "{status}");
    }
    service.program.signal("TERM");
    assert_eq!(service.exit(), Some(0));
}

#[test]
fn the_image_is_built_of_what_the_tests_build_the_binary_of() {
    let read = |name: &str| fs::read_to_string(repository(name)).unwrap();
    let (dockerfile, ignored, run) =
        (read("deploy/Dockerfile"), read("deploy/Dockerfile.dockerignore"), read("tests/run"));
    let copied: Vec<_> = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY ").filter(|words| !words.starts_with("--")))
        .flat_map(|words| words.rsplit_once(' ').unwrap().0.split(' '))
        .collect();
    assert!(run.contains(&format!("cp --archive --parents {} \"$static/source/\"", copied.join(" "))), "{copied:?}");
    let let_through: Vec<_> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    assert_eq!(let_through, copied);
    let is_static = "-C target-feature=+crt-static";
    assert!(dockerfile.contains(is_static) && run.contains(is_static));
}
