//! Receivers by https: with a certificate that the worker's machine trusts, and with one that it does not.

use std::fs;

use frontdesk_tests::{child::Child, ports::Port, redis_server::find_program, wait};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::site::{builder, customer, hook, kept, say, staff};

/// Says 204 to each POST, and writes its body.
const SERVER: &str = r"
import http.server, ssl, sys
class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers['content-length']))
        print('got', body.decode(), file=sys.stderr, flush=True)
        self.send_response(204)
        self.end_headers()
server = http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Receiver)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
server.socket = context.wrap_socket(server.socket, server_side=True)
print('listens', file=sys.stderr, flush=True)
server.serve_forever()
";

fn authority() -> (Issuer<'static, KeyPair>, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (Issuer::new(params, key), certificate.pem())
}

#[tokio::test]
async fn a_receiver_by_https_is_one_whose_certificate_is_trusted() {
    let dir = tempfile::tempdir().expect("the temporary directory is writable");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (issuer, ca) = authority();
    let (_, stranger) = authority();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let server = server.signed_by(&key, &issuer).unwrap();
    for (name, text) in [
        ("ca.crt", &ca),
        ("stranger.crt", &stranger),
        ("server.crt", &server.pem()),
        ("server.key", &key.serialize_pem()),
    ] {
        fs::write(path(name), text).expect("writable");
    }
    let port = Port::lease();
    let args = [
        "-c".to_owned(),
        SERVER.to_owned(),
        port.number().to_string(),
        path("server.crt"),
        path("server.key"),
    ];
    let log = dir.path().join("receiver.log");
    let receiver = Child::start("receiver", &find_program("python3"), &args, &[], &log);
    wait::until("it listens", async || {
        receiver.log().contains("listens").then_some(())
    })
    .await;

    let mut cluster = builder().workers(1).start().await;
    let trusts = |name: &str| vec![("SSL_CERT_FILE".to_owned(), path(name))];
    cluster.replace_worker_with(0, trusts("stranger.crt"));
    cluster.workers[0].ready().await;
    let url = format!("https://localhost:{}/", port.number());
    let hook = hook(&cluster, &url, &["message.created"]).await;
    let mut sam = staff(&cluster, "sam").await;
    let (mut alice, _) = customer(&cluster, &mut sam, "alice").await;
    say(&mut alice, &mut sam, "to a stranger").await;
    wait::until("it is parked", async || {
        let parked = kept(&cluster, "XLEN", &hook, "parked").await;
        (parked == 1).then_some(())
    })
    .await;
    assert!(!receiver.log().contains("got"));
    assert!(cluster.workers[0].child.log().contains("no connection"));

    cluster.replace_worker_with(0, trusts("ca.crt"));
    cluster.workers[0].ready().await;
    say(&mut alice, &mut sam, "to a friend").await;
    wait::until("it comes", async || {
        receiver.log().contains("to a friend").then_some(())
    })
    .await;
}
