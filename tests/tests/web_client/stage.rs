//! Where the clients under test are led from: a small server that gives pages their scripts and tokens,
//! takes what happened to their people, and answers what to do next.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::{Query, State},
    http::header,
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use frontdesk_tests::{
    cluster::DEFAULT_SITE,
    drill::{Act, Guests, Settled, history::What},
    tokens, wait,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// Tokens are short here, so that they are renewed all the time.
const TOKEN_S: u64 = 25;

/// Somebody who lives in a page.
#[derive(Debug, Clone, Copy)]
pub struct Person {
    pub uid: &'static str,
    pub role: &'static str,
    /// For staff: how many customers at a time.
    pub max: usize,
}

/// A page, or a process of Node.
#[derive(Debug)]
struct Page {
    people: Vec<Person>,
    settled: Arc<Settled>,
    /// How often it was loaded; what is said of earlier loads comes too late.
    load: u64,
    live: bool,
    reload: bool,
    bye: bool,
    /// Open sockets: (number of the person, its own number) to the drill's number.
    sockets: BTreeMap<(u64, u64), u64>,
    /// The present people by their numbers.
    present: BTreeMap<u64, Person>,
    /// What their clients said last of their state.
    states: BTreeMap<u64, String>,
    problems: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Inner {
    pages: BTreeMap<String, Page>,
    /// Numbers that people have had: each load of a page makes new devices.
    people: u64,
    urls: Vec<String>,
    guests: Option<Guests>,
}

/// See the head of this file.
#[derive(Debug)]
pub struct Stage {
    pub address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    serving: JoinHandle<()>,
}

type Asked = Query<BTreeMap<String, String>>;
type Shared = State<Arc<Mutex<Inner>>>;

impl Stage {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let inner = Arc::<Mutex<Inner>>::default();
        let router = Router::new()
            .route("/", get(async || Html(include_str!("page/index.html"))))
            .route(
                "/crowd.mjs",
                get(async || script(include_str!("page/crowd.mjs"))),
            )
            .route(
                "/person.mjs",
                get(async || script(include_str!("page/person.mjs"))),
            )
            .route("/enter", get(enter))
            .route("/token", get(token))
            .route("/report", post(report))
            .with_state(Arc::clone(&inner));
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it goes on");
        });
        Self {
            address,
            inner,
            serving,
        }
    }

    /// The page's origin.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Who records, and where the gateways are.
    pub fn open(&self, guests: Guests, urls: Vec<String>) {
        let mut inner = lock(&self.inner);
        inner.guests = Some(guests);
        inner.urls = urls;
    }

    /// Whom a page will hold. Returns what says that they have settled.
    pub fn cast(&self, page: &str, people: &[Person]) -> Arc<Settled> {
        let settled = Arc::new(Settled::new(format!("page {page}")));
        let cast = Page::new(people.to_vec(), Arc::clone(&settled));
        lock(&self.inner).pages.insert(page.to_owned(), cast);
        settled
    }

    /// Ends when a page has said goodbye.
    pub fn gone(&self, page: &str) -> impl Future<Output = ()> + Send + 'static {
        let (inner, page) = (Arc::clone(&self.inner), page.to_owned());
        async move {
            // The drill waits for it with a deadline.
            while !lock(&inner).pages[&page].bye {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Whether everybody is connected and knows how everything stands.
    pub fn all_live(&self) -> bool {
        lock(&self.inner).pages.values().all(|page| page.live)
    }

    /// The state of everybody, for who waits in vain.
    pub fn states(&self) -> Vec<String> {
        let inner = lock(&self.inner);
        let each = inner.pages.values().flat_map(|page| {
            let states = page.states.iter();
            states.map(|(number, state)| format!("{} {state}", page.present[number].uid))
        });
        each.collect()
    }

    /// Forgets who was live, so that it has to be said again.
    pub fn ask_again(&self) {
        let mut inner = lock(&self.inner);
        inner.pages.values_mut().for_each(|page| page.live = false);
    }

    /// Has a page loaded again; returns once it is.
    pub async fn reload(&self, name: &str) {
        let load = {
            let mut inner = lock(&self.inner);
            let page = inner.pages.get_mut(name).expect("a page that was cast");
            page.reload = true;
            page.load
        };
        wait::until(&format!("{name} loads again"), async || {
            (lock(&self.inner).pages[name].load > load).then_some(())
        })
        .await;
    }

    /// What clients told their pages as an error, of all pages.
    pub fn problems(&self) -> BTreeSet<String> {
        let inner = lock(&self.inner);
        let pages = inner.pages.values();
        pages.flat_map(|page| page.problems.clone()).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

fn script(text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, "text/javascript")], text).into_response()
}

