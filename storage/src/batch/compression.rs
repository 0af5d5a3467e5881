//! The four codecs a batch's block of records may use, each with a limit on what comes out.

use std::io::{self, Read, Write};

use super::Codec;

/// What a batch may decompress to unless the caller says otherwise. Kafka itself has no limit; a producer fills a batch
/// by its uncompressed size, so that honest batches stay within a few MiB.
pub const DECOMPRESSED_LIMIT_BYTES: usize = 128 << 20;

/// xerial's snappy-java framing: this head, version 1, least compatible version 1, then blocks of {length i32, Snappy}.
const XERIAL_MAGIC: &[u8; 8] = b"\x82SNAPPY\x00";
const XERIAL_HEAD_LEN: usize = 16;
/// Uncompressed bytes in a block, snappy-java's default.
const XERIAL_BLOCK_BYTES: usize = 32 << 10;
/// Snappy's densest element turns three bytes into 64: a block that declares more is lying.
const SNAPPY_RATIO_LIMIT: usize = 22;
/// What a decompressor is given at a time.
const STEP_BYTES: usize = 64 << 10;
/// Kafka's default level for zstd.
const ZSTD_LEVEL: i32 = 3;

/// A block of records that does not decompress.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    /// It is not what the codec makes.
    #[error("{} block is damaged: {what}", codec.name())]
    Damaged {
        /// The codec named in the batch.
        codec: Codec,
        /// What its decoder found.
        what: String,
    },
    /// It would grow beyond the limit.
    #[error("{} block decompresses to more than {limit_bytes} bytes", codec.name())]
    TooLarge {
        /// The codec named in the batch.
        codec: Codec,
        /// The limit.
        limit_bytes: usize,
    },
}

/// Decompresses a block, into at most `limit_bytes`.
pub(crate) fn decompress(
    codec: Codec,
    block: &[u8],
    limit_bytes: usize,
) -> Result<Vec<u8>, CompressionError> {
    let damaged = |error: io::Error| CompressionError::Damaged { codec, what: error.to_string() };
    let too_large = || CompressionError::TooLarge { codec, limit_bytes };
    let read = match codec {
        Codec::None if block.len() <= limit_bytes => Ok(Some(block.to_vec())),
        Codec::None => Ok(None),
        Codec::Gzip => read_within(flate2::bufread::MultiGzDecoder::new(block), block.len(), limit_bytes),
        Codec::Lz4 => read_within(lz4_flex::frame::FrameDecoder::new(block), block.len(), limit_bytes),
        Codec::Zstd => zstd::stream::read::Decoder::with_buffer(block)
            .and_then(|decoder| read_within(decoder, block.len(), limit_bytes)),
        Codec::Snappy => unsnap(block, limit_bytes),
    };
    read.map_err(damaged)?.ok_or_else(too_large)
}

/// Reads to the end; `None` beyond the limit. The buffer never holds more than the limit.
fn read_within(mut from: impl Read, block_len: usize, limit_bytes: usize) -> io::Result<Option<Vec<u8>>> {
    let mut out = Vec::with_capacity(block_len.saturating_mul(3).min(limit_bytes));
    let mut filled = 0;
    loop {
        if filled == out.len() {
            // Double, from the first step on, but never past the limit.
            let grown = out.len().saturating_mul(2).max(STEP_BYTES).max(out.capacity()).min(limit_bytes);
            if grown == out.len() {
                return Ok((from.read(&mut [0])? == 0).then_some(out));
            }
            out.reserve_exact(grown - out.len());
            out.resize(grown, 0);
        }
        match from.read(&mut out[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    out.truncate(filled);
    Ok(Some(out))
}

fn unsnap(block: &[u8], limit_bytes: usize) -> io::Result<Option<Vec<u8>>> {
    let mut out = Vec::new();
    if !block.starts_with(XERIAL_MAGIC) {
        return Ok(unsnap_one(block, &mut out, limit_bytes)?.then_some(out));
    }
    let mut rest = block.get(XERIAL_HEAD_LEN..).ok_or(io::ErrorKind::UnexpectedEof)?;
    while let Some((len, after)) = rest.split_first_chunk::<4>() {
        let len = usize::try_from(i32::from_be_bytes(*len)).map_err(io::Error::other)?;
        let (chunk, after) = after.split_at_checked(len).ok_or(io::ErrorKind::UnexpectedEof)?;
        if !unsnap_one(chunk, &mut out, limit_bytes)? {
            return Ok(None);
        }
        rest = after;
    }
    if rest.is_empty() { Ok(Some(out)) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Appends what a bare Snappy block holds; false if that would pass the limit.
fn unsnap_one(chunk: &[u8], out: &mut Vec<u8>, limit_bytes: usize) -> io::Result<bool> {
    let len = snap::raw::decompress_len(chunk).map_err(io::Error::other)?;
    if len > chunk.len().saturating_mul(SNAPPY_RATIO_LIMIT) {
        return Err(io::Error::other(format!("{} bytes cannot hold {len}", chunk.len())));
    }
    let start = out.len();
    if len > limit_bytes.saturating_sub(start) {
        return Ok(false);
    }
    out.resize(start + len, 0);
    snap::raw::Decoder::new().decompress(chunk, &mut out[start..]).map_err(io::Error::other)?;
    Ok(true)
}

/// Appends the block that holds `records` to `out`.
pub(crate) fn compress(codec: Codec, records: &[u8], mut out: Vec<u8>) -> io::Result<Vec<u8>> {
    match codec {
        Codec::None => {
            out.extend_from_slice(records);
            Ok(out)
        }
        Codec::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
            encoder.write_all(records)?;
            encoder.finish()
        }
        Codec::Lz4 => {
            // As Kafka's Lz4BlockOutputStream: independent blocks of 64 KiB, no content checksum.
            let info = lz4_flex::frame::FrameInfo::new()
                .block_size(lz4_flex::frame::BlockSize::Max64KB)
                .block_mode(lz4_flex::frame::BlockMode::Independent);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, out);
            encoder.write_all(records)?;
            encoder.finish().map_err(io::Error::other)
        }
        Codec::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(out, ZSTD_LEVEL)?;
            encoder.set_pledged_src_size(Some(records.len() as u64))?;
            encoder.write_all(records)?;
            encoder.finish()
        }
        Codec::Snappy => {
            out.extend_from_slice(XERIAL_MAGIC);
            out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
            let mut encoder = snap::raw::Encoder::new();
            for chunk in records.chunks(XERIAL_BLOCK_BYTES) {
                let length_at = out.len();
                out.resize(length_at + 4 + snap::raw::max_compress_len(chunk.len()), 0);
                let len = encoder.compress(chunk, &mut out[length_at + 4..]).map_err(io::Error::other)?;
                out.truncate(length_at + 4 + len);
                let len = i32::try_from(len).map_err(io::Error::other)?;
                out[length_at..length_at + 4].copy_from_slice(&len.to_be_bytes());
            }
            Ok(out)
        }
    }
}
