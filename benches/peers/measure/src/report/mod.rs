//! What was measured, and the forms in which it is shown.

pub mod chart;
pub mod json;
pub mod markdown;
pub mod overview;
pub mod table;

use crate::model::{Bench, Figure, Peer, Scale};

pub struct Report {
    pub scale: Scale,
    /// What the reader has to know, such as who was left out.
    pub remarks: Vec<String>,
    pub sections: Vec<Section>,
}

/// One case of a bench.
pub struct Section {
    pub bench: &'static Bench,
    pub param: &'static str,
    pub peers: Vec<Measured>,
}

pub struct Measured {
    pub peer: Peer,
    /// Or why there is nothing.
    pub measured: Result<Rounds, String>,
}

/// The figures of a peer in one case, each with its values of all rounds that count.
#[derive(Default)]
pub struct Rounds(Vec<Series>);

struct Series {
    what: String,
    unit: String,
    values: Vec<f64>,
}

/// One figure over all rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub rounds: usize,
    /// How many times better ours is, see [`ratio`]; `None` where that cannot be said.
    pub ratio: Option<f64>,
}

/// One thing that was measured in a case, of all peers.
pub struct Row<'a> {
    pub param: &'a str,
    pub what: &'a str,
    pub unit: &'a str,
    pub peers: Vec<(Peer, Result<Summary, &'a str>)>,
}

impl Report {
    pub fn new(scale: Scale) -> Report {
        Report {
            scale,
            remarks: Vec::new(),
            sections: Vec::new(),
        }
    }

    /// The benches in order, each with its sections.
    pub fn benches(&self) -> impl Iterator<Item = (&'static Bench, &[Section])> {
        self.sections
            .chunk_by(|one, next| one.bench.name == next.bench.name)
            .map(|sections| (sections[0].bench, sections))
    }
}

impl Section {
    /// A row for each thing that anybody has a figure of; a single one without figures if nobody has.
    pub fn rows(&self) -> Vec<Row<'_>> {
        let mut heads: Vec<(&str, &str)> = Vec::new();
        for measured in &self.peers {
            for series in measured.measured.iter().flat_map(|rounds| &rounds.0) {
                let head = (series.what.as_str(), series.unit.as_str());
                if !heads.contains(&head) {
                    heads.push(head);
                }
            }
        }
        if heads.is_empty() {
            heads.push(("", ""));
        }
        let ours = |what| {
            let ours = self.peers.iter().find(|peer| peer.peer == Peer::Multitask);
            ours.and_then(|ours| ours.values(what).ok())
        };
        let row = |(what, unit)| Row {
            param: self.param,
            what,
            unit,
            peers: self
                .peers
                .iter()
                .map(|peer| (peer.peer, peer.summary(what, unit, ours(what))))
                .collect(),
        };
        heads.into_iter().map(row).collect()
    }
}

impl Measured {
    fn values(&self, what: &str) -> Result<&[f64], &str> {
        let rounds = self.measured.as_ref().map_err(String::as_str)?;
        let series = rounds.0.iter().find(|series| series.what == what);
        Ok(&series.ok_or("not measured")?.values)
    }

    fn summary(&self, what: &str, unit: &str, ours: Option<&[f64]>) -> Result<Summary, &str> {
        let values = self.values(what)?;
        let ratio = ours.and_then(|ours| ratio(ours, values, unit));
        Ok(Summary {
            ratio,
            ..Summary::of(values)
        })
    }
}

impl Row<'_> {
    /// The case, and what was measured in it where that is several things.
    pub fn title(&self) -> String {
        let names = [self.param, self.what].into_iter();
        names
            .filter(|name| !name.is_empty())
            .collect::<Vec<_>>()
            .join(": ")
    }

    pub fn ours(&self) -> Option<Summary> {
        let ours = self.peers.iter().find(|(peer, _)| *peer == Peer::Multitask);
        ours.and_then(|(_, summary)| summary.ok())
    }
}

/// How many times better `ours` is than `theirs`, below 1 worse: the median of what it is in each round, for a machine that is slow in one is so
/// for both.
fn ratio(ours: &[f64], theirs: &[f64], unit: &str) -> Option<f64> {
    let larger_is_better = Figure::larger_is_better(unit);
    let better = |(ours, theirs): (&f64, &f64)| {
        if larger_is_better {
            ours / theirs
        } else {
            theirs / ours
        }
    };
    let rounds = ours.iter().zip(theirs).map(better);
    let rounds: Vec<f64> = rounds.filter(|ratio| ratio.is_finite()).collect();
    (!rounds.is_empty()).then(|| Summary::of(&rounds).median)
}

impl Rounds {
    pub fn add(&mut self, figures: Vec<Figure>) {
        for figure in figures {
            match self.0.iter_mut().find(|series| series.what == figure.what) {
                Some(series) => series.values.push(figure.value),
                None => self.0.push(Series {
                    what: figure.what,
                    unit: figure.unit,
                    values: vec![figure.value],
                }),
            }
        }
    }
}

impl Summary {
    fn of(values: &[f64]) -> Summary {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        let (middle, last) = (values.len() / 2, values.len() - 1);
        Summary {
            median: (values[middle] + values[last - middle]) / 2.0,
            min: values[0],
            max: values[last],
            rounds: values.len(),
            ratio: None,
        }
    }
}

/// Three digits that count, and thousands set apart.
pub fn number(value: f64) -> String {
    let decimals = match value.abs() {
        value if value >= 99.95 => 0,
        value if value >= 9.995 => 1,
        value if value >= 0.9995 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut apart = String::new();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 {
            apart.push(',');
        }
        apart.push(digit);
    }
    apart + fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_or_between_the_two() {
        assert_eq!(Summary::of(&[9.0, 1.0, 2.0]).median, 2.0);
        assert_eq!(Summary::of(&[9.0, 1.0, 2.0, 4.0]).median, 3.0);
    }

    #[test]
    fn a_round_that_was_slow_for_both_does_not_change_what_they_are_to_each_other() {
        let (ours, theirs) = ([100.0, 50.0, 102.0, 51.0], [50.0, 100.0, 51.0, 25.5]);
        assert_eq!(ratio(&ours, &theirs, "requests/s"), Some(2.0));
        assert_eq!(ratio(&ours, &theirs, "ns"), Some(0.5));
        assert_eq!(ratio(&[0.0, 1.0], &[1.0, 3.0], "ns"), Some(3.0));
        assert_eq!(ratio(&[], &[1.0], "ns"), None);
    }

    #[test]
    fn numbers_have_three_digits_or_all_before_the_point() {
        assert_eq!(number(1_234_567.8), "1,234,568");
        assert_eq!(number(99.96), "100");
        assert_eq!(number(12.345), "12.3");
        assert_eq!(number(1.0), "1.00");
        assert_eq!(number(0.0123), "0.012");
    }
}
