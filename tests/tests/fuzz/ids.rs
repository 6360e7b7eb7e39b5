//! Outside text on its way into keys, channels and scripts.

use frontdesk_shared::{
    ids::{BootId, ClientId, ConversationId, Lane, MessageRef, Shard, Site, StreamId, Uid},
    keys,
    protocol::{Lang, Role},
};
use frontdesk_tests::{
    fuzz::Subject,
    hostile::{id, mutate, pick, text},
};
use rand::Rng;

use super::{
    bounds::{is_id, is_random},
    share,
};

#[test]
fn what_is_no_id_is_refused_and_what_is_one_comes_back() {
    let mut subject = Subject::new("ids", share::IDS, 1);
    for number in subject.numbers() {
        let mut case = subject.case(number);
        let text = input(&mut case.rng);
        let text = text.as_str();
        let site = Site::parse(text);
        assert_eq!(site.is_ok(), is_id(text, "._-"), "{text:?}");
        assert_eq!(Uid::parse(text).is_ok(), is_id(text, "._@-"), "{text:?}");
        assert_eq!(
            MessageRef::parse(text).is_ok(),
            is_id(text, "._:-"),
            "{text:?}"
        );
        assert_eq!(
            ConversationId::parse(text).is_ok(),
            is_id(text, ".-"),
            "{text:?}"
        );
        assert_eq!(BootId::parse(text).is_ok(), is_random(text, 22), "{text:?}");
        let client = ClientId::parse(text);
        assert_eq!(client.is_ok(), is_random(text, 44), "{text:?}");
        if let Ok(client) = client {
            assert_eq!((client.as_str(), client.boot()), (text, &text[..22]));
        }
        if let Ok(uid) = Uid::parse(text) {
            assert_eq!(uid.to_string(), text);
            assert!(Lane::new(Lane::of(&uid).number()).is_some());
        }
        if let Ok(stream) = StreamId::parse(text) {
            assert_eq!(StreamId::parse(&stream.to_string()), Ok(stream));
        }
        let role = Role::parse(text);
        assert!(role.is_none_or(|role| role.as_str() == text));
        for lang in [Lang::from_tag(text), Lang::from_accept_language(text)] {
            assert!(lang.is_none_or(|lang| Lang::from_tag(lang.tag()) == Some(lang)));
            subject.count("a language", usize::from(lang.is_some()));
        }
        if let Ok(site) = &site {
            let expected = format!("{}site:{text}:", keys::shard_prefix(Shard::of(site)));
            assert_eq!(keys::site_prefix(site), expected);
        }
        subject.count(if site.is_ok() { "accepted" } else { "refused" }, 1);
    }
    subject.report(&["accepted", "refused", "a language"]);
}

fn input(rng: &mut impl Rng) -> String {
    const LANGUAGES: &[&str] = &[
        "en",
        "zh-CN",
        "de, en;q=0.5, zh;q=0.9",
        "en;q=nan",
        "zh;q=1e400",
        "zh;q=-1,en;q=0.1",
        "*;q=0,,;",
        "en;q=;q=1",
        "zh_Hant",
        ";;;,en",
    ];
    let valid = match rng.random_range(0..10) {
        0..4 => return text(rng),
        4..6 => (*pick(rng, LANGUAGES)).to_owned(),
        6 => format!("{}-{}", rng.random::<u64>(), rng.random::<u32>()),
        _ => {
            let length = *pick(rng, &[1, 21, 22, 23, 44, 63, 64, 65]);
            id(rng, length)
        }
    };
    if rng.random() {
        return valid;
    }
    let mut bytes = valid.into_bytes();
    mutate(rng, &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
