//! One question and one answer on a stream of a service of its own: what logs and ports of slots have in
//! common.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use xtreem_net::{Contact, Net, Service};

/// Asks that node. The answer ends with the stream; what is longer than `answer_max_bytes` is cut off.
pub(crate) async fn ask(
    net: &Net,
    node: Contact,
    service: Service,
    request: &[u8],
    answer_max_bytes: u64,
    limit: Duration,
) -> io::Result<Vec<u8>> {
    let exchange = async {
        let (mut send, receive) = net.open(node, service).await.map_err(io::Error::other)?;
        send.write_all(request).await?;
        let mut answer = Vec::new();
        receive.take(answer_max_bytes).read_to_end(&mut answer).await?;
        Ok(answer)
    };
    timeout(limit, exchange).await?
}

/// What is asked, which has a fixed length.
pub(crate) async fn question<const BYTES: usize>(
    mut from: impl AsyncRead + Unpin,
    limit: Duration,
) -> io::Result<[u8; BYTES]> {
    let mut request = [0; BYTES];
    timeout(limit, from.read_exact(&mut request)).await??;
    Ok(request)
}

/// Answers with these parts, and ends the stream.
pub(crate) async fn answer(
    mut to: impl AsyncWrite + Unpin,
    parts: &[&[u8]],
    limit: Duration,
) -> io::Result<()> {
    let written = async {
        for part in parts {
            to.write_all(part).await?;
        }
        to.shutdown().await
    };
    timeout(limit, written).await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_question_has_its_length_and_comes_in_time_and_an_answer_ends() {
        const LIMIT: Duration = Duration::from_secs(1);
        assert_eq!(question::<3>(&b"abcd"[..], LIMIT).await.ok(), Some(*b"abc"));
        assert!(question::<3>(&b"ab"[..], LIMIT).await.is_err(), "it ends too early");
        let (asker, _open) = tokio::io::duplex(8);
        let late = question::<3>(asker, LIMIT).await.map_err(|error| error.kind());
        assert_eq!(late, Err(io::ErrorKind::TimedOut));
        let (to, mut asker) = tokio::io::duplex(8);
        let (answered, mut heard) = (answer(to, &[b"a", b"", b"bc"], LIMIT), Vec::new());
        let (answered, read) = tokio::join!(answered, asker.read_to_end(&mut heard));
        assert!(answered.is_ok() && read.is_ok());
        assert_eq!(heard, b"abc");
    }
}
