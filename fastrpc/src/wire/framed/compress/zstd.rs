//! A stream of Zstandard frames (RFC 8878), flushed at the end of each record.

use std::fmt;

use zstd_safe::{
    CCtx, CParameter, DCtx, DParameter, ErrorCode, InBuffer, OutBuffer,
    zstd_sys::{ZSTD_EndDirective, ZSTD_ErrorCode},
};

use crate::wire::framed::codec::ZstdParameters;

/// What a frame begins with. Frames to be skipped, which RFC 8878 allows between them, are not of this wire.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Between two blocks zstd asks for the header of the next one.
const BLOCK_HEADER: usize = 3;

/// Encodes one frame after the other. Its memory comes with the first record.
pub(in crate::wire::framed) struct ZstdEncoder {
    context: CCtx<'static>,
    in_frame: bool,
}

impl ZstdEncoder {
    pub(in crate::wire::framed) fn new(parameters: ZstdParameters) -> Self {
        let mut context = CCtx::create();
        let mut set = |parameter| {
            context.set_parameter(parameter).expect("zstd knows its parameters, and these are within its bounds");
        };
        set(CParameter::CompressionLevel(parameters.level));
        set(CParameter::WindowLog(parameters.window_log.into()));
        if let Some((hash_log, shortest_match)) = parameters.table {
            set(CParameter::HashLog(hash_log.into()));
            set(CParameter::MinMatch(shortest_match.into()));
        }
        set(CParameter::ContentSizeFlag(false));
        set(CParameter::ChecksumFlag(false));
        Self { context, in_frame: false }
    }

    /// Appends `plain`, so that it can be decoded whole.
    pub(in crate::wire::framed) fn encode(&mut self, plain: &[u8], wire: &mut Vec<u8>) {
        self.run(plain, ZSTD_EndDirective::ZSTD_e_flush, wire);
        self.in_frame = true;
    }

    /// Appends `plain` and the end of the frame; the next record begins another one.
    pub(in crate::wire::framed) fn encode_last(&mut self, plain: &[u8], wire: &mut Vec<u8>) {
        self.run(plain, ZSTD_EndDirective::ZSTD_e_end, wire);
        self.in_frame = false;
    }

    fn run(&mut self, plain: &[u8], then: ZSTD_EndDirective, wire: &mut Vec<u8>) {
        let mut input = InBuffer::around(plain);
        loop {
            wire.reserve(zstd_safe::compress_bound(plain.len() - input.pos));
            let written = wire.len();
            let mut output = OutBuffer::around_pos(wire, written);
            // Fails for a context used wrongly or for want of memory, never for what it is given to compress.
            let left = self.context.compress_stream2(&mut output, &mut input, then).expect("zstd takes any bytes");
            if left == 0 && input.pos == plain.len() {
                return;
            }
        }
    }

    /// Whether a frame has begun and not ended.
    pub(in crate::wire::framed) fn in_frame(&self) -> bool {
        self.in_frame
    }

    /// Bytes that it holds.
    pub(in crate::wire::framed) fn memory(&self) -> usize {
        self.context.sizeof()
    }
}

/// Decodes one frame after the other. A window is allocated when the header of its frame says how large it is.
pub(in crate::wire::framed) struct ZstdDecoder {
    context: DCtx<'static>,
    most_window_log: u8,
    in_frame: bool,
}

impl ZstdDecoder {
    /// A decoder of frames with windows of up to 2^`most_window_log` bytes.
    pub(in crate::wire::framed) fn new(most_window_log: u8) -> Result<Self, Fault> {
        let mut context = DCtx::try_create().ok_or(Fault::Memory)?;
        context.set_parameter(DParameter::WindowLogMax(most_window_log.into())).map_err(Fault::Zstd)?;
        Ok(Self { context, most_window_log, in_frame: false })
    }

    /// Decodes all of `wire`, which has to fill `plain` exactly, but for its last byte: that is room to see more come.
    pub(in crate::wire::framed) fn decode(&mut self, wire: &[u8], plain: &mut [u8]) -> Result<(), Fault> {
        if !self.in_frame && !wire.starts_with(&MAGIC) {
            return Err(Fault::Magic);
        }
        let length = plain.len() - 1;
        let (mut input, mut output) = (InBuffer::around(wire), OutBuffer::around(plain));
        // One step is enough: it goes on until the input is used up, the room is, or the frame ends.
        let hint = self.context.decompress_stream(&mut output, &mut input).map_err(|code| self.fault(code))?;
        let (made, left) = (output.pos(), wire.len() - input.pos);
        self.in_frame = hint != 0;
        if made > length {
            Err(Fault::TooLong)
        } else if left > 0 {
            Err(Fault::Trailing { bytes: left })
        } else if self.in_frame && hint != BLOCK_HEADER {
            Err(Fault::Cut)
        } else if made < length {
            Err(Fault::TooShort { made })
        } else {
            Ok(())
        }
    }

    /// Whether a frame has begun and not ended.
    pub(in crate::wire::framed) fn in_frame(&self) -> bool {
        self.in_frame
    }

    fn fault(&self, code: ErrorCode) -> Fault {
        let is = |kind| zstd_safe::is_error_kind(code, kind);
        if is(ZSTD_ErrorCode::ZSTD_error_frameParameter_windowTooLarge) {
            Fault::Window { most_log: self.most_window_log }
        } else if is(ZSTD_ErrorCode::ZSTD_error_memory_allocation) {
            Fault::Memory
        } else {
            Fault::Zstd(code)
        }
    }

    /// Bytes that it holds.
    pub(in crate::wire::framed) fn memory(&self) -> usize {
        self.context.sizeof()
    }
}

/// What is wrong with a record.
#[derive(Debug)]
pub(in crate::wire::framed) enum Fault {
    Magic,
    Window { most_log: u8 },
    Memory,
    Zstd(ErrorCode),
    TooLong,
    TooShort { made: usize },
    Trailing { bytes: usize },
    Cut,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("no zstd frame begins where one has to"),
            Self::Window { most_log } => {
                write!(f, "its frame has a window of more than the 2^{most_log} bytes that our settings allow")
            }
            Self::Memory => f.write_str("there is no memory to decode it"),
            Self::Zstd(code) => write!(f, "corrupt stream: {}", zstd_safe::get_error_name(*code)),
            Self::TooLong => f.write_str("it holds more than its plain length"),
            Self::TooShort { made } => write!(f, "it holds {made} bytes, less than its plain length"),
            Self::Trailing { bytes } => write!(f, "{bytes} bytes follow the end of its frame"),
            Self::Cut => f.write_str("it stops inside a block"),
        }
    }
}
