//! What goes over the socket: frames of JSON, each with its length before it, as big-endian `u32`.
//!
//! The first frame of each side is [`Hello`]. The TypeScript side of this boundary is `daemon/src/native.ts`: the same
//! names in the same order.

use std::io::{Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::device::spec::DeviceSpec;
use crate::error::{Code, Context, Error, Result};
use crate::ids::{ContentId, Id};
use crate::worker::blocks::BlockSource;
use crate::worker::filler::Residency;

pub const PROTOCOL_VERSION: u32 = 2;

/// The status of a few thousand volumes; each may name 64 devices.
pub const MAX_FRAME_BYTES: u32 = 16 * 1024 * 1024;

#[derive(Debug, Serialize, Deserialize)]
pub struct Hello {
    pub version: u32,
    /// Of the sender: of a helper, its launcher.
    #[serde(default)]
    pub pid: u32,
    /// Of a helper: the process that answers.
    #[serde(default)]
    pub worker: u32,
}

/// A call and its number. The call is parsed apart, so that one that makes no sense is answered under its number.
#[derive(Debug, Deserialize)]
pub struct Request {
    pub id: u64,
    #[serde(flatten)]
    pub call: Value,
}

pub fn parse_call(call: Value) -> Result<Verb> {
    serde_json::from_value(call)
        .map_err(|cause| Error::new(Code::InvalidArgument, format!("not a call of this protocol: {cause}")))
}

#[derive(Debug, Deserialize)]
#[serde(tag = "verb", content = "params")]
pub enum Verb {
    #[serde(rename = "probe")]
    Probe {},
    #[serde(rename = "volume.mount")]
    VolumeMount(MountVolume),
    #[serde(rename = "volume.umount")]
    VolumeUmount { volume: Id },
    #[serde(rename = "volume.status")]
    VolumeStatus {},
    #[serde(rename = "volume.retire")]
    VolumeRetire { volume: Id },
    /// What readers have touched of the devices that are being filled, in order.
    #[serde(rename = "volume.touches")]
    VolumeTouches { volume: Id },
    /// Answered once, and then with a [`Wish`] whenever readers wait for something. Nothing else can be asked on the connection.
    #[serde(rename = "device.listen")]
    DeviceListen {},
    /// The blocks that are here.
    #[serde(rename = "device.present")]
    DevicePresent { device: ContentId },
    #[serde(rename = "device.fill")]
    DeviceFill(FillDevice),
    #[serde(rename = "device.refuse")]
    DeviceRefuse(RefuseBlocks),
    #[serde(rename = "overlay.prepare")]
    OverlayPrepare(PrepareOverlay),
    #[serde(rename = "overlay.remove")]
    OverlayRemove { overlay: Id },
    #[serde(rename = "layer.prepare")]
    LayerPrepare(PrepareLayer),
    #[serde(rename = "layer.remove")]
    LayerRemove { layer: Id },
    #[serde(rename = "layer.usage")]
    LayerUsage { layer: Id },
    #[serde(rename = "layer.list")]
    LayerList {},
    #[serde(rename = "loop.attach")]
    LoopAttach { image: ContentId },
    #[serde(rename = "loop.detach")]
    LoopDetach { image: ContentId },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MountVolume {
    pub volume: Id,
    /// The EROFS image that holds the metadata.
    pub meta: ContentId,
    /// In the order of the image's device slots.
    pub devices: Vec<VolumeDevice>,
    /// Raw bytes of a block, of all devices.
    pub block_bytes: u32,
    #[serde(default)]
    pub backend: Backend,
    #[serde(default)]
    pub backing: Backing,
}

impl MountVolume {
    /// How much of it is here does not matter.
    pub fn is_same_snapshot(&self, other: &Self) -> bool {
        self.meta == other.meta
            && self.devices.iter().map(|device| &device.id).eq(other.devices.iter().map(|device| &device.id))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeDevice {
    pub id: ContentId,
    pub size_bytes: u64,
    /// The whole raw file is there; else it is a sparse file that is to be filled on demand.
    pub complete: bool,
}

impl VolumeDevice {
    pub fn spec(&self, block_bytes: u32) -> DeviceSpec {
        DeviceSpec { id: self.id.clone(), size_bytes: self.size_bytes, block_bytes }
    }
}

/// How a volume of which something is missing is filled while it is mounted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// The best one that works here.
    #[default]
    Auto,
    /// None: everything must be here.
    Local,
    /// The kernel asks before a file is read (Linux 6.14 and later).
    Fanotify,
    /// The files are served by us.
    Fuse,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FillDevice {
    pub device: ContentId,
    /// The blob, in the daemon's store, whole or in part.
    pub blob: ContentId,
    pub blocks: Vec<BlockSource>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefuseBlocks {
    pub device: ContentId,
    pub blocks: Vec<u32>,
    /// For the log.
    pub reason: String,
}

/// What the kernel reads a volume from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backing {
    /// Files where the kernel can, else loop devices.
    #[default]
    Auto,
    /// The files themselves (Linux 6.12 and later).
    File,
    /// A loop device a file.
    Loop,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrepareOverlay {
    pub overlay: Id,
    pub volume: Id,
    /// Mount it as well; else only the directories are made and named.
    pub mount: bool,
    /// The host's ids that stand for 0..size inside: the volume is then seen through an id-mapped mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_map: Option<IdMap>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IdMap {
    pub host_uid: u32,
    pub host_gid: u32,
    pub size: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeStatus {
    pub volume: Id,
    pub meta: ContentId,
    pub devices: Vec<ContentId>,
    pub mounted: bool,
    /// `None` while it is not mounted.
    pub backing: Option<Backing>,
    /// What fills it, or, with `fuse` on files, what its readers go through even though everything is here; `None` when the kernel reads it alone.
    pub backend: Option<Backend>,
    /// Devices that are read with our help; empty when the kernel reads the volume alone.
    pub filling: Vec<Residency>,
    pub path: String,
    pub overlays: Vec<Id>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OverlayStatus {
    pub overlay: Id,
    pub volume: Id,
    pub lowerdir: String,
    pub upperdir: String,
    pub workdir: String,
    pub rootfs: String,
    pub mounted: bool,
}

/// What is written upon others, and seen through them by whoever mounts it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrepareLayer {
    pub layer: Id,
    /// The nearest first.
    pub parents: Vec<Id>,
    /// Below all of them.
    pub volume: Option<Id>,
    /// Of its root; that of the nearest parent's root else.
    pub owner: Option<Owner>,
}

/// Ids of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerStatus {
    pub layer: Id,
    pub upperdir: String,
    pub workdir: String,
    pub lowerdirs: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerUsage {
    pub bytes: u64,
    pub inodes: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

/// The next frame, or `None` where the other side has ended the connection between two frames.
pub fn read_frame<T: DeserializeOwned>(stream: &mut impl Read) -> Result<Option<T>> {
    let mut head = [0u8; 4];
    match stream.read(&mut head[..1]).context(|| "reading a frame".into())? {
        0 => return Ok(None),
        _ => stream.read_exact(&mut head[1..]).context(|| "reading a frame's length".into())?,
    }
    let length = u32::from_be_bytes(head);
    if length > MAX_FRAME_BYTES {
        let message = format!("a frame of {length} bytes; the limit is {MAX_FRAME_BYTES}");
        return Err(Error::new(Code::LimitExceeded, message));
    }
    let mut body = Vec::new();
    let read = stream.take(u64::from(length)).read_to_end(&mut body).context(|| "reading a frame".into())?;
    if read != length as usize {
        return Err(Error::new(Code::InvalidArgument, "the connection ended inside a frame"));
    }
    serde_json::from_slice(&body).map(Some).map_err(|cause| {
        Error::new(Code::InvalidArgument, format!("not a message of this protocol: {cause}"))
    })
}

pub fn write_frame(stream: &mut impl Write, message: &impl Serialize) -> Result<()> {
    let mut frame = vec![0u8; 4];
    serde_json::to_writer(&mut frame, message)
        .map_err(|cause| Error::new(Code::Internal, format!("encoding an answer: {cause}")))?;
    let length = u32::try_from(frame.len() - 4).ok().filter(|length| *length <= MAX_FRAME_BYTES);
    let Some(length) = length else {
        return Err(Error::new(Code::LimitExceeded, "the answer is larger than a frame may be"));
    };
    frame[..4].copy_from_slice(&length.to_be_bytes());
    stream.write_all(&frame).context(|| "answering".into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_is_what_the_daemon_sends() {
        let text = br#"{"id":7,"verb":"volume.umount","params":{"volume":"v1"}}"#;
        let mut frame = (text.len() as u32).to_be_bytes().to_vec();
        frame.extend_from_slice(text);
        let request: Request = read_frame(&mut &frame[..]).unwrap().unwrap();
        assert_eq!(request.id, 7);
        assert!(
            matches!(parse_call(request.call).unwrap(), Verb::VolumeUmount { volume } if volume.as_str() == "v1")
        );
    }

    #[test]
    fn a_length_is_not_believed() {
        let frame = [0xff, 0xff, 0xff, 0xff, b'{'];
        assert_eq!(read_frame::<Request>(&mut &frame[..]).unwrap_err().code, Code::LimitExceeded);
        let short = [0, 0, 0, 9, b'{'];
        assert_eq!(read_frame::<Request>(&mut &short[..]).unwrap_err().code, Code::InvalidArgument);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut framed = (bytes.len() as u32).to_be_bytes().to_vec();
            framed.extend_from_slice(&bytes);
            if let Ok(Some(request)) = read_frame::<Request>(&mut &framed[..]) {
                let _ = parse_call(request.call);
            }
            let _ = read_frame::<Request>(&mut &bytes[..]);
        }
    }
}
