//! The first page of docs/CLIENT.md, as it stands there, in Chromium: an anonymous customer of another
//! origin than the cluster's talks, loads the page again, and goes on.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::Html,
    routing::{get, post},
};
use frontdesk_tests::{client::Client, cluster::Cluster, tokens, wait};
use tokio::{net::TcpListener, task::JoinSet};

use crate::programs::Chromium;

const HANDBOOK: &str = include_str!("../../../docs/CLIENT.md");
/// Tells the test what the page shows, and does what is answered, as its user would.
const HAND: &str = r"
<script type=module>
  for (;;) {
    const answer = await fetch('/seen', { method: 'POST', body: document.body.innerText });
    const words = await answer.text();
    if (words === 'reload') { location.reload(); break; }
    if (words !== '') {
      document.getElementById('words').value = words;
      document.getElementById('say').requestSubmit();
    }
    await new Promise((done) => setTimeout(done, 50));
  }
</script>";

#[derive(Debug, Default)]
struct Hand {
    seen: String,
    next: String,
}

/// Serves one page.
struct Site {
    address: SocketAddr,
    page: Arc<Mutex<String>>,
    hand: Arc<Mutex<Hand>>,
    _serving: JoinSet<()>,
}

impl Site {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (page, hand) = (Arc::<Mutex<String>>::default(), Arc::default());
        let shown = Arc::clone(&page);
        let router = Router::new()
            .route("/", get(async move || Html(lock(&shown).clone())))
            .route("/favicon.ico", get(async || StatusCode::NO_CONTENT))
            .route("/seen", post(seen))
            .with_state(Arc::clone(&hand));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            axum::serve(listener, router).await.expect("it goes on");
        });
        Self {
            address,
            page,
            hand,
            _serving: serving,
        }
    }

    fn does(&self, what: &str) {
        what.clone_into(&mut lock(&self.hand).next);
    }

    /// Waits until the page shows these lines, in this order.
    async fn shows(&self, lines: &[&str]) {
        wait::until(&format!("the page shows {lines:?}"), async || {
            let seen = lock(&self.hand).seen.clone();
            let found: Vec<_> = seen.lines().filter(|line| is_said(line)).collect();
            (found == lines).then_some(())
        })
        .await;
    }
}

fn is_said(line: &str) -> bool {
    line.starts_with("You: ") || line.starts_with("Staff: ")
}

async fn seen(State(hand): State<Arc<Mutex<Hand>>>, body: String) -> String {
    let mut hand = lock(&hand);
    hand.seen = body;
    std::mem::take(&mut hand.next)
}

fn lock<T>(inner: &Mutex<T>) -> MutexGuard<'_, T> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first HTML of the handbook, for this cluster, with a hand on it.
fn page(gateway: SocketAddr) -> String {
    let after = HANDBOOK.split_once("```html\n").expect("a page").1;
    let page = after.split_once("```").expect("its end").0;
    let cluster = "https://chat.example.com";
    assert_eq!(page.matches(cluster).count(), 2);
    page.replace(cluster, &format!("http://{gateway}")) + HAND
}

#[tokio::test]
async fn the_page_of_the_handbook_works() {
    let site = Site::start().await;
    let origin = format!("http://{}", site.address);
    let cluster = Cluster::builder()
        .signed()
        .gateway_setting("allow-origin", &origin);
    let cluster = cluster.start().await;
    *lock(&site.page) = page(cluster.addr(0));
    let mut sam = Client::connect_with(cluster.addr(1), &tokens::token("sam", "staff")).await;
    sam.act("staffOnline").await;
    sam.expect("message", "on_duty").await;
    let chromium = Chromium::start("visitor", &origin, cluster.logs());

    site.does("hello <b>&amp;");
    sam.expect("message", "new_customer").await;
    sam.expect_words("customer", "hello <b>&amp;").await;
    sam.say("hi").await;
    site.shows(&["You: hello <b>&amp; (stored)", "Staff: hi"])
        .await;

    site.does("reload");
    let again = async || lock(&site.hand).next.is_empty().then_some(());
    wait::until("the page has heard of it", again).await;
    lock(&site.hand).seen.clear();
    site.shows(&["You: hello <b>&amp; (stored)", "Staff: hi"])
        .await;
    site.does("still me");
    sam.expect_words("customer", "still me").await;
    sam.say("welcome back").await;
    site.shows(&[
        "You: hello <b>&amp; (stored)",
        "Staff: hi",
        "You: still me (stored)",
        "Staff: welcome back",
    ])
    .await;
    assert_eq!(chromium.console(), Vec::<String>::new());
}
