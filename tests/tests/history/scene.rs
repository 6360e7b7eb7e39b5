//! A customer and a member of staff who talk, each on a gateway of their own; and what their log says
//! as answers give it.

use frontdesk_tests::{
    client::Client,
    cluster::{Cluster, DEFAULT_SITE},
    conversation_log::{self, Entry},
    tokens::token,
};
use serde_json::{Value, json};

/// A conversation that is under way.
pub struct Scene {
    pub cluster: Cluster,
    pub customer: Client,
    pub staff: Client,
    pub conversation: String,
}

impl Scene {
    /// Two gateways, one worker; `alice` talks to `bob`.
    pub async fn start() -> Self {
        Self::on(Cluster::builder().workers(1).start().await).await
    }

    pub async fn on(cluster: Cluster) -> Self {
        Self::with_places(cluster, 5).await
    }

    /// `bob` takes so many customers at a time.
    pub async fn with_places(cluster: Cluster, places: u32) -> Self {
        let staff = cluster.connect(1, "uid=bob").await;
        let customer = cluster.connect(0, "uid=alice").await;
        Self::between(cluster, customer, staff, places).await
    }

    /// The same with signed identities.
    pub async fn signed(cluster: Cluster) -> Self {
        let staff = Client::connect_with(cluster.addr(1), &token("bob", "staff")).await;
        let customer = Client::connect_with(cluster.addr(0), &token("alice", "customer")).await;
        Self::between(cluster, customer, staff, 5).await
    }

    async fn between(
        cluster: Cluster,
        mut customer: Client,
        mut staff: Client,
        places: u32,
    ) -> Self {
        staff.ask("staffOnline", json!({"max": places})).await;
        staff.expect("message", "on_duty").await;
        let conversation = meet(&mut customer, &mut staff).await;
        Self {
            cluster,
            customer,
            staff,
            conversation,
        }
    }

    /// Both say things in turn; returns when all is stored and seen.
    pub async fn talk(&mut self, texts: &[String]) {
        let said = self.log().await.len();
        for (at, text) in texts.iter().enumerate() {
            let (from, speaker, listener) = if at % 2 == 0 {
                ("customer", &mut self.customer, &mut self.staff)
            } else {
                ("staff", &mut self.staff, &mut self.customer)
            };
            let id = format!("{}:{said}-{at}", self.conversation);
            let payload = json!({"message": text, "id": id, "conversation": self.conversation});
            speaker.ask("message", payload).await;
            speaker.expect_ack(&id).await;
            listener.expect_words(from, text).await;
        }
    }

    /// So many short messages.
    pub async fn chat(&mut self, count: usize) {
        let texts: Vec<_> = (0..count).map(|n| format!("第{n}句 \"<b>\"")).collect();
        self.talk(&texts).await;
    }

    /// The customer leaves.
    pub async fn end(&mut self) {
        self.customer.act("customerLeave").await;
        self.customer.expect("chat_close", "customer_left").await;
        self.staff.expect("chat_close", "customer_left").await;
    }

    pub async fn log(&self) -> Vec<Entry> {
        let mut redis = self.cluster.redis.connect().await;
        conversation_log::read(&mut redis, DEFAULT_SITE, &self.conversation).await
    }

    /// The log as answers give it, oldest first.
    pub async fn entries(&self) -> Vec<Value> {
        as_entries(&self.log().await)
    }
}

/// The customer is connected to this member of staff. Returns the conversation.
pub async fn meet(customer: &mut Client, staff: &mut Client) -> String {
    customer.act("customerConnect").await;
    let connected = customer.expect("message", "connected").await;
    staff.expect("message", "new_customer").await;
    connected["conversation"].as_str().unwrap().to_owned()
}

/// Entries of a log as answers give them.
pub fn as_entries(log: &[Entry]) -> Vec<Value> {
    let mut prev = None;
    let entries = log.iter().map(|entry| {
        let mut json = json!({
            "seq": entry.seq,
            "id": entry.id,
            "time": entry.time.parse::<u64>().unwrap(),
            "kind": entry.kind,
            "from": entry.from,
            "uid": entry.uid,
        });
        if let Some(prev) = prev.replace(entry.id.clone()) {
            json["prev"] = prev.into();
        }
        match entry.kind.as_str() {
            "message" => json["message"] = entry.body.clone().into(),
            "ended" | "requeued" => json["reason"] = entry.body.clone().into(),
            "recalled" => json["of"] = entry.body.parse::<u64>().unwrap().into(),
            _ => {}
        }
        json
    });
    entries.collect()
}

/// Asks for a page of history; `rest` is merged into the payload.
pub async fn history(client: &mut Client, conversation: &str, rest: Value) -> Value {
    ask_history(client, conversation, rest).await;
    let page = client.expect_action("history").await;
    assert_eq!(page["conversation"], conversation);
    page
}

/// Asks and takes nothing.
pub async fn ask_history(client: &mut Client, conversation: &str, rest: Value) {
    let mut payload = json!({"conversation": conversation});
    for (name, value) in rest.as_object().expect("an object") {
        payload[name] = value.clone();
    }
    client.ask("history", payload).await;
}

/// The entries of a page.
pub fn entries_of(page: &Value) -> Vec<Value> {
    page["entries"].as_array().expect("entries").clone()
}
