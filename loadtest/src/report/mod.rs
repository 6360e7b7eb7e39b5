//! The report for people: one HTML file with plots, which needs nothing else to be looked at.

pub(crate) mod html;
pub(crate) mod plot;
