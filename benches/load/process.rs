//! What a process has used, from /proc.

use std::process::Command;
use std::time::Duration;

use anyhow::Context;

pub(crate) struct Usage {
    /// User and system time of all its threads.
    pub(crate) cpu: Duration,
    /// Highest resident memory since [`Usage::restart`].
    pub(crate) peak_kib: u64,
}

impl Usage {
    pub(crate) fn read(pid: u32) -> anyhow::Result<Usage> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name in brackets may hold spaces.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks =
            |index: usize| -> anyhow::Result<f64> { Ok(fields.get(index).context("a short stat")?.parse()?) };
        let seconds = (ticks(11)? + ticks(12)?) / ticks_per_second()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        Ok(Usage {
            cpu: Duration::from_secs_f64(seconds),
            peak_kib: peak.trim().trim_end_matches(" kB").parse().context("VmHWM in kB")?,
        })
    }

    /// Forgets the peak of memory so far and reads.
    pub(crate) fn restart(pid: u32) -> anyhow::Result<Usage> {
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("resetting the peak of memory")?;
        Usage::read(pid)
    }
}

fn ticks_per_second() -> anyhow::Result<f64> {
    let output = Command::new("getconf").arg("CLK_TCK").output().context("getconf")?;
    String::from_utf8_lossy(&output.stdout).trim().parse().context("ticks per second")
}
