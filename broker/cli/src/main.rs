//! The program `highwater`: a broker, and tools for any broker that speaks the Kafka protocol. A file a command.

mod arguments;
mod base64;
mod bench;
mod bootstrap;
mod completions;
mod config;
mod consume;
mod fault;
mod group;
mod json_record;
#[cfg(unix)]
mod log;
mod man;
mod moment;
mod outcomes;
mod produce;
mod record_format;
mod serve;
mod signals;
mod table;
mod topic;

use std::io::{IsTerminal, stderr};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

/// A small log broker with Apache Kafka's protocol, file format and delivery guarantees.
#[derive(Debug, Parser)]
#[command(name = "highwater", version, propagate_version = true)]
struct Program {
    #[command(subcommand)]
    command: Command,
    /// How much to log on standard error: off, error, warn, info, debug or trace, also by module as in
    /// `info,highwater::runtime=debug`.
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        default_value = "warn",
        env = "HIGHWATER_LOG",
        value_parser = |text: &str| text.parse::<Targets>(),
        display_order = 1000
    )]
    log: Targets,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    /// Make, list, describe, alter and delete topics.
    #[command(subcommand)]
    Topic(topic::Topic),
    /// Show and alter the settings of topics and brokers.
    #[command(subcommand)]
    Config(config::Config),
    /// List, describe and delete groups of consumers, and move their offsets.
    #[command(subcommand)]
    Group(group::Group),
    /// Kill, stop, pause and start nodes of a broker that runs, and cut the links between them.
    #[command(subcommand)]
    Fault(fault::Fault),
    Produce(produce::Produce),
    Consume(consume::Consume),
    /// Measure how fast a cluster is.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Look into the files of a log: those of Highwater, and those of Apache Kafka.
    #[cfg(unix)]
    #[command(subcommand)]
    Log(log::Log),
    Completions(completions::Completions),
    Man(man::Man),
}

fn main() -> ExitCode {
    match run(Program::parse()) {
        Ok(code) => code,
        // Whoever read our output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("highwater: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(program: Program) -> anyhow::Result<ExitCode> {
    let lines = tracing_subscriber::fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal());
    tracing_subscriber::registry().with(lines.with_filter(program.log)).init();
    match program.command {
        Command::Serve(serve) => serve.run()?,
        Command::Topic(topic) => topic.run()?,
        Command::Config(config) => config.run()?,
        Command::Group(group) => group.run()?,
        Command::Fault(fault) => fault.run()?,
        Command::Produce(produce) => produce.run()?,
        Command::Consume(consume) => consume.run()?,
        Command::Bench(bench) => bench.run()?,
        // It has more to say than that it failed.
        #[cfg(unix)]
        Command::Log(log) => return log.run(),
        Command::Completions(completions) => completions.run(Program::command())?,
        Command::Man(man) => man.run(Program::command())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether it was writing to a pipe that nobody reads any more.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is_one = |cause: &std::io::Error| cause.kind() == std::io::ErrorKind::BrokenPipe;
    error.downcast_ref().is_some_and(is_one)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Does something with every command there is.
    fn visit(command: &clap::Command, look: &mut impl FnMut(&clap::Command)) {
        look(command);
        command.get_subcommands().for_each(|inner| visit(inner, look));
    }

    #[test]
    fn arguments_fit_together() {
        Program::command().debug_assert();
    }

    #[test]
    fn nothing_strays_under_the_heading_of_something_else() {
        let mut clusters = 0;
        visit(&Program::command(), &mut |command| {
            let of_cluster = |arg: &&clap::Arg| arg.get_help_heading() == Some("The cluster");
            let ids: Vec<_> =
                command.get_arguments().filter(of_cluster).map(|arg| arg.get_id().as_str()).collect();
            assert!(ids.is_empty() || ids == ["addresses", "timeout"], "{}: {ids:?}", command.get_name());
            clusters += usize::from(!ids.is_empty());
        });
        assert!(clusters > 0);
    }
}
