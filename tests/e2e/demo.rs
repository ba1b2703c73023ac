//! `shardway demo`: what it prints, and that nothing of it is left however it ends.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use shardway::internal::local::{Folder, Supervised};

use crate::support::{BINARY, DEADLINE, eventually, flavors, processes_naming};

/// A demo under way.
struct Demo {
    process: Supervised,
    folder: Folder,
}

impl Demo {
    fn start(arguments: &[&str]) -> Demo {
        let folder = Folder::create().unwrap();
        let (out, err) = (folder.path().join("demo.out"), folder.path().join("demo.err"));
        let arguments = std::iter::once("demo").chain(arguments.iter().copied());
        let process = Supervised::start(BINARY.as_ref(), arguments, &[], &out, &err).unwrap();
        Demo { process, folder }
    }

    fn printed(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("demo.out")).unwrap_or_default()
    }

    fn progress(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("demo.err")).unwrap_or_default()
    }

    /// The folder that the demo made for its servers, from the line that names it.
    fn home(&self) -> Option<PathBuf> {
        let progress = self.progress();
        let line = progress.lines().find_map(|line| line.trim().strip_prefix("in "))?;
        Some(PathBuf::from(line))
    }

    async fn until(&mut self, what: &str, reached: impl Fn(&Demo) -> bool) {
        eventually(what, async || {
            let ended = self.process.exited().unwrap();
            assert!(ended.is_none() || reached(self), "{ended:?} before {what}: {}", self.progress());
            reached(self)
        })
        .await;
    }

    async fn ended(&mut self) -> ExitStatus {
        let status = self.process.finished(DEADLINE * 3).await.unwrap();
        status.unwrap_or_else(|| panic!("the demo still runs: {}", self.progress()))
    }
}

async fn nothing_is_left_of(home: &Path) {
    let word = home.display().to_string();
    eventually("the demo's processes end and its folder goes", async || {
        processes_naming(&word).is_empty() && !home.exists()
    })
    .await;
}

#[tokio::test]
async fn demo_once_runs_every_sample_and_leaves_nothing() {
    for program in flavors() {
        let server = program.path.display().to_string();
        let mut demo = Demo::start(&["--once", "--server", &server]);
        let status = demo.ended().await;
        let printed = demo.printed();
        assert!(status.success(), "{status}\n{printed}\n{}", demo.progress());
        assert!(printed.contains("statements, 0 failed"), "{printed}");
        assert!(printed.matches("  route:  ").count() == 8, "{printed}");
        assert!(printed.contains("Dalia Dubois"), "{printed}");
        nothing_is_left_of(&demo.home().expect("the demo names its folder")).await;
    }
}

#[tokio::test]
async fn killing_the_demo_ends_its_servers_and_removes_its_folder() {
    let _needs = flavors();
    let mut demo = Demo::start(&[]);
    demo.until("the first shard runs", |demo| demo.progress().contains("✓ start shard 1")).await;
    let home = demo.home().expect("the demo names its folder");
    let servers = processes_naming(&home.join("shard1-primary").display().to_string());
    assert!(!servers.is_empty(), "the primary's process names its folder");
    assert!(demo.process.signal("KILL"));
    nothing_is_left_of(&home).await;
}

#[tokio::test]
async fn ctrl_c_while_the_demo_starts_ends_all_of_it() {
    let _needs = flavors();
    let mut demo = Demo::start(&[]);
    demo.until("the folder is there", |demo| demo.home().is_some()).await;
    let home = demo.home().expect("the demo names its folder");
    assert!(demo.process.signal("INT"));
    assert!(demo.ended().await.success());
    // Not eventually: an orderly end waits for what it ends.
    assert!(!home.exists());
    assert_eq!(processes_naming(&home.display().to_string()), Vec::<u32>::new());
}

#[tokio::test]
async fn a_crash_of_the_proxy_ends_the_demo_and_says_so() {
    let _needs = flavors();
    let mut demo = Demo::start(&[]);
    demo.until("the demo is up", |demo| demo.printed().contains("Ctrl-C ends everything")).await;
    let home = demo.home().expect("the demo names its folder");
    let config = home.join("shardway.toml").display().to_string();
    // The supervising shell names the file too; the proxy is the one that is the binary itself.
    let proxy = processes_naming(&config)
        .into_iter()
        .find(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == Path::new(BINARY)))
        .expect("the proxy runs");
    let killed =
        std::process::Command::new("sh").args(["-c", &format!("kill -KILL {proxy}")]).status().unwrap();
    assert!(killed.success());
    let status = demo.ended().await;
    assert!(!status.success());
    assert!(demo.progress().contains("the proxy ended"), "{}", demo.progress());
    nothing_is_left_of(&home).await;
}
