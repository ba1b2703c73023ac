//! Child processes that cannot outlive this one. Each child runs under a small shell that holds the read end of a pipe
//! from us: when we end for whatever reason, `kill -9` included, the pipe closes and the shell kills the child. A
//! folder is removed in the same way. Children are in process groups of their own, so that Ctrl-C reaches only us and
//! we decide the order in which things end.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a state that cannot be awaited is looked at.
pub(super) const POLL: Duration = Duration::from_millis(10);

/// `$1` is where the child's pid is written, the rest is the child's command line. Standard input is the pipe.
/// The inner shell writes its own pid and becomes the child, so the pid is known before the child says a word. The
/// child leads a process group, so that what it started itself (an installer's server) ends with it.
const SUPERVISOR: &str = r#"
pid_file=$1; shift
exec 3<&0 </dev/null
group=; if command -v setsid >/dev/null; then group=setsid; fi
end() { kill -KILL -$child || kill -KILL $child; } 2>/dev/null
trap end TERM INT HUP
$group sh -c 'echo $$ >"$0.part" && mv "$0.part" "$0" && exec "$@"' "$pid_file" "$@" 3<&- &
child=$!
( trap - TERM INT HUP; while read -r line <&3; do :; done; end ) &
watch=$!
exec 3<&-
wait $child
status=$?
while kill -0 $child 2>/dev/null; do wait $child; status=$?; done
kill $watch 2>/dev/null
end
rm -f "$pid_file"
exit $status
"#;

/// Waits for the end of standard input, then removes `$1`; tries again for a while, since servers that are being
/// killed at the same moment may still write.
const REMOVER: &str = r#"
trap '' INT HUP
while read -r line; do :; done
tries=0
until rm -rf "$1" 2>/dev/null || [ $tries -ge 300 ]; do tries=$((tries + 1)); sleep 0.1; done
"#;

/// A process that ends when this value is dropped or this process ends.
#[derive(Debug)]
pub struct Supervised {
    shell: Child,
    /// Closing it ends the child.
    pipe: Option<ChildStdin>,
    pid_file: PathBuf,
}

