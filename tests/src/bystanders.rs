//! A conversation next door, which must go on undisturbed whatever is done to others.

use crate::{client::Client, cluster::Cluster};

/// The site of the two.
pub const SITE: &str = "elsewhere";

/// A customer with a member of staff.
pub struct Bystanders {
    customer: Client,
    staff: Client,
    words: u32,
}

impl Bystanders {
    /// They meet, each on the gateway of that place in the cluster.
    pub async fn start(cluster: &Cluster, customers: usize, staffs: usize) -> Self {
        let name = |uid| format!("uid={uid}&site={SITE}");
        let mut staff = cluster.connect(staffs, &name("bystander-s")).await;
        staff.act("staffOnline").await;
        staff.expect("message", "on_duty").await;
        let mut customer = cluster.connect(customers, &name("bystander-c")).await;
        customer.act("customerConnect").await;
        customer.expect("message", "connected").await;
        staff.expect("message", "new_customer").await;
        Self {
            customer,
            staff,
            words: 0,
        }
    }

    /// Both hear each other, and nothing else has come.
    pub async fn talk(&mut self) {
        self.words += 1;
        let words = self.words.to_string();
        self.customer.say(&words).await;
        self.staff.expect_words("customer", &words).await;
        self.staff.say(&words).await;
        self.customer.expect_words("staff", &words).await;
    }
}
