//! Runs the real program and waits for what it prints, never for time to pass.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How long anything may take before a hang is a failure. Nothing takes a tenth of it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// What a finished run said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The program, ready to be given arguments, in a directory of its own.
pub(crate) fn hexcast<S: AsRef<OsStr>>(dir: &Path, args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hexcast"));
    command.args(args).current_dir(dir).env_remove("HEXCAST_PKI").env_remove("HEXCAST_LOG");
    command
}

/// Runs to the end with this standard input.
pub(crate) fn run_with_input(mut command: Command, input: &[u8]) -> Said {
    let shown = format!("{command:?}");
    let mut running = Running::start_piped(&mut command, Stdio::piped());
    let mut stdin = running.child.stdin.take().unwrap();
    let input = input.to_vec();
    // On a thread of its own: the program may print before it has read all.
    let writer = std::thread::spawn(move || {
        // A program that ends early does not read all.
        let _ = stdin.write_all(&input);
    });
    let said = running.wait_exit(&shown);
    writer.join().unwrap();
    said
}

/// Runs `hexcast` with `args` in `dir` to the end.
pub(crate) fn run<S: AsRef<OsStr>>(dir: &Path, args: impl IntoIterator<Item = S>) -> Said {
    run_with_input(hexcast(dir, args), b"")
}

/// Runs and expects success.
pub(crate) fn run_ok<S: AsRef<OsStr>>(dir: &Path, args: impl IntoIterator<Item = S>) -> Said {
    let said = run(dir, args);
    assert_eq!(said.code, 0, "{}", said.err);
    said
}

enum Line {
    Out(String),
    Err(String),
    End,
}

/// A program that runs; killed when dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<Line>,
    streams: usize,
    out: Vec<String>,
    err: Vec<String>,
}

impl Running {
    /// Starts `hexcast` with `args` in `dir`.
    pub(crate) fn start<S: AsRef<OsStr>>(dir: &Path, args: impl IntoIterator<Item = S>) -> Self {
        Self::start_piped(&mut hexcast(dir, args), Stdio::null())
    }

    fn start_piped(command: &mut Command, stdin: Stdio) -> Self {
        let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        read_lines(child.stdout.take().unwrap(), sender.clone(), Line::Out);
        read_lines(child.stderr.take().unwrap(), sender, Line::Err);
        Self { child, lines, streams: 2, out: Vec::new(), err: Vec::new() }
    }

    /// Takes what comes until `done` says so; fails where the program ends or hangs before.
    fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !done(self) {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Line::Out(line)) => self.out.push(line),
                Ok(Line::Err(line)) => self.err.push(line),
                Ok(Line::End) => self.streams -= 1,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{what} did not come; out: {:#?}, err: {:#?}", self.out, self.err)
                }
            }
        }
    }

    /// Waits for a line on standard output and returns it.
    pub(crate) fn wait_out(&mut self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        self.until(what, |running| running.out.iter().any(|line| fits(line)));
        self.out.iter().find(|line| fits(line)).unwrap().clone()
    }

    /// Waits for a line on standard error.
    pub(crate) fn wait_err(&mut self, what: &str, fits: impl Fn(&str) -> bool) {
        self.until(what, |running| running.err.iter().any(|line| fits(line)));
    }

    /// Waits until standard output has so many lines that fit.
    pub(crate) fn wait_count(&mut self, what: &str, count: usize, fits: impl Fn(&str) -> bool) {
        self.until(what, |running| running.out.iter().filter(|line| fits(line)).count() >= count);
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end.
    pub(crate) fn wait_exit(mut self, what: &str) -> Said {
        self.until(what, |running| running.streams == 0);
        // Both streams are closed: the program is at its end.
        let status: ExitStatus = self.child.wait().unwrap();
        let join = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect();
        Said { code: status.code().unwrap_or(-1), out: join(&self.out), err: join(&self.err) }
    }

    /// Closes our end of its standard output after the first line, as `head -1` does.
    pub(crate) fn first_line_then_close(mut command: Command) -> (String, Said) {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::with_capacity(1, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let (sender, lines) = channel();
        read_lines(child.stderr.take().unwrap(), sender, Line::Err);
        let running = Self { child, lines, streams: 1, out: Vec::new(), err: Vec::new() };
        (first, running.wait_exit("the end after a closed pipe"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(stream: impl Read + Send + 'static, to: Sender<Line>, make: fn(String) -> Line) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            // The test may be over.
            if line.is_err() || to.send(make(line.unwrap_or_default())).is_err() {
                return;
            }
        }
        let _ = to.send(Line::End);
    });
}

/// A file of this repository.
pub(crate) fn repository(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).to_str().unwrap().to_owned()
}

/// Writes a file of a test.
pub(crate) fn write(dir: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// A server on a free port, with its data in `dir`, and the arguments that reach it.
pub(crate) fn serve(dir: &Path, more: &[&str]) -> (Running, Vec<String>) {
    let mut args = vec!["serve", "--quic", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    args.extend(more);
    let mut server = Running::start(dir, args);
    let ready = server.wait_out("the server's address", |line| line.starts_with("listening on "));
    let address = ready.split(' ').nth(2).unwrap().to_owned();
    (server, vec!["--server".into(), address])
}
