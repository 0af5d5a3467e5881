//! One TCP connection: a task that reads frames, brings requests to the node and writes the answers in request order.
//!
//! Limits: requests in flight and bytes of unsent answers stop the reading until there is room again; an answer is
//! encoded only when it can be sent, so a client that does not read costs no memory. An idle connection is closed.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, Bytes};
use highwater_protocol::Segments;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use super::frames::Inbox;
use super::mailbox::Mailbox;
use super::node_shell::NodeShell;
use crate::config::BrokerConfig;
use crate::node::{ConnectionId, Event, Reply, Ticket};
use crate::wire::{self, Addresses, Call, Incoming};

/// How many pieces go into one vectored write.
const WRITE_PIECES: usize = 64;
/// A connection that has been quiet for so long gives its buffer back.
const SHRINK_AFTER: Duration = Duration::from_secs(1);

/// How often to look at the clock when there is nothing to look for.
const FOR_NOTHING: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a connection ends. All but the first two are worth a line in the log.
enum End {
    Gone,
    Shutdown,
    Idle,
    Refused,
    Broken(io::Error),
    Bad(String),
}

/// A request whose answer has not been encoded.
enum Pending {
    Waiting(Call),
    Replied(Call, Reply),
    /// Answered without the node.
    Answered(Segments),
}

/// What the connection must keep to.
#[derive(Debug, Clone)]
struct Limits {
    inflight_requests: usize,
    queued_bytes: usize,
    idle: Option<Duration>,
}

pub(super) struct Connection {
    stream: TcpStream,
    shell: Arc<NodeShell>,
    addresses: Addresses,
    id: ConnectionId,
    mailbox: Arc<Mailbox>,
    limits: Limits,
    inbox: Inbox,
    /// Requests in order; the first has the number `first_pending`.
    pending: VecDeque<Pending>,
    first_pending: u64,
    outbox: VecDeque<Segments>,
    outbox_bytes: usize,
    replies: VecDeque<(u64, Reply)>,
    last_active: Instant,
    /// Whether the read buffer was given back since something came.
    shrunk: bool,
}

/// However it ended.
impl Drop for Connection {
    fn drop(&mut self) {
        self.shell.disconnect(self.id);
    }
}

impl Connection {
    pub(super) fn new(
        stream: TcpStream,
        shell: Arc<NodeShell>,
        addresses: Addresses,
        config: &BrokerConfig,
    ) -> Self {
        let mailbox = Arc::new(Mailbox::default());
        let id = shell.connect(Arc::clone(&mailbox) as _);
        let limits = Limits {
            inflight_requests: config.max_inflight_requests(),
            queued_bytes: config.queued_bytes(),
            idle: config.max_idle_ms().map(Duration::from_millis),
        };
        Self {
            stream,
            shell,
            addresses,
            id,
            mailbox,
            limits,
            inbox: Inbox::new(config.request_max_bytes()),
            pending: VecDeque::new(),
            first_pending: 0,
            outbox: VecDeque::new(),
            outbox_bytes: 0,
            replies: VecDeque::new(),
            last_active: Instant::now(),
            shrunk: false,
        }
    }

    /// Serves until either side ends it.
    pub(super) async fn serve(mut self, mut shutdown: watch::Receiver<bool>) {
        let peer = self.stream.peer_addr().map_or_else(|_| "a client".to_owned(), |peer| peer.to_string());
        let end = self.run(&mut shutdown).await;
        match end {
            End::Gone | End::Shutdown | End::Refused => {}
            End::Idle => tracing::debug!(%peer, "closed an idle connection"),
            End::Broken(error) => tracing::debug!(%peer, %error, "a connection broke"),
            End::Bad(why) => tracing::warn!(%peer, %why, "closed a connection that sent a bad frame"),
        }
    }

    async fn run(&mut self, shutdown: &mut watch::Receiver<bool>) -> End {
        let timer = tokio::time::sleep(SHRINK_AFTER);
        tokio::pin!(timer);
        loop {
            if let Err(end) = self.turn() {
                return end;
            }
            let (may_read, may_write) = (self.may_read(), !self.outbox.is_empty());
            tokio::select! {
                biased;
                () = self.mailbox.wait() => {}
                ready = self.stream.writable(), if may_write => {
                    if let Err(error) = ready { return End::Broken(error); }
                }
                ready = self.stream.readable(), if may_read => {
                    if let Err(error) = ready { return End::Broken(error); }
                    match self.read().await {
                        Ok(true) if self.shrunk => {
                            self.shrunk = false;
                            timer.as_mut().reset(Instant::now() + SHRINK_AFTER);
                        }
                        Ok(true) => {}
                        Ok(false) => return End::Gone,
                        Err(error) => return End::Broken(error),
                    }
                }
                () = timer.as_mut() => {
                    if let Err(end) = self.look_at_the_clock(timer.as_mut()) { return end; }
                }
                () = async { drop(shutdown.wait_for(|stop| *stop).await) } => return End::Shutdown,
            }
        }
    }

    /// Does what can be done without waiting: requests that have come, answers that are there, bytes that can go.
    fn turn(&mut self) -> Result<(), End> {
        loop {
            // What was asked before a bad frame, or before a failure that only the end of the connection can tell, is
            // answered as far as answers are there and the socket takes them.
            let taken = self.take_requests();
            let may_go_on = self.mailbox.take(&mut self.replies);
            while let Some((request, reply)) = self.replies.pop_front() {
                self.put_in_order(request, reply);
            }
            self.encode_ready()?;
            self.write().map_err(End::Broken)?;
            taken?;
            if !may_go_on {
                return Err(End::Refused);
            }
            // What the write made room for must not wait for the socket: answers that are ready, frames that have come.
            let unsent = !self.outbox.is_empty();
            if unsent || !(self.has_ready() || self.may_read() && self.inbox.has_frame()) {
                return Ok(());
            }
        }
    }

