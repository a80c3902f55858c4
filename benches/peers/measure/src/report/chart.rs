//! A chart for each bench: a panel for each case, a bar for each peer, the best first.

use super::{number, Report, Row, Section, Summary};
use crate::model::{Bench, Figure, Peer};
use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{PathElement, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, IntoFont, RGBColor, TextStyle, WHITE};
use std::error::Error;
use std::fs;
use std::path::Path;

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Drawn = Result<(), Box<dyn Error>>;

pub(super) const OURS: RGBColor = RGBColor(0xd9, 0x48, 0x0f);
pub(super) const PEER: RGBColor = RGBColor(0x74, 0x8c, 0xa6);
const FLOOR: RGBColor = RGBColor(0xcf, 0xd8, 0xe0);
pub(super) const INK: RGBColor = RGBColor(0x22, 0x2b, 0x35);
pub(super) const PALE: RGBColor = RGBColor(0x70, 0x7c, 0x88);
pub(super) const GRID: RGBColor = RGBColor(0xe8, 0xec, 0xf0);

const PANEL_WIDTH: i32 = 560;
const MARGIN: i32 = 20;
const HEADING: i32 = 46;
const LINE: i32 = 17;
const PANEL_HEADING: i32 = 36;
const BAR: i32 = 17;
const STEP: i32 = 24;
const PANEL_FOOT: i32 = 26;
/// Where bars begin in a panel, and the room behind them for the values.
const NAMES: i32 = 156;
const VALUES: i32 = 128;

/// What the figures in parentheses say.
const KEY: &str = "(n×): multitask is n times better";

/// From this ratio on the scale is logarithmic.
const STEEP: f64 = 20.0;

pub fn draw(report: &Report, folder: &Path) -> Drawn {
    fs::create_dir_all(folder)?;
    for (bench, sections) in report.benches() {
        chart(bench, sections, &folder.join(format!("{}.svg", bench.name)))?;
    }
    Ok(())
}

fn chart(bench: &Bench, sections: &[Section], path: &Path) -> Drawn {
    let panel_of = |section| {
        let mut rows = Section::rows(section);
        let shown = rows.iter().position(|row| bench.shown == Some(row.what));
        rows.swap_remove(shown.unwrap_or(0))
    };
    let panels: Vec<Row> = sections.iter().map(panel_of).collect();
    let columns = panels.len().min(2);
    let lines = panels.len().div_ceil(columns);
    let bars = panels.iter().map(|row| row.peers.len()).max();
    let panel_height = PANEL_HEADING + STEP * bars.unwrap_or(0) as i32 + PANEL_FOOT;
    let width = 2 * MARGIN + PANEL_WIDTH * columns as i32;
    let about = wrapped(bench.about, width - 2 * MARGIN);
    let heading = HEADING + LINE * about.len() as i32;
    let height = heading + panel_height * lines as i32 + MARGIN;

    let root = SVGBackend::new(path, (width as u32, height as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    let title = style(18, INK, HPos::Left, FontStyle::Bold);
    root.draw(&Text::new(bench.name, (MARGIN, 24), title))?;
    let key = style(12, PALE, HPos::Right, FontStyle::Italic);
    root.draw(&Text::new(KEY, (width - MARGIN, 24), key))?;
    for (i, line) in about.into_iter().enumerate() {
        let at = (MARGIN, 46 + LINE * i as i32);
        let face = style(13, PALE, HPos::Left, FontStyle::Normal);
        root.draw(&Text::new(line, at, face))?;
    }
    for (i, row) in panels.iter().enumerate() {
        let (column, line) = ((i % columns) as i32, (i / columns) as i32);
        let left = MARGIN + column * PANEL_WIDTH;
        let top = heading + line * panel_height;
        panel(&root, (left, top), row)?;
    }
    root.present()?;
    Ok(())
}

/// In lines of that width, as letters of this size are wide.
fn wrapped(text: &str, width: i32) -> Vec<String> {
    let room = (width / 7) as usize;
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("one at least");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + word.chars().count() < room {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.into());
        }
    }
    lines
}

fn panel(root: &Area, (left, top): (i32, i32), row: &Row) -> Drawn {
    let larger = Figure::larger_is_better(row.unit);
    let mut bars: Vec<_> = row
        .peers
        .iter()
        .filter_map(|(peer, summary)| Some((*peer, summary.ok()?)))
        .collect();
    bars.sort_by(|(_, a), (_, b)| a.median.total_cmp(&b.median));
    if larger {
        bars.reverse();
    }
    let values = bars.iter().map(|(_, summary)| summary.median);
    let scale = Scale::new(values, PANEL_WIDTH - NAMES - VALUES);

    let heading = style(14, INK, HPos::Left, FontStyle::Bold);
    let name = row.title();
    let name_width = if name.is_empty() {
        0
    } else {
        8 * name.chars().count() as i32 + 10
    };
    root.draw(&Text::new(name, (left, top + 14), heading))?;
    let better = if larger {
        "more is better"
    } else {
        "less is better"
    };
    let kind = if scale.logarithmic {
        ", logarithmic scale"
    } else {
        ""
    };
    let unit = format!("{}, {better}{kind}", row.unit);
    root.draw(&Text::new(
        unit,
        (left + name_width, top + 14),
        style(12, PALE, HPos::Left, FontStyle::Normal),
    ))?;

    let (first, bottom) = (
        top + PANEL_HEADING,
        top + PANEL_HEADING + STEP * row.peers.len() as i32,
    );
    grid(root, &scale, left + NAMES, (first - 4, bottom))?;
    let failed = row
        .peers
        .iter()
        .filter_map(|(peer, summary)| Some((*peer, summary.err()?)));
    let mut y = first;
    for (peer, summary) in bars {
        bar(root, (left, y), peer, summary, &scale)?;
        y += STEP;
    }
    for (peer, reason) in failed {
        label(root, (left, y), peer)?;
        let why = style(12, PALE, HPos::Left, FontStyle::Italic);
        root.draw(&Text::new(
            short(reason),
            (left + NAMES + 6, y + BAR / 2),
            why,
        ))?;
        y += STEP;
    }
    Ok(())
}

