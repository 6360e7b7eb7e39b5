//! What people see: the description and the table of problems, without a script.

use crate::asking::{Asker, open};

#[tokio::test]
async fn the_api_describes_itself() {
    let cluster = open().gateways(1).workers(1).start().await;
    let nobody = Asker::nobody(cluster.addr(0));
    let described = nobody.get("openapi.json").await;
    assert_eq!(described.header("content-type"), Some("application/json"));
    assert_eq!(described.json()["openapi"], "3.1.0");
    for (page, says) in [
        ("docs", "POST /api/v1/messages"),
        ("problems", "id=\"key_reused\""),
    ] {
        let answer = nobody.get(page).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains(says), "{page}");
        assert!(!answer.body.contains("<script"), "{page}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
}
