//! A member of staff and a customer in conversation.

use frontdesk_tests::{
    client::Client,
    cluster::{Builder, Cluster},
    tokens::token,
};
use serde_json::Value;

use crate::asking::Asker;

/// Two gateways, two workers, sam on duty and alice in conversation with him.
pub struct Scene {
    pub cluster: Cluster,
    pub sam: Client,
    pub alice: Client,
    pub conversation: String,
}

impl Scene {
    pub async fn start(builder: Builder) -> Self {
        let cluster = builder.start().await;
        let last = cluster.gateways.len() - 1;
        let mut sam = Client::connect_with(cluster.addr(0), &token("sam", "staff")).await;
        sam.act("staffOnline").await;
        sam.expect("message", "on_duty").await;
        let alice = token("alice", "customer");
        let mut alice = Client::connect_with(cluster.addr(last), &alice).await;
        alice.act("customerConnect").await;
        let connected = alice.expect("message", "connected").await;
        sam.expect("message", "new_customer").await;
        let conversation = connected["conversation"].as_str().unwrap().to_owned();
        Self {
            cluster,
            sam,
            alice,
            conversation,
        }
    }

    /// Somebody who asks the first gateway.
    pub fn asker(&self, uid: &str, role: &str) -> Asker {
        Asker::new(self.cluster.addr(0), uid, role)
    }

    /// The path of something of the conversation.
    pub fn path(&self, of: &str) -> String {
        format!("conversations/{}/{of}", self.conversation)
    }

    /// The words in the log of the conversation, oldest first.
    pub async fn words(&self) -> Vec<String> {
        let robot = self.asker("archivist", "service");
        let answer = robot.get(&self.path("transcript")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let whole = answer.json();
        assert_eq!(whole["more"], false, "{whole}");
        let entries = whole["entries"].as_array().unwrap().iter();
        let messages = entries.filter(|entry| entry["kind"] == "message");
        let words = messages.map(|entry| entry["message"].as_str().unwrap_or("-").to_owned());
        words.collect()
    }
}

/// A field of an answer as a number.
pub fn number(body: &Value, field: &str) -> u64 {
    body[field]
        .as_u64()
        .unwrap_or_else(|| panic!("{field}: {body}"))
}
