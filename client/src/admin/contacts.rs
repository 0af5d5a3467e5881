//! The connections admin calls share, and how a call is made on one.

use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_protocol::Request;
use tokio::sync::{Mutex, oneshot};

use crate::client::Client;
use crate::connection::Connection;
use crate::dialect::{self, Spoken};
use crate::error::{Error, Result};
use crate::exchange::Failure;
use crate::metadata::BrokerAddress;
use crate::transport::embedded::Target;

/// Who hears of the answer to a call.
type Answer<T> = Box<dyn FnOnce(Result<T, Failure>) + Send>;

/// Connections for admin calls, kept between them. `None` is the first contact.
#[derive(Default)]
pub(crate) struct Contacts {
    open: Mutex<BTreeMap<Option<BrokerAddress>, Connection>>,
}

impl Client {
    pub(crate) async fn first_contact(&self) -> Result<()> {
        self.contact(None).await.map(drop)
    }

    /// Makes a call, again on a new connection when the one at hand turns out to be closed.
    pub(super) async fn call<R: Request>(
        &self,
        to: Option<BrokerAddress>,
        request: impl Fn(i16) -> R,
    ) -> Result<R::Response>
    where
        R::Response: Send + 'static,
    {
        let send = |connection: &Connection, answer: Answer<R::Response>| match connection.version_of::<R>() {
            Some(version) => connection.send_at(&request(version), version, answer),
            None => answer(Err(Failure::Unsupported(R::KEY.name().into()))),
        };
        self.call_by(to, R::KEY.name(), send).await
    }

    /// Makes a call that is not written the same way at every version.
    pub(super) async fn call_spoken<R: Spoken + Clone + Send + 'static>(
        &self,
        to: Option<BrokerAddress>,
        request: &R,
    ) -> Result<R::Response>
    where
        R::Response: Send + 'static,
    {
        let send = |connection: &Connection, answer: Answer<R::Response>| {
            dialect::send(connection, request.clone(), answer);
        };
        self.call_by(to, R::KEY.name(), send).await
    }

    async fn call_by<T: Send + 'static>(
        &self,
        to: Option<BrokerAddress>,
        api: &'static str,
        send: impl Fn(&Connection, Answer<T>),
    ) -> Result<T> {
        let timeout = self.inner.config.request_timeout;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let connection = self.contact(to.clone()).await?;
            let (answer, answered) = oneshot::channel();
            let answer = Box::new(move |response| {
                // The caller may have ceased to wait.
                let _ = answer.send(response);
            });
            send(&connection, answer);
            let response = tokio::time::timeout(timeout, answered).await;
            let lost = || Failure::Lost("the connection was closed here".into());
            match response.map(|answered| answered.unwrap_or_else(|_| Err(lost()))) {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(Failure::Unsupported(api))) => return Err(Error::UnsupportedApi { api }),
                Ok(Err(Failure::NotSent(_))) if attempts == 1 => {}
                Ok(Err(failure)) => {
                    return Err(Error::Connection {
                        address: self.describe(to.as_ref()),
                        cause: failure.reason(),
                    });
                }
                Err(_) => {
                    self.inner.contacts.open.lock().await.remove(&to);
                    return Err(Error::timed_out(api, timeout, None));
                }
            }
        }
    }

    fn describe(&self, to: Option<&BrokerAddress>) -> Arc<str> {
        self.inner.courier.transport.describe(&target(to, 0)).into()
    }

    /// The connection at hand, or a new one; every bootstrap address is tried once.
    async fn contact(&self, to: Option<BrokerAddress>) -> Result<Connection> {
        let mut open = self.inner.contacts.open.lock().await;
        if let Some(connection) = open.get(&to).filter(|connection| !connection.is_broken()) {
            return Ok(connection.clone());
        }
        let courier = &self.inner.courier;
        let tries = if to.is_none() { courier.transport.bootstrap_count() } else { 1 };
        let mut cause = None;
        for attempt in 0..tries {
            let target = target(to.as_ref(), attempt);
            let client_id = courier.client_id.clone();
            match Connection::open(&courier.transport, &target, client_id, courier.connect_timeout).await {
                Ok(connection) => {
                    open.insert(to, connection.clone());
                    return Ok(connection);
                }
                Err(failure) => cause = Some(failure.reason()),
            }
        }
        let cause = cause.unwrap_or_else(|| "no address was given".into());
        Err(Error::Connection { address: self.describe(to.as_ref()), cause })
    }
}

fn target(to: Option<&BrokerAddress>, attempt: u32) -> Target {
    to.map_or(Target::Bootstrap { attempt }, |address| Target::Broker(address.clone()))
}
