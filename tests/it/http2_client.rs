//! A client of HTTP/2 that sends any frames, right or wrong (RFC 9113). Only reading the fields of an answer is left to
//! a library; what is sent is never compressed, so that a test can send what no library would.

use std::io::{ErrorKind, Read, Write};

use fluke_hpack::Decoder;

use crate::support::Reply;
use crate::tls_client::{TlsService, TlsStream};

/// A connection.
pub struct Http2 {
    pub stream: TlsStream,
    decoder: Decoder<'static>,
    next: u32,
}

/// A frame that came.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// What a request came to.
#[derive(Debug)]
pub enum Answer {
    /// An answer, with the length of all its DATA in place of the status line's rest.
    Reply(Reply),
    /// The stream was ended, with this code.
    Reset(u32),
    /// The connection was ended, with this code; or without a word.
    GoneAway(Option<u32>),
}

impl Answer {
    #[track_caller]
    pub fn reply(self) -> Reply {
        match self {
            Self::Reply(reply) => reply,
            other => panic!("no reply: {other:?}"),
        }
    }
}

impl Http2 {
    /// Connects, with settings (identifier and value) of its own.
    pub fn with_settings(to: &TlsService, settings: &[(u16, u32)]) -> Self {
        let stream = to.connect("www.yoursite.com", &["h2"]);
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
        let mut client = Self { stream, decoder: Decoder::new(), next: 1 };
        let settings =
            settings.iter().flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat());
        let settings: Vec<u8> = settings.collect();
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        client.frame(SETTINGS, 0, 0, &settings);
        client
    }

    pub fn connect(to: &TlsService) -> Self {
        Self::with_settings(to, &[])
    }

    /// Sends bytes. A server that has closed already is no failure here: what it said is read afterwards.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).is_ok()
    }

    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.send(&frame(kind, flags, stream, payload))
    }

    /// The number of the next stream.
    pub fn new_stream(&mut self) -> u32 {
        self.next += 2;
        self.next - 2
    }

    /// Sends the head of a request, and gives its stream.
    pub fn ask(&mut self, fields: &[(&[u8], &[u8])]) -> u32 {
        let stream = self.new_stream();
        // No more in one frame than a server must take (RFC 9113, 4.2).
        let block = block(fields);
        let mut parts = block.chunks(16_384).peekable();
        let mut frames = Vec::new();
        let mut kind = HEADERS;
        while let Some(part) = parts.next() {
            let end = if parts.peek().is_none() { END_HEADERS } else { 0 };
            let end_stream = if kind == HEADERS { END_STREAM } else { 0 };
            frames.extend(frame(kind, end | end_stream, stream, part));
            kind = CONTINUATION;
        }
        self.send(&frames);
        stream
    }

    /// Asks for a path on a host, with more fields.
    pub fn get(&mut self, host: &str, path: &str, more: &[(&str, &str)]) -> Answer {
        let mut fields = head("GET", host, path);
        fields.extend(more.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        let stream = self.ask(&fields);
        self.answer(stream)
    }

    /// The next frame; `None` at the end of the connection.
    pub fn next_frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        if let Err(error) = self.stream.read_exact(&mut head) {
            assert_ne!(error.kind(), ErrorKind::WouldBlock, "no frame came");
            return None;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).ok()?;
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Reads what becomes of a stream. Settings and pings are answered on the way, and all else is passed over.
    pub fn answer(&mut self, stream: u32) -> Answer {
        let mut reply = Reply { status: 0, fields: Vec::new(), body: String::new() };
        while let Some(frame) = self.next_frame() {
            self.acknowledge(&frame);
            match frame.kind {
                GOAWAY if code(&frame.payload[4..]) != NO_ERROR => {
                    return Answer::GoneAway(Some(code(&frame.payload[4..])));
                }
                HEADERS => {
                    assert_ne!(frame.flags & END_HEADERS, 0, "a long head: {frame:?}");
                    // Each block counts, whosever it is: what the library knows of the next ones depends on it.
                    let fields = self.decoder.decode(&frame.payload).unwrap();
                    if frame.stream == stream {
                        read_fields(fields, &mut reply);
                    }
                }
                RST_STREAM if frame.stream == stream => return Answer::Reset(code(&frame.payload)),
                DATA if frame.stream == stream => reply.body.push_str(std::str::from_utf8(&frame.payload).unwrap()),
                _ => {}
            }
            if frame.stream == stream && matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0 {
                return Answer::Reply(reply);
            }
        }
        Answer::GoneAway(None)
    }

    fn acknowledge(&mut self, frame: &Frame) {
        if matches!(frame.kind, SETTINGS | PING) && frame.flags & ACK == 0 {
            let payload = if frame.kind == PING { &frame.payload[..] } else { &[] };
            self.frame(frame.kind, ACK, 0, payload);
        }
    }

    /// Reads to the end of the connection, and gives the code of its last GOAWAY.
    pub fn gone_away(&mut self) -> Option<u32> {
        let mut last = None;
        while let Some(frame) = self.next_frame() {
            if frame.kind == GOAWAY {
                last = Some(code(&frame.payload[4..]));
            }
        }
        last
    }
}

fn read_fields(fields: Vec<(Vec<u8>, Vec<u8>)>, reply: &mut Reply) {
    for (name, value) in fields {
        let [name, value] = [name, value].map(|bytes| String::from_utf8(bytes).unwrap());
        if name == ":status" {
            reply.status = value.parse().unwrap();
        } else {
            reply.fields.push((name, value));
        }
    }
}

/// The pseudo-header fields of a request.
pub fn head<'a>(method: &'a str, host: &'a str, path: &'a str) -> Vec<(&'a [u8], &'a [u8])> {
    vec![
        (b":method", method.as_bytes()),
        (b":scheme", b"https"),
        (b":authority", host.as_bytes()),
        (b":path", path.as_bytes()),
    ]
}

/// Fields as they stand in a frame, each in full and not to be remembered (RFC 7541, 6.2.2).
pub fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // A number with a prefix of seven bits (RFC 7541, 5.1).
            let mut rest = text.len();
            if rest < 127 {
                block.push(u8::try_from(rest).unwrap());
            } else {
                block.push(127);
                rest -= 127;
                while rest >= 128 {
                    block.push(u8::try_from(rest % 128).unwrap() | 128);
                    rest /= 128;
                }
                block.push(u8::try_from(rest).unwrap());
            }
            block.extend_from_slice(text);
        }
    }
    block
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The code of an error.
fn code(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload[..4].try_into().unwrap())
}

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const NO_ERROR: u32 = 0;
pub const PROTOCOL_ERROR: u32 = 1;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// Identifiers of settings.
pub const INITIAL_WINDOW_SIZE: u16 = 4;
