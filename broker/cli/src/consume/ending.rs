//! What ends a reader from outside: a signal, or that nobody reads any more what it prints.

use std::io;
use std::process::exit;

use anyhow::bail;
use tokio::sync::oneshot;

use super::Consume;
use crate::signals::Signals;

/// How a shell names the end by SIGINT.
const INTERRUPTED: i32 = 130;

/// Looks out for both. From its making on a signal ends the process no more, but a second one does: the reader may hang in
/// writing to somebody who does not read.
pub(super) struct Ending {
    signal: oneshot::Receiver<()>,
}

impl Ending {
    pub(super) fn new() -> io::Result<Self> {
        let mut signals = Signals::new()?;
        let (tell, signal) = oneshot::channel();
        tokio::spawn(async move {
            signals.any().await;
            let _ = tell.send(());
            signals.any().await;
            exit(INTERRUPTED)
        });
        Ok(Self { signal })
    }

    /// Until it is over: in good order, unless there was an end to reach.
    pub(super) async fn comes(self, options: &Consume) -> anyhow::Result<()> {
        tokio::select! {
            _ = self.signal => {
                if options.has_end() {
                    bail!("stopped before it was done");
                }
                Ok(())
            }
            () = nobody_reads() => Err(io::Error::from(io::ErrorKind::BrokenPipe).into()),
        }
    }
}

/// Until standard output is a pipe, a socket or a terminal whose other end is gone. A write would say so, but where nothing
/// comes nothing is written. A thread waits for it, with no more to its name: it ends with the process.
#[cfg(unix)]
async fn nobody_reads() {
    use std::thread;

    use rustix::event::{PollFd, PollFlags, poll};

    let (tell, told) = oneshot::channel();
    let waiter = thread::Builder::new().name("stdout".to_owned()).spawn(move || {
        let out = io::stdout();
        // That the other end is gone is told unasked.
        let mut watched = [PollFd::new(&out, PollFlags::empty())];
        while let Err(rustix::io::Errno::INTR) = poll(&mut watched, None) {}
        if watched[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) {
            let _ = tell.send(());
        }
    });
    if waiter.is_err() || told.await.is_err() {
        std::future::pending().await
    }
}

#[cfg(not(unix))]
async fn nobody_reads() {
    std::future::pending().await
}
