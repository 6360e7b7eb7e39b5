//! One call of the apply script, and everything that must be so after it.

use anyhow::{Result, ensure};
use frontdesk_shared::{event::Kind, ids::Lane, keys};
use frontdesk_tests::{
    desk_model::{Moment, Told},
    desk_state::SiteDump,
    lane_driver::Settled,
    redis_dump::Dump,
};
use frontdesk_worker::library::{Outcome, Said};

use crate::world::World;

impl World {
    /// One call of the apply script, and everything that must be so after it.
    pub async fn call(&mut self, lane: Lane, most: usize) -> Result<()> {
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
        *self.seen.entry("quick".to_owned()).or_default() += std::mem::take(&mut self.driver.quick);
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
                        acks.push((n, entry.clone(), effect.ack, effect.answer));
                        if effect.again {
                            *self.seen.entry("answer/again".to_owned()).or_default() += 1;
                        }
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
        for (n, entry, ack, answer) in acks {
            let site = SiteDump::new(&dump, &prefixes[n]);
            match (&entry.outcome, ack, answer) {
                (Outcome::Applied, None, None) => {}
                (Outcome::Said(said), None, Some(expected)) => {
                    site.check_answer(&self.models[n], &expected, &said.frame)?;
                    let what = check_asker(&entry, said)?;
                    *self.seen.entry(what).or_default() += 1;
                }
                (Outcome::Acked(ack), Some(expected), None) => {
                    site.check_ack(&self.models[n], &expected, ack)?;
                    check_sender(&entry, ack)?;
                }
                (outcome, ack, answer) => {
                    let expected = (ack, answer);
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

/// The answer is that of who asks. Returns its code or its action.
fn check_asker(entry: &Settled, said: &Said) -> Result<String> {
    let kind = entry.event.as_ref().map(|event| &event.kind);
    let Some(Kind::Request(request)) = kind else {
        anyhow::bail!("an answer for {:?}", entry.event);
    };
    ensure!(said.client == request.client.as_str());
    let frame: serde_json::Value = serde_json::from_str(&said.frame)?;
    let code = frame["payload"]["code"].as_str();
    let action = code.or(frame["action"].as_str());
    Ok(format!("answer/{}", action.unwrap_or_default()))
}
