//! The rules, and what is said of code that breaks them.

use crate::imports::{Import, Target};
use crate::layers::{covers, Layers};
use crate::source::{attributes, is_for_tests, Files, Path, Source};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use syn::Item;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// An import goes to a lower layer.
    Upwards,
    /// Modules of one row do not know each other.
    Sibling,
    /// The modules of one entry, and all others, form no cycle.
    Cycle,
    /// A module listed as alone imports nothing of this crate from outside itself.
    Alone,
    /// Nothing goes through the re-exports of `lib.rs`.
    Root,
    /// `lib.rs` holds docs, `mod` and `use`.
    RootItem,
    /// A foreign crate is named where `[crates]` says.
    Crate,
    /// No module hands on a whole foreign crate.
    WholeCrate,
    /// Every module and every dependency has its place in `layers.txt`.
    Unlisted,
    /// Every name in `layers.txt` stands for something, once.
    Stale,
    /// Every file under `src/` is a module.
    Unreached,
    /// Everything can be read.
    Unreadable,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    pub file: String,
    pub line: usize,
    pub what: String,
    pub rule: Rule,
}

impl Fault {
    pub fn new(rule: Rule, file: &str, line: usize, what: &str) -> Self {
        Self {
            file: format!("src/{file}"),
            line,
            what: what.to_owned(),
            rule,
        }
    }

    pub fn in_layers(rule: Rule, line: usize, what: &str) -> Self {
        Self {
            file: "arch-tests/layers.txt".to_owned(),
            line,
            what: what.to_owned(),
            rule,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{}:{}: {} ({:?})",
            self.file, self.line, self.what, self.rule
        )
    }
}

/// Everything wrong with a crate of these files, dependencies and layers, in the order of files and lines.
pub fn check(files: &Files, dependencies: &BTreeSet<String>, layers: &str) -> Vec<Fault> {
    let source = Source::read(files, dependencies.clone());
    let (layers, faults) = Layers::parse(layers);
    let mut faults: BTreeSet<Fault> = faults
        .into_iter()
        .chain(source.faults.iter().cloned())
        .collect();
    faults.extend(root_items(files));
    faults.extend(unlisted(&source, &layers));
    faults.extend(stale(&source, &layers));
    let mut downwards = Vec::new();
    for import in &source.imports {
        faults.extend(against_alone(&layers, import));
        match against_layers(&source, &layers, import) {
            Some(fault) => drop(faults.insert(fault)),
            // One that goes up is told of once, not with every circle that it closes.
            None => downwards.push(import),
        }
    }
    faults.extend(cycles(&downwards));
    faults.into_iter().collect()
}

fn root_items(files: &Files) -> Vec<Fault> {
    let root = files
        .get("lib.rs")
        .and_then(|text| syn::parse_file(text).ok());
    let mut items: Vec<Item> = root.map(|root| root.items).unwrap_or_default();
    let mut faults = Vec::new();
    while let Some(item) = items.pop() {
        match item {
            item if is_for_tests(attributes(&item)) => {}
            Item::Use(_) | Item::ExternCrate(_) => {}
            Item::Mod(module) => {
                items.extend(module.content.into_iter().flat_map(|(_, items)| items))
            }
            other => {
                let line = syn::spanned::Spanned::span(&other).start().line;
                faults.push(Fault::new(
                    Rule::RootItem,
                    "lib.rs",
                    line,
                    "lib.rs holds more than docs, `mod` and `use`",
                ));
            }
        }
    }
    faults
}

fn unlisted(source: &Source, layers: &Layers) -> Vec<Fault> {
    let listed = |module: &Path| layers.entry(&module.join("::")).is_some();
    let inner = source
        .modules
        .iter()
        .filter(|(module, _)| !module.is_empty() && !source.folders.contains(*module));
    let modules = inner
        .filter(|(module, _)| !listed(module))
        .map(|(module, file)| {
            let what = format!(
                "no row of layers.txt names the module {}",
                module.join("::")
            );
            Fault::new(Rule::Unlisted, file, 1, &what)
        });
    let crates = source
        .crates
        .iter()
        .filter(|name| !layers.crates.contains_key(*name))
        .map(|name| {
            Fault::in_layers(
                Rule::Unlisted,
                1,
                &format!("[crates] does not say who may name the dependency {name}"),
            )
        });
    modules.chain(crates).collect()
}

