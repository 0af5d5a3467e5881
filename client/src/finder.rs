//! Finding the broker that coordinates a group or a transactional id, and finding it again when it is gone
//! (`FindCoordinator`).

use std::sync::Arc;
use std::time::Duration;

use highwater_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use highwater_protocol::{ErrorCode, Text};

use crate::error::Error;
use crate::exchange::{Action, Body, Failure, Peer, RequestId, RequestIds};
use crate::metadata::{BrokerAddress, Metadata};
use crate::retry::{Backoff, Jitter};
use crate::time::Monotonic;
use crate::transport::embedded::Target;

/// What is coordinated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coordinated {
    Group,
    TransactionalId,
}

impl Coordinated {
    /// FindCoordinator's number for this kind of key.
    const fn on_the_wire(self) -> i8 {
        match self {
            Self::Group => 0,
            Self::TransactionalId => 1,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::TransactionalId => "transactional id",
        }
    }
}

#[derive(Debug)]
enum State {
    Unknown,
    Asked { id: RequestId, deadline: Monotonic },
    Known(BrokerAddress),
}

/// Where the coordinator is, as far as known.
#[derive(Debug)]
pub(crate) struct Finder {
    what: Coordinated,
    key: Text,
    backoff: Backoff,
    request_timeout: Duration,
    state: State,
    failures: u32,
    not_before: Monotonic,
    last_failure: Option<Arc<str>>,
}

impl Finder {
    pub(crate) const fn new(
        what: Coordinated,
        key: Text,
        backoff: Backoff,
        request_timeout: Duration,
    ) -> Self {
        Self {
            what,
            key,
            backoff,
            request_timeout,
            state: State::Unknown,
            failures: 0,
            not_before: Monotonic::ORIGIN,
            last_failure: None,
        }
    }

    /// Whose coordinator it is.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Where it listens, when that is known.
    pub(crate) fn target(&self) -> Option<Target> {
        match &self.state {
            State::Known(address) => Some(Target::Broker(address.clone())),
            _ => None,
        }
    }

    /// Why it is not known, while it is not.
    pub(crate) fn unknown_because(&self) -> Option<Arc<str>> {
        let why =
            || self.last_failure.clone().unwrap_or_else(|| "the coordinator is being looked for".into());
        (!matches!(self.state, State::Known(_))).then(why)
    }

    /// The broker does not answer, or says that it is not the coordinator.
    pub(crate) fn lost(&mut self, now: Monotonic, why: Arc<str>, jitter: &mut Jitter) {
        if let State::Known(_) = self.state {
            self.state = State::Unknown;
            self.back_off(now, why, jitter);
        }
    }

    fn back_off(&mut self, now: Monotonic, why: Arc<str>, jitter: &mut Jitter) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + self.backoff.wait(self.failures, jitter);
        self.last_failure = Some(why);
    }

    /// Asks, when it is time to.
    pub(crate) fn step(
        &mut self,
        now: Monotonic,
        metadata: &mut Metadata,
        ids: &mut RequestIds,
        jitter: &mut Jitter,
        actions: &mut Vec<Action>,
    ) {
        if let State::Asked { deadline, .. } = self.state
            && deadline <= now
        {
            actions.push(Action::Disconnect(Peer::Seed));
            self.fail(now, format!("no answer within {:?}", self.request_timeout).into(), metadata, jitter);
        }
        if !matches!(self.state, State::Unknown) || now < self.not_before {
            return;
        }
        let id = ids.next();
        self.state = State::Asked { id, deadline: now + self.request_timeout };
        let request = FindCoordinatorRequest {
            key_type: self.what.on_the_wire(),
            coordinator_keys: vec![self.key.clone()],
            ..FindCoordinatorRequest::default()
        };
        let (peer, target) = (Peer::Seed, metadata.seed_target());
        actions.push(Action::Send { id, peer, target, body: Body::FindCoordinator(request) });
    }

    fn fail(&mut self, now: Monotonic, why: Arc<str>, metadata: &mut Metadata, jitter: &mut Jitter) {
        self.state = State::Unknown;
        // Keeping the metadata goes from broker to broker until one answers, and we ask where it does.
        metadata.suspect();
        self.back_off(now, why, jitter);
    }

    /// Whether the request is its own.
    pub(crate) fn asked(&self, id: RequestId) -> bool {
        matches!(self.state, State::Asked { id: own, .. } if own == id)
    }

    /// Takes the answer to its own question. An error is one that asking again would not mend.
    pub(crate) fn answer(
        &mut self,
        now: Monotonic,
        answer: Result<FindCoordinatorResponse, Failure>,
        metadata: &mut Metadata,
        jitter: &mut Jitter,
    ) -> Result<(), Error> {
        let response = match answer {
            Ok(response) => response,
            Err(failure) => {
                self.fail(now, failure.reason(), metadata, jitter);
                return match failure {
                    Failure::Unsupported(api) => Err(Error::UnsupportedApi { api }),
                    _ => Ok(()),
                };
            }
        };
        let what = || format!("finding the coordinator of {} {}", self.what.name(), &*self.key);
        let Some(found) = response.coordinators.into_iter().find(|found| found.key == self.key) else {
            self.fail(now, "the answer names no coordinator".into(), metadata, jitter);
            return Ok(());
        };
        let address =
            u16::try_from(found.port).map(|port| BrokerAddress { host: found.host.to_string(), port });
        match (found.error_code, address) {
            (ErrorCode::None, Ok(address)) => {
                self.state = State::Known(address);
                (self.failures, self.last_failure) = (0, None);
                Ok(())
            }
            (code, _) => {
                let error = Error::refused(what(), code, found.error_message.as_deref());
                self.fail(now, error.to_string().into(), metadata, jitter);
                if code.is_none() || code.is_retriable() { Ok(()) } else { Err(error) }
            }
        }
    }

    /// When the next step is due.
    pub(crate) const fn deadline(&self) -> Option<Monotonic> {
        match self.state {
            State::Known(_) => None,
            State::Unknown => Some(self.not_before),
            State::Asked { deadline, .. } => Some(deadline),
        }
    }
}
