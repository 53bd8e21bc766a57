//! HTTP/2, as proxies speak it to a server: many requests on one connection, each with a window
//! of its own.

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::Request;
use testkit::{RealGit, Scenario};

use crate::raw::{fetch_body, gzip, push_body};
use crate::serving::{Serving, pack_of};

const BLOB_BYTES: usize = 5 << 20;

/// One connection, with prior knowledge, and a thread of its own for what it does.
fn connected<T>(server: &Serving, talk: impl AsyncFnOnce(SendRequest<Bytes>) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let stream = tokio::net::TcpStream::connect(server.authority()).await.expect("it listens");
        // Room for several streams, so that one that is not read does not stop the others.
        let (client, connection) = h2::client::Builder::new()
            .initial_connection_window_size(4 << 20)
            .handshake(stream)
            .await
            .expect("HTTP/2");
        let driver = tokio::spawn(connection);
        let result = talk(client).await;
        driver.abort();
        result
    })
}

/// Sends a request; the answer's status and what its body is read from.
async fn post(
    client: &mut SendRequest<Bytes>,
    path: &str,
    headers: &[(&str, &str)],
    mut body: &[u8],
) -> (u16, RecvStream) {
    let service = path.rsplit('/').next().unwrap_or_default();
    let mut request = Request::post(format!("http://test{path}"))
        .header("content-type", format!("application/x-{service}-request"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut ready = client.clone().ready().await.expect("room for a stream");
    let request = request.body(()).expect("a request");
    let (answer, mut send) = ready.send_request(request, false).expect("sent");
    // As much as the server's windows let through.
    while !body.is_empty() {
        send.reserve_capacity(body.len());
        let capacity = std::future::poll_fn(|context| send.poll_capacity(context)).await;
        let Some(Ok(capacity)) = capacity else { break };
        let (now, later) = body.split_at(capacity.min(body.len()));
        send.send_data(Bytes::copy_from_slice(now), later.is_empty()).expect("sent");
        body = later;
    }
    let answer = answer.await.expect("an answer");
    (answer.status().as_u16(), answer.into_body())
}

/// Reads on until the body ends or `enough` bytes came.
async fn read(body: &mut RecvStream, enough: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < enough
        && let Some(chunk) = body.data().await
    {
        let chunk = chunk.expect("the stream goes on");
        body.flow_control().release_capacity(chunk.len()).expect("taken");
        bytes.extend_from_slice(&chunk);
    }
    bytes
}

/// The pack in an answer on side-bands.
fn pack_in(answer: &[u8]) -> Vec<u8> {
    let (mut rest, mut pack) = (answer, Vec::new());
    while let Some((length, _)) = rest.split_at_checked(4) {
        let length = usize::from_str_radix(std::str::from_utf8(length).expect("ASCII"), 16);
        let length = length.expect("a length").max(4);
        if let Some((1, data)) = rest[4..length].split_first() {
            pack.extend_from_slice(data);
        }
        rest = &rest[length..];
    }
    pack
}

const V2: &[(&str, &str)] = &[("git-protocol", "version=2")];

#[test]
fn many_fetches_on_one_connection_do_not_wait_for_each_other() {
    let git = RealGit::new();
    let origin = Scenario::big_blob(BLOB_BYTES).repacked().build(&git, "srv/a.git");
    let server = Serving::start(&git, git.path("srv"), &[]);
    let tip = git.rev_parse(&origin, "main").to_string();
    let body = fetch_body(&tip, &["no-progress"]);
    let open_files = server.open_files();
    let answers = connected(&server, async |mut client| {
        // Nobody reads this one until the end.
        let (status, mut stalled) = post(&mut client, "/a.git/git-upload-pack", V2, &body).await;
        assert_eq!(status, 200);
        let mut tasks = Vec::new();
        for _ in 0..4 {
            let (mut client, body) = (client.clone(), body.clone());
            tasks.push(tokio::spawn(async move {
                let fetched = post(&mut client, "/a.git/git-upload-pack", V2, &body).await;
                let (200, mut answer) = fetched else { panic!("{}", fetched.0) };
                read(&mut answer, usize::MAX).await
            }));
        }
        // Gone after its beginning.
        let (_, mut left) = post(&mut client, "/a.git/git-upload-pack", V2, &body).await;
        read(&mut left, 1000).await;
        drop(left);
        let (status, _) = post(&mut client, "/none.git/git-upload-pack", V2, &body).await;
        assert_eq!(status, 404);
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.expect("no panic"));
        }
        answers.push(read(&mut stalled, usize::MAX).await);
        answers
    });
    for (at, answer) in answers.iter().enumerate() {
        let pack = pack_in(answer);
        let clone = git.init_bare(format!("clone-{at}.git"));
        git.ok_with_input(&clone, &["index-pack", "--stdin", "--strict"], &pack);
        git.ok(&clone, &["update-ref", "refs/heads/main", &tip]);
        git.fsck_strict(&clone);
    }
    server.settle(open_files);
}

#[test]
fn a_push_larger_than_the_window_and_one_that_is_given_up() {
    let git = RealGit::new();
    let origin = git.init_bare("srv/a.git");
    let source = Scenario::big_blob(BLOB_BYTES).build(&git, "source.git");
    let tip = git.rev_parse(&source, "main").to_string();
    let push = push_body("refs/heads/main", &tip, &pack_of(&git, &source, "main\n"));
    let server = Serving::start(&git, git.path("srv"), &[]);
    let open_files = server.open_files();
    connected(&server, async |client| {
        let mut ready = client.clone().ready().await.expect("room for a stream");
        let request = Request::post("http://test/a.git/git-receive-pack")
            .header("content-type", "application/x-git-receive-pack-request")
            .body(())
            .expect("a request");
        let (_, mut send) = ready.send_request(request, false).expect("sent");
        send.send_data(Bytes::copy_from_slice(&push[..10_000]), false).expect("sent");
        send.send_reset(Reason::CANCEL);
        // The connection goes on.
        let mut client = client;
        let pushed = post(&mut client, "/a.git/git-receive-pack", &[], &push).await;
        let (200, mut answer) = pushed else { panic!("{}", pushed.0) };
        let text = read(&mut answer, usize::MAX).await;
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains("ok refs/heads/main"), "{text}");
        let compressed = gzip(&fetch_body(&tip, &["no-progress"]));
        let headers = [V2[0], ("content-encoding", "gzip")];
        let (_, mut answer) =
            post(&mut client, "/a.git/git-upload-pack", &headers, &compressed).await;
        assert!(pack_in(&read(&mut answer, usize::MAX).await).starts_with(b"PACK"));
    });
    server.settle(open_files);
    assert_eq!(git.rev_parse(&origin, "main").to_string(), tip);
    git.fsck_strict(&origin);
}
