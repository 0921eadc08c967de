//! Members of one application in one process, each with a mailbox of its own on a loopback address.

mod exchange;
mod hostile;
mod replaced;
mod town;