/// A page begins: its people come as new devices, and the sockets of those before are lost.
async fn enter(State(inner): Shared, Query(asked): Asked) -> String {
    let mut inner = lock(&inner);
    let inner = &mut *inner;
    let page = inner
        .pages
        .get_mut(&asked["page"])
        .expect("a page that was cast");
    let guests = inner.guests.as_ref().expect("the stage is open");
    for ((number, _), socket) in std::mem::take(&mut page.sockets) {
        let who = who(&page.present[&number]);
        guests.note(&who, socket, What::Lost("the page is loaded again".into()));
    }
    page.load += 1;
    page.reload = false;
    page.live = false;
    page.settled.set(Some("another load"));
    page.present.clear();
    page.states.clear();
    let mut people = Vec::new();
    for person in &page.people {
        inner.people += 1;
        page.present.insert(inner.people, *person);
        people.push(json!({
            "uid": person.uid, "role": person.role, "max": person.max, "number": inner.people, "urls": inner.urls,
        }));
    }
    json!({ "load": page.load, "people": people }).to_string()
}

/// The app's own address for tokens: it knows who is signed in.
async fn token(Query(asked): Asked) -> String {
    let mut claims = tokens::claims(&asked["uid"], &asked["role"]);
    claims["exp"] = json!(tokens::now_s() + TOKEN_S);
    tokens::signed(&claims)
}

/// What happened, in order; answered with what to do.
async fn report(State(inner): Shared, Query(asked): Asked, body: String) -> &'static str {
    let report: Value = serde_json::from_str(&body).expect("a report is JSON");
    let mut inner = lock(&inner);
    let inner = &mut *inner;
    let page = inner
        .pages
        .get_mut(&asked["page"])
        .expect("a page that was cast");
    let guests = inner.guests.as_ref().expect("the stage is open");
    if report["load"].as_u64() != Some(page.load) {
        return "leave";
    }
    for record in report["records"].as_array().into_iter().flatten() {
        page.take(guests, record);
    }
    page.live = report["live"] == true;
    page.bye |= report["bye"] == true;
    let settled = report["settled"] == true;
    page.settled
        .set((!settled).then_some("something by its people's account"));
    match guests.act() {
        Act::Leave => "leave",
        Act::Settle => "settle",
        Act::Live if std::mem::take(&mut page.reload) => "reload",
        Act::Live => "live",
    }
}

impl Page {
    fn new(people: Vec<Person>, settled: Arc<Settled>) -> Self {
        Self {
            people,
            settled,
            load: 0,
            live: false,
            reload: false,
            bye: false,
            sockets: BTreeMap::new(),
            present: BTreeMap::new(),
            states: BTreeMap::new(),
            problems: BTreeSet::new(),
        }
    }

    fn take(&mut self, guests: &Guests, record: &Value) {
        let number = record["number"].as_u64().expect("people have numbers");
        let who = who(&self.present[&number]);
        let key = (number, record["socket"].as_u64().unwrap_or_default());
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        let socket = self.sockets.get(&key).copied().unwrap_or_default();
        match record["k"].as_str().expect("records have a kind") {
            "socket" => {
                let socket = guests.socket(&format!("{who}#{number}"));
                self.sockets.insert(key, socket);
            }
            "said" => {
                let (reference, words) = (text("reference"), text("words"));
                guests.note(&who, socket, What::Said { reference, words });
            }
            "did" => guests.note(&who, socket, What::Did(text("frame"))),
            "told" => guests.note(&who, socket, What::Told(record["frame"].clone())),
            "lost" | "left" => {
                self.sockets.remove(&key);
                let lost = record["k"] == "lost";
                let what = if lost {
                    What::Lost("lost".into())
                } else {
                    What::Left
                };
                guests.note(&who, socket, what);
            }
            "state" => {
                let change = text("change");
                self.states.insert(number, change.clone());
                guests.note(&who, socket, What::Did(change));
            }
            "problem" => drop(self.problems.insert(text("problem"))),
            other => panic!("unknown record {other}"),
        }
    }
}

fn who(person: &Person) -> String {
    format!("{DEFAULT_SITE}/{}", person.uid)
}
