//! One connection to one broker: requests in, answers matched, one end for all.
//!
//! The first words on a connection are ApiVersions (KIP-35, KIP-511); after that every request goes out in the
//! highest version both sides know. Brokers answer in order, so the oldest waiter gets each answer, and its
//! correlation id must match. When the connection ends, for whatever reason, every waiter learns the same cause.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use highwater_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use highwater_protocol::{ApiKey, DecodeError, Decoder, ErrorCode, Message, Request, frame};
use parking_lot::Mutex;
use tokio::task::AbortHandle;

use crate::exchange::{Failure, Offers};
use crate::transport::embedded::Target;
use crate::transport::{Link, Sink, Source, Transport, Written};

/// Requests that may wait for an answer on one connection; more are refused.
const MAX_UNANSWERED: usize = 1_000;

/// What a client calls itself in ApiVersions (KIP-511).
const SOFTWARE_NAME: &str = "highwater-client";

/// A connection after its handshake. Clones share it; with the last one it closes.
#[derive(Clone)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
}

struct Shared {
    client_id: Arc<str>,
    offers: Offers,
    next_correlation_id: AtomicI32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sink: Option<Sink>,
    waiting: VecDeque<Waiting>,
    reader: Option<AbortHandle>,
    broken: Option<Arc<str>>,
}

struct Waiting {
    correlation_id: i32,
    answer: Answered,
}

/// Who hears of a request: whoever waits for its answer, or, where there will be none, of its being written.
enum Reply {
    Answer(Answered),
    None(Box<dyn FnOnce(Result<(), Failure>) + Send>),
}

/// Takes the frame of an answer, or the cause why there is none.
type Answered = Box<dyn FnOnce(Result<Decoder, Failure>) -> Result<(), DecodeError> + Send>;

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(reader) = self.state.get_mut().reader.take() {
            reader.abort();
        }
        self.state.get_mut().end(&"the connection was closed here".into());
    }
}

impl State {
    fn end(&mut self, cause: &Arc<str>) {
        self.sink = None;
        self.broken.get_or_insert_with(|| Arc::clone(cause));
        for waiting in self.waiting.drain(..) {
            // Being told of a failure cannot fail to decode.
            let _ = (waiting.answer)(Err(Failure::Lost(Arc::clone(cause))));
        }
    }
}

impl Connection {
    /// Connects and shakes hands, within `timeout`.
    pub(crate) async fn open(
        transport: &Transport,
        target: &Target,
        client_id: Arc<str>,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let opening = async {
            let mut link = transport.open(target).await.map_err(|error| error.to_string())?;
            let offers = shake_hands(&mut link, &client_id).await?;
            Ok::<_, String>((link, offers))
        };
        let silent = || format!("no answer within {timeout:?}");
        let opened = tokio::time::timeout(timeout, opening).await.unwrap_or_else(|_| Err(silent()));
        let (link, offers) = opened.map_err(|cause| Failure::NotSent(cause.into()))?;
        let state = Mutex::new(State { sink: Some(link.sink), ..State::default() });
        let shared = Arc::new(Shared { client_id, offers, next_correlation_id: AtomicI32::new(1), state });
        let reader = tokio::spawn(read_answers(link.source, Arc::downgrade(&shared)));
        shared.state.lock().reader = Some(reader.abort_handle());
        Ok(Self { shared })
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.shared.state.lock().broken.is_some()
    }

    /// The highest version of a request that both sides know.
    pub(crate) fn version_of<R: Request>(&self) -> Option<i16> {
        self.shared.offers.version_of::<R>()
    }

    /// What the broker said when the connection was opened.
    pub(crate) fn offers(&self) -> &Offers {
        &self.shared.offers
    }

    /// Sends a request; `answer` is called once, from wherever the answer or the end of the connection is met.
    pub(crate) fn send<R: Request>(
        &self,
        request: &R,
        answer: impl FnOnce(Result<R::Response, Failure>) + Send + 'static,
    ) where
        R::Response: 'static,
    {
        match self.version_of::<R>() {
            Some(version) => self.send_at(request, version, answer),
            None => answer(Err(Failure::Unsupported(R::KEY.name().into()))),
        }
    }

    /// Sends a request in the highest version that both sides know and that is not above `newest`.
    pub(crate) fn send_up_to<R: Request>(
        &self,
        request: &R,
        newest: i16,
        answer: impl FnOnce(Result<R::Response, Failure>) + Send + 'static,
    ) where
        R::Response: 'static,
    {
        match self.version_of::<R>() {
            Some(version) => self.send_at(request, version.min(newest), answer),
            None => answer(Err(Failure::Unsupported(R::KEY.name().into()))),
        }
    }

    /// Sends a request at a version that the broker is known to speak.
    pub(crate) fn send_at<R: Request>(
        &self,
        request: &R,
        version: i16,
        answer: impl FnOnce(Result<R::Response, Failure>) + Send + 'static,
    ) where
        R::Response: 'static,
    {
        let answered: Answered = Box::new(move |frame| match frame {
            Ok(frame) => match frame::decode_response::<R::Response>(frame, version) {
                Ok((_, response)) => {
                    answer(Ok(response));
                    Ok(())
                }
                Err(error) => {
                    answer(Err(Failure::Lost(format!("an unreadable answer: {error}").into())));
                    Err(error)
                }
            },
            Err(failure) => {
                answer(Err(failure));
                Ok(())
            }
        });
        self.dispatch(request, version, Reply::Answer(answered));
    }

