//! A machine of its own, with systemd as its first process and this machine's files under it: `tests/systemd/boot`.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;

use tempfile::TempDir;

use crate::support::{PATIENCE, Program, eventually, log_file, needs, repository};

/// It ends when it is dropped, and with it all that was written in it, except into the folder `/shared`.
pub struct Machine {
    boot: Program,
    first_process: u32,
    folder: TempDir,
}

impl Machine {
    /// Boots it; `None` if this can't be done here.
    pub fn boot() -> Option<Self> {
        if !needs(&["unshare", "nsenter", "curl", "/lib/systemd/systemd"]) || !may_make_namespaces() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("shared")).unwrap();
        let systemd_says = fs::File::create(folder.path().join("shared/systemd.log")).unwrap();
        let mut command = Command::new("unshare");
        command.args(NAMESPACES).arg("--kill-child").arg(repository("tests/systemd/boot")).arg(folder.path());
        command.stdin(Stdio::null()).stdout(systemd_says.try_clone().unwrap()).stderr(systemd_says);
        let mut boot = Program::spawn(&mut command);
        let children = format!("/proc/{0}/task/{0}/children", boot.id());
        let first_process = eventually("the machine's first process", || {
            let ended = boot.child.try_wait().unwrap();
            assert!(ended.is_none(), "{}", fs::read_to_string(folder.path().join("shared/systemd.log")).unwrap());
            fs::read_to_string(&children).unwrap().trim().parse().ok()
        });
        let machine = Self { boot, first_process, folder };
        eventually("the machine's start", || {
            let state = machine.ask("systemctl is-system-running --wait");
            (String::from_utf8_lossy(&state.stdout).trim() == "running").then_some(())
        });
        Some(machine)
    }

    /// A file that both sides see, there in `/shared`.
    pub fn shared(&self, name: &str) -> PathBuf {
        self.folder.path().join("shared").join(name)
    }

    /// Runs a script there, which must succeed, and gives what it printed.
    #[track_caller]
    pub fn run(&self, script: &str) -> String {
        let output = self.ask(script);
        let said = |bytes| String::from_utf8(bytes).unwrap();
        assert!(
            output.status.success(),
            "{script}\n{}{}{}{}",
            said(output.stdout),
            said(output.stderr),
            fs::read_to_string(self.shared("stderr")).unwrap_or_default(),
            fs::read_to_string(self.shared("systemd.log")).unwrap()
        );
        said(output.stdout)
    }

    /// Runs a script there, which may fail.
    pub fn ask(&self, script: &str) -> Output {
        let mut command = Command::new("timeout");
        command.arg(PATIENCE.as_secs().to_string()).args(["nsenter", "--target", &self.first_process.to_string()]);
        command.args(["--mount", "--pid", "--net", "--cgroup", "--uts", "--ipc", "--wd=/"]);
        command.args(["sh", "-euc", script]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.current_dir("/").output().unwrap()
    }

    /// What crosslink has logged there, if its unit writes into `/shared`.
    pub fn events(&self) -> String {
        fs::read_to_string(self.shared("stderr")).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.boot.child.kill();
        let _ = self.boot.child.wait();
        let mut sweep = Command::new("unshare");
        sweep.arg("--mount").arg(repository("tests/systemd/boot")).arg("--sweep").arg(self.folder.path());
        // Its last processes may take a moment to be gone.
        eventually("the end of the machine", || sweep.output().unwrap().status.success().then_some(()));
        for log in ["stdout", "stderr"] {
            let text = fs::read(self.shared(log)).unwrap_or_default();
            let _ = log_file(log).write_all(&text);
        }
    }
}

/// Only root may, and not in every container.
pub fn may_make_namespaces() -> bool {
    let mut trial = Command::new("unshare");
    let made =
        trial.args(NAMESPACES).args(["sh", "-c", "mount --make-rprivate / && mount -t cgroup2 none /sys/fs/cgroup"]);
    if made.output().is_ok_and(|output| output.status.success()) {
        return true;
    }
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let _ =
        writeln!(io::stderr(), "left out: {test}, because only root may make namespaces, and not in every container");
    false
}

const NAMESPACES: [&str; 6] = ["--mount", "--pid", "--fork", "--uts", "--ipc", "--net"];
