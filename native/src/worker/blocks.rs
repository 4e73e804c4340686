//! Making blocks: a compressed piece from a blob of the daemon's store becomes raw bytes on a device.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;

use rustix::fs::{SeekFrom, seek};
use serde::{Deserialize, Serialize};

use crate::content::BLOCK_BYTES;
use crate::device::map::{PresenceMap, checksum};
use crate::error::{Code, Context, Error, Result};

/// Where the zstd frame of a block lies in the blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockSource {
    pub block: u32,
    pub offset: u64,
    pub length: u32,
}

/// What zstd makes of the largest block at worst, generously: `ZSTD_compressBound` adds less than 1/128.
const MAX_PIECE_BYTES: u32 = 17 * 1024 * 1024;

struct Buffers {
    piece: Vec<u8>,
    block: Vec<u8>,
    decompressor: zstd::bulk::Decompressor<'static>,
}

thread_local! {
    static BUFFERS: RefCell<Option<Buffers>> = const { RefCell::new(None) };
}

/// Reads, decompresses and writes one block, and notes that it is here. Safe to be done twice at the same time: both write the same bytes.
///
/// # Errors
/// [`Code::InvalidContent`] where the piece is no frame of exactly this block; [`Code::NoSpace`]. Nothing is noted then.
pub fn fill(blob: &File, source: BlockSource, raw: &File, map: &PresenceMap) -> Result<()> {
    let shape = map.shape();
    let length = shape.length_of(source.block);
    if length == 0 || source.length == 0 || source.length > MAX_PIECE_BYTES {
        let message = format!("block {} from {} bytes: there is no such thing", source.block, source.length);
        return Err(Error::new(Code::InvalidArgument, message));
    }
    if map.has(source.block) {
        return Ok(());
    }
    BUFFERS.with_borrow_mut(|buffers| {
        if buffers.is_none() {
            let decompressor = zstd::bulk::Decompressor::new().context(|| "making a decompressor".into())?;
            *buffers = Some(Buffers { piece: Vec::new(), block: Vec::new(), decompressor });
        }
        let Some(Buffers { piece, block, decompressor }) = buffers else { return Ok(()) };
        piece.resize(source.length as usize, 0);
        blob.read_exact_at(piece, source.offset).context(|| "reading a piece from its blob".into())?;
        block.resize(length, 0);
        let count = decompressor.decompress_to_buffer(piece, &mut block[..]).map_err(|cause| {
            Error::new(
                Code::InvalidContent,
                format!("the piece of block {} is damaged: {cause}", source.block),
            )
        })?;
        if count != length {
            let message =
                format!("the piece of block {} has {count} bytes instead of {length}", source.block);
            return Err(Error::new(Code::InvalidContent, message));
        }
        write_sparse(raw, block, shape.bytes_of(source.block).start).context(|| "writing a block".into())?;
        map.filled(source.block, checksum(block));
        Ok(())
    })
}

/// Zeros stay holes, which take no room, unless something stands there from before.
fn write_sparse(raw: &File, bytes: &[u8], offset: u64) -> std::io::Result<()> {
    let unit = BLOCK_BYTES as usize;
    let is_zero = |at: usize| bytes[at..bytes.len().min(at + unit)].iter().all(|byte| *byte == 0);
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let zero = is_zero(start);
        while at < bytes.len() && is_zero(at) == zero {
            at += unit;
        }
        let part = &bytes[start..at.min(bytes.len())];
        let place = offset + start as u64;
        if !zero || holds_data(raw, place, part.len() as u64) {
            raw.write_all_at(part, place)?;
        }
    }
    Ok(())
}

/// Asked instead of making a hole, for which the kernel would first write out what is near.
fn holds_data(raw: &File, offset: u64, length: u64) -> bool {
    match seek(raw, SeekFrom::Data(offset)) {
        Ok(found) => found < offset + length,
        Err(errno) => errno != rustix::io::Errno::NXIO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::shape::Shape;

    #[test]
    fn a_piece_becomes_its_block_and_nothing_else_does() {
        let directory = tempfile::tempdir().unwrap();
        let raw = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(directory.path().join("raw"))
            .unwrap();
        raw.set_len(12 * 4096).unwrap();
        let shape = Shape::new(12 * 4096, 8 * 4096).unwrap();
        let (_, map) = PresenceMap::open(&directory.path().join("map"), &raw, shape).unwrap();
        let mut content = vec![0u8; 8 * 4096];
        content[5000..9000].fill(7);
        let frame = zstd::bulk::compress(&content, 3).unwrap();
        let blob = tempfile::tempfile().unwrap();
        blob.write_all_at(&frame, 100).unwrap();
        let source = BlockSource { block: 0, offset: 100, length: frame.len() as u32 };

        for wrong in [
            BlockSource { block: 1, ..source },
            BlockSource { block: 2, ..source },
            BlockSource { offset: 99, ..source },
            BlockSource { length: 3, ..source },
            BlockSource { length: u32::MAX, ..source },
        ] {
            assert!(fill(&blob, wrong, &raw, &map).is_err(), "{wrong:?}");
        }
        assert_eq!(map.present(), 0);
        fill(&blob, source, &raw, &map).unwrap();
        assert!(map.has(0) && !map.has(1));
        let mut read = vec![1u8; content.len()];
        raw.read_exact_at(&mut read, 0).unwrap();
        assert!(read == content);
        raw.write_all_at(&vec![9; content.len()], 0).unwrap();
        map.clear();
        fill(&blob, source, &raw, &map).unwrap();
        raw.read_exact_at(&mut read, 0).unwrap();
        assert!(read == content, "zeros are zeros whatever stood there");
    }
}