    /// Sends a request that has no answer; `written` is called once, when it went out whole, or will not any more.
    pub(crate) fn send_unanswered<R: Request>(
        &self,
        request: &R,
        written: impl FnOnce(Result<(), Failure>) + Send + 'static,
    ) {
        let Some(version) = self.version_of::<R>() else {
            return written(Err(Failure::Unsupported(R::KEY.name().into())));
        };
        self.dispatch(request, version, Reply::None(Box::new(written)));
    }

    fn dispatch<R: Request>(&self, request: &R, version: i16, reply: Reply) {
        let refuse = |reply: Reply, cause: Arc<str>| match reply {
            Reply::Answer(answered) => drop(answered(Err(Failure::NotSent(cause)))),
            Reply::None(written) => written(Err(Failure::NotSent(cause))),
        };
        // Encoded outside of the lock: ids need not rise along the queue, each only has to match.
        let correlation_id = self.shared.next_correlation_id.fetch_add(1, Ordering::Relaxed);
        let frame =
            match frame::encode_request(request, version, correlation_id, Some(&self.shared.client_id)) {
                Ok(frame) => frame,
                Err(error) => return refuse(reply, format!("{} cannot be sent: {error}", R::KEY).into()),
            };
        let mut state = self.shared.state.lock();
        if let Some(cause) = state.broken.clone() {
            drop(state);
            return refuse(reply, cause);
        }
        if state.waiting.len() >= MAX_UNANSWERED {
            drop(state);
            return refuse(reply, format!("{MAX_UNANSWERED} requests wait for an answer already").into());
        }
        let written: Option<Written> = match reply {
            Reply::Answer(answer) => {
                state.waiting.push_back(Waiting { correlation_id, answer });
                None
            }
            Reply::None(written) => Some(Box::new(|outcome: io::Result<()>| {
                // A frame that did not go out whole was not carried out either.
                written(outcome.map_err(|error| Failure::NotSent(error.to_string().into())));
            })),
        };
        let sent = state.sink.as_mut().map(|sink| sink.send(frame, written));
        if let Some(Err(error)) = sent {
            state.end(&error.to_string().into());
        }
    }
}

/// Gives each answer to the oldest waiter, until the connection ends.
async fn read_answers(mut source: Source, shared: Weak<Shared>) {
    loop {
        let frame = source.next().await;
        let Some(shared) = shared.upgrade() else { return };
        let cause: Arc<str> = match frame {
            Ok(Some(frame)) => match hand_over(&shared, frame) {
                Ok(()) => continue,
                Err(cause) => cause.into(),
            },
            Ok(None) => "the broker closed the connection".into(),
            Err(error) => error.to_string().into(),
        };
        shared.state.lock().end(&cause);
        return;
    }
}

fn hand_over(shared: &Shared, frame: Decoder) -> Result<(), String> {
    let correlation_id = frame::peek_correlation_id(&frame).map_err(|error| error.to_string())?;
    let waiting = shared.state.lock().waiting.pop_front();
    let Some(waiting) = waiting else { return Err("an answer nobody waits for".to_owned()) };
    if waiting.correlation_id != correlation_id {
        let cause = format!("an answer to request {correlation_id} instead of {}", waiting.correlation_id);
        let _ = (waiting.answer)(Err(Failure::Lost(cause.as_str().into())));
        return Err(cause);
    }
    (waiting.answer)(Ok(frame)).map_err(|error| format!("an unreadable answer: {error}"))
}

/// Learns which versions the broker serves; one that does not know our version of the question says so in its
/// oldest, with the versions it does know.
async fn shake_hands(link: &mut Link, client_id: &str) -> Result<Offers, String> {
    let request = ApiVersionsRequest {
        client_software_name: SOFTWARE_NAME.into(),
        client_software_version: env!("CARGO_PKG_VERSION").into(),
    };
    let mut version = ApiVersionsRequest::VERSIONS.last;
    let mut asked_before = false;
    loop {
        let sent = frame::encode_request(&request, version, 0, Some(client_id))
            .map_err(|error| error.to_string())?;
        link.sink.send(sent, None).map_err(|error| error.to_string())?;
        let answer = link.source.next().await.map_err(|error| error.to_string())?;
        let answer = answer.ok_or("the broker closed the connection before the handshake ended")?;
        let refused = frame::peek_api_versions_error(&answer) == Ok(ErrorCode::UnsupportedVersion);
        let readable = if refused { 0 } else { version };
        let (_, response) = frame::decode_response::<ApiVersionsResponse>(answer, readable)
            .map_err(|error| format!("not a Kafka broker? Its first answer is unreadable: {error}"))?;
        let offers = Offers::of(&response);
        if !refused {
            return response.error_code.into_result().map(|()| offers).map_err(|code| code.to_string());
        }
        let theirs = offers.versions.get(&ApiKey::ApiVersions.number()).map_or(0, |range| range.last);
        version = theirs.min(version - 1).max(0);
        if std::mem::replace(&mut asked_before, true) {
            return Err("no common version of ApiVersions".to_owned());
        }
    }
}
