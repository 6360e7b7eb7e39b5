//! Puts the ticks of all processes together: by second, and as a whole.

use crate::{
    count::Counts,
    latency::{Kind, Latencies, Latency},
    outcome::Point,
    process::Tick,
};

/// All ticks of a run.
#[derive(Debug)]
pub(crate) struct Tally {
    /// By process: its ticks.
    members: Vec<Vec<Mark>>,
    /// By second: the latencies of all processes, and of the quiet pair.
    seconds: Vec<Latencies>,
    kind: Kind,
}

/// Where a process was at a tick.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    second: u64,
    elapsed_s: f64,
    counts: Counts,
    cpu_s: f64,
}

impl Tally {
    pub(crate) fn new(members: usize, kind: Kind) -> Self {
        Self {
            members: vec![Vec::new(); members],
            seconds: Vec::new(),
            kind,
        }
    }

    pub(crate) fn add(&mut self, member: usize, tick: &Tick) {
        self.second(tick.second).add(&tick.latencies);
        self.members[member].push(Mark {
            second: tick.second,
            elapsed_s: tick.elapsed_us as f64 / 1e6,
            counts: tick.counts,
            cpu_s: tick.cpu_us as f64 / 1e6,
        });
    }

    /// What the quiet pair measured in a second.
    pub(crate) fn add_probe(&mut self, second: u64, latencies: &Latencies) {
        self.second(second).add(latencies);
    }

    fn second(&mut self, second: u64) -> &mut Latencies {
        let place = usize::try_from(second).unwrap_or(0);
        if self.seconds.len() <= place {
            self.seconds.resize_with(place + 1, Latencies::default);
        }
        &mut self.seconds[place]
    }

    /// The counts at the last ticks.
    pub(crate) fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for marks in &self.members {
            sum.add(&marks.last().copied().unwrap_or_default().counts);
        }
        sum
    }

    /// Completed per second, from the end of second `from` to that of second `to`, not included.
    /// Each process by its own clock: their ticks are not at one moment.
    pub(crate) fn rate(&self, from: u64, to: u64) -> f64 {
        let mut rate = 0.0;
        for marks in &self.members {
            let (begin, end) = (before(marks, from), before(marks, to));
            let seconds = end.elapsed_s - begin.elapsed_s;
            if seconds > 0.0 {
                let completed = end.counts.completed - begin.counts.completed;
                rate += completed as f64 / seconds;
            }
        }
        rate
    }

    /// Processor use by process, in percent of one processor.
    pub(crate) fn own_cpu(&self, from: u64, to: u64) -> Vec<f64> {
        let percent = |marks: &Vec<Mark>| {
            let (begin, end) = (before(marks, from), before(marks, to));
            let seconds = end.elapsed_s - begin.elapsed_s;
            if from == 0 || seconds <= 0.0 {
                return 0.0; // what went before the first tick is preparation
            }
            (end.cpu_s - begin.cpu_s) / seconds * 100.0
        };
        self.members.iter().map(percent).collect()
    }

    /// The latencies from a second on; what ends after the measured time belongs to it, too.
    pub(crate) fn latencies(&self, from: u64) -> Latencies {
        let mut sum = Latencies::default();
        let from = usize::try_from(from).unwrap_or(0);
        for second in self.seconds.iter().skip(from) {
            sum.add(second);
        }
        sum
    }

    /// One point per second that is over.
    pub(crate) fn series(&self) -> Vec<Point> {
        (0..self.seconds.len())
            .map(|second| self.point(second))
            .collect()
    }

    /// The last second of which all processes have told.
    pub(crate) fn last(&self) -> Point {
        let told = |marks: &Vec<Mark>| marks.last().map(|mark| mark.second);
        let second = self.members.iter().map(told).min().flatten();
        let place = second.and_then(|second| usize::try_from(second).ok());
        place.map_or_else(Point::default, |place| self.point(place))
    }

    fn point(&self, second: usize) -> Point {
        let t = u64::try_from(second).unwrap_or(0);
        let Some(latencies) = self.seconds.get(second) else {
            return Point::default();
        };
        let ms = |kind, percentile| {
            let latency: Option<&Latency> = latencies.0.get(&kind);
            latency.map_or(0.0, |latency| latency.ms(percentile))
        };
        Point {
            t: t + 1,
            rate: self.rate(t, t + 1),
            p50_ms: ms(self.kind, 50.0),
            p99_ms: ms(self.kind, 99.0),
            max_ms: ms(self.kind, 100.0),
            probe_ms: ms(Kind::Probe, 99.0),
        }
    }
}

/// Where a process was at the beginning of a second.
fn before(marks: &[Mark], second: u64) -> Mark {
    let earlier = marks.iter().rev().find(|mark| mark.second < second);
    earlier.copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(second: u64, elapsed_us: u64, completed: u64) -> Tick {
        Tick {
            second,
            elapsed_us,
            counts: Counts {
                completed,
                ..Counts::default()
            },
            latencies: Latencies::default(),
            cpu_us: elapsed_us / 2,
        }
    }

    #[test]
    fn rates_leave_the_warm_up_out_and_add_up() {
        let mut tally = Tally::new(2, Kind::Delivery);
        for member in 0..2 {
            tally.add(member, &tick(0, 1_000_000, 5));
            tally.add(member, &tick(1, 2_000_000, 105));
            tally.add(member, &tick(2, 3_000_000, 205));
        }
        assert!((tally.rate(1, 3) - 200.0).abs() < 1e-9);
        assert!((tally.own_cpu(1, 3)[0] - 50.0).abs() < 1e-9);
        assert_eq!(tally.counts().completed, 410);
        assert_eq!(tally.series().len(), 3);
    }
}
