//! How bytes travel: over TCP, or inside the process.
//!
//! Everything above a `Link` is the same for both. A frame here is a request or a response without the four
//! bytes that give its size.

pub mod embedded;
pub(crate) mod tcp;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use highwater_protocol::{Decoder, Segments};
use tokio::sync::mpsc;

use self::embedded::{Endpoint, RequestSink, Target};
use crate::metadata::BrokerAddress;

/// What stands before a frame on a socket: its size.
const SIZE_BYTES: usize = 4;

/// Where a client's connections lead.
#[derive(Clone)]
pub(crate) enum Transport {
    /// TCP; the addresses are those the user gave to begin with.
    Tcp { bootstrap: Arc<[BrokerAddress]>, connect_timeout: Duration, max_response_bytes: usize },
    /// An embedded cluster in this process.
    Embedded(Arc<dyn Endpoint>),
}

/// An open connection, before anything is said on it: a way in and a way out.
pub(crate) struct Link {
    pub(crate) sink: Sink,
    pub(crate) source: Source,
}

/// Takes request frames in order. Dropping it closes the connection.
pub(crate) enum Sink {
    Tcp(mpsc::UnboundedSender<Outgoing>),
    InProcess(Box<dyn RequestSink>),
}

/// A frame to be written, and who hears that it was.
pub(crate) struct Outgoing {
    pub(crate) frame: Segments,
    pub(crate) written: Option<Written>,
}

/// Told whether a frame that has no answer went out whole.
pub(crate) type Written = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Gives response frames in order.
pub(crate) enum Source {
    Tcp(tcp::FrameReader),
    InProcess(mpsc::UnboundedReceiver<Segments>),
}

impl Transport {
    /// Opens a connection to a node, or to wherever the cluster is first met.
    pub(crate) async fn open(&self, target: &Target) -> io::Result<Link> {
        match self {
            Self::Embedded(endpoint) => {
                let link = endpoint.open(target)?;
                Ok(Link { sink: Sink::InProcess(link.requests), source: Source::InProcess(link.responses) })
            }
            Self::Tcp { bootstrap, connect_timeout, max_response_bytes } => {
                let address = match target {
                    Target::Broker(address) => address,
                    Target::Bootstrap { attempt } => {
                        let count = bootstrap.len().max(1);
                        let turn = usize::try_from(*attempt).unwrap_or(0) % count;
                        bootstrap
                            .get(turn)
                            .ok_or_else(|| io::Error::other("no bootstrap address was given"))?
                    }
                };
                tcp::open(address, *connect_timeout, *max_response_bytes).await
            }
        }
    }

    /// How many addresses a first contact can be tried at.
    pub(crate) fn bootstrap_count(&self) -> u32 {
        match self {
            Self::Tcp { bootstrap, .. } => u32::try_from(bootstrap.len()).unwrap_or(u32::MAX),
            Self::Embedded(_) => 1,
        }
    }

    /// A target in words, for errors.
    pub(crate) fn describe(&self, target: &Target) -> String {
        match (self, target) {
            (Self::Embedded(_), Target::Broker(address)) => format!("embedded broker {address}"),
            (Self::Embedded(_), Target::Bootstrap { .. }) => "embedded cluster".to_owned(),
            (Self::Tcp { .. }, Target::Broker(address)) => address.to_string(),
            (Self::Tcp { bootstrap, .. }, Target::Bootstrap { .. }) => {
                bootstrap.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            }
        }
    }
}

impl Sink {
    /// Hands a request over, its four bytes of size first; requests are written in the order handed over. `written` is
    /// called once, whatever comes: when the operating system has taken all of the frame, or will not any more.
    pub(crate) fn send(&mut self, mut frame: Segments, written: Option<Written>) -> io::Result<()> {
        match self {
            Self::Tcp(writer) => {
                let Err(refused) = writer.send(Outgoing { frame, written }) else { return Ok(()) };
                if let Some(written) = refused.0.written {
                    written(Err(io::ErrorKind::BrokenPipe.into()));
                }
                Err(io::ErrorKind::BrokenPipe.into())
            }
            Self::InProcess(sink) => {
                frame.advance(SIZE_BYTES);
                let sent = sink.send(frame);
                let outcome = sent.as_ref().copied().map_err(|error| error.kind().into());
                if let Some(written) = written {
                    written(outcome);
                }
                sent
            }
        }
    }
}

impl Source {
    /// The next response, `None` when the broker closed the connection.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Decoder>> {
        match self {
            Self::Tcp(reader) => Ok(reader.next().await?.map(Decoder::from)),
            Self::InProcess(responses) => Ok(responses.recv().await.map(Decoder::from)),
        }
    }
}
