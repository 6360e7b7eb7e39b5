//! What the rounds found, and the rows that it makes.

use super::{
    servers::System,
    table::{Row, Target, Values},
};

/// Two series: Frontdesk's and the bare relay's.
#[derive(Debug, Default)]
pub(super) struct Both(pub(super) [Values; 2]);

impl Both {
    pub(super) fn put(&mut self, system: System, value: Option<f64>) {
        let place = usize::from(system == System::Bare);
        self.0[place].0.extend(value);
    }
}

/// Figures by what they are of.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) rate: Both,
    pub(super) rate_spread: Both,
    pub(super) cpu: Both,
    pub(super) p50: Both,
    pub(super) p99: Both,
    pub(super) ack_p99: Both,
    pub(super) gateway_memory: Both,
    pub(super) redis_memory: Values,
    pub(super) storm: Both,
    pub(super) at_rest_commands: Values,
    pub(super) at_rest_cpu: Values,
    pub(super) connect_many: Values,
    pub(super) connect_few: Values,
    pub(super) tool_cpu: f64,
}

impl Figures {
    /// Against the targets.
    pub(super) fn rows(&self) -> Vec<Row> {
        let both = |what: &str, unit, both: &Both, target| Row {
            what: what.into(),
            unit,
            frontdesk: both.0[0].clone(),
            other: both.0[1].clone(),
            target,
        };
        let alone = |what: &str, unit, values: &Values, target| Row {
            what: what.into(),
            unit,
            frontdesk: values.clone(),
            other: Values::default(),
            target,
        };
        vec![
            both(
                "relay, closed loop, 1 site",
                "/s",
                &self.rate,
                Target::AtLeast(0.6),
            ),
            both(
                "relay, closed loop, 16 sites",
                "/s",
                &self.rate_spread,
                Target::None,
            ),
            both(
                "CPU of servers and Redis per 100,000 messages at that load, 1 site",
                " s",
                &self.cpu,
                Target::AtMost(1.8),
            ),
            both(
                "delivery at 2,000 messages/s, p50",
                " ms",
                &self.p50,
                Target::AtMost(2.5),
            ),
            both(
                "delivery at 2,000 messages/s, p99",
                " ms",
                &self.p99,
                Target::AtMost(1.5),
            ),
            both(
                "ack at 2,000 messages/s, p99 (bare relay: delivery)",
                " ms",
                &self.ack_p99,
                Target::None,
            ),
            both(
                "gateway memory per idle connection",
                " B",
                &self.gateway_memory,
                Target::AtMost(0.8),
            ),
            alone(
                "Redis memory per idle connection",
                " B",
                &self.redis_memory,
                Target::AtMost(1024.0),
            ),
            both(
                "10,000 connects from cold to welcome",
                "/s",
                &self.storm,
                Target::AtLeast(0.5),
            ),
            Row {
                what: "script call of customerConnect, 1,000 staff: 100,000 waiting against 100"
                    .into(),
                unit: " µs",
                frontdesk: self.connect_many.clone(),
                other: self.connect_few.clone(),
                target: Target::AtMost(2.0),
            },
            alone(
                "Redis commands of an idle cluster of 2 + 2",
                "/s",
                &self.at_rest_commands,
                Target::AtMost(100.0),
            ),
            alone(
                "busiest process of an idle cluster",
                " % CPU",
                &self.at_rest_cpu,
                Target::AtMost(1.0),
            ),
        ]
    }
}
