//! Random lives of two small sites, applied by the real scripts on a real Redis and by the model
//! in `desk_model.rs`, with sockets that are lost and come back: after every call the state, every push, every ack and the rules of
//! `desk_state.rs` must agree. A failure prints the shortest life that shows it and keeps its seed
//! in `proptest-regressions/`. `PROPTEST_CASES=5000` looks for longer.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

use std::{cell::RefCell, collections::BTreeMap};

use anyhow::{Context as _, Result, ensure};
use frontdesk_shared::{
    event::{Event, Kind},
    ids::{
        BootId, ClientId, ConversationId, Lane, MessageId, MessageRef, Shard, Site, StreamId, Uid,
    },
    keys,
    protocol::{
        Lang, Role,
        frame::{Mark, Verb},
        resume::{Position, Seen},
    },
};
use frontdesk_tests::{
    desk_model::{DeskModel, Moment, Told, WRONG_ID},
    desk_state::SiteDump,
    lane_driver::{LaneDriver, Settled, unhurried},
    redis_dump::Dump,
    redis_server::Options,
};
use frontdesk_worker::{
    desk::settings::{DeskSettings, OnStaffLeave, Policy},
    library::Outcome,
};
use proptest::{
    prelude::*,
    test_runner::{FileFailurePersistence, TestRunner},
};

/// Lives per combination of settings, unless PROPTEST_CASES says otherwise.
const CASES: u32 = 100;
/// Most steps of a life.
const STEPS: usize = 100;
/// Longer than anything waits, in seconds.
const LONG: u64 = 8 * 24 * 60 * 60;
const STAFF: usize = 3;
const USERS: usize = 11;
const REGRESSIONS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/proptest-regressions/desk_properties.txt"
);

/// What somebody is told in every run, or the run has shown little.
const TOLD: &[&str] = &[
    "chat_close/closed",
    "chat_close/customer_left",
    "chat_close/customer_timeout",
    "chat_close/staff_offline",
    "chat_close/timeout",
    "close/4004",
    "close/4502",
    "error/bad_max",
    "error/forbidden",
    "error/id_reused",
    "error/bad_field",
    "error/no_conversation",
    "error/no_message",
    "error/no_user",
    "error/which_conversation",
    "error/wrong_role",
    "message/connected",
    "message/customer",
    "message/new_customer",
    "message/no_staff",
    "message/off_duty",
    "message/on_duty",
    "message/queue_full",
    "message/queue_moved",
    "message/queued",
    "message/staff",
    "message/still_queued",
    "message/user",
    "message/your_turn",
    "history/-",
    "snapshot/-",
    "queue_close/staff_offline",
    "recalled/-",
    "receipt/-",
    "welcome/welcome",
];

#[test]
fn shortest_queues_and_closing_follow_the_model() {
    follows_the_model(Policy::Shortest, OnStaffLeave::Close);
}

#[test]
fn shortest_queues_and_requeueing_follow_the_model() {
    follows_the_model(Policy::Shortest, OnStaffLeave::Requeue);
}

#[test]
fn a_shared_queue_and_closing_follow_the_model() {
    follows_the_model(Policy::Shared, OnStaffLeave::Close);
}

#[test]
fn a_shared_queue_and_requeueing_follow_the_model() {
    follows_the_model(Policy::Shared, OnStaffLeave::Requeue);
}

/// What somebody does. Numbers choose among what there is, modulo its count.
#[derive(Debug, Clone)]
enum Act {
    Open {
        gateway: usize,
        english: bool,
    },
    Close {
        socket: usize,
    },
    Lose {
        socket: usize,
    },
    Revoke,
    Resume {
        socket: usize,
        replaces: Option<usize>,
        positions: Vec<Place>,
    },
    StaffOnline {
        socket: usize,
        max: Option<u32>,
        name: bool,
    },
    StaffOffline {
        socket: usize,
    },
    Connect {
        socket: usize,
    },
    Leave {
        socket: usize,
    },
    Say {
        socket: usize,
        text: u8,
        id: Option<u8>,
        which: Which,
    },
    Direct {
        socket: usize,
        to: usize,
        text: u8,
        id: Option<u8>,
    },
    End {
        socket: usize,
        which: Which,
    },
    Mark {
        socket: usize,
        which: Which,
        up_to: u64,
        mark: Mark,
    },
    Recall {
        socket: usize,
        which: Which,
        nth: usize,
        own: bool,
    },
    SkipFrame {
        socket: usize,
    },
    OpenAgain {
        socket: usize,
    },
}

