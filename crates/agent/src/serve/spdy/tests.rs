//! A client in frames, against a [`Connection`] over a pipe.

use super::{
    Connection, Stream,
    frame::{self, Control, HEAD, Head},
    headers::Packer,
};
use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

struct Client {
    pipe: DuplexStream,
    packer: Packer,
}

fn connect() -> (Connection, Client) {
    let (server, pipe) = tokio::io::duplex(1 << 20);
    let (reader, writer) = tokio::io::split(server);
    (Connection::new(reader, writer), Client { pipe, packer: Packer::default() })
}

impl Client {
    async fn send(&mut self, frame: &[u8]) {
        self.pipe.write_all(frame).await.unwrap();
    }

    async fn control(&mut self, kind: u16, flags: u8, body: &[u8]) {
        let mut out = BytesMut::new();
        out.put_u32(1 << 31 | 3 << 16 | u32::from(kind));
        out.put_u32(u32::from(flags) << 24 | u32::try_from(body.len()).unwrap());
        out.extend_from_slice(body);
        self.send(&out).await;
    }

    /// Begins a stream without headers.
    async fn begin(&mut self, stream: u32, flags: u8) {
        let mut body = [stream.to_be_bytes(), [0; 4]].concat();
        body.extend([0, 0]);
        body.extend(self.packer.empty());
        self.control(1, flags, &body).await;
    }

    /// The next frame; data as text, with their number if there are many.
    async fn receive(&mut self) -> String {
        let mut head = [0; HEAD];
        if self.pipe.read_exact(&mut head).await.is_err() {
            return "end".into();
        }
        match Head::parse(head).unwrap() {
            Head::Data { stream, last, length } => {
                let mut data = vec![0; length];
                self.pipe.read_exact(&mut data).await.unwrap();
                let data = if length > 16 { format!("({length})") } else { String::from_utf8(data).unwrap() };
                format!("data {stream} {data}{}", if last { "." } else { "" })
            }
            Head::Control { kind, flags, length } => {
                let mut body = vec![0; length];
                self.pipe.read_exact(&mut body).await.unwrap();
                match Control::parse(kind, flags, &body.into()).unwrap() {
                    Control::Headers { stream, .. } => format!("reply {stream}"),
                    other => format!("{other:?}"),
                }
            }
        }
    }
}

/// What a stream's reader gets.
async fn read(stream: &mut Stream) -> String {
    match stream.reader.next().await {
        Ok(Some(data)) => String::from_utf8_lossy(&data).into_owned(),
        Ok(None) => "end".into(),
        Err(_) => "gone".into(),
    }
}

#[tokio::test]
async fn streams_go_both_ways_and_end_apart() {
    let (mut server, mut client) = connect();
    client.begin(1, 0).await;
    client.send(&frame::data(1, b"hello", false)).await;
    let mut stream = server.accept().await.unwrap();
    assert_eq!((stream.id, client.receive().await), (1, "reply 1".into()));
    assert_eq!(read(&mut stream).await, "hello");
    client.send(&frame::data(1, b"last", true)).await;
    assert_eq!(read(&mut stream).await, "last");
    assert_eq!(read(&mut stream).await, "end");
    // one direction is over, the other is not
    stream.writer.send(Bytes::from_static(b"answer")).await.unwrap();
    stream.writer.finish().await;
    assert_eq!(client.receive().await, "data 1 answer");
    assert_eq!(client.receive().await, "data 1 .");
    let finish = tokio::spawn(server.finish());
    assert_eq!(client.receive().await, "GoAway");
    assert_eq!(client.receive().await, "end");
    drop(client);
    finish.await.unwrap();
}

#[tokio::test]
async fn what_is_not_allowed_is_refused() {
    let (mut server, mut client) = connect();
    client.begin(3, 0).await;
    let kept = server.accept().await.unwrap();
    assert_eq!(client.receive().await, "reply 3");
    // an even number, a number again, a smaller one
    for id in [2, 3, 1] {
        client.begin(id, 0).await;
        assert_eq!(client.receive().await, format!("Reset {{ stream: {id} }}"));
    }
    // nobody takes any more
    server.refuse_more();
    client.begin(5, 0).await;
    assert_eq!(client.receive().await, "reply 5");
    assert_eq!(client.receive().await, "Reset { stream: 5 }");
    // a stream of one that forgot it
    drop(kept);
    assert_eq!(client.receive().await, "Reset { stream: 3 }");
    // data for nobody do no harm
    client.send(&frame::data(9, b"x", true)).await;
    client.control(6, 0, &[0, 0, 0, 7]).await;
    assert_eq!(client.receive().await, "Ping(7)");
    // another version ends it
    client.send(&[0x80, 2, 0, 1, 0, 0, 0, 0]).await;
    assert_eq!(client.receive().await, "end");
}

#[tokio::test]
async fn a_reset_and_a_lost_connection_are_no_end_of_data() {
    let (mut server, mut client) = connect();
    client.begin(1, 0).await;
    client.begin(3, 0).await;
    let (mut one, mut three) = (server.accept().await.unwrap(), server.accept().await.unwrap());
    client.control(3, 0, &[0, 0, 0, 1, 0, 0, 0, 5]).await;
    assert_eq!(read(&mut one).await, "gone");
    assert!(one.writer.send(Bytes::from_static(b"x")).await.is_err());
    client.send(&frame::data(3, b"before", false)).await;
    drop(client);
    assert_eq!(read(&mut three).await, "before");
    assert_eq!(read(&mut three).await, "gone");
    assert!(server.accept().await.is_none());
}

#[tokio::test]
async fn windows_are_kept_with_who_knows_them() {
    let (mut server, mut client) = connect();
    client.begin(1, 0).await;
    let stream = server.accept().await.unwrap();
    assert_eq!(client.receive().await, "reply 1");
    // who never speaks of windows gets everything
    let most = Bytes::from(vec![b'x'; 80 << 10]);
    stream.writer.send(most.clone()).await.unwrap();
    for expected in ["data 1 (32768)", "data 1 (32768)", "data 1 (16384)"] {
        assert_eq!(client.receive().await, expected);
    }
    // 16 KiB too much are out: 20 more leave room for 4
    client.send(&frame::window(0, 1 << 20)).await;
    client.send(&frame::window(1, 20 << 10)).await;
    // the windows are in force once this is answered
    client.control(6, 0, &[0, 0, 0, 1]).await;
    assert_eq!(client.receive().await, "Ping(1)");
    let sending = tokio::spawn(async move {
        stream.writer.send(most.slice(..8 << 10)).await.unwrap();
        stream.writer.finish().await;
    });
    assert_eq!(client.receive().await, "data 1 (4096)");
    client.send(&frame::window(1, 1 << 20)).await;
    assert_eq!(client.receive().await, "data 1 (4096)");
    assert_eq!(client.receive().await, "data 1 .");
    sending.await.unwrap();
}

#[tokio::test]
async fn windows_are_opened_again() {
    let (mut server, mut client) = connect();
    client.begin(1, 0).await;
    let mut stream = server.accept().await.unwrap();
    assert_eq!(client.receive().await, "reply 1");
    client.send(&frame::data(1, &[b'x'; 40 << 10], true)).await;
    // that of the connection when data have come, that of the stream when they were taken
    assert_eq!(client.receive().await, "Window { stream: 0, more: 32768 }");
    let mut taken = 0;
    while let Ok(Some(data)) = stream.reader.next().await {
        taken += data.len();
    }
    assert_eq!(taken, 40 << 10);
    assert_eq!(client.receive().await, "Window { stream: 1, more: 32768 }");
}