fn stale(source: &Source, layers: &Layers) -> Vec<Fault> {
    let known: BTreeSet<String> = source
        .modules
        .keys()
        .map(|module| module.join("::"))
        .collect();
    let gone = layers
        .mentions()
        .filter(|(module, _)| module.is_empty() || !known.contains(*module));
    let gone = gone.map(|(module, line)| (line, format!("there is no module {module}")));
    let foreign = layers
        .crates
        .iter()
        .filter(|(name, _)| !source.crates.contains(*name));
    let foreign =
        foreign.map(|(name, named)| (named.line, format!("there is no dependency {name}")));
    let mut seen = BTreeSet::new();
    let twice = layers
        .entries
        .iter()
        .filter(|entry| !seen.insert((&entry.path, entry.alone)));
    let twice = twice.map(|entry| (entry.line, format!("{} has a row already", entry.path)));
    let all = gone.chain(foreign).chain(twice);
    all.map(|(line, what)| Fault::in_layers(Rule::Stale, line, &what))
        .collect()
}

fn against_layers(source: &Source, layers: &Layers, import: &Import) -> Option<Fault> {
    let from = import.from.join("::");
    let fault = |rule, to: &str, why: &str| {
        let importer = if from.is_empty() { "lib.rs" } else { &from };
        Some(Fault::new(
            rule,
            &import.file,
            import.line,
            &format!("{importer} imports {to}: {why}"),
        ))
    };
    match &import.to {
        Target::WholeCrate(name) => fault(
            Rule::WholeCrate,
            name,
            "and hands the whole crate on, past [crates]",
        ),
        Target::Crate(name) => {
            let named = layers.crates.get(name)?;
            let allowed = named.modules.iter().any(|module| covers(module, &from));
            let why = format!("only {} may", named.modules.join(", "));
            if allowed {
                None
            } else {
                fault(Rule::Crate, name, &why)
            }
        }
        Target::Module(_) if import.from.is_empty() => None,
        Target::Module(to) if to.is_empty() => fault(
            Rule::Root,
            "the crate's root",
            "name the defining module instead of a re-export",
        ),
        Target::Module(to) if source.folders.contains(to) => None,
        Target::Module(to) => {
            let to = to.join("::");
            let (above, below) = (layers.entry(&from)?, layers.entry(&to)?);
            match above.rank.cmp(&below.rank) {
                Ordering::Less => None,
                Ordering::Equal if std::ptr::eq(above, below) => None,
                Ordering::Equal => fault(Rule::Sibling, &to, "they stand in one row"),
                Ordering::Greater => fault(Rule::Upwards, &to, "it stands in a higher row"),
            }
        }
    }
}

fn against_alone(layers: &Layers, import: &Import) -> Option<Fault> {
    let (from, Target::Module(to)) = (import.from.join("::"), &import.to) else {
        return None;
    };
    let alone = layers.alone.keys().find(|module| covers(module, &from))?;
    let to = to.join("::");
    let what = format!("{from} imports {to}: {alone} knows nothing of this crate outside itself");
    (!covers(alone, &to)).then(|| Fault::new(Rule::Alone, &import.file, import.line, &what))
}

/// One fault for each cycle, at the import that closes it.
fn cycles(imports: &[&Import]) -> Vec<Fault> {
    let mut graph: BTreeMap<&Path, BTreeMap<&Path, &Import>> = BTreeMap::new();
    for import in imports
        .iter()
        .copied()
        .filter(|import| !import.from.is_empty())
    {
        match &import.to {
            Target::Module(to) if !to.is_empty() && *to != import.from => {
                graph
                    .entry(&import.from)
                    .or_default()
                    .entry(to)
                    .or_insert(import);
            }
            _ => {}
        }
    }
    let mut search = Search {
        graph: &graph,
        done: BTreeSet::new(),
        trail: Vec::new(),
        faults: Vec::new(),
    };
    graph.keys().for_each(|module| search.visit(module));
    search.faults
}

/// A walk in depth: an import of a module on the trail that led here closes a cycle.
struct Search<'a> {
    graph: &'a BTreeMap<&'a Path, BTreeMap<&'a Path, &'a Import>>,
    done: BTreeSet<&'a Path>,
    trail: Vec<&'a Path>,
    faults: Vec<Fault>,
}

impl<'a> Search<'a> {
    fn visit(&mut self, module: &'a Path) {
        if !self.done.insert(module) {
            return;
        }
        self.trail.push(module);
        for (to, import) in self.graph.get(module).into_iter().flatten() {
            match self.trail.iter().position(|passed| passed == to) {
                Some(start) => self.faults.push(closing(&self.trail[start..], import)),
                None => self.visit(to),
            }
        }
        self.trail.pop();
    }
}

fn closing(circle: &[&Path], import: &Import) -> Fault {
    let names: Vec<String> = circle
        .iter()
        .chain(&circle[..1])
        .map(|module| module.join("::"))
        .collect();
    Fault::new(
        Rule::Cycle,
        &import.file,
        import.line,
        &format!("{} is a cycle", names.join(" > ")),
    )
}