/// The beginning of a reason.
fn short(reason: &str) -> String {
    let first = reason.split([',', '(']).next().unwrap_or_default().trim();
    first.chars().take(48).collect()
}

fn grid(root: &Area, scale: &Scale, left: i32, (top, bottom): (i32, i32)) -> Drawn {
    for mark in scale.marks() {
        let x = left + scale.length(mark);
        root.draw(&PathElement::new(vec![(x, top), (x, bottom)], GRID))?;
        let below = style(11, PALE, HPos::Center, FontStyle::Normal);
        root.draw(&Text::new(plain(mark), (x, bottom + 9), below))?;
    }
    Ok(())
}

fn label(root: &Area, (left, y): (i32, i32), peer: Peer) -> Drawn {
    let (colour, face) = match peer {
        Peer::Multitask => (OURS, FontStyle::Bold),
        _ => (INK, FontStyle::Normal),
    };
    let name = style(13, colour, HPos::Right, face);
    root.draw(&Text::new(
        peer.name(),
        (left + NAMES - 8, y + BAR / 2),
        name,
    ))?;
    Ok(())
}

fn bar(root: &Area, (left, y): (i32, i32), peer: Peer, summary: Summary, scale: &Scale) -> Drawn {
    label(root, (left, y), peer)?;
    let colour = match peer {
        Peer::Multitask => OURS,
        Peer::Floor => FLOOR,
        _ => PEER,
    };
    let (from, length) = (left + NAMES, scale.length(summary.median).max(2));
    root.draw(&Rectangle::new(
        [(from, y), (from + length, y + BAR)],
        colour.filled(),
    ))?;
    let mut value = number(summary.median);
    if let Some(ratio) = summary.ratio.filter(|_| peer != Peer::Multitask) {
        value += &format!("  ({}×)", number(ratio));
    }
    let at = (from + length + 6, y + BAR / 2);
    root.draw(&Text::new(
        value,
        at,
        style(12, INK, HPos::Left, FontStyle::Normal),
    ))?;
    Ok(())
}

/// From values to pixels.
struct Scale {
    logarithmic: bool,
    least: f64,
    most: f64,
    width: i32,
}

impl Scale {
    fn new(values: impl Iterator<Item = f64>, width: i32) -> Scale {
        let values: Vec<f64> = values.filter(|value| *value > 0.0).collect();
        let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        let logarithmic = most > STEEP * smallest;
        // A bar begins below the smallest, at a power of ten, so that this one is still to be seen.
        let least = if logarithmic {
            10f64.powf((smallest / 1.5).log10().floor())
        } else {
            0.0
        };
        Scale {
            logarithmic,
            least,
            most,
            width,
        }
    }

    fn length(&self, value: f64) -> i32 {
        let part = if self.logarithmic {
            (value / self.least).max(1.0).log10() / (self.most / self.least).log10()
        } else {
            value / self.most
        };
        (part * f64::from(self.width)).round() as i32
    }

    /// Powers of ten, or four or five round numbers.
    fn marks(&self) -> Vec<f64> {
        if !self.most.is_finite() || self.most <= 0.0 {
            return Vec::new();
        }
        if self.logarithmic {
            let powers = std::iter::successors(Some(self.least), |mark| Some(mark * 10.0));
            return powers
                .take_while(|mark| *mark <= self.most * 1.001)
                .collect();
        }
        let power = 10f64.powf((self.most / 4.0).log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
        let step = steps
            .into_iter()
            .find(|step| self.most / step <= 5.0)
            .unwrap_or(self.most);
        (0..)
            .map(|i| f64::from(i) * step)
            .take_while(|mark| *mark <= self.most * 1.001)
            .collect()
    }
}

/// A mark without digits that say nothing.
fn plain(mark: f64) -> String {
    if mark >= 100.0 {
        return number(mark);
    }
    ((mark * 1e6).round() / 1e6).to_string()
}

/// Text centred on the line.
pub(super) fn style(size: i32, colour: RGBColor, at: HPos, face: FontStyle) -> TextStyle<'static> {
    let font = ("sans-serif", size).into_font().style(face);
    font.color(&colour).pos(Pos::new(at, VPos::Center))
}
