//! How a message travels: each core says it of its own messages, and the driver obeys.

/// What carries a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// One signed datagram; may be lost, repeated and reordered.
    Datagram,
    /// A mutual-TLS stream, for what may not fit a datagram.
    Stream,
}

/// How one message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Travel {
    pub plane: Plane,
    /// A request whose answer may be larger: the driver pads it, so that nobody is answered with more than it
    /// sent.
    pub is_padded: bool,
    /// Answered by what the machine is now: the driver measures it before the node sees the message, so that
    /// the answer is true at its moment.
    pub is_measured: bool,
}

impl Travel {
    pub const DATAGRAM: Travel = Travel { plane: Plane::Datagram, is_padded: false, is_measured: false };
    pub const STREAM: Travel = Travel { plane: Plane::Stream, is_padded: false, is_measured: false };

    /// A datagram if `is_small`, else a stream.
    pub const fn sized(is_small: bool) -> Self {
        if is_small { Travel::DATAGRAM } else { Travel::STREAM }
    }

    pub const fn padded(self, is_padded: bool) -> Self {
        Travel { is_padded, ..self }
    }

    pub const fn measured(self, is_measured: bool) -> Self {
        Travel { is_measured, ..self }
    }
}
