//! Which worker should read which lane: rendezvous hashing, with a bound on how many lanes of one
//! shard a worker gets, so that one busy site (one shard) is spread evenly too.
//!
//! Every worker computes the same from the same list; when one comes or goes, about its share moves.

use std::collections::BTreeSet;

use frontdesk_shared::ids::{LANES, Lane, Shard};
use xxhash_rust::xxh64::xxh64;

use super::Lanes;

/// The lanes of `shard` that `me` should read.
pub fn share(workers: &BTreeSet<String>, me: &str, shard: Shard) -> Lanes {
    if workers.is_empty() {
        return Lanes::new();
    }
    let most = usize::from(LANES).div_ceil(workers.len());
    let mut wishes: Vec<(u64, &str, Lane)> = workers
        .iter()
        .flat_map(|worker| {
            Lane::all().map(move |lane| (weight(worker, shard, lane), worker.as_str(), lane))
        })
        .collect();
    wishes.sort_unstable_by(|a, b| b.cmp(a));
    let mut taken = Lanes::new();
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    let mut mine = Lanes::new();
    for (_, worker, lane) in wishes {
        let count = counts.entry(worker).or_default();
        if *count == most || taken.contains(&lane) {
            continue;
        }
        *count += 1;
        taken.insert(lane);
        if worker == me {
            mine.insert(lane);
        }
    }
    mine
}

fn weight(worker: &str, shard: Shard, lane: Lane) -> u64 {
    let seed = u64::from(shard.number()) * u64::from(LANES) + u64::from(lane.number());
    xxh64(worker.as_bytes(), seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(n: usize) -> BTreeSet<String> {
        (0..n).map(|i| format!("worker-{i}")).collect()
    }

    #[test]
    fn every_lane_has_exactly_one_worker_and_shares_are_even() {
        for n in 1..=12 {
            let workers = workers(n);
            for shard in Shard::all() {
                let shares: Vec<Lanes> =
                    workers.iter().map(|w| share(&workers, w, shard)).collect();
                let total: usize = shares.iter().map(Lanes::len).sum();
                let union: Lanes = shares.iter().flatten().copied().collect();
                assert_eq!((total, union.len()), (8, 8), "{n} workers, {shard:?}");
                assert!(shares.iter().all(|s| s.len() <= 8usize.div_ceil(n)));
            }
        }
    }

    #[test]
    fn few_lanes_move_when_a_worker_comes() {
        let (three, four) = (workers(3), workers(4));
        let moved: usize = Shard::all()
            .map(|shard| {
                let kept = three.iter().map(|w| {
                    share(&three, w, shard)
                        .intersection(&share(&four, w, shard))
                        .count()
                });
                8 - kept.sum::<usize>()
            })
            .sum();
        assert!(moved <= 128 / 2, "{moved} of 128 lanes moved");
    }

    #[test]
    fn nobody_alive_means_no_share() {
        assert!(share(&BTreeSet::new(), "x", Shard::all().next().expect("a shard")).is_empty());
    }
}
