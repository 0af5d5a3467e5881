//! A conversation: frames, each with its length in three bytes, from one connection to a node that begins empty.

use bytes::Bytes;

use crate::world::World;

/// More frames teach nothing new.
const MOST_FRAMES: usize = 32;

/// From the wire's decoder through a node in memory to the encoded answers: every request is answered once at most, and
/// every answer can be encoded.
pub fn request(data: &[u8]) {
    let mut world = World::in_memory(7);
    let mut rest = Bytes::copy_from_slice(data);
    for _ in 0..MOST_FRAMES {
        let Some([a, b, c]) = rest.first_chunk::<3>().copied() else { return };
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        drop(rest.split_to(3));
        let frame = rest.split_to(length.min(rest.len()));
        // A bad frame ends the connection; what comes next is the next connection's.
        let Ok(answered) = world.receive(0, frame) else { continue };
        for (_, call, reply) in answered {
            drop(world.encode(&call, reply));
        }
        world.pass(1_000);
    }
}