    fn may_read(&self) -> bool {
        self.pending.len() < self.limits.inflight_requests && self.outbox_bytes < self.limits.queued_bytes
    }

    fn has_ready(&self) -> bool {
        matches!(self.pending.front(), Some(Pending::Replied(..) | Pending::Answered(_)))
    }

    fn take_requests(&mut self) -> Result<(), End> {
        while self.may_read() {
            let frame = self.inbox.next_frame().map_err(|error| End::Bad(error.to_string()))?;
            let Some(frame) = frame else { break };
            self.take_request(frame)?;
        }
        Ok(())
    }

    fn take_request(&mut self, frame: Bytes) -> Result<(), End> {
        let now = self.shell.clock().now().wall;
        let incoming = wire::decode(frame, self.shell.rules(), now);
        let incoming = incoming.map_err(|bad| End::Bad(bad.to_string()))?;
        self.shell.traffic().request(&incoming);
        match incoming {
            Incoming::Answer(segments) => self.pending.push_back(Pending::Answered(segments)),
            Incoming::Request(call, mut request) => {
                // As Java writes an address.
                let host =
                    || self.stream.peer_addr().map_or_else(|_| "/".into(), |at| format!("/{}", at.ip()));
                request.set_client_host(host);
                let number = self.first_pending + self.pending.len() as u64;
                self.pending.push_back(Pending::Waiting(call));
                let ticket = Ticket { connection: self.id, request: number };
                if !self.shell.bring(Event::Request(ticket, request)) {
                    return Err(End::Shutdown);
                }
            }
        }
        Ok(())
    }

    fn put_in_order(&mut self, request: u64, reply: Reply) {
        let place = usize::try_from(request - self.first_pending).expect("a reply to a pending request");
        let slot = &mut self.pending[place];
        if let Pending::Waiting(call) = slot {
            let call = *call;
            *slot = Pending::Replied(call, reply);
        }
    }

    fn encode_ready(&mut self) -> Result<(), End> {
        while self.outbox_bytes < self.limits.queued_bytes && self.has_ready() {
            let answer = match self.pending.pop_front() {
                Some(Pending::Answered(segments)) => Some(segments),
                Some(Pending::Replied(call, reply)) => wire::encode(&call, reply, &self.addresses)
                    .map_err(|error| End::Bad(format!("its answer cannot be written: {error}")))?,
                Some(Pending::Waiting(_)) | None => unreachable!("only what is ready is encoded"),
            };
            self.first_pending += 1;
            if let Some(answer) = answer {
                self.outbox_bytes += answer.len_bytes();
                self.outbox.push_back(answer);
            }
        }
        Ok(())
    }

    /// Writes as much as the socket takes.
    fn write(&mut self) -> io::Result<()> {
        while !self.outbox.is_empty() {
            let mut pieces = [IoSlice::new(&[]); WRITE_PIECES];
            let mut count = 0;
            for answer in &self.outbox {
                count += answer.chunks_vectored(&mut pieces[count..]);
                if count == WRITE_PIECES {
                    break;
                }
            }
            match self.stream.try_write_vectored(&pieces[..count]) {
                Ok(written) => self.sent(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn sent(&mut self, mut bytes: usize) {
        self.last_active = Instant::now();
        self.shell.traffic().sent(bytes);
        self.outbox_bytes -= bytes;
        while let Some(answer) = self.outbox.front_mut() {
            let of_this = bytes.min(answer.len_bytes());
            answer.advance(of_this);
            bytes -= of_this;
            if answer.len_bytes() > 0 {
                return;
            }
            self.outbox.pop_front();
        }
    }

    /// Reads once, without waiting; false at the end of the stream. Not by `try_read`: this way tokio knows from a buffer
    /// that is not full that nothing is left, and does not ask the system again only to hear so.
    async fn read(&mut self) -> io::Result<bool> {
        let mut read = pin!(self.stream.read_buf(self.inbox.buffer()));
        match poll_fn(|context| Poll::Ready(read.as_mut().poll(context))).await {
            Poll::Ready(count) => {
                let count = count?;
                self.last_active = Instant::now();
                self.shell.traffic().received(count);
                Ok(count > 0)
            }
            Poll::Pending => Ok(true),
        }
    }

    /// A quiet connection gives its memory back, a silent one is closed.
    fn look_at_the_clock(&mut self, timer: std::pin::Pin<&mut Sleep>) -> Result<(), End> {
        let quiet = self.last_active.elapsed();
        if quiet >= SHRINK_AFTER {
            self.inbox.shrink();
            self.shrunk = true;
        }
        // One that leaves its answers lying does not wait for us.
        let waits_for_us = !self.pending.is_empty() && self.outbox.is_empty();
        let rest = match self.limits.idle {
            Some(idle) if quiet >= idle && !waits_for_us => return Err(End::Idle),
            Some(idle) if self.shrunk => idle.saturating_sub(quiet).max(SHRINK_AFTER),
            None if self.shrunk => FOR_NOTHING,
            _ => SHRINK_AFTER,
        };
        timer.reset(Instant::now() + rest);
        Ok(())
    }
}
