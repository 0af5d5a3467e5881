//! Prints random messages for another implementation to read and to write again.
//!
//! `cargo run -p highwater-protocol --example random-messages`: a line for each, as in `HeartbeatRequest 4 0x…`, which is
//! its name, its version and what we write after having read it. Every request and response, the keys and values of the
//! groups' and transactions' records, and what consumers tell each other, at every version; always the same.

#[path = "../tests/generate/mod.rs"]
mod generate;

use std::io::{self, BufWriter, Write};

use anyhow::Result;
use highwater_protocol::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use highwater_protocol::coordinator::{TransactionLogKey, TransactionLogValue};
use highwater_protocol::{Encoder, Message};

const MESSAGES_PER_VERSION: u64 = 60;

fn main() -> Result<()> {
    let mut to = BufWriter::new(io::stdout().lock());
    macro_rules! apis {
        ($($key:ident $request:ident $response:ident;)*) => {$(
            print::<highwater_protocol::messages::$request>(&mut to)?;
            print::<highwater_protocol::messages::$response>(&mut to)?;
        )*};
    }
    highwater_protocol::for_each_api!(apis);
    macro_rules! records {
        ($($number:literal $name:ident $key:ident $value:ident;)*) => {$(
            print::<highwater_protocol::coordinator::$key>(&mut to)?;
            print::<highwater_protocol::coordinator::$value>(&mut to)?;
        )*};
    }
    highwater_protocol::for_each_group_record!(records);
    print::<TransactionLogKey>(&mut to)?;
    print::<TransactionLogValue>(&mut to)?;
    print::<ConsumerProtocolSubscription>(&mut to)?;
    print::<ConsumerProtocolAssignment>(&mut to)?;
    Ok(to.flush()?)
}

fn print<M: Message>(to: &mut impl Write) -> Result<()> {
    for version in M::VERSIONS.iter() {
        for seed in 0..MESSAGES_PER_VERSION {
            let message = M::decode_all(generate::random::<M>(version, seed).bytes.into(), version)?;
            let mut encoder = Encoder::default();
            message.encode(&mut encoder, version)?;
            let digits: String =
                encoder.finish().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(to, "{} {version} 0x{digits}", M::NAME)?;
        }
    }
    Ok(())
}
