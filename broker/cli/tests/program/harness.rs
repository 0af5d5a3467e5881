//! Starting the program, and waiting for it.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::Value;

/// A program that is not done by then hangs: it is ended, and its test fails.
const LIMIT: Duration = Duration::from_secs(60);

/// The program with these arguments, untouched by the environment of whoever runs the tests.
pub(crate) fn highwater(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for variable in ["HIGHWATER_BOOTSTRAP", "HIGHWATER_CONTROL", "HIGHWATER_LOG"] {
        command.env_remove(variable);
    }
    command
}

pub(crate) fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Holds a process until it is sent SIGCONT. When this returns, it does nothing any more: the signal alone may take its time.
pub(crate) fn hold(child: &Child) {
    signal(child, Signal::STOP);
    let held = waitpid(Some(Pid::from_child(child)), WaitOptions::UNTRACED).unwrap();
    assert!(held.is_some_and(|(_, status)| status.stopped()));
}

/// Waits for the end, giving `input` on the way.
pub(crate) fn finish(mut child: Child, input: &[u8]) -> Ran {
    let (done, waiting) = mpsc::channel::<()>();
    let pid = Pid::from_child(&child);
    let watch = thread::spawn(move || {
        if waiting.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
            let _ = kill_process(pid, Signal::KILL);
        }
    });
    let stdin = child.stdin.take();
    let output = thread::scope(|scope| {
        scope.spawn(move || {
            // The program may end without reading all of it.
            let _ = stdin.map(|mut stdin| stdin.write_all(input));
        });
        child.wait_with_output().unwrap()
    });
    drop(done);
    watch.join().unwrap();
    Ran(output)
}

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Ran(Output);

impl Ran {
    pub(crate) fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    pub(crate) fn out(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    /// What it printed, having succeeded without complaint.
    #[track_caller]
    pub(crate) fn bytes(self) -> Vec<u8> {
        assert_eq!((self.code(), self.err().as_str()), (Some(0), ""));
        self.0.stdout
    }

    /// As [`bytes`](Self::bytes), for text.
    #[track_caller]
    pub(crate) fn text(self) -> String {
        String::from_utf8(self.bytes()).unwrap()
    }

    /// What it said on standard error, having failed and printed nothing.
    #[track_caller]
    pub(crate) fn failure(self) -> String {
        assert_eq!((self.code(), self.0.stdout.as_slice()), (Some(1), &b""[..]), "{}", self.err());
        self.err()
    }

    /// What it said of its arguments.
    #[track_caller]
    pub(crate) fn usage_error(self) -> String {
        assert_eq!(self.code(), Some(2), "{}", self.err());
        self.err()
    }
}

/// `highwater serve`, killed when dropped.
pub(crate) struct Broker {
    pub(crate) address: String,
    /// What it said when it was ready.
    pub(crate) ready: Value,
    pub(crate) process: Child,
    /// Open as long as the broker may print.
    _stdout: BufReader<ChildStdout>,
}

impl Broker {
    pub(crate) fn in_memory() -> Self {
        Self::start(&["--memory"])
    }

    pub(crate) fn on(folder: &Path) -> Self {
        Self::start(&["--data-dir", folder.to_str().unwrap()])
    }

    /// Starts it on a free port, and waits until it is ready.
    pub(crate) fn start(args: &[&str]) -> Self {
        let serve = ["serve", "--listen", "127.0.0.1:0", "--ready-json", "-"];
        let mut process = highwater(&[&serve, args].concat()).stderr(Stdio::inherit()).spawn().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let ready = read_ready(&mut stdout);
        Self { address: address(&ready), ready, process, _stdout: stdout }
    }

    /// A client command on this broker.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = highwater(args);
        let nodes = self.ready["nodes"].as_array().unwrap();
        let addresses: Vec<_> = nodes.iter().map(|node| node["listen"].as_str().unwrap()).collect();
        command.env("HIGHWATER_BOOTSTRAP", addresses.join(","));
        if let Some(control) = self.ready["control"].as_str() {
            command.env("HIGHWATER_CONTROL", control);
        }
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        finish(self.command(args).spawn().unwrap(), b"")
    }

    pub(crate) fn run_with(&self, args: &[&str], input: impl AsRef<[u8]>) -> Ran {
        finish(self.command(args).stdin(Stdio::piped()).spawn().unwrap(), input.as_ref())
    }

    /// A client command that goes on while the test does.
    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdin(Stdio::piped()).spawn().unwrap()
    }

    /// Makes a topic.
    pub(crate) fn topic(&self, name: &str, args: &[&str]) {
        self.run(&[&["topic", "create", name], args].concat()).text();
    }

    /// Produces, and takes no word for success but the exit code.
    #[track_caller]
    pub(crate) fn produce(&self, args: &[&str], input: impl AsRef<[u8]>) {
        assert_eq!(self.run_with(&[&["produce", "-q"], args].concat(), input).text(), "");
    }

    /// What there is at present.
    #[track_caller]
    pub(crate) fn consume(&self, args: &[&str]) -> String {
        self.run(&[&["consume", "-e"], args].concat()).text()
    }

    /// Ends it with a signal, and waits until it has.
    pub(crate) fn end(mut self, with: Signal) -> ExitStatus {
        signal(&self.process, with);
        self.process.wait().unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the broker says when it is ready.
pub(crate) fn read_ready(stdout: &mut impl BufRead) -> Value {
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

/// Where it listens; the first node, if there are several.
pub(crate) fn address(ready: &Value) -> String {
    ready["nodes"][0]["listen"].as_str().unwrap().to_owned()
}

/// The next line that a running command prints.
pub(crate) fn next_line(stdout: &mut impl Read) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while stdout.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
        line.extend(byte);
    }
    String::from_utf8(line).unwrap()
}
