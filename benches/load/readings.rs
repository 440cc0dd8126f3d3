//! What the kernel says about processes and the machine, read from `/proc`.

use std::fs;
use std::ops::Sub;
use std::process::Command;
use std::sync::OnceLock;

/// Seconds of a processor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// In programs.
    pub user: f64,
    /// In the kernel, for them.
    pub system: f64,
}

impl Cpu {
    /// Both together.
    pub fn all(self) -> f64 {
        self.user + self.system
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { user: self.user - before.user, system: self.system - before.system }
    }
}

/// A process, and when it began, since its number may be given to another one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Member {
    /// Its number.
    pub id: u32,
    began: u64,
}

impl Member {
    /// Whether it is still there, and not only its exit code.
    pub fn is_alive(self) -> bool {
        Stat::of(self.id).is_some_and(|stat| stat.began() == Some(self.began) && !stat.is_zombie())
    }
}

/// A process and all below it, that one first.
pub fn tree(root: u32) -> Vec<Member> {
    let all: Vec<(u32, Stat)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|id| Some((id, Stat::of(id)?)))
        .collect();
    let mut members = Vec::new();
    let mut waiting = vec![root];
    while let Some(id) = waiting.pop() {
        let Some((_, stat)) = all.iter().find(|(each, _)| *each == id) else { continue };
        if let Some(began) = stat.began() {
            members.push(Member { id, began });
        }
        waiting.extend(all.iter().filter(|(_, child)| child.parent() == Some(id)).map(|(child, _)| *child));
    }
    members
}

/// What the processes have used so far.
pub fn cpu(members: &[Member]) -> Cpu {
    let stats = members.iter().filter_map(|member| Stat::of(member.id));
    stats.fold(Cpu::default(), |sum, stat| Cpu { user: sum.user + stat.user(), system: sum.system + stat.system() })
}

/// What this process has used so far, and all those that it has waited for.
pub fn own_cpu() -> f64 {
    let Some(stat) = Stat::of(std::process::id()) else { return 0.0 };
    stat.user() + stat.system() + stat.ticks(13) + stat.ticks(14)
}

/// Bytes of memory that the processes hold.
pub fn memory(members: &[Member]) -> f64 {
    let of = |member: &Member| -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", member.id)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    members.iter().filter_map(of).sum::<f64>() * 1024.0
}

/// Seconds that the processors of the machine were busy, or taken away by its host.
pub fn busy() -> f64 {
    let Ok(text) = fs::read_to_string("/proc/stat") else { return 0.0 };
    let Some(line) = text.lines().next() else { return 0.0 };
    // user nice system idle iowait irq softirq steal; what guests used stands in the first already.
    let numbers = line.split_whitespace().skip(1).take(8).enumerate();
    let working = numbers.filter(|(position, _)| ![3, 4].contains(position));
    working.filter_map(|(_, number)| number.parse::<f64>().ok()).sum::<f64>() / ticks_per_second()
}

/// `/proc/PID/stat` behind the name, which may hold blanks.
struct Stat(Vec<String>);

impl Stat {
    fn of(id: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let (_, numbers) = text.rsplit_once(')')?;
        Some(Self(numbers.split_whitespace().map(str::to_owned).collect()))
    }

    fn field(&self, position: usize) -> Option<&str> {
        self.0.get(position).map(String::as_str)
    }

    fn ticks(&self, position: usize) -> f64 {
        self.field(position).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0) / ticks_per_second()
    }

    fn is_zombie(&self) -> bool {
        self.field(0) == Some("Z")
    }

    fn parent(&self) -> Option<u32> {
        self.field(1)?.parse().ok()
    }

    fn user(&self) -> f64 {
        self.ticks(11)
    }

    fn system(&self) -> f64 {
        self.ticks(12)
    }

    fn began(&self) -> Option<u64> {
        self.field(19)?.parse().ok()
    }
}

fn ticks_per_second() -> f64 {
    static TICKS: OnceLock<f64> = OnceLock::new();
    *TICKS.get_or_init(|| {
        let asked = Command::new("getconf").arg("CLK_TCK").output().ok();
        asked.and_then(|said| String::from_utf8(said.stdout).ok()?.trim().parse().ok()).unwrap_or(LINUX_TICKS)
    })
}

/// What it is on every Linux that there is.
const LINUX_TICKS: f64 = 100.0;
