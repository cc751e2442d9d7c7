//! A connection to the hub: what a client of either protocol has in common.

use std::rc::Rc;

use tokio::sync::Notify;

use crate::gateway::Gateway;
use crate::hub::{ClientId, Taken};

/// A client at the hub. Taken out of it when dropped.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    gateway: Rc<Gateway<S>>,
    wake: Rc<Notify>,
    /// Its id at the hub.
    pub(crate) id: ClientId,
}

impl<S> Connection<S> {
    /// Connects to the hub.
    pub(crate) fn new(gateway: &Rc<Gateway<S>>) -> Self {
        let wake = Rc::new(Notify::new());
        let id = gateway.hub.borrow_mut().connect(Rc::clone(&wake));
        Self { gateway: Rc::clone(gateway), wake, id }
    }

    /// What there is to send now.
    pub(crate) fn take(&self) -> Taken {
        self.gateway.hub.borrow_mut().take(self.id)
    }

    /// Waits until there is something to send.
    pub(crate) async fn wake(&self) {
        self.wake.notified().await;
    }

    /// Waits until the gateway stops.
    pub(crate) async fn stopping(&self) {
        self.gateway.stops().await;
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        self.gateway.hub.borrow_mut().disconnect(self.id);
    }
}
