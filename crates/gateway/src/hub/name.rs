//! Names of channels, and who wants which.

use std::collections::HashMap;
use std::rc::Rc;

use super::ClientId;
use super::event::LogEvent;

/// A channel or a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(Rc<str>);

impl Name {
    /// A channel, or with a trailing `*` a pattern.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// As the client wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the channels of a pattern begin with.
    pub fn prefix(&self) -> Option<&str> {
        self.0.strip_suffix('*')
    }

    /// True if an event is on the channel, or on a channel of the pattern.
    pub fn matches(&self, event: &LogEvent) -> bool {
        match self.prefix() {
            Some(prefix) => event.channels.iter().any(|channel| channel.starts_with(prefix)),
            None => event.channels.iter().any(|channel| **channel == *self.0),
        }
    }
}

/// Who wants which channels.
#[derive(Debug, Default)]
pub(super) struct Index {
    channels: HashMap<Box<str>, Vec<ClientId>>,
    /// Who wants all channels with a prefix.
    prefixes: HashMap<Box<str>, Vec<ClientId>>,
}

impl Index {
    fn part<'a>(&mut self, name: &'a Name) -> (&mut HashMap<Box<str>, Vec<ClientId>>, &'a str) {
        match name.prefix() {
            Some(prefix) => (&mut self.prefixes, prefix),
            None => (&mut self.channels, name.as_str()),
        }
    }

    /// A connection wants a name.
    pub(super) fn add(&mut self, name: &Name, id: ClientId) {
        let (part, key) = self.part(name);
        part.entry(key.into()).or_default().push(id);
    }

    /// It no longer does.
    pub(super) fn remove(&mut self, name: &Name, id: ClientId) {
        let (part, key) = self.part(name);
        let Some(ids) = part.get_mut(key) else { return };
        if let Some(at) = ids.iter().position(|one| *one == id) {
            ids.swap_remove(at);
        }
        if ids.is_empty() {
            part.remove(key);
        }
    }

    /// The connections that want a channel of an event. A connection may come several times.
    pub(super) fn interested(&self, event: &LogEvent) -> impl Iterator<Item = ClientId> {
        let of_channels = event.channels.iter().filter_map(|channel| self.channels.get(channel));
        let has_prefix = |prefix: &str| event.channels.iter().any(|channel| channel.starts_with(prefix));
        let of_prefixes =
            self.prefixes.iter().filter(move |(prefix, _)| has_prefix(prefix)).map(|(_, ids)| ids);
        of_channels.chain(of_prefixes).flatten().copied()
    }

    /// True if nobody wants anything.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.prefixes.is_empty()
    }
}
