//! The tree of modules under `src/`, from its files.
//!
//! 1. A *module* here is what a file holds. One written inline belongs to the file it stands in: its paths are
//!    resolved from where they stand, and counted for the file.
//! 2. A path is a list of names from the crate's root; the root is the empty list, and its file is `lib.rs`.
//! 3. Items under `#[cfg(test)]` do not exist: tests may import anything.

use crate::imports::{self, Import, Use};
use crate::rules::{Fault, Rule};
use std::collections::{BTreeMap, BTreeSet};
use syn::{Attribute, Expr, ExprLit, Item, ItemMod, Lit, Meta, MetaList, Token};

/// File name below `src/`, with `/` between folders, and text.
pub type Files = BTreeMap<String, String>;
pub type Path = Vec<String>;

#[derive(Default)]
pub struct Source {
    /// Every module, inline ones too, and what the names in it stand for.
    pub scopes: BTreeMap<Path, Scope>,
    /// Modules as in 1, each with its first file.
    pub modules: BTreeMap<Path, String>,
    /// Those that hold nothing but `mod` lines.
    pub folders: BTreeSet<Path>,
    pub imports: Vec<Import>,
    pub faults: Vec<Fault>,
    /// Crates a path may begin with, apart from the standard library's.
    pub crates: BTreeSet<String>,
}

/// The names of one module. Two files may share it: the two sides of a feature.
#[derive(Default)]
pub struct Scope {
    /// The module of the file it stands in, see 1.
    pub file_module: Path,
    pub children: BTreeSet<String>,
    /// A name brought in by `use`, and what it was brought from.
    pub aliases: Vec<(String, Use)>,
    /// What each `use path::*` opens.
    pub globs: Vec<Use>,
}

impl Source {
    pub fn read(files: &Files, crates: BTreeSet<String>) -> Self {
        let source = Self {
            crates,
            ..Self::default()
        };
        let mut walk = Walk {
            files,
            source,
            bodies: Vec::new(),
            seen: BTreeSet::new(),
        };
        walk.file("lib.rs", Vec::new());
        let Walk {
            mut source,
            bodies,
            seen,
            ..
        } = walk;
        for file in files.keys().filter(|file| !seen.contains(*file)) {
            source.faults.push(Fault::new(
                Rule::Unreached,
                file,
                1,
                "no `mod` line leads to this file",
            ));
        }
        source.imports = bodies
            .iter()
            .flat_map(|body| imports::of_body(&source, body))
            .collect();
        source
    }
}

/// The first pass, which learns every name; paths can be resolved only after it.
struct Walk<'a> {
    files: &'a Files,
    source: Source,
    bodies: Vec<Body>,
    seen: BTreeSet<String>,
}

/// One module's items without its inner modules, kept for the second pass.
pub struct Body {
    pub file: String,
    pub path: Path,
    pub items: Vec<Item>,
}

/// Where a list of items stands.
#[derive(Clone)]
struct Place {
    file: String,
    file_module: Path,
    path: Path,
    /// Where the files of its `mod name;` lines are; empty, or with a `/` at the end.
    folder: String,
}

impl Walk<'_> {
    fn file(&mut self, file: &str, path: Path) {
        let Some(text) = self.files.get(file) else {
            let what = format!("the module {} has no file here", path.join("::"));
            return self
                .source
                .faults
                .push(Fault::new(Rule::Unreached, file, 1, &what));
        };
        self.seen.insert(file.to_owned());
        let items = match syn::parse_file(text) {
            Ok(parsed) => parsed.items,
            Err(error) => {
                let line = error.span().start().line;
                return self.source.faults.push(Fault::new(
                    Rule::Unreadable,
                    file,
                    line,
                    &error.to_string(),
                ));
            }
        };
        self.source
            .modules
            .entry(path.clone())
            .or_insert_with(|| file.to_owned());
        if items
            .iter()
            .all(|item| is_for_tests(attributes(item)) || is_mod_line(item))
        {
            self.source.folders.insert(path.clone());
        }
        let place = Place {
            file: file.to_owned(),
            file_module: path.clone(),
            path,
            folder: folder_of(file),
        };
        self.items(&place, items);
    }

    fn items(&mut self, place: &Place, items: Vec<Item>) {
        let items = items
            .into_iter()
            .filter(|item| !is_for_tests(attributes(item)));
        let (modules, items): (Vec<Item>, Vec<Item>) =
            items.partition(|item| matches!(item, Item::Mod(_)));
        let scope = self.source.scopes.entry(place.path.clone()).or_default();
        scope.file_module.clone_from(&place.file_module);
        imports::add_uses(&items, scope);
        self.bodies.push(Body {
            file: place.file.clone(),
            path: place.path.clone(),
            items,
        });
        for module in modules {
            if let Item::Mod(module) = module {
                self.module(place, module);
            }
        }
    }

    fn module(&mut self, outer: &Place, module: ItemMod) {
        let name = name_of(&module.ident);
        let path = [outer.path.as_slice(), std::slice::from_ref(&name)].concat();
        if let Some(scope) = self.source.scopes.get_mut(&outer.path) {
            scope.children.insert(name.clone());
        }
        let files = files_of(&module, outer, self.files);
        match module.content {
            Some((_, items)) => {
                let folder = format!("{}{name}/", outer.folder);
                self.items(
                    &Place {
                        path,
                        folder,
                        ..outer.clone()
                    },
                    items,
                );
            }
            None => files.iter().for_each(|file| self.file(file, path.clone())),
        }
    }
}

