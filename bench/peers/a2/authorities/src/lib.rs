//! Stands in for webpki-roots: the one authority is that of the simulator, PEER_CA.

use rustls_pki_types::TrustAnchor;
use std::sync::LazyLock;

pub static TLS_SERVER_ROOTS: LazyLock<Vec<TrustAnchor<'static>>> = LazyLock::new(|| {
    let file = std::fs::read(std::env::var("PEER_CA").expect("PEER_CA is not set")).expect("PEER_CA cannot be read");
    rustls_pemfile::certs(&mut file.as_slice())
        .map(|one| webpki::anchor_from_trusted_cert(&one.expect("no certificate")).expect("no authority").to_owned())
        .collect()
});
