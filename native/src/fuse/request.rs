//! What the kernel asks, from bytes. Pure, and safe whatever the bytes are: lengths are compared with what is there.

use super::abi::{IN_HEADER_BYTES, opcode};

/// So much of a request is looked at, header included: the longest that we answer is a lookup of a device's name.
pub const SEEN_BYTES: usize = 168;

/// `struct fuse_in_header`, as far as we use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub length: u32,
    pub opcode: u32,
    /// Names the request in its answer; never 0.
    pub unique: u64,
    pub node: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call<'a> {
    Init {
        major: u32,
        minor: u32,
        max_readahead_bytes: u32,
    },
    /// Of a name in the directory that the header names.
    Lookup {
        name: &'a str,
    },
    Attributes,
    Read {
        offset: u64,
        size_bytes: u32,
    },
    Statistics,
    /// Whether something may be done, or that something is over: granted.
    Granted,
    /// Takes no answer.
    Forget,
    /// Anything else, by design: a kernel that is told so of opening, flushing and interrupting does not ask again. A reader that could be
    /// interrupted would take any signal for an error (`SIGBUS`); one that is killed waits until its deadline at most, or not at all where it
    /// waits for a page that is being read ahead.
    Unsupported,
    /// Shorter than a request of its kind.
    Malformed,
}

/// `None` where nothing has been read.
pub fn header(bytes: &[u8; SEEN_BYTES]) -> Option<Header> {
    let header = Header {
        length: u32_at(bytes, 0)?,
        opcode: u32_at(bytes, 4)?,
        unique: u64_at(bytes, 8)?,
        node: u64_at(bytes, 16)?,
    };
    (header.unique != 0).then_some(header)
}

pub fn call<'a>(header: &Header, bytes: &'a [u8; SEEN_BYTES]) -> Call<'a> {
    let end = (header.length as usize).min(SEEN_BYTES);
    let body = bytes.get(IN_HEADER_BYTES..end).unwrap_or_default();
    match header.opcode {
        opcode::INIT => init(body),
        opcode::LOOKUP => name(body).map(|name| Call::Lookup { name }),
        opcode::GETATTR => Some(Call::Attributes),
        opcode::READ => read(body),
        opcode::STATFS => Some(Call::Statistics),
        opcode::ACCESS | opcode::RELEASE | opcode::DESTROY => Some(Call::Granted),
        opcode::FORGET | opcode::BATCH_FORGET => Some(Call::Forget),
        _ => Some(Call::Unsupported),
    }
    .unwrap_or(Call::Malformed)
}

/// `struct fuse_init_in`.
fn init(body: &[u8]) -> Option<Call<'static>> {
    Some(Call::Init {
        major: u32_at(body, 0)?,
        minor: u32_at(body, 4)?,
        max_readahead_bytes: u32_at(body, 8)?,
    })
}

/// `struct fuse_read_in`.
fn read(body: &[u8]) -> Option<Call<'static>> {
    Some(Call::Read { offset: u64_at(body, 8)?, size_bytes: u32_at(body, 16)? })
}

/// Up to the zero that ends it.
fn name(body: &[u8]) -> Option<&str> {
    let end = body.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(&body[..end]).ok()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(opcode: u32, body: &[u8]) -> [u8; SEEN_BYTES] {
        let mut bytes = [0; SEEN_BYTES];
        bytes[0..4].copy_from_slice(&((IN_HEADER_BYTES + body.len()) as u32).to_ne_bytes());
        bytes[4..8].copy_from_slice(&opcode.to_ne_bytes());
        bytes[8..16].copy_from_slice(&7u64.to_ne_bytes());
        bytes[16..24].copy_from_slice(&1u64.to_ne_bytes());
        bytes[IN_HEADER_BYTES..][..body.len()].copy_from_slice(body);
        bytes
    }

    #[test]
    fn reads_what_the_kernel_writes() {
        let mut body = [0; 40];
        body[8..16].copy_from_slice(&4096u64.to_ne_bytes());
        body[16..20].copy_from_slice(&512u32.to_ne_bytes());
        let bytes = request(opcode::READ, &body);
        let asked = header(&bytes).unwrap();
        assert_eq!(asked, Header { length: 80, opcode: opcode::READ, unique: 7, node: 1 });
        assert_eq!(call(&asked, &bytes), Call::Read { offset: 4096, size_bytes: 512 });
        let bytes = request(opcode::LOOKUP, b"ab\0");
        assert_eq!(call(&header(&bytes).unwrap(), &bytes), Call::Lookup { name: "ab" });
    }

    #[test]
    fn what_is_cut_off_is_malformed() {
        for (opcode, body) in
            [(opcode::READ, &[0; 19][..]), (opcode::LOOKUP, b"ab"), (opcode::INIT, &[0; 11])]
        {
            let bytes = request(opcode, body);
            assert_eq!(call(&header(&bytes).unwrap(), &bytes), Call::Malformed, "{opcode}");
        }
        assert_eq!(header(&[0; SEEN_BYTES]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_none(bytes in prop::collection::vec(any::<u8>(), SEEN_BYTES), length in any::<u32>(), opcode in 0u32..60) {
            let mut bytes: [u8; SEEN_BYTES] = bytes.try_into().unwrap();
            if let Some(header) = header(&bytes) {
                let _ = call(&header, &bytes);
            }
            bytes[0..4].copy_from_slice(&length.to_ne_bytes());
            bytes[4..8].copy_from_slice(&opcode.to_ne_bytes());
            if let Some(header) = header(&bytes) {
                match call(&header, &bytes) {
                    Call::Lookup { name } => prop_assert!(name.len() < SEEN_BYTES - IN_HEADER_BYTES),
                    Call::Read { .. } => prop_assert!(length as usize >= IN_HEADER_BYTES + 20),
                    _ => {}
                }
            }
        }
    }
}
