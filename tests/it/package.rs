//! The Debian package: what is in it, and that it can be installed, run, upgraded and removed under a real systemd; and
//! what the profile is made of that its program is built with.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::machine::Machine;
use crate::support::{needs, repository};

/// The package around the `crosslink` of this test run, which `tests/run` has built.
fn package() -> Option<PathBuf> {
    let package = repository("target/debian/crosslink.deb");
    needs(&["dpkg", "dpkg-deb", package.to_str().unwrap()]).then_some(package)
}

#[test]
fn the_package_holds_what_belongs_around_the_program() {
    let Some(package) = package() else { return };
    let listed = |option: &str| {
        let output = Command::new("dpkg-deb").arg(option).arg(&package).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let contents = listed("--contents");
    for file in [
        "-rwxr-xr-x usr/bin/crosslink",
        "-rw-r--r-- etc/crosslink/crosslink.yaml",
        "-rw------- etc/crosslink/secrets/README",
        "-rw-r--r-- usr/lib/systemd/system/crosslink.service",
        "-rw-r--r-- usr/lib/systemd/system/crosslink.socket",
        "-rw-r--r-- usr/share/crosslink/crosslink.schema.json",
        "-rw-r--r-- usr/share/man/man1/crosslink.1.gz",
        "-rw-r--r-- usr/share/man/man1/crosslink-serve.1.gz",
        "-rw-r--r-- usr/share/bash-completion/completions/crosslink",
        "-rw-r--r-- usr/share/zsh/vendor-completions/_crosslink",
        "-rw-r--r-- usr/share/fish/vendor_completions.d/crosslink.fish",
        "-rw-r--r-- usr/share/doc/crosslink/README.md",
        "-rw-r--r-- usr/share/doc/crosslink/docs/README.md",
        "-rw-r--r-- usr/share/doc/crosslink/copyright",
    ] {
        let (mode, name) = file.split_once(' ').unwrap();
        assert!(holds(&contents, mode, name), "{file} is not in\n{contents}");
    }
    for proxy in ["nginx", "haproxy", "caddy", "envoy"] {
        for file in fs::read_dir(repository("deploy").join(proxy)).unwrap() {
            let file = format!("{proxy}/{}", file.unwrap().file_name().to_str().unwrap());
            let example = format!("usr/share/doc/crosslink/examples/{file}");
            assert!(holds(&contents, "-rw-r--r--", &example), "{file} is not in\n{contents}");
        }
    }
    let about = listed("--info");
    assert!(about.contains("Package: crosslink\n") && about.contains("Depends: libc6"), "{about}");
}

#[test]
fn all_that_the_profile_is_made_of_is_answered() {
    if !needs(&["h2load", "curl", "openssl"]) {
        return;
    }
    let mut train = Command::new(repository("deploy/optimized/train"));
    let trained = train.args([env!("CARGO_BIN_EXE_crosslink"), "20"]).output().unwrap();
    assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
}

/// Whether a package's list of contents has a file that belongs to root.
fn holds(contents: &str, mode: &str, name: &str) -> bool {
    let (begins, ends) = (format!("{mode} 0/0 "), format!(" ./{name}"));
    contents.lines().any(|line| line.starts_with(&begins) && line.ends_with(&ends))
}

#[test]
fn it_is_installed_started_upgraded_and_removed() {
    let Some(package) = package() else { return };
    let Some(machine) = Machine::boot() else { return };
    fs::copy(package, machine.shared("crosslink.deb")).unwrap();
    let logs = "[Service]\nStandardOutput=append:/shared/stdout\nStandardError=append:/shared/stderr\n";
    fs::write(machine.shared("logs.conf"), logs).unwrap();
    machine.run(
        "install -D -m 644 -t /etc/systemd/system/crosslink.service.d /shared/logs.conf
         # Without this file man-db does not look through all pages of the machine after each package.
         rm -f /var/lib/man-db/auto-update
         # Where tests are run, packages may not start anything; here this one may.
         rm -f /usr/sbin/policy-rc.d
         echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/fast
         dpkg --install /shared/crosslink.deb",
    );
    // Installed is not started: its configuration is an example.
    assert_eq!(machine.run("systemctl is-active crosslink || true"), "inactive\n");
    assert_eq!(machine.run("systemctl is-enabled crosslink || true"), "disabled\n");
    assert!(machine.run("crosslink check").contains("/etc/crosslink/crosslink.yaml: ok, 3 pairs, 3 links"));
    let ask = "curl -s -o /dev/null -w '%{redirect_url}' http://127.0.0.1:8080/go/checkout -H 'Host: www.yoursite.com'";
    let location = machine.run(&format!("systemctl enable --now crosslink 2>/dev/null; {ask}"));
    assert_eq!(location, "https://yoursite.3rd-party-checkout.com/cart");

    // An upgrade keeps the operator's configuration, and the service runs on with the new program.
    let id = "systemctl show -P MainPID crosslink";
    let before = machine.run(id);
    let location = machine.run(&format!(
        "sed -i 's|checkout: /cart  |checkout: /basket|' /etc/crosslink/crosslink.yaml
         dpkg --install /shared/crosslink.deb >/dev/null
         {ask}"
    ));
    assert_eq!(location, "https://yoursite.3rd-party-checkout.com/basket");
    assert_ne!(machine.run(id), before);

    machine.run("dpkg --purge crosslink");
    assert!(!machine.ask("systemctl is-active crosslink").status.success());
    assert_eq!(machine.run("ls /usr/bin/crosslink /etc/crosslink/crosslink.yaml 2>/dev/null || true"), "");
}