impl Supervised {
    /// Starts `program`; what it prints is appended to `output`, what it complains about to `complaints` (the same
    /// file is fine).
    pub fn start<S: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
        variables: &[(&str, &str)],
        output: &Path,
        complaints: &Path,
    ) -> io::Result<Supervised> {
        let append = |path: &Path| std::fs::OpenOptions::new().create(true).append(true).open(path);
        let mut pid_file = output.as_os_str().to_owned();
        pid_file.push(".pid");
        let pid_file = PathBuf::from(pid_file);
        let mut shell = Command::new("/bin/sh")
            .arg("-c")
            .arg(SUPERVISOR)
            .arg("supervisor")
            .arg(&pid_file)
            .arg(program)
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(append(output)?)
            .stderr(append(complaints)?)
            .process_group(0)
            .spawn()?;
        let pipe = shell.stdin.take();
        Ok(Supervised { shell, pipe, pid_file })
    }

    /// How the process ended, `None` while it runs. A process killed by signal n shows as exit code 128 + n.
    pub fn exited(&mut self) -> io::Result<Option<ExitStatus>> {
        self.shell.try_wait()
    }

    /// Waits for the process to end on its own; `None` when it still runs at the deadline.
    pub async fn finished(&mut self, within: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.exited()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The process itself, not its supervisor; `None` before it started and after it ended.
    pub fn pid(&self) -> Option<u32> {
        std::fs::read_to_string(&self.pid_file).ok()?.trim().parse().ok()
    }

    /// Sends a signal by its name without `SIG`; false when the process is not there any more.
    pub fn signal(&self, name: &str) -> bool {
        let Some(pid) = self.pid() else { return false };
        Command::new("/bin/sh")
            .args(["-c", r#"kill -"$0" "$1""#, name, &pid.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Kills the process and waits until it is gone.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.pipe = None;
        self.shell.wait()
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        // The supervisor kills its child within milliseconds; not to wait would leave a zombie and a busy folder.
        if let Err(error) = self.kill() {
            tracing::warn!(%error, "a supervised process could not be waited for");
        }
    }
}

/// A temporary folder that is removed when this value is dropped or this process ends.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    remover: Child,
}

impl Folder {
    pub fn create() -> io::Result<Folder> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("shardway-");
        let base = base();
        let path = builder.tempdir_in(base)?.keep();
        let remover = Command::new("/bin/sh")
            .arg("-c")
            .arg(REMOVER)
            .arg("remover")
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Folder { path, remover })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Unix socket paths are bounded by about 107 bytes; a longer base leaves no room for ours.
const BASE_LENGTH_MAX: usize = 60;
/// Where files live in memory: servers sync theirs with every table and account that is made, and there it is free.
const MEMORY: &str = "/dev/shm";
/// A fleet takes up to a gigabyte; with less than this free in memory the disk is used.
const MEMORY_FREE_KIB_MIN: u64 = 4 << 20;

/// `TMPDIR` when it is set and short, memory when there is plenty, else the usual temporary folder.
fn base() -> PathBuf {
    let named = std::env::var_os("TMPDIR").map(PathBuf::from);
    if let Some(named) = named.filter(|path| path.as_os_str().len() <= BASE_LENGTH_MAX && path.is_dir()) {
        return named;
    }
    let plenty = free_kib(Path::new(MEMORY)).is_some_and(|free| free >= MEMORY_FREE_KIB_MIN);
    PathBuf::from(if plenty { MEMORY } else { "/tmp" })
}

fn free_kib(path: &Path) -> Option<u64> {
    let output =
        Command::new("df").args(["-k", "--output=avail"]).arg(path).stderr(Stdio::null()).output().ok()?;
    String::from_utf8_lossy(&output.stdout).lines().nth(1)?.trim().parse().ok()
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.remover.stdin.take());
        if let Err(error) = self.remover.wait() {
            tracing::warn!(%error, folder = %self.path.display(), "a temporary folder may be left");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alive(pid: u32) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").starts_with(" Z"))
    }

    async fn until(what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < deadline, "never happened: {what}");
            tokio::time::sleep(POLL).await;
        }
    }

    fn start(folder: &Folder, script: &str) -> Supervised {
        let log = folder.path().join("log");
        Supervised::start(Path::new("/bin/sh"), ["-c", script], &[("WORD", "seven")], &log, &log).unwrap()
    }

    #[tokio::test]
    async fn a_process_that_ends_by_itself_reports_its_exit_code_and_output() {
        let folder = Folder::create().unwrap();
        let mut process = start(&folder, "echo $WORD; echo oops >&2; exit 3");
        let status = process.finished(Duration::from_secs(20)).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(3));
        assert_eq!(std::fs::read_to_string(folder.path().join("log")).unwrap(), "seven\noops\n");
        assert_eq!(process.pid(), None);
    }

    #[tokio::test]
    async fn dropping_ends_the_process_and_its_children_even_when_it_ignores_polite_signals() {
        let folder = Folder::create().unwrap();
        let child = folder.path().join("child");
        let script = format!(
            "trap '' TERM INT HUP; sleep 1000 & echo $! >{0}.part; mv {0}.part {0}; while :; do sleep 1; done",
            child.display()
        );
        let process = start(&folder, &script);
        until("the process has a child", || child.exists()).await;
        let child: u32 = std::fs::read_to_string(&child).unwrap().trim().parse().unwrap();
        let pid = process.pid().unwrap();
        assert!(alive(pid) && alive(child));
        drop(process);
        assert!(!alive(pid));
        until("the child of the process ends too", || !alive(child)).await;
    }

    #[tokio::test]
    async fn a_signal_reaches_the_process_and_not_its_supervisor() {
        let folder = Folder::create().unwrap();
        let log = folder.path().join("log");
        // Not HUP: a shell cannot trap what its parent ignores, as below nohup.
        let mut process = start(&folder, "trap 'exit 7' USR1; echo armed; while :; do sleep 0.01; done");
        until("the trap is set", || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("armed")))
            .await;
        assert!(process.signal("USR1"));
        let status = process.finished(Duration::from_secs(20)).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(7));
        assert!(!process.signal("USR1"));
    }

    #[test]
    fn dropping_a_folder_removes_it_with_its_content() {
        let folder = Folder::create().unwrap();
        let path = folder.path().to_owned();
        std::fs::create_dir(path.join("inside")).unwrap();
        std::fs::write(path.join("inside/file"), "x").unwrap();
        drop(folder);
        assert!(!path.exists());
    }
}
