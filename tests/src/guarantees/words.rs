//! The words of the table: closed vocabularies, each word with what it stands for.
//!
//! Tests compare by these meanings and docs/guarantees.md prints them, so a meaning is written once, here.

use std::fmt;
use std::str::FromStr;

use highwater_protocol::ErrorCode;
use serde::{Deserialize, Deserializer};

macro_rules! words {
    ($($(#[doc = $about:literal])+ $name:ident { $($(#[doc = $meaning:literal])+ $variant:ident = $word:literal,)+ })+) => {$(
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        pub enum $name {
            $($(#[doc = $meaning])+ #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every word.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word as the table has it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// What it stands for.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($meaning,)+).trim_ascii(),)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    )+};
}

words! {
    /// Whose word acknowledges a record.
    Acks {
        /// Nobody's.
        None = "0",
        /// The leader's.
        Leader = "1",
        /// That of all replicas in sync.
        All = "all",
    }

    /// `highwater.durability`: what an acknowledgement waits for beside the write.
    Mode {
        /// Nothing, as in Kafka.
        None = "none",
        /// The leader's sync.
        Leader = "leader",
        /// The sync of every replica in sync.
        Isr = "isr",
    }

    /// What the producer is told of the batch that the fault met.
    Told {
        /// Nothing: with acks=0 a batch that was handed to the network counts as delivered.
        Sent = "sent",
        /// It is stored.
        Acknowledged = "acknowledged",
        /// It failed, and is not stored.
        Refused = "refused",
        /// It failed, and may be stored.
        Unknown = "unknown",
    }

    /// What counts as delivered (acknowledged; with acks=0 sent) and is not in the log, or cannot be read, afterwards. A word that
    /// begins with "perhaps" allows any part of what it names, none too; the others mean all of it and nothing else.
    Lost {
        /// Nothing.
        Nothing = "nothing",
        /// The batch that the fault met.
        TheBatch = "the batch",
        /// The batch that the fault met, or not.
        PerhapsTheBatch = "perhaps the batch",
        /// What the old leader held from the log end on of the replica that leads next.
        NotReplicated = "what was not replicated",
        /// What no sync had covered when the power went. A disk may have written some of it by itself: then what is lost begins
        /// at the first batch it did not write.
        NotSynced = "what was not synced",
        /// What no sync had covered, or a part of it.
        PerhapsNotSynced = "perhaps what was not synced",
        /// The first batch that is not whole and all behind it, whole or not.
        FromTheTear = "everything from the tear on",
        /// Requests that lay in buffers of sockets.
        PerhapsUnread = "perhaps what nobody had read",
        /// All that the producer sent after the connection broke and before it noticed.
        AfterTheBreak = "everything after the break",
        /// The batches in whose bytes the damage lies. Where it hides how long a batch is, those behind it, too, up to the next that
        /// the index knows.
        Damaged = "what is damaged",
        /// What the jump of the clock made older than the retention.
        PerhapsAged = "perhaps what the jump made too old",
    }

    /// What is in the log more often than it was sent.
    Duplicated {
        /// Nothing.
        Nothing = "nothing",
        /// The batch that the fault met, once more.
        Once = "once",
        /// The batch that the fault met, once more or not.
        PerhapsOnce = "perhaps once",
        /// The batch that the fault met, once more for each of its answers that was lost.
        OncePerLostAnswer = "once per lost answer",
    }

    /// Whether the batch that the fault met is in the log although the producer was not told that it is.
    Unacknowledged {
        /// It is.
        Stored = "stored",
        /// It is not.
        Absent = "absent",
        /// It is or is not.
        Either = "either",
    }

    /// The order of what one producer sent to one partition, by the first copy of each record.
    Order {
        /// As sent.
        Kept = "kept",
        /// Not as sent.
        Changed = "changed",
    }

    /// When readers see the batch that the fault met.
    Visible {
        /// Once the high watermark has passed it, never sooner. With the durabilities leader and isr it is synced by then.
        WhenCommitted = "when committed",
        /// Not while fewer replicas than min.insync.replicas are in sync, then as the high watermark passes it.
        WhenEnough = "when enough are in sync",
        /// When the new leader's high watermark has caught up; readers wait and never go back.
        WhenCaughtUp = "when the new leader catches up",
        /// The partition cannot be read until a replica that holds it leads.
        WhenLed = "when a replica that holds it leads",
        /// It may be in the log that the next start finds; before, nobody sees it.
        PerhapsAfterRestart = "perhaps, after the restart",
        /// It could be read, and what is lost of it cannot any more.
        UntilTakenBack = "until taken back",
        /// Reading it is an error, and it is never given to a reader as good.
        AsAnError = "as an error",
        /// Nobody ever sees it.
        Never = "never",
    }

    /// How a transaction ends.
    Outcome {
        /// Aborted, in all its partitions.
        Aborted = "aborted",
        /// As was decided, in all its partitions.
        AsDecided = "as decided",
        /// As the retry of EndTxn says; without one, aborted by the timeout.
        AsRetried = "as retried",
        /// Its late request became a part of another transaction.
        JoinedToAnother = "joined to another",
        /// What was acknowledged may be lost, or be there in a part of its partitions.
        PerhapsTorn = "perhaps torn",
    }

    /// How readers of committed records come to see a transaction.
    Shown {
        /// They see nothing of it.
        Nothing = "nothing",
        /// All of it in one partition at a time, in no order among them.
        ByPartition = "partition by partition",
    }

    /// What the last stable offset does, and with it readers of committed records.
    StableOffset {
        /// It stands at the transaction's first record no longer than without the fault.
        MovesOn = "moves on",
        /// It stands until the markers have been sent once more.
        WaitsForMarkers = "waits for the markers",
        /// It stands until the transaction's timeout.
        WaitsForTimeout = "waits for the timeout",
        /// It stands until the node has recovered.
        WaitsForRecovery = "waits for recovery",
    }

    /// How often the records that the fault met are processed, all members of the group together.
    Processed {
        /// Once.
        Once = "once",
        /// More than once.
        Again = "again",
        /// Never.
        Never = "never",
        /// By auto.offset.reset: again from the earliest, never up to the latest, or not before the application decides.
        AsReset = "as auto.offset.reset says",
    }

    /// What becomes of the commit.
    Commit {
        /// It is kept.
        Kept = "kept",
        /// It is refused.
        Refused = "refused",
        /// There is none.
        Absent = "absent",
    }
}

impl Lost {
    /// Whether all of it is lost, not perhaps a part.
    #[must_use]
    pub fn is_exact(self) -> bool {
        !self.word().starts_with("perhaps")
    }
}

impl Told {
    /// Whether it counts as delivered.
    #[must_use]
    pub const fn is_delivered(self) -> bool {
        matches!(self, Self::Sent | Self::Acknowledged)
    }
}

/// What a client meets on the way, in place of the answer it wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// No answer within the request's timeout.
    Silence,
    /// The connection ends.
    Disconnect,
    /// Bytes whose checksum is wrong.
    Damage,
    /// An error code.
    Code(ErrorCode),
}

impl Sign {
    /// The word as the table has it: Kafka's name for a code.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Disconnect => "disconnect",
            Self::Damage => "damage",
            Self::Code(code) => code.name(),
        }
    }
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "{code}"),
            sign => f.write_str(sign.word()),
        }
    }
}

impl FromStr for Sign {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let codes = ErrorCode::ALL.iter().filter(|code| !code.is_none()).map(|code| Self::Code(*code));
        let mut signs = [Self::Silence, Self::Disconnect, Self::Damage].into_iter().chain(codes);
        signs
            .find(|sign| sign.word() == word)
            .ok_or_else(|| format!("{word:?} is no sign and no error of Kafka's"))
    }
}

impl<'de> Deserialize<'de> for Sign {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
