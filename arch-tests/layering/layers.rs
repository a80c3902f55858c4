//! `layers.txt`, read. Its own first lines say what its words mean.
//!
//! 1. Ranks grow downwards: an entry may import every entry of a greater rank.
//! 2. Of the entries that cover a module the longest path wins, so a module has at most one.

use crate::rules::{Fault, Rule};
use std::collections::BTreeMap;

/// One word of the `[layers]` section.
pub struct Entry {
    pub path: String,
    /// Whether the entry was written `path::self`: the module's own file and nothing inside its folder.
    pub alone: bool,
    pub rank: usize,
    pub line: usize,
}

/// A list of modules given under a name: a line of `[crates]`, or one of `[alone]` under its own name.
pub struct Named {
    pub modules: Vec<String>,
    pub line: usize,
}

#[derive(Default)]
pub struct Layers {
    pub entries: Vec<Entry>,
    /// Modules that import nothing of this crate from outside themselves.
    pub alone: BTreeMap<String, Named>,
    /// For each foreign crate, the modules that may name it.
    pub crates: BTreeMap<String, Named>,
}

impl Layers {
    pub fn parse(text: &str) -> (Self, Vec<Fault>) {
        let mut layers = Self::default();
        let mut faults = Vec::new();
        let mut section = "";
        let mut rank = 0;
        for (index, raw) in text.lines().enumerate() {
            let line = index + 1;
            let words = raw.split('#').next().unwrap_or_default().trim();
            match (words, section) {
                ("", _) => {}
                ("[layers]" | "[alone]" | "[crates]", _) => section = words,
                (_, "[layers]") => rank = layers.add_row(words, rank, line),
                (_, "[alone]") => layers.add_alone(words, line),
                (_, "[crates]") if words.contains(':') => layers.add_crate(words, line),
                _ => faults.push(Fault::in_layers(
                    Rule::Unreadable,
                    line,
                    &format!("cannot read `{words}`"),
                )),
            }
        }
        (layers, faults)
    }

    /// The entry that covers `module`, see 2.
    pub fn entry(&self, module: &str) -> Option<&Entry> {
        self.entries
            .iter()
            .filter(|entry| {
                if entry.alone {
                    entry.path == module
                } else {
                    covers(&entry.path, module)
                }
            })
            .max_by_key(|entry| (entry.path.len(), entry.alone))
    }

    /// The modules the file speaks of, each with its line.
    pub fn mentions(&self) -> impl Iterator<Item = (&String, usize)> {
        let named = self.alone.values().chain(self.crates.values());
        let named = named.flat_map(|named| named.modules.iter().map(|module| (module, named.line)));
        self.entries
            .iter()
            .map(|entry| (&entry.path, entry.line))
            .chain(named)
    }

    /// Adds `a b > c`, which is two ranks, and answers with the next free rank.
    fn add_row(&mut self, row: &str, first_rank: usize, line: usize) -> usize {
        let groups = row.split('>').enumerate();
        for (index, group) in groups.clone() {
            self.entries.extend(group.split_whitespace().map(|word| {
                let own = word.strip_suffix("::self");
                let path = own.unwrap_or(word).to_owned();
                Entry {
                    path,
                    alone: own.is_some(),
                    rank: first_rank + index,
                    line,
                }
            }));
        }
        first_rank + groups.count()
    }

    fn add_alone(&mut self, words: &str, line: usize) {
        for module in words.split_whitespace().map(str::to_owned) {
            self.alone.insert(
                module.clone(),
                Named {
                    modules: vec![module],
                    line,
                },
            );
        }
    }

    fn add_crate(&mut self, words: &str, line: usize) {
        let (name, modules) = words.split_once(':').unwrap_or((words, ""));
        let modules = modules.split_whitespace().map(str::to_owned).collect();
        self.crates
            .insert(name.trim().to_owned(), Named { modules, line });
    }
}

/// Whether `module` is `prefix` or is inside it.
pub fn covers(prefix: &str, module: &str) -> bool {
    module
        .strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}
