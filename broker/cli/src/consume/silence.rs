//! Nothing comes: because there is nothing, or because nobody is there?

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use highwater::client::{Client, Error};

use super::Consume;
use crate::bootstrap::describe_topic;

/// How long nothing may come before one asks whether the cluster is still there, where `--timeout` leaves it more.
const LIMIT: Duration = Duration::from_secs(5);

/// What is made of silence.
pub(super) struct Silence<'a> {
    options: &'a Consume,
    client: Client,
    has_told_of_end: bool,
    /// Since when the cluster does not answer.
    since: Option<Instant>,
}

impl<'a> Silence<'a> {
    pub(super) fn new(options: &'a Consume, client: Client) -> Self {
        Self { options, client, has_told_of_end: options.quiet || !stderr().is_terminal(), since: None }
    }

    /// How long to wait before it is silence.
    pub(super) fn limit(&self) -> Duration {
        LIMIT.min(self.options.bootstrap.timeout())
    }

    /// Something came.
    pub(super) const fn is_over(&mut self) {
        self.since = None;
    }

    /// Says once, to someone at a terminal, why nothing more comes, if that is so.
    pub(super) fn tell_of_end(&mut self, is_end: impl FnOnce() -> Result<bool, Error>) -> Result<(), Error> {
        if !self.has_told_of_end && is_end()? {
            self.has_told_of_end = true;
            eprintln!(
                "highwater: that is all there is yet of topic {}; waiting for more",
                self.options.topic
            );
        }
        Ok(())
    }

    /// Asks for the topic; an error if it is gone, or the cluster has been for too long.
    pub(super) async fn check_cluster(&mut self) -> anyhow::Result<()> {
        let patience = self.options.bootstrap.timeout();
        let asked = describe_topic(&self.client, &self.options.topic).await;
        match asked {
            Ok(_) => self.since = None,
            Err(error)
                if matches!(
                    error.downcast_ref(),
                    Some(Error::Connection { .. } | Error::TimedOut { .. })
                ) =>
            {
                let since = *self.since.get_or_insert_with(Instant::now);
                if since.elapsed() >= patience {
                    return Err(anyhow!("the cluster has not answered for {patience:?}: {error:#}"));
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
