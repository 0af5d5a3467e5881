//! The program as a process of its own, which can be killed as the system kills.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::LazyLock;

use rustix::process::{Pid, Signal, kill_process};

/// The program: what `HIGHWATER_BINARY` names, or built for this run.
pub static BINARY: LazyLock<PathBuf> = LazyLock::new(|| match std::env::var_os("HIGHWATER_BINARY") {
    Some(named) => named.into(),
    None => build(),
});

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let arguments = ["build", "--quiet", "--package", "highwater-cli", "--message-format", "json"];
    let mut command = Command::new(cargo);
    command.args(arguments).args(["--manifest-path", manifest]).stderr(Stdio::inherit());
    let built = command.output().unwrap();
    assert!(built.status.success(), "the program cannot be built");
    let messages = String::from_utf8(built.stdout).unwrap();
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut executables = messages.filter_map(|message| Some(message["executable"].as_str()?.to_owned()));
    executables.next_back().expect("a program among what was built").into()
}

/// The program with these arguments, untouched by the environment of whoever runs the tests.
pub fn highwater<T: AsRef<OsStr>>(arguments: impl IntoIterator<Item = T>) -> Command {
    let mut command = Command::new(&*BINARY);
    command.args(arguments).stdin(Stdio::null());
    command.env_remove("HIGHWATER_BOOTSTRAP").env_remove("HIGHWATER_LOG");
    command
}

/// `highwater serve` on a folder, listening on a free port. Killed when dropped.
pub struct Program {
    /// Where it listens.
    pub address: SocketAddr,
    process: Child,
    /// Open as long as it may print.
    _stdout: BufReader<ChildStdout>,
}

impl Program {
    /// Starts it and waits until it is ready. What it says on standard error goes to a file, after what is there.
    pub fn start(folder: &Path, settings: &[(&str, &str)], said: &Path) -> Self {
        let said_to = File::options().create(true).append(true).open(said).unwrap();
        let mut command =
            highwater(["serve", "--listen", "127.0.0.1:0", "--ready-json", "-", "--exit-with-parent"]);
        command.arg("--data-dir").arg(folder).stdout(Stdio::piped()).stderr(said_to);
        for (key, value) in settings {
            command.arg("-c").arg(format!("{key}={value}"));
        }
        let mut process = command.spawn().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let Ok(ready) = serde_json::from_str::<serde_json::Value>(&line) else {
            let said = std::fs::read_to_string(said).unwrap_or_default();
            panic!("the program did not start ({:?}): {said}", process.wait());
        };
        let address = ready["nodes"][0]["listen"].as_str().unwrap().parse().unwrap();
        Self { address, process, _stdout: stdout }
    }

    /// What kills it, for whoever knows when.
    pub fn killer(&self) -> Killer {
        Killer(Pid::from_child(&self.process))
    }

    /// Waits until it has been killed.
    pub fn killed(mut self) {
        let ended = self.process.wait().unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&ended);
        assert_eq!(signal, Some(Signal::KILL.as_raw()), "it ended by itself: {ended}");
    }

    /// Ends it in good order.
    pub fn stop(mut self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
        let ended = self.process.wait().unwrap();
        assert!(ended.success(), "no clean stop: {ended}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Kills a program that has not been waited for yet.
#[derive(Debug, Clone, Copy)]
pub struct Killer(Pid);

impl Killer {
    /// `kill -9`: between two of its instructions, wherever it is.
    pub fn strike(self) {
        kill_process(self.0, Signal::KILL).unwrap();
    }
}
