//! The tree of a requirement, and how it prints: `parse(print(tree)) == tree`.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::Number;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Relation {
    pub(crate) const fn symbol(self) -> &'static str {
        match self {
            Relation::Equal => "==",
            Relation::NotEqual => "!=",
            Relation::Less => "<",
            Relation::LessOrEqual => "<=",
            Relation::Greater => ">",
            Relation::GreaterOrEqual => ">=",
        }
    }

    /// What is true of two numbers when this is not.
    pub(crate) const fn inverse(self) -> Self {
        match self {
            Relation::Equal => Relation::NotEqual,
            Relation::NotEqual => Relation::Equal,
            Relation::Less => Relation::GreaterOrEqual,
            Relation::LessOrEqual => Relation::Greater,
            Relation::Greater => Relation::LessOrEqual,
            Relation::GreaterOrEqual => Relation::Less,
        }
    }

    pub(crate) fn holds(self, left: Number, right: Number) -> bool {
        match self {
            Relation::Equal => left == right,
            Relation::NotEqual => left != right,
            Relation::Less => left < right,
            Relation::LessOrEqual => left <= right,
            Relation::Greater => left > right,
            Relation::GreaterOrEqual => left >= right,
        }
    }

    /// Asks for an order, which only numbers have here: texts such as versions do not sort as people expect.
    pub(crate) const fn is_order(self) -> bool {
        !matches!(self, Relation::Equal | Relation::NotEqual)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Literal {
    Number(Number),
    Text(String),
    Flag(bool),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expr {
    Constant(bool),
    /// A bare name: the attribute is the flag `true`.
    Flag(String),
    /// `has name`: the attribute is there, whatever its value.
    Has(String),
    Compare {
        name: String,
        relation: Relation,
        literal: Literal,
    },
    /// `name in low..high`, both ends included.
    Between {
        name: String,
        low: Number,
        high: Number,
    },
    /// `name in [a, b]`
    OneOf {
        name: String,
        literals: Vec<Literal>,
    },
    /// `"text" in name`, where the attribute is a list.
    Contains {
        name: String,
        text: String,
    },
    Not(Box<Expr>),
    /// There are at least two.
    All(Vec<Expr>),
    /// There are at least two.
    Any(Vec<Expr>),
}

/// A quoted text, with the escapes that the lexer reads.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\t' => f.write_str("\\t")?,
                _ => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Number(number) => number.fmt(f),
            Literal::Text(text) => Quoted(text).fmt(f),
            Literal::Flag(flag) => flag.fmt(f),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Constant(constant) => constant.fmt(f),
            Expr::Flag(name) => f.write_str(name),
            Expr::Has(name) => write!(f, "has {name}"),
            Expr::Compare { name, relation, literal } => write!(f, "{name} {} {literal}", relation.symbol()),
            Expr::Between { name, low, high } => write!(f, "{name} in {low}..{high}"),
            Expr::OneOf { name, literals } => {
                write!(f, "{name} in [")?;
                for (i, literal) in literals.iter().enumerate() {
                    write!(f, "{}{literal}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Expr::Contains { name, text } => write!(f, "{} in {name}", Quoted(text)),
            Expr::Not(inner) => {
                f.write_str("!")?;
                write_inner(f, inner, matches!(**inner, Expr::All(_) | Expr::Any(_)))
            }
            Expr::All(parts) => {
                write_joined(f, parts, " && ", |part| matches!(part, Expr::All(_) | Expr::Any(_)))
            }
            Expr::Any(parts) => write_joined(f, parts, " || ", |part| matches!(part, Expr::Any(_))),
        }
    }
}

fn write_joined(
    f: &mut fmt::Formatter<'_>,
    parts: &[Expr],
    between: &str,
    needs_parentheses: fn(&Expr) -> bool,
) -> fmt::Result {
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            f.write_str(between)?;
        }
        write_inner(f, part, needs_parentheses(part))?;
    }
    Ok(())
}

fn write_inner(f: &mut fmt::Formatter<'_>, expr: &Expr, parentheses: bool) -> fmt::Result {
    if parentheses { write!(f, "({expr})") } else { write!(f, "{expr}") }
}