/// A place in a log that a client may name: of which of the latest conversations, how far from its end
/// (beyond it, too), and whether with the id that is there.
#[derive(Debug, Clone)]
struct Place {
    conversation: usize,
    back: usize,
    right: bool,
}

#[derive(Debug, Clone)]
enum Which {
    Unsaid,
    Nth(usize),
    Unknown,
}

#[derive(Debug, Clone)]
enum Step {
    /// A user of a site acts; held events are applied later, with others of their lane.
    User {
        second_site: bool,
        user: usize,
        act: Act,
        hold: bool,
    },
    /// The shard's clock moves on.
    Tick { seconds: u64 },
    /// Applies what was held, in this order of lanes and with so many in a call.
    Release { first: usize, most: usize },
}

/// Unsaid so often of eleven times.
fn which(unsaid: u32) -> impl Strategy<Value = Which> {
    prop_oneof![
        unsaid => Just(Which::Unsaid),
        10 - unsaid => (0..12_usize).prop_map(Which::Nth),
        1 => Just(Which::Unknown),
    ]
}

fn act_of(staff: bool) -> impl Strategy<Value = Act> {
    let socket = 0..3_usize;
    let max = prop_oneof![
        3 => Just(None),
        3 => Just(Some(1)),
        2 => Just(Some(2)),
        2 => (3..=6_u32).prop_map(Some),
    ];
    let place = (0..5_usize, 0..8_usize, proptest::bool::weighted(0.8)).prop_map(
        |(conversation, back, right)| Place {
            conversation,
            back,
            right,
        },
    );
    let positions = proptest::collection::vec(place, 0..4);
    let (duty, queue) = if staff { (25, 1) } else { (1, 30) };
    let say = (
        socket.clone(),
        0..3_u8,
        proptest::option::weighted(0.5, 0..4_u8),
        which(6),
    );
    let mark = prop_oneof![Just(Mark::Delivered), Just(Mark::Read)];
    let mark = (socket.clone(), which(8), 1..20_u64, mark);
    let recall = (
        socket.clone(),
        which(8),
        0..20_usize,
        proptest::bool::weighted(0.8),
    );
    prop_oneof![
        4 => (0..2_usize, any::<bool>())
            .prop_map(|(gateway, english)| Act::Open { gateway, english }),
        3 => socket.clone().prop_map(|socket| Act::Close { socket }),
        6 => socket.clone().prop_map(|socket| Act::Lose { socket }),
        8 => (socket.clone(), proptest::option::weighted(0.3, 0..3_usize), positions)
            .prop_map(|(socket, replaces, positions)| Act::Resume { socket, replaces, positions }),
        duty => (socket.clone(), max, any::<bool>())
            .prop_map(|(socket, max, name)| Act::StaffOnline { socket, max, name }),
        duty.div_ceil(5) => socket.clone().prop_map(|socket| Act::StaffOffline { socket }),
        queue => socket.clone().prop_map(|socket| Act::Connect { socket }),
        2 => socket.clone().prop_map(|socket| Act::Leave { socket }),
        25 => say.prop_map(|(socket, text, id, which)| Act::Say { socket, text, id, which }),
        10 => mark.prop_map(|(socket, which, up_to, mark)| Act::Mark { socket, which, up_to, mark }),
        6 => recall.prop_map(|(socket, which, nth, own)| Act::Recall { socket, which, nth, own }),
        8 => (socket.clone(), 0..=USERS, 0..2_u8, proptest::option::weighted(0.5, 0..6_u8))
            .prop_map(|(socket, to, text, id)| Act::Direct { socket, to, text, id }),
        4 => (socket.clone(), which(6)).prop_map(|(socket, which)| Act::End { socket, which }),
        1 => Just(Act::Revoke),
        1 => socket.clone().prop_map(|socket| Act::SkipFrame { socket }),
        1 => socket.prop_map(|socket| Act::OpenAgain { socket }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let user = (proptest::bool::weighted(0.35), 0..USERS).prop_flat_map(|(staff, n)| {
        let user = if staff { n % STAFF } else { n };
        (Just(user), act_of(user < STAFF))
    });
    let second_site = proptest::bool::weighted(0.12);
    prop_oneof![
        40 => (second_site, user, proptest::bool::weighted(0.15))
            .prop_map(|(second_site, (user, act), hold)| Step::User { second_site, user, act, hold }),
        5 => (0..30_u64).prop_map(|seconds| Step::Tick { seconds }),
        1 => Just(Step::Tick { seconds: LONG }),
        3 => (0..8_usize, 1..5_usize).prop_map(|(first, most)| Step::Release { first, most }),
    ]
}

/// A beginning in which more come than can be served.
fn rush() -> Vec<Step> {
    let user = |user, act| Step::User {
        second_site: false,
        user,
        act,
        hold: false,
    };
    let one = Act::StaffOnline {
        socket: 0,
        max: Some(1),
        name: false,
    };
    let mut steps = vec![user(0, one.clone()), user(1, one)];
    let connect = Act::Connect { socket: 0 };
    steps.extend((STAFF..STAFF + 5).map(|customer| user(customer, connect.clone())));
    steps
}

fn follows_the_model(policy: Policy, on_staff_leave: OnStaffLeave) {
    let settings = DeskSettings {
        policy,
        on_staff_leave,
        queue_limit: 3,
        leave_message: (policy == Policy::Shared) == (on_staff_leave == OnStaffLeave::Close),
        customer_direct: on_staff_leave == OnStaffLeave::Requeue,
        ..unhurried()
    };
    let cases = std::env::var_os("PROPTEST_CASES");
    let config = ProptestConfig {
        cases: cases
            .as_ref()
            .map_or(CASES, |_| ProptestConfig::default().cases),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        max_shrink_iters: 1000,
        ..ProptestConfig::default()
    };
    // Nothing here is about disks.
    let server = Options::default().set("appendonly", "no").start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let lives = (any::<bool>(), proptest::collection::vec(step(), 10..STEPS));
    let seen = RefCell::new(BTreeMap::new());
    let result = TestRunner::new(config).run(&lives, |(busy, mut steps)| {
        if busy {
            steps.splice(0..0, rush());
        }
        let life = runtime.block_on(live(&server.url(), &settings, &steps, &seen));
        life.map_err(|error| TestCaseError::fail(format!("{error:#}")))
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let seen = seen.take();
    for what in TOLD.iter().filter(|_| cases.is_none()) {
        let told = seen.contains_key(*what);
        assert!(
            told,
            "the random lives are too dull: nobody was told {what}: {seen:?}"
        );
    }
}

/// A connection as its gateway sees it: also when its events wait to be applied.
struct Socket {
    client: ClientId,
    sent: u64,
}

struct World {
    driver: LaneDriver,
    sites: [Site; 2],
    models: [DeskModel; 2],
    boots: [BootId; 2],
    sockets: BTreeMap<(usize, usize), Vec<Socket>>,
    /// The last event appended, and whether others wait to be applied.
    latest: StreamId,
    holds: bool,
    prefixes: [String; 2],
    /// What is in Redis after the last call.
    dump: Dump,
    /// The last entry applied in each lane.
    done: BTreeMap<Lane, StreamId>,
    /// How far everybody had got in each conversation.
    marks: [BTreeMap<(String, String), (u64, u64)>; 2],
    /// How often somebody was told what.
    seen: BTreeMap<String, usize>,
}

async fn live(
    url: &str,
    settings: &DeskSettings,
    steps: &[Step],
    seen: &RefCell<BTreeMap<String, usize>>,
) -> Result<()> {
    let mut world = World::new(url, settings).await?;
    for (n, step) in steps.iter().enumerate() {
        let done = world.step(step).await;
        done.with_context(|| format!("step {n}, {step:?}"))?;
    }
    let done = world.everybody_leaves().await;
    done.context("when everybody had left")?;
    for (what, times) in world.seen {
        *seen.borrow_mut().entry(what).or_default() += times;
    }
    Ok(())
}

impl World {
    async fn new(url: &str, settings: &DeskSettings) -> Result<Self> {
        let sites = ["a0".to_owned(), sibling("a0")];
        let mut driver = LaneDriver::connect(url, &sites[0], settings.clone()).await;
        let () = redis::cmd("FLUSHALL")
            .query_async(&mut driver.connection)
            .await?;
        let sites = sites.map(|site| Site::parse(&site).expect("well-formed"));
        Ok(Self {
            dump: driver.dump().await,
            driver,
            prefixes: sites.each_ref().map(keys::site_prefix),
            sites,
            models: [(); 2].map(|()| DeskModel::new(settings.clone())),
            boots: [(); 2].map(|()| BootId::random()),
            sockets: BTreeMap::new(),
            latest: StreamId::ZERO,
            holds: false,
            done: BTreeMap::new(),
            marks: Default::default(),
            seen: BTreeMap::new(),
        })
    }

    async fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::User {
                second_site,
                user,
                act,
                hold,
            } => {
                let place = (usize::from(*second_site), *user);
                let Some(place) = self.somebody_who_can(place, act) else {
                    return Ok(());
                };
                let sockets = self.sockets.get(&place).map_or(0, Vec::len);
                let wanted = match act {
                    Act::Open { .. } => 0,
                    Act::Resume { replaces, .. } => 1 + usize::from(replaces.is_some()),
                    _ => 1,
                };
                for _ in sockets..wanted {
                    let english = false;
                    let gateway = *user % 2;
                    self.act(place, &Act::Open { gateway, english }, *hold)
                        .await?;
                }
                self.act(place, act, *hold).await
            }
            Step::Tick { seconds } => self.tick(*seconds).await,
            Step::Release { first, most } => self.release(*first, *most).await,
        }
    }

    async fn act(&mut self, place: (usize, usize), act: &Act, hold: bool) -> Result<()> {
        let event = Event {
            site: self.sites[place.0].clone(),
            uid: user_name(place.1),
            kind: self.event(place, act),
        };
        let id = self.driver.append_event(&event).await;
        self.latest = id;
        if hold {
            self.holds = true;
            return Ok(());
        }
        let lane = Lane::of(&event.uid);
        let pending = self.driver.pending(lane, 100).await;
        if pending.len() == 1 {
            self.call(lane, 1).await
        } else {
            // What was held before in this lane comes first.
            ensure!(pending.last().is_some_and(|last| last.prepared.id == id));
            self.call(lane, pending.len()).await
        }
    }

    /// Words and ends are mostly from somebody who has a conversation, or little would happen.
    fn somebody_who_can(&self, place: (usize, usize), act: &Act) -> Option<(usize, usize)> {
        let (Act::Say { socket, .. }
        | Act::End { socket, .. }
        | Act::Mark { socket, .. }
        | Act::Recall { socket, .. }) = act
        else {
            return Some(place);
        };
        let users = &self.models[place.0].users;
        let talking: Vec<usize> = (0..USERS)
            .filter(|user| {
                let user = users.get(user_name(*user).as_str());
                user.is_some_and(|user| match &user.duty {
                    Some(duty) => !duty.open.is_empty(),
                    None => user.conversation.is_some(),
                })
            })
            .collect();
        if (place.1 + socket).is_multiple_of(8) {
            return Some(place);
        }
        let somebody = talking.get(place.1.checked_rem(talking.len())?)?;
        Some((place.0, *somebody))
    }

    /// The event of an act, and what it changes in the gateway.
    fn event(&mut self, place: (usize, usize), act: &Act) -> Kind {
        let name = |which: &Which| self.named(place, which);
        let (socket, verb) = match act {
            Act::Open { gateway, english } => {
                let client = ClientId::random(&self.boots[*gateway]);
                self.sockets.entry(place).or_default().push(Socket {
                    client: client.clone(),
                    sent: 0,
                });
                return open(place.1, client, *english);
            }
            Act::Close { socket } | Act::Lose { socket } => {
                let sockets = self.sockets.get_mut(&place).expect("a connection");
                let socket = sockets.remove(socket % sockets.len());
                return Kind::Close {
                    client: socket.client,
                    clean: matches!(act, Act::Close { .. }),
                };
            }
            Act::Revoke => {
                self.sockets.remove(&place);
                return Kind::Revoke { keep_s: 60 };
            }
            Act::Resume {
                socket,
                replaces,
                positions,
            } => {
                let sockets = &self.sockets[&place];
                let one = |n: usize| sockets[n % sockets.len()].client.clone();
                let verb = Verb::Resume {
                    replaces: replaces.map(one),
                    positions: self.positions(place.0, positions),
                };
                (socket, verb)
            }
            Act::OpenAgain { socket } => {
                let sockets = &self.sockets[&place];
                return open(
                    place.1,
                    sockets[socket % sockets.len()].client.clone(),
                    false,
                );
            }
            Act::StaffOnline { socket, max, name } => {
                let name = name.then(|| format!("\"客服{}\"", place.1));
                (socket, Verb::StaffOnline { name, max: *max })
            }
            Act::StaffOffline { socket } => (socket, Verb::StaffOffline),
            Act::Leave { socket } => (socket, Verb::CustomerLeave),
            Act::Say {
                socket,
                text,
                id,
                which,
            } => {
                let verb = Verb::Message {
                    body: format!("\"你好 \\\"{text}\\\"\\n\""),
                    id: id.map(|id| MessageRef::parse(&format!("m{id}")).expect("well-formed")),
                    conversation: name(which),
                };
                (socket, verb)
            }
            Act::Direct {
                socket,
                to,
                text,
                id,
            } => {
                let verb = Verb::Direct {
                    to: user_name(*to),
                    body: format!("\"你好 {text}\""),
                    id: id.map(|id| MessageRef::parse(&format!("m{id}")).expect("well-formed")),
                };
                (socket, verb)
            }
            Act::End { socket, which } => {
                let conversation = name(which);
                (socket, Verb::Close { conversation })
            }
            Act::Mark { socket, .. } | Act::Recall { socket, .. } => {
                (socket, self.mark_or_recall(place, act))
            }
            Act::Connect { socket } | Act::SkipFrame { socket } => (socket, Verb::CustomerConnect),
        };
        let sockets = self.sockets.get_mut(&place).expect("a connection");
        let count = sockets.len();
        let socket = &mut sockets[socket % count];
        let skipped = u64::from(matches!(act, Act::SkipFrame { .. }));
        if skipped == 0 {
            socket.sent += 1;
        }
        Kind::Verb {
            client: socket.client.clone(),
            n: socket.sent + 2 * skipped,
            verb,
        }
    }

    fn mark_or_recall(&self, place: (usize, usize), act: &Act) -> Verb {
        let meant = |which: &Which| {
            let named = self.named(place, which);
            named.unwrap_or_else(|| self.own_conversation(place))
        };
        match act {
            Act::Mark {
                which, up_to, mark, ..
            } => Verb::Mark {
                conversation: meant(which),
                up_to: *up_to,
                mark: *mark,
            },
            Act::Recall {
                which, nth, own, ..
            } => Verb::Recall {
                seq: self.message_of(place, &meant(which), *nth, *own),
                conversation: meant(which),
                message: None,
                id: own.then(|| MessageRef::parse("r1").expect("well-formed")),
            },
            _ => unreachable!("another act"),
        }
    }

    fn named(&self, place: (usize, usize), which: &Which) -> Option<ConversationId> {
        let conversations = &self.models[place.0].names;
        match which {
            Which::Nth(n) if !conversations.is_empty() => {
                let latest = conversations.iter().rev().take(5);
                let name = latest.cycle().nth(*n).and_then(Option::as_deref);
                Some(ConversationId::parse(name.expect("named")).expect("well-formed"))
            }
            Which::Unknown => Some(ConversationId::parse("0.0.1-1.1").expect("well-formed")),
            Which::Nth(_) | Which::Unsaid => None,
        }
    }

    /// A conversation that somebody is in, or none that there is.
    fn own_conversation(&self, place: (usize, usize)) -> ConversationId {
        let model = &self.models[place.0];
        let own = model
            .users
            .get(user_name(place.1).as_str())
            .and_then(|user| {
                let duty = user
                    .duty
                    .as_ref()
                    .and_then(|duty| duty.open.first().copied());
                duty.or(user.conversation)
            });
        let uid = user_name(place.1);
        let direct = || {
            let conversations = model.conversations.iter();
            conversations.enumerate().rev().find(|(_, conversation)| {
                conversation.is_direct() && conversation.members().contains(&uid.as_str())
            })
        };
        let own = own.or_else(|| direct().map(|(conv, _)| conv));
        let name = own.map_or("0.0.1-1.1", |conv| model.name(conv));
        ConversationId::parse(name).expect("well-formed")
    }

    /// The place of the nth message of somebody in a conversation, or else of others, or of any line.
    fn message_of(
        &self,
        place: (usize, usize),
        conversation: &ConversationId,
        nth: usize,
        own: bool,
    ) -> u64 {
        let (model, uid) = (&self.models[place.0], user_name(place.1));
        let known = model
            .names
            .iter()
            .position(|name| name.as_deref() == Some(conversation.as_str()));
        let log = known.map_or(&[][..], |conv| &model.conversations[conv].log);
        let said = (1..)
            .zip(log)
            .filter(|(_, line)| line.kind == "message" && (line.uid == uid.as_str()) == own);
        let said: Vec<u64> = said.map(|(seq, _)| seq).collect();
        let any = nth as u64 + 1;
        let among = nth.checked_rem(said.len());
        among
            .filter(|_| own || !nth.is_multiple_of(3))
            .map_or(any, |nth| said[nth])
    }

    /// Positions in the latest conversations of a site, each named once.
    fn positions(&self, site: usize, places: &[Place]) -> Vec<Position> {
        let model = &self.models[site];
        let dump = SiteDump::new(&self.dump, &self.prefixes[site]);
        let mut positions: Vec<Position> = Vec::new();
        for place in places {
            let latest = (0..model.names.len()).rev().nth(place.conversation);
            let Some(name) = latest.map(|conv| model.name(conv)) else {
                continue;
            };
            let ids = dump.ids(name);
            let seq = (ids.len() + 1).saturating_sub(place.back);
            let id = ids.get(seq.wrapping_sub(1)).filter(|_| place.right);
            let id = id.map_or(WRONG_ID, String::as_str);
            let position = Position {
                conversation: ConversationId::parse(name).expect("well-formed"),
                seen: (seq > 0).then(|| Seen {
                    seq: seq as u64,
                    id: MessageId::parse(id).expect("well-formed"),
                }),
            };
            if positions
                .iter()
                .all(|p| p.conversation != position.conversation)
            {
                positions.push(position);
            }
        }
        positions
    }

    async fn tick(&mut self, seconds: u64) -> Result<()> {
        let fired = self.driver.tick_after(seconds * 1000).await;
        let clock = self.driver.clock().await;
        let (mut expected, mut events) = (Vec::new(), Vec::new());
        for (site, model) in self.sites.iter().zip(&mut self.models) {
            for (uid, lost) in model.give_up(clock) {
                expected.push((site.to_string(), format!("{uid} {lost}")));
            }
            for conv in model.fire(clock) {
                expected.push((site.to_string(), model.name(conv).to_owned()));
            }
        }
        let mut told_to_move = false;
        for lane in Lane::all() {
            for pending in self.driver.pending(lane, 100).await {
                let event = pending.event.expect("well-formed");
                match event.kind {
                    Kind::IdleTimer { conversation } => {
                        events.push((event.site.to_string(), conversation.to_string()));
                    }
                    Kind::LostTimer { lost } => {
                        events.push((event.site.to_string(), format!("{} {lost}", event.uid)));
                    }
                    Kind::QueueMoved => told_to_move = true,
                    _ => {}
                }
            }
        }
        ensure!(
            fired == expected.len() as u64,
            "{fired} timers fired, not {expected:?}"
        );
        for due in &expected {
            ensure!(
                events.contains(due),
                "the timer of {due:?} is not on its way"
            );
        }
        let moved = self.models.iter().any(DeskModel::somebody_moved);
        ensure!(
            told_to_move || !moved,
            "places have changed and nobody is told"
        );
        self.release(0, 8).await
    }

    async fn release(&mut self, first: usize, most: usize) -> Result<()> {
        let lanes: Vec<Lane> = Lane::all().collect();
        for n in 0..lanes.len() {
            let lane = lanes[(first + n) % lanes.len()];
            while !self.driver.pending(lane, 1).await.is_empty() {
                self.call(lane, most).await?;
            }
        }
        self.holds = false;
        Ok(())
    }

    /// One call of the apply script, and everything that must be so after it.
    async fn call(&mut self, lane: Lane, most: usize) -> Result<()> {
        // What waits was appended in an earlier millisecond than this call: so it is certain which
        // messages came before an assignment that this call makes.
        let applied = if self.holds {
            self.driver.pass(self.latest).await
        } else {
            self.latest.ms
        };
        let clock = self.driver.clock().await;
        let settled = self.driver.apply_pending(lane, most).await;
        ensure!(!settled.is_empty(), "nothing was applied");
        for entry in &settled {
            let before = self.done.insert(lane, entry.id);
            ensure!(before < Some(entry.id), "{} is applied twice", entry.id);
        }
        self.dump = self.driver.dump().await;
        let (dump, prefixes) = (self.dump.clone(), self.prefixes.clone());
        let mut told: [Vec<Told>; 2] = [Vec::new(), Vec::new()];
        let mut acks = Vec::new();
        for entry in &settled {
            let event = entry.event.as_ref().expect("well-formed");
            let moment = Moment {
                event: self.driver.event_id(lane, entry.id),
                appended: entry.id.ms,
                applied,
                clock,
            };
            for (n, model) in self.models.iter_mut().enumerate() {
                let everywhere = matches!(event.kind, Kind::QueueMoved);
                if everywhere || self.sites[n] == event.site {
                    let effect = model.apply(event, &moment);
                    SiteDump::new(&dump, &prefixes[n]).name_conversations(model)?;
                    told[n].extend(effect.told);
                    if !everywhere || n == 0 {
                        acks.push((n, entry.clone(), effect.ack));
                    }
                }
            }
        }
        let pushes = self.driver.pushes().await;
        for pushed in &pushes {
            *self.seen.entry(pushed.short()).or_default() += 1;
        }
        let due = dump.sorted(&keys::due(self.driver.shard));
        for (n, prefix) in prefixes.iter().enumerate() {
            let site = SiteDump::new(&dump, prefix);
            site.check_rules()?;
            let of_site = |member: &str| member.split('|').nth(1) == Some(self.sites[n].as_str());
            let due: Vec<_> = due.iter().filter(|(m, _)| of_site(m)).cloned().collect();
            site.check_model(&self.models[n], &due)?;
            let marks = site.marks()?;
            for (whose, before) in &self.marks[n] {
                let now = marks.get(whose).copied().unwrap_or_default();
                ensure!(
                    now.0 >= before.0 && now.1 >= before.1,
                    "marks of {whose:?} went back from {before:?} to {now:?}"
                );
            }
            self.marks[n] = marks;
        }
        self.check_pushes(&dump, &prefixes, &told, &pushes)?;
        for (n, entry, expected) in acks {
            let site = SiteDump::new(&dump, &prefixes[n]);
            match (&entry.outcome, expected) {
                (Outcome::Applied, None) => {}
                (Outcome::Acked(ack), Some(expected)) => {
                    site.check_ack(&self.models[n], &expected, ack)?;
                    check_sender(&entry, ack)?;
                }
                (outcome, expected) => {
                    anyhow::bail!("{outcome:?} instead of {expected:?} for {:?}", entry.event)
                }
            }
        }
        ensure!(
            !dump.0.contains_key(&keys::dead(self.driver.shard)),
            "a dead letter: {:?}",
            dump.stream(&keys::dead(self.driver.shard))
        );
        Ok(())
    }

    fn check_pushes(
        &self,
        dump: &Dump,
        prefixes: &[String; 2],
        told: &[Vec<Told>; 2],
        pushes: &[frontdesk_tests::lane_driver::Pushed],
    ) -> Result<()> {
        let second: Vec<&str> = told[1].iter().map(|told| told.client.as_str()).collect();
        let (of_second, of_first): (Vec<_>, Vec<_>) = pushes
            .iter()
            .cloned()
            .partition(|pushed| second.contains(&pushed.client.as_str()));
        for (n, pushes) in [of_first, of_second].iter().enumerate() {
            let site = SiteDump::new(dump, &prefixes[n]);
            site.check_pushes(&self.models[n], &told[n], pushes)?;
        }
        Ok(())
    }

    async fn everybody_leaves(&mut self) -> Result<()> {
        self.release(0, 32).await?;
        let places: Vec<_> = self.sockets.keys().copied().collect();
        for place in places {
            while !self.sockets[&place].is_empty() {
                self.act(place, &Act::Close { socket: 0 }, false).await?;
            }
        }
        // So are messages that were left.
        self.tick(LONG).await?;
        // Who was lost is given up first; whoever that moved in a queue has left by then.
        self.tick(200).await?;
        self.tick(200).await?;
        let dump = self.driver.dump().await;
        for site in &self.sites {
            SiteDump::new(&dump, &keys::site_prefix(site)).check_empty()?;
        }
        let prefix = keys::shard_prefix(self.driver.shard);
        for name in dump.names(&prefix) {
            let kind = name.split(':').next().unwrap_or_default();
            let stays = ["events", "applied", "clock", "pushes", "site"];
            ensure!(stays.contains(&kind), "{name} is left behind");
        }
        Ok(())
    }
}

fn check_sender(entry: &Settled, ack: &frontdesk_worker::library::Ack) -> Result<()> {
    let kind = entry.event.as_ref().map(|event| &event.kind);
    if let Some(Kind::Verb { client, verb, .. }) = kind
        && let Some(id) = verb.reference()
    {
        ensure!(ack.client == client.as_str() && ack.reference == id.as_str());
        return Ok(());
    }
    anyhow::bail!("an ack for {:?}", entry.event)
}

/// Two of the staff may be customers too, as in open mode; so may some customers be staff.
fn open(user: usize, client: ClientId, english: bool) -> Kind {
    let role = match user {
        2 => Role::Staff,
        8.. => Role::Customer,
        _ => Role::Any,
    };
    let lang = if english { Lang::En } else { Lang::ZhCn };
    Kind::Open {
        client,
        lang,
        role,
        proof: None,
    }
}

fn user_name(user: usize) -> Uid {
    let name = if user < STAFF { "staff" } else { "customer" };
    Uid::parse(&format!("{name}.{user}")).expect("well-formed")
}

/// Another site of the same shard.
fn sibling(site: &str) -> String {
    let shard = Shard::of(&Site::parse(site).expect("well-formed"));
    let names = (1..1000).map(|n| format!("a{n}"));
    let mut siblings = names.filter(|name| Shard::of(&Site::parse(name).expect("ok")) == shard);
    siblings.next().expect("one of a thousand")
}
