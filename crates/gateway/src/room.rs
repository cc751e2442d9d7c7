//! Room for a number of things at once: in all, and from one address.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use tokio::sync::watch;

/// Room for connections.
#[derive(Debug)]
pub struct Room {
    most: usize,
    /// Most from one address; `None` for no limit.
    most_of_address: Option<usize>,
    open: watch::Sender<usize>,
    of_address: RefCell<HashMap<IpAddr, usize>>,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// For nobody.
    All,
    /// For this address.
    Address,
}

impl Room {
    /// Room for `most` connections, and for `most_of_address` from one address.
    pub fn new(most: usize, most_of_address: Option<usize>) -> Rc<Self> {
        let (open, of_address) = (watch::Sender::new(0), RefCell::default());
        Rc::new(Self { most, most_of_address, open, of_address })
    }

    /// Takes a place, unless there is none.
    pub fn enter(self: &Rc<Self>, address: IpAddr) -> Result<Place, Full> {
        if self.open() >= self.most {
            return Err(Full::All);
        }
        let mut of_address = self.of_address.borrow_mut();
        let open = of_address.get(&address).copied().unwrap_or(0);
        if self.most_of_address.is_some_and(|most| open >= most) {
            return Err(Full::Address);
        }
        of_address.insert(address, open + 1);
        self.open.send_modify(|open| *open += 1);
        Ok(Place { room: Rc::clone(self), address })
    }

    /// Places that are taken.
    pub fn open(&self) -> usize {
        *self.open.borrow()
    }

    /// Waits until no place is taken.
    pub async fn empty(&self) {
        let mut open = self.open.subscribe();
        // The sender lives as long as the room.
        let _never_closed = open.wait_for(|open| *open == 0).await;
    }
}

/// A place in a room. Given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    room: Rc<Room>,
    /// Who has it.
    pub address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut of_address = self.room.of_address.borrow_mut();
        if let Some(open) = of_address.get_mut(&self.address) {
            *open -= 1;
            if *open == 0 {
                of_address.remove(&self.address);
            }
        }
        self.room.open.send_modify(|open| *open -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back() {
        let address = |last| IpAddr::from([192, 0, 2, last]);
        let room = Room::new(3, Some(2));
        let first = room.enter(address(1)).unwrap();
        let second = room.enter(address(1)).unwrap();
        assert_eq!(room.enter(address(1)).unwrap_err(), Full::Address);
        let third = room.enter(address(2)).unwrap();
        assert_eq!(room.enter(address(3)).unwrap_err(), Full::All);
        drop(first);
        let _fourth = room.enter(address(1)).unwrap();
        drop((second, third));
        assert_eq!(room.open(), 1);
        assert_eq!(room.of_address.borrow().len(), 1);
    }
}
