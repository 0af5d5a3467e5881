//! `highwater serve`: starting, stopping, and what it keeps.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use rustix::process::Signal;

use crate::harness::{Broker, address, finish, highwater, next_line, read_ready, signal};

/// What a broker says that cannot start.
fn refused(args: &[&str]) -> String {
    finish(highwater(&[&["serve"], args].concat()).spawn().unwrap(), b"").failure()
}

#[test]
fn a_port_that_is_taken() {
    let broker = Broker::in_memory();
    let said = refused(&["--memory", "--listen", &broker.address]);
    let expected = format!(
        "highwater: cannot listen on {}: another program listens there; end it, or choose another port with --listen \
         HOST:PORT (port 0 takes a free one): ",
        broker.address
    );
    assert!(said.starts_with(&expected), "{said}");
}

#[test]
fn a_folder_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let broker = Broker::on(folder.path());
    assert_eq!(
        refused(&["--listen", "127.0.0.1:0", "--data-dir", path]),
        format!("highwater: the folder {path} is in use by another process\n")
    );
    // Whoever had it can go on.
    broker.produce(&["-t", "t"], "x\n");
    drop(broker);
    Broker::on(folder.path());
}

#[test]
fn a_file_is_no_folder() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let said = refused(&["--listen", "127.0.0.1:0", "--data-dir", path]);
    assert_eq!(said, format!("highwater: --data-dir {path}: this is no folder\n"));
}

#[test]
fn what_goes_to_no_terminal_has_no_colours() {
    let args = ["serve", "--memory", "--listen", "127.0.0.1:0", "--ready-json", "-"];
    let mut process = highwater(&args).spawn().unwrap();
    let ready = read_ready(&mut BufReader::new(process.stdout.as_mut().unwrap()));
    TcpStream::connect(address(&ready)).unwrap().write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let said = next_line(process.stderr.as_mut().unwrap());
    assert!(said.contains(" WARN ") && said.contains(" peer=127.0.0.1:"), "{said:?}");
    assert!(!said.contains('\u{1b}'), "{said:?}");
    signal(&process, Signal::TERM);
    assert_eq!(finish(process, b"").code(), Some(0));
}

#[test]
fn a_folder_that_is_not_ours_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    fs::write(folder.path().join("thesis.txt"), "precious").unwrap();
    let said = refused(&["--listen", "127.0.0.1:0", "--data-dir", path]);
    assert!(
        said.starts_with(&format!("highwater: the folder {path} holds files but no Highwater data")),
        "{said}"
    );
    let names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["thesis.txt"]);
}

#[test]
fn a_setting_that_is_none() {
    for (args, word) in [(&["-c", "nonsense=1"][..], "nonsense"), (&["-c", "nonsense"], "is no KEY=VALUE")] {
        let said = refused(&[&["--memory", "--listen", "127.0.0.1:0"], args].concat());
        assert!(said.starts_with("highwater: ") && said.contains(word), "{said}");
    }
}

#[test]
fn what_was_stored_is_there_after_a_clean_stop_and_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut expected = String::new();
    for (round, end) in
        [Signal::TERM, Signal::INT, Signal::KILL, Signal::KILL, Signal::TERM].into_iter().enumerate()
    {
        let broker = Broker::on(folder.path());
        if round == 0 {
            broker.topic("t", &["-c", "segment.ms=5000"]);
        }
        let verbose =
            broker.run_with(&["produce", "-v", "-q", "-t", "t", "-z", "zstd"], format!("{round}\n"));
        assert_eq!(verbose.text(), format!("t-0@{round}\n"));
        expected += &format!("{round}\n");
        assert_eq!(broker.consume(&["-t", "t"]), expected);
        let described = broker.run(&["topic", "describe", "t"]).text();
        assert!(described.contains("segment.ms=5000"), "{described}");
        let status = broker.end(end);
        assert_eq!(status.success(), end != Signal::KILL, "{status}");
    }
    assert_eq!(Broker::on(folder.path()).consume(&["-t", "t"]), expected);
}

#[test]
fn a_client_at_work_does_not_keep_it_from_stopping() {
    let broker = Broker::in_memory();
    broker.topic("t", &[]);
    let mut consuming = broker.spawn(&["consume", "-t", "t"]);
    let producing = broker.spawn(&["produce", "-t", "t"]);
    assert!(broker.end(Signal::TERM).success());
    consuming.kill().unwrap();
    consuming.wait().unwrap();
    finish(producing, b"");
}

#[test]
fn where_it_listens_is_written_to_a_file_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ready.json");
    let args = ["serve", "--memory", "--listen", "127.0.0.1:0", "--ready-json", path.to_str().unwrap()];
    let mut process = highwater(&args).spawn().unwrap();
    let mut stdout = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    let address = address(&read_ready(&mut fs::read(&path).unwrap().as_slice()));
    let expected =
        format!("highwater {}: node 0 listens on {address} (in memory)\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(line, expected);
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn it_ends_with_its_parent_if_asked_to() {
    // A shell that starts the broker, and is killed: the broker holds our end of the pipe open until it ends, too.
    let mut shell = std::process::Command::new("sh")
        .args(["-c", "\"$@\" & wait", "sh", env!("CARGO_BIN_EXE_highwater")])
        .args(["serve", "--memory", "--listen", "127.0.0.1:0", "--ready-json", "-", "--exit-with-parent"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(shell.stdout.take().unwrap());
    read_ready(&mut stdout);
    shell.kill().unwrap();
    shell.wait().unwrap();
    assert_eq!(stdout.read_to_end(&mut Vec::new()).unwrap(), 0);
}
