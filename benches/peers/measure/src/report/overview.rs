//! One chart of all: how many times better or worse than each peer, a group of bars for each of some benches.

use super::chart::{style, Area, Drawn, GRID, INK, OURS, PALE};
use super::{number, Report, Row, Section};
use crate::model::Peer;
use plotters::backend::SVGBackend;
use plotters::drawing::IntoDrawingArea;
use plotters::element::{PathElement, Rectangle, Text};
use plotters::style::text_anchor::HPos;
use plotters::style::{Color, FontStyle, RGBColor, WHITE};
use std::path::Path;

/// Bench, case, figure, and what the reader is told that it is.
const SHOWN: &[[&str; 4]] = &[
    ["yield", "1,000 tasks", "", "1,000 tasks yield in turn"],
    ["deep_yield", "depth 32", "", "yield, 32 calls deep"],
    ["spawn_join", "", "", "spawn a task, join it"],
    ["skynet", "1 worker", "", "a tree of a million tasks"],
    ["pingpong", "", "", "two tasks, two channels"],
    [
        "stream",
        "capacity 100, 1 worker",
        "",
        "five senders, one receiver",
    ],
    ["ring", "", "", "a ring of 503 tasks"],
    [
        "timers",
        "limit round what suspends",
        "",
        "a time limit round a wait",
    ],
    ["http", "pipelined, 16 deep", "", "HTTP, pipelined"],
    ["echo", "64 connections", "", "echo, 64 connections"],
    ["short", "", "", "short connections"],
    [
        "memory",
        "1,000,000 asleep",
        "per task",
        "memory of a sleeping task",
    ],
];

const PEERS: &[(Peer, RGBColor)] = &[
    (Peer::Tokio, RGBColor(0x4b, 0x6a, 0x8a)),
    (Peer::Go, RGBColor(0x8f, 0xa8, 0xbf)),
    (Peer::May, RGBColor(0xc3, 0xcf, 0xda)),
];

/// From the left edge to the right.
const LEAST: f64 = 0.1;
const MOST: f64 = 1000.0;

const WIDTH: i32 = 860;
const MARGIN: i32 = 20;
const NAMES: i32 = 200;
const VALUES: i32 = 60;
const HEADING: i32 = 74;
const BAR: i32 = 11;
const GROUP: i32 = 3 * BAR + 13;
const FOOT: i32 = 30;

/// Nothing, if none of what it would show was measured.
pub fn draw(report: &Report, path: &Path) -> Drawn {
    let groups: Vec<(&str, Row)> = SHOWN
        .iter()
        .filter_map(|[bench, param, what, name]| {
            let is_it =
                |section: &&Section| section.bench.name == *bench && section.param == *param;
            let section = report.sections.iter().find(is_it)?;
            let row = section.rows().into_iter().find(|row| row.what == *what)?;
            row.ours().map(|_| (*name, row))
        })
        .collect();
    if groups.is_empty() {
        return Ok(());
    }
    let bottom = HEADING + GROUP * groups.len() as i32;
    let size = (WIDTH as u32, (bottom + FOOT) as u32);
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE)?;
    heading(&root)?;
    axis(&root, bottom)?;
    for (i, (name, row)) in groups.iter().enumerate() {
        group(&root, HEADING + GROUP * i as i32, name, row)?;
    }
    root.present()?;
    Ok(())
}

fn heading(root: &Area) -> Drawn {
    let title = style(18, INK, HPos::Left, FontStyle::Bold);
    let text = "How many times better than each peer multitask is";
    root.draw(&Text::new(text, (MARGIN, 24), title))?;
    let face = style(12, PALE, HPos::Left, FontStyle::Normal);
    let text =
        "one worker, one machine, one run; a bar to the left of the line: multitask is worse";
    root.draw(&Text::new(text, (MARGIN, 46), face))?;
    for (i, (peer, colour)) in PEERS.iter().enumerate() {
        let left = WIDTH - MARGIN - 150;
        let top = 16 + 15 * i as i32;
        root.draw(&Rectangle::new(
            [(left, top), (left + 10, top + 10)],
            colour.filled(),
        ))?;
        let face = style(12, INK, HPos::Left, FontStyle::Normal);
        root.draw(&Text::new(peer.name(), (left + 16, top + 5), face))?;
    }
    Ok(())
}

fn axis(root: &Area, bottom: i32) -> Drawn {
    let marks = std::iter::successors(Some(LEAST), |mark| Some(mark * 10.0));
    for mark in marks.take_while(|mark| *mark <= MOST * 1.001) {
        let x = place(mark);
        let colour = if (mark - 1.0).abs() < 0.01 {
            OURS
        } else {
            GRID
        };
        let line = vec![(x, HEADING - 8), (x, bottom)];
        root.draw(&PathElement::new(line, colour))?;
        let below = style(11, PALE, HPos::Center, FontStyle::Normal);
        let text = format!("{}×", (mark * 10.0).round() / 10.0);
        root.draw(&Text::new(text, (x, bottom + 10), below))?;
    }
    Ok(())
}

fn group(root: &Area, top: i32, name: &str, row: &Row) -> Drawn {
    let face = style(13, INK, HPos::Right, FontStyle::Normal);
    let at = (MARGIN + NAMES - 10, top + 3 * BAR / 2);
    root.draw(&Text::new(name, at, face))?;
    for (i, (peer, colour)) in PEERS.iter().enumerate() {
        let y = top + BAR * i as i32;
        let Some((_, summary)) = row.peers.iter().find(|(of, _)| of == peer) else {
            continue;
        };
        let (end, text) = match summary {
            Ok(summary) => match summary.ratio {
                Some(ratio) => (place(ratio), format!("{}×", number(ratio))),
                None => continue,
            },
            Err(reason) => (place(1.0), (*reason).into()),
        };
        let (from, to) = (end.min(place(1.0)), end.max(place(1.0)));
        root.draw(&Rectangle::new(
            [(from, y), (to, y + BAR - 1)],
            colour.filled(),
        ))?;
        let face = style(10, INK, HPos::Left, FontStyle::Normal);
        root.draw(&Text::new(text, (to + 5, y + BAR / 2), face))?;
    }
    Ok(())
}

/// Where on the axis a ratio is.
fn place(ratio: f64) -> i32 {
    let part = (ratio / LEAST).log10() / (MOST / LEAST).log10();
    let length = f64::from(WIDTH - 2 * MARGIN - NAMES - VALUES);
    MARGIN + NAMES + (part.clamp(0.0, 1.0) * length).round() as i32
}
