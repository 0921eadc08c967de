//! The local API: HTTP/1.1 with JSON over Unix sockets, one for the operator and one for each slot.
//!
//! Its types are in `xtreem_client::api`. Every error is JSON and says whether anything may have happened.

mod announcements;
mod app_collections;
mod apps;
mod beside;
mod body;
pub(crate) mod collections;
mod error;
mod event_stream;
mod events;
mod files;
mod grid;
mod guests;
pub(crate) mod holders;
mod items;
pub(crate) mod listener;
mod logs;
pub(crate) mod member;
mod messages;
mod node;
pub(crate) mod operator;
mod picture;
mod policy;
mod record;
mod ring;
mod search;
mod self_application;
mod show;
pub(crate) mod slot_socket;
mod submit;
mod topics;
mod view;
mod waits;
