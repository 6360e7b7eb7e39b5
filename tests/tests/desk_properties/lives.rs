//! What may happen in a life: who does what, and when it is applied.

use frontdesk_shared::protocol::frame::Mark;
use proptest::prelude::*;

/// Longer than anything waits, in seconds.
pub const LONG: u64 = 8 * 24 * 60 * 60;

pub const STAFF: usize = 3;

pub const USERS: usize = 11;

/// What somebody does. Numbers choose among what there is, modulo its count.
#[derive(Debug, Clone)]
pub enum Act {
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
    /// By a request under a key, whether they are here or not.
    Ask {
        act: Box<Act>,
        key: u8,
    },
    /// What was asked before.
    AskAgain {
        nth: usize,
    },
}

/// A place in a log that a client may name: of which of the latest conversations, how far from its end
/// (beyond it, too), and whether with the id that is there.
#[derive(Debug, Clone)]
pub struct Place {
    pub conversation: usize,
    pub back: usize,
    pub right: bool,
}

#[derive(Debug, Clone)]
pub enum Which {
    Unsaid,
    Nth(usize),
    Unknown,
}

#[derive(Debug, Clone)]
pub enum Step {
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

/// What is done in conversations, by a connection or a request.
fn said() -> impl Strategy<Value = Act> {
    let socket = 0..3_usize;
    let say = (
        socket.clone(),
        0..3_u8,
        prop_oneof![
            2 => Just(None),
            2 => (0..4_u8).prop_map(Some), // often one that is known
            3 => (4..100_u8).prop_map(Some),
        ],
        which(6),
    );
    let mark = prop_oneof![Just(Mark::Delivered), Just(Mark::Read)];
    let mark = (socket.clone(), which(8), 1..20_u64, mark);
    let recall = (
        socket.clone(),
        which(8),
        0..20_usize,
        proptest::bool::weighted(0.6),
    );
    let direct = (
        socket.clone(),
        0..=USERS,
        0..2_u8,
        proptest::option::weighted(0.5, 0..6_u8),
    );
    let say = say.prop_map(|(socket, text, id, which)| Act::Say {
        socket,
        text,
        id,
        which,
    });
    let mark = mark.prop_map(|(socket, which, up_to, mark)| Act::Mark {
        socket,
        which,
        up_to,
        mark,
    });
    let recall = recall.prop_map(|(socket, which, nth, own)| Act::Recall {
        socket,
        which,
        nth,
        own,
    });
    let direct = direct.prop_map(|(socket, to, text, id)| Act::Direct {
        socket,
        to,
        text,
        id,
    });
    let end = (socket, which(6)).prop_map(|(socket, which)| Act::End { socket, which });
    prop_oneof![
        25 => say,
        10 => mark,
        6 => recall,
        8 => direct,
        4 => end,
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
        53 => said(),
        20 => (said().prop_map(Box::new), 0..6_u8).prop_map(|(act, key)| Act::Ask { act, key }),
        4 => (0..4_usize).prop_map(|nth| Act::AskAgain { nth }),
        1 => Just(Act::Revoke),
        1 => socket.clone().prop_map(|socket| Act::SkipFrame { socket }),
        1 => socket.prop_map(|socket| Act::OpenAgain { socket }),
    ]
}

pub fn step() -> impl Strategy<Value = Step> {
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

/// How a life begins: anyhow, or so that what is rare by chance alone is near.
pub fn beginning() -> impl Strategy<Value = Vec<Step>> {
    prop_oneof![
        3 => Just(Vec::new()),
        3 => Just(rush()),
        2 => Just(night()),
        2 => Just(mishaps()),
        4 => Just(chat()),
    ]
}

fn user(user: usize, act: Act) -> Step {
    Step::User {
        second_site: false,
        user,
        act,
        hold: false,
    }
}

fn one_place() -> Act {
    Act::StaffOnline {
        socket: 0,
        max: Some(1),
        name: false,
    }
}

/// Messages are left, by the setting, and answered; one of those who have left asks on by a program.
fn night() -> Vec<Step> {
    let mut steps = Vec::new();
    for customer in STAFF..STAFF + 2 {
        steps.push(user(customer, Act::Connect { socket: 0 }));
        steps.push(user(customer, Act::Close { socket: 0 }));
    }
    steps.extend((0..STAFF).map(|staff| user(staff, one_place())));
    let act = Box::new(Act::Say {
        socket: 8 - STAFF, // themselves, not somebody who talks
        text: 0,
        id: None,
        which: Which::Unsaid,
    });
    steps.push(user(STAFF, Act::Ask { act, key: 0 }));
    steps
}

/// Two talk, so that their words go the quick way; what happens then by chance happens to them, too.
fn chat() -> Vec<Step> {
    let online = Act::StaffOnline {
        socket: 0,
        max: Some(2),
        name: false,
    };
    let mut steps = vec![user(0, online), user(STAFF, Act::Connect { socket: 0 })];
    for n in 0..6 {
        for speaker in [STAFF, 0] {
            let say = Act::Say {
                socket: 8 - speaker, // themselves, not somebody who talks
                text: n,
                id: Some(100 + n),
                which: Which::Unsaid,
            };
            steps.push(user(speaker, say));
        }
    }
    steps
}

/// What seldom goes wrong by chance: a full queue, words for nobody in particular, too many places, an id used
/// twice, another's words recalled.
fn mishaps() -> Vec<Step> {
    let say = |text, id| Act::Say {
        socket: 0,
        text,
        id,
        which: Which::Unsaid,
    };
    let recall = |own: bool| Act::Recall {
        socket: 0,
        which: Which::Unsaid,
        nth: usize::from(!own), // 0 of others' is none of theirs
        own,
    };
    let end = Act::End {
        socket: 0,
        which: Which::Unsaid,
    };
    let ask = |act, key| Act::Ask {
        act: Box::new(act),
        key,
    };
    let online = |max| Act::StaffOnline {
        socket: 0,
        max: Some(max),
        name: false,
    };
    let mut steps = vec![user(0, online(2)), user(1, online(6))];
    let connect = Act::Connect { socket: 0 };
    steps.extend((STAFF..STAFF + 6).map(|customer| user(customer, connect.clone())));
    // Who waits, too.
    steps.extend((STAFF..STAFF + 6).map(|customer| user(customer, say(0, Some(1)))));
    steps.extend([
        user(0, say(0, None)),
        user(STAFF, say(1, Some(1))),
        user(STAFF, ask(say(2, None), 1)),
        user(0, recall(false)),
        user(STAFF, ask(recall(true), 2)),
        user(STAFF, ask(end, 3)),
    ]);
    steps
}

/// More come than can be served.
fn rush() -> Vec<Step> {
    let one = one_place();
    let mut steps = vec![user(0, one.clone()), user(1, one)];
    let connect = Act::Connect { socket: 0 };
    steps.extend((STAFF..STAFF + 5).map(|customer| user(customer, connect.clone())));
    steps
}
