//! `highwater completions` and `highwater man`: what is generated of the program's own commands.

use std::fs;

use crate::harness::{finish, highwater, next_line};

fn run(args: &[&str]) -> String {
    finish(highwater(args).spawn().unwrap(), b"").text()
}

#[test]
fn every_shell_gets_a_script_that_knows_the_commands() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = run(&["completions", shell]);
        for word in ["highwater", "serve", "ready-json", "topic", "replication-factor", "consume", "poweroff"]
        {
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
    finish(highwater(&["completions", "cmd"]).spawn().unwrap(), b"").usage_error();
}

#[test]
fn bash_completes() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("highwater.bash");
    fs::write(&script, run(&["completions", "bash"])).unwrap();
    let ask = r#"source "$1"; COMP_WORDS=(highwater topic de); COMP_CWORD=2; _highwater highwater de topic; echo ${COMPREPLY[@]}"#;
    let shell = std::process::Command::new("bash").args(["-c", ask, "bash"]).arg(&script).output().unwrap();
    assert_eq!(String::from_utf8(shell.stdout).unwrap(), "describe delete\n");
}

#[test]
fn a_reader_of_a_script_may_leave_early() {
    let mut printing = highwater(&["completions", "zsh"]).spawn().unwrap();
    let mut stdout = printing.stdout.take().unwrap();
    assert_eq!(next_line(&mut stdout), "#compdef highwater");
    drop(stdout);
    finish(printing, b"").text();
}

#[test]
fn every_command_has_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("new/man1");
    assert_eq!(run(&["man", pages.to_str().unwrap()]), "");
    for command in [
        "",
        "-serve",
        "-topic",
        "-topic-create",
        "-fault-kill",
        "-produce",
        "-consume",
        "-bench-latency",
        "-man",
    ] {
        let page = fs::read_to_string(pages.join(format!("highwater{command}.1"))).unwrap();
        let name = format!("highwater{command}").replace('-', "\\-");
        assert!(page.contains(&format!(".SH NAME\n{name} \\- ")), "{page}");
    }
    assert!(!pages.join("highwater-help.1").exists());
    let said = finish(highwater(&["man", "/dev/null/man1"]).spawn().unwrap(), b"").failure();
    assert!(said.starts_with("highwater: /dev/null/man1: "), "{said}");
}