/// Where a file's own modules are: beside `lib.rs` and `mod.rs`, and in the folder named after any other file.
fn folder_of(file: &str) -> String {
    match file.rsplit_once('/').unwrap_or(("", file)) {
        (_, "lib.rs" | "mod.rs") => beside(file),
        (_, name) => format!("{}{}/", beside(file), name.trim_end_matches(".rs")),
    }
}

fn beside(file: &str) -> String {
    file.rsplit_once('/')
        .map_or(String::new(), |(folder, _)| format!("{folder}/"))
}

/// The files a `mod name;` may stand for: those its `path` attributes name, and the usual place unless one always holds.
fn files_of(module: &ItemMod, outer: &Place, files: &Files) -> Vec<String> {
    let mut paths = Vec::new();
    module
        .attrs
        .iter()
        .for_each(|attribute| add_paths(&attribute.meta, &mut paths));
    let mut found: Vec<String> = paths
        .iter()
        .map(|path| beside(&outer.file) + path)
        .collect();
    if !module
        .attrs
        .iter()
        .any(|attribute| attribute.path().is_ident("path"))
    {
        let usual = format!("{}{}", outer.folder, name_of(&module.ident));
        let nested = format!("{usual}/mod.rs");
        found.push(if files.contains_key(&nested) {
            nested
        } else {
            format!("{usual}.rs")
        });
    }
    found
}

/// The values of `path = "…"`, also inside `cfg_attr(…, path = "…")`.
fn add_paths(meta: &Meta, found: &mut Vec<String>) {
    match meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => {
            if let Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            }) = &pair.value
            {
                found.push(text.value());
            }
        }
        Meta::List(list) if list.path.is_ident("cfg_attr") => {
            nested(list)
                .iter()
                .skip(1)
                .for_each(|meta| add_paths(meta, found));
        }
        _ => {}
    }
}

pub fn is_mod_line(item: &Item) -> bool {
    matches!(item, Item::Mod(ItemMod { content: None, .. }))
}

/// Whether the attributes keep an item out of every build but a test's.
pub fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => nested(list).iter().any(requires_test),
        meta => meta.path().is_ident("test"),
    })
}

/// Whether a `cfg` predicate holds in tests only.
fn requires_test(predicate: &Meta) -> bool {
    match predicate {
        Meta::List(list) if list.path.is_ident("all") => nested(list).iter().any(requires_test),
        Meta::List(list) if list.path.is_ident("any") => nested(list).iter().all(requires_test),
        meta => meta.path().is_ident("test") || meta.path().is_ident("doctest"),
    }
}

fn nested(list: &MetaList) -> Vec<Meta> {
    let parser = syn::punctuated::Punctuated::<Meta, Token![,]>::parse_terminated;
    list.parse_args_with(parser)
        .map(|metas| metas.into_iter().collect())
        .unwrap_or_default()
}

/// A name as other code writes it, without the `r#` of a raw identifier.
pub fn name_of(ident: &proc_macro2::Ident) -> String {
    ident.to_string().trim_start_matches("r#").to_owned()
}

pub fn attributes(item: &Item) -> &[Attribute] {
    use syn::*;
    match item {
        Item::Const(ItemConst { attrs, .. })
        | Item::Enum(ItemEnum { attrs, .. })
        | Item::ExternCrate(ItemExternCrate { attrs, .. })
        | Item::Fn(ItemFn { attrs, .. })
        | Item::ForeignMod(ItemForeignMod { attrs, .. })
        | Item::Impl(ItemImpl { attrs, .. })
        | Item::Macro(ItemMacro { attrs, .. })
        | Item::Mod(ItemMod { attrs, .. })
        | Item::Static(ItemStatic { attrs, .. })
        | Item::Struct(ItemStruct { attrs, .. })
        | Item::Trait(ItemTrait { attrs, .. })
        | Item::TraitAlias(ItemTraitAlias { attrs, .. })
        | Item::Type(ItemType { attrs, .. })
        | Item::Union(ItemUnion { attrs, .. })
        | Item::Use(ItemUse { attrs, .. }) => attrs,
        _ => &[],
    }
}
