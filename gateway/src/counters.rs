//! The numbers of payloads, by shard: what has arrived, against what was published.
//!
//! Workers number the payloads for a boot per shard, in the script that publishes them
//! (`{sNN}:pushes`). A jump in what arrives shows a hole at the next payload; that the *last*
//! payloads are missing shows only against the stored numbers, which are compared every two
//! seconds: what had been published by the comparison before must have arrived by this one.

use frontdesk_shared::{
    ids::{BootId, SHARDS, Shard},
    keys,
    push::Payload,
    redis::expect_primary,
};
use redis::{RedisError, aio::MultiplexedConnection};

/// The numbers of the last payloads, by shard.
pub(crate) type Numbers = [u64; SHARDS as usize];

/// Reads the stored numbers of a boot for some shards, from the primary: a replica lags, or has
/// stopped. Of the others nothing is due: their number is 0.
pub(crate) async fn stored(
    connection: &mut MultiplexedConnection,
    boot: &BootId,
    of: impl Fn(Shard) -> bool,
) -> Result<Numbers, RedisError> {
    expect_primary(connection).await?;
    let mut numbers = Numbers::default();
    let shards: Vec<Shard> = Shard::all().filter(|shard| of(*shard)).collect();
    if shards.is_empty() {
        return Ok(numbers);
    }
    let mut pipeline = redis::pipe();
    for shard in shards.iter().copied() {
        let number = pipeline.cmd("HGET").arg(keys::pushes(shard));
        number.arg(boot.as_str());
    }
    let found: Vec<Option<u64>> = pipeline.query_async(connection).await?;
    if found.len() != shards.len() {
        return Err((redis::ErrorKind::UnexpectedReturnType, "too few numbers").into());
    }
    for (shard, found) in shards.into_iter().zip(found) {
        numbers[usize::from(shard.number())] = found.unwrap_or(0);
    }
    Ok(numbers)
}

/// What has arrived of one subscription.
#[derive(Debug)]
pub(crate) struct Counters {
    /// Published before the subscription; may arrive or not.
    base: Numbers,
    arrived: Numbers,
    /// Stored at the comparison before.
    due: Numbers,
}

impl Counters {
    /// A subscription that began when these were stored.
    pub(crate) fn since(base: Numbers) -> Self {
        Self {
            base,
            arrived: base,
            due: base,
        }
    }

    /// Whether the payload follows the one before. It is the one to follow from here on.
    pub(crate) fn is_next(&mut self, payload: &Payload) -> bool {
        let shard = usize::from(payload.shard);
        let (Some(last), Some(base)) = (self.arrived.get_mut(shard), self.base.get_mut(shard))
        else {
            return false;
        };
        let number = payload.counter;
        if number == 0 || (number <= *base && *last == *base) {
            return true; // outside the numbering, or from before the subscription
        }
        let follows = number == *last + 1;
        *last = number;
        *base = 0; // from now on each payload follows one that was seen
        follows
    }

    /// Compares with what is stored now; answers the shards with a hole, once each.
    pub(crate) fn compare(&mut self, stored: Numbers) -> Vec<Shard> {
        let due = std::mem::replace(&mut self.due, stored);
        let mut holes = Vec::new();
        for shard in Shard::all() {
            let at = usize::from(shard.number());
            if due[at] > self.arrived[at] {
                self.arrived[at] = due[at];
                holes.push(shard);
            }
        }
        holes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(shard: u8, counter: u64) -> Payload {
        Payload {
            shard,
            counter,
            records: Vec::new(),
        }
    }

    fn at(shard: usize, number: u64) -> Numbers {
        let mut numbers = Numbers::default();
        numbers[shard] = number;
        numbers
    }

    #[test]
    fn a_hole_is_seen_once_and_in_its_shard_only() {
        let mut counters = Counters::since(Numbers::default());
        assert!(counters.is_next(&payload(3, 1)));
        assert!(counters.is_next(&payload(3, 0)), "acks are not numbered");
        assert!(counters.is_next(&payload(3, 2)));
        assert!(counters.is_next(&payload(4, 1)), "each shard counts alone");
        assert!(!counters.is_next(&payload(3, 4)));
        assert!(counters.is_next(&payload(3, 5)));
        assert!(!counters.is_next(&payload(3, 5)), "twice is wrong too");
        assert!(!counters.is_next(&payload(99, 1)), "no such shard");
    }

    #[test]
    fn what_was_published_before_the_subscription_may_arrive_or_not() {
        let mut counters = Counters::since(at(3, 7));
        assert!(counters.is_next(&payload(3, 6)) && counters.is_next(&payload(3, 7)));
        assert!(counters.is_next(&payload(3, 8)));
        assert!(
            !counters.is_next(&payload(3, 7)),
            "numbers that start again are a hole"
        );
        let mut counters = Counters::since(at(3, 7));
        assert!(
            !counters.is_next(&payload(3, 9)),
            "8 came after the subscription"
        );
    }

    #[test]
    fn what_was_due_at_the_comparison_before_must_have_arrived() {
        let mut counters = Counters::since(Numbers::default());
        assert!(
            counters.compare(at(3, 2)).is_empty(),
            "it may be on its way"
        );
        counters.is_next(&payload(3, 1));
        let holes = counters.compare(at(3, 3));
        assert_eq!(
            holes.iter().map(|shard| shard.number()).collect::<Vec<_>>(),
            [3]
        );
        assert!(
            counters.is_next(&payload(3, 3)),
            "counting goes on behind the hole"
        );
        assert!(counters.compare(at(3, 3)).is_empty());
        assert!(counters.compare(at(3, 3)).is_empty());
    }
}
