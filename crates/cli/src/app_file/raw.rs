//! The shape of `app.toml`, with the place of every value.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor, value::MapAccessDeserializer};
use toml::Spanned;

use super::collections;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct App {
    pub(super) name: Spanned<String>,
    pub(super) nodes: Spanned<Nodes>,
    #[serde(default)]
    pub(super) requirement: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) placement: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) together: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) files: Vec<Spanned<File>>,
    pub(super) command: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) environment: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    pub(super) ports: BTreeMap<Spanned<String>, Spanned<Port>>,
    #[serde(default)]
    pub(super) collections: BTreeMap<Spanned<String>, Spanned<collections::Table>>,
    #[serde(default)]
    pub(super) restart: Restart,
    #[serde(default)]
    pub(super) resources: Resources,
    #[serde(default)]
    pub(super) colocate: bool,
    #[serde(default)]
    pub(super) exec: Exec,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Resources {
    pub(super) cores: Option<Spanned<Quantity>>,
    pub(super) memory: Option<Spanned<Quantity>>,
    pub(super) disk: Option<Spanned<Quantity>>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Restart {
    Never,
    #[default]
    OnFailure,
    Always,
}

/// Who may start commands beside the slots.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Exec {
    #[default]
    Owner,
    Slots,
}

/// `"path"` or `{ path = "…", as = "…", executable = true }`.
pub(super) struct File {
    pub(super) path: String,
    /// Name in the slot's directory; the last part of `path` when absent.
    pub(super) target: Option<String>,
    /// As the file's mode says when absent.
    pub(super) executable: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileTable {
    path: String,
    #[serde(rename = "as")]
    target: Option<String>,
    executable: Option<bool>,
}

/// A number, or a range as `"1..6"`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Nodes {
    Number(i64),
    Range(String),
}

/// A number, or `"auto"` for any that is free.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Port {
    Number(i64),
    Auto,
}

/// A number of the plain unit, or a text with a unit.
#[derive(Debug, PartialEq)]
pub(super) enum Quantity {
    Whole(i64),
    Decimal(f64),
    Text(String),
}

impl<'de> Deserialize<'de> for File {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FileVisitor;
        impl<'de> Visitor<'de> for FileVisitor {
            type Value = File;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path or { path = \"…\", as = \"…\", executable = true }")
            }
            fn visit_str<E: Error>(self, path: &str) -> Result<File, E> {
                Ok(File { path: path.to_owned(), target: None, executable: None })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<File, A::Error> {
                let FileTable { path, target, executable } =
                    FileTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(File { path, target, executable })
            }
        }
        deserializer.deserialize_any(FileVisitor)
    }
}

impl<'de> Deserialize<'de> for Nodes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NodesVisitor;
        impl Visitor<'_> for NodesVisitor {
            type Value = Nodes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or a range such as \"1..6\"")
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Nodes, E> {
                Ok(Nodes::Number(number))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Nodes, E> {
                Ok(Nodes::Range(text.to_owned()))
            }
        }
        deserializer.deserialize_any(NodesVisitor)
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PortVisitor;
        impl Visitor<'_> for PortVisitor {
            type Value = Port;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port number or \"auto\"")
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Port, E> {
                Ok(Port::Number(number))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Port, E> {
                if text == "auto" {
                    Ok(Port::Auto)
                } else {
                    Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
                }
            }
        }
        deserializer.deserialize_any(PortVisitor)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct QuantityVisitor;
        impl Visitor<'_> for QuantityVisitor {
            type Value = Quantity;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or a text such as \"256MiB\"")
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Quantity, E> {
                Ok(Quantity::Whole(number))
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Quantity, E> {
                Ok(Quantity::Decimal(number))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Quantity, E> {
                Ok(Quantity::Text(text.to_owned()))
            }
        }
        deserializer.deserialize_any(QuantityVisitor)
    }
}
