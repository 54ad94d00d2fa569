//! The servers' processes: each on a core of its own, each gone when its owner is.
//!
//! A process takes over the cores of the thread that starts it, so that not even its first
//! instruction runs elsewhere. Invariant: a started process is killed and its folder removed when
//! [`Served`] is dropped, whatever went wrong.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::measured::median;

/// How long a server may take to be ready.
const START: Duration = Duration::from_secs(30);
/// Lines of its own words that are shown of a server which did not start.
const LAST_WORDS: usize = 5;

/// Who runs where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cores {
    pub(super) server: usize,
    /// The same where there is only one.
    pub(super) client: usize,
}

impl Cores {
    /// The first two cores that this process may use; this thread, and all that it starts from now on,
    /// run on the second.
    pub(super) fn take() -> anyhow::Result<Self> {
        let allowed = sched_getaffinity(None).context("which cores may be used")?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let server = cores.next().context("no core may be used")?;
        let cores = Self { server, client: cores.next().unwrap_or(server) };
        stay_on(cores.client)?;
        Ok(cores)
    }

    /// Whether server and client have to share one.
    pub(super) fn shared(&self) -> bool {
        self.server == self.client
    }
}

fn stay_on(core: usize) -> anyhow::Result<()> {
    let mut one = CpuSet::new();
    one.set(core);
    sched_setaffinity(None, &one).with_context(|| format!("staying on core {core}"))
}

/// A running server.
pub(super) struct Served {
    child: Child,
    folder: Folder,
}

impl Served {
    /// Starts `command` on the server's core; `ready` says from a line of its output that it may be
    /// spoken to, and how.
    pub(super) fn start<T>(
        cores: Cores,
        folder: Folder,
        mut command: Command,
        ready: impl Fn(&str) -> Option<T>,
    ) -> anyhow::Result<(Self, T)> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        stay_on(cores.server)?;
        let spawned = command.spawn();
        stay_on(cores.client)?;
        let child = spawned.with_context(|| format!("starting {name}"))?;
        let mut served = Self { child, folder };
        let (said, lines) = mpsc::channel();
        if let Some(out) = served.child.stdout.take() {
            read(out, said.clone());
        }
        if let Some(out) = served.child.stderr.take() {
            read(out, said.clone());
        }
        drop(said);
        let (begun, mut last) = (Instant::now(), VecDeque::new());
        while let Ok(line) = lines.recv_timeout(START.saturating_sub(begun.elapsed())) {
            if let Some(how) = ready(&line) {
                return Ok((served, how));
            }
            last.push_back(line);
            if last.len() > LAST_WORDS {
                last.pop_front();
            }
        }
        let last = last.make_contiguous().join(" / ");
        bail!("{name} did not start: {}", if last.is_empty() { "it said nothing" } else { &last })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder.0
    }
}

/// Reads what a server says to its end, so that it never waits for a reader.
fn read(out: impl Read + Send + 'static, said: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(out).split(b'\n').map_while(Result::ok) {
            // Nobody listens any more once it is ready.
            let _ = said.send(String::from_utf8_lossy(&line).into_owned());
        }
    });
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself; nothing that it has is needed any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder that is removed when dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> anyhow::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("hexcast-compare-{}-{}-{number}", std::process::id(), crate::machine::now().0);
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).with_context(|| format!("a folder {}", path.display()))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What fails here is the system's to clean up.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How long the disk under a new folder takes to make 4 KiB last, median.
pub(super) fn sync_time() -> anyhow::Result<Duration> {
    let folder = Folder::new()?;
    let mut file = std::fs::File::create(folder.path().join("sync"))?;
    let mut all = Vec::new();
    for _ in 0..21 {
        file.write_all(&[1; 4_096])?;
        let begun = Instant::now();
        file.sync_data().context("a sync of the disk")?;
        all.push(begun.elapsed());
    }
    Ok(median(all))
}

/// A port that nobody listens on.
pub(super) fn free_port() -> anyhow::Result<u16> {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a free port")?;
    Ok(probe.local_addr()?.port())
}

/// Where a program is, by its name: in one of these folders, as in `PATH`.
pub(super) fn program(name: &str, path: &std::ffi::OsStr) -> Option<PathBuf> {
    std::env::split_paths(path).map(|folder| folder.join(name)).find(|file| runs(file))
}

/// Whether a file is there that may be run.
pub(super) fn runs(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// What a program prints; nothing where it cannot be run or fails.
pub(super) fn output(program: &Path, args: &[&str]) -> Option<String> {
    let done = Command::new(program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_killed_and_its_folder_removed_when_it_is_dropped() {
        let folder = Folder::new().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo starting; echo ready at 7; exec cat"]);
        let cores = Cores::take().unwrap();
        let port = |line: &str| line.strip_prefix("ready at ")?.parse::<u16>().ok();
        let (served, port) = Served::start(cores, folder, command, port).unwrap();
        assert_eq!(port, 7);
        let (pid, folder) = (served.pid(), served.folder().to_owned());
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        assert!(status.lines().any(|line| {
            line.strip_prefix("Cpus_allowed_list:")
                .is_some_and(|list| list.trim() == cores.server.to_string())
        }));
        assert!(folder.is_dir());
        drop(served);
        assert!(!folder.exists() && !Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn a_server_that_ends_at_once_is_named_with_its_last_words() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo 'no such option' >&2; exit 1"]);
        let started = Served::start(Cores::take().unwrap(), Folder::new().unwrap(), command, |_| None::<()>);
        let why = started.err().unwrap().to_string();
        assert!(why.contains("sh did not start") && why.contains("no such option"), "{why}");
    }

    #[test]
    fn a_program_is_found_in_the_path_where_it_may_be_run() {
        let folder = Folder::new().unwrap();
        std::fs::write(folder.path().join("redis-server"), "not a program").unwrap();
        assert_eq!(program("redis-server", folder.path().as_os_str()), None);
        assert!(program("sh", "/nowhere:/bin:/usr/bin".as_ref()).is_some());
    }
}
