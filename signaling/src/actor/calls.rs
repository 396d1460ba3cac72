//! Requests by HTTP, and those who listen to a player's events.

use std::sync::atomic::Ordering;

use antipode_base::ids::MemberId;
use antipode_base::limits::{HTTP_ANSWER_TIMEOUT, PLAYER_LISTENERS_MAX};
use tokio::sync::{mpsc, oneshot};

use super::{Actor, Event, Handle, read_clocks};
use crate::model::ClientId;
use crate::model::http::{Address, Ask, Denied, Open, Reply};
use crate::model::program::PlayEvent;

/// What is asked by HTTP.
#[derive(Debug)]
pub(crate) enum Question {
    /// To publish or to play.
    Open(Box<Open>),
    /// Of what is there already.
    Ask(Address, Ask),
    /// That a member of a room goes, by their names.
    Remove {
        /// The room's.
        room: String,
        /// The member's.
        identity: String,
    },
}

impl Handle {
    /// Asks by HTTP. An offer waits for its answer, but not for ever.
    pub(crate) async fn call(&self, question: Question) -> Result<Reply, Denied> {
        let call = ClientId(self.clients.fetch_add(1, Ordering::Relaxed));
        let (answer_tx, answer) = oneshot::channel();
        self.send(Event::Call { call, question, answer: answer_tx }).await;
        match tokio::time::timeout(HTTP_ANSWER_TIMEOUT, answer).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) | Err(_) => Err(Denied::NoNode),
        }
    }

    /// Asks for a player's events, and for what was before them.
    pub(crate) async fn listen(
        &self,
        address: Address,
        events: mpsc::Sender<PlayEvent>,
    ) -> Result<Vec<PlayEvent>, Denied> {
        let (answer_tx, answer) = oneshot::channel();
        self.send(Event::Listen { address, events, answer: answer_tx }).await;
        answer.await.unwrap_or(Err(Denied::NoNode))
    }
}

impl Actor {
    pub(super) fn listen(
        &mut self,
        address: &Address,
        events: mpsc::Sender<PlayEvent>,
    ) -> Result<Vec<PlayEvent>, Denied> {
        let player = self.model.find_resource(address).ok_or(Denied::Unknown)?;
        let listeners = self.listeners.entry(player).or_default();
        listeners.retain(|known| !known.is_closed());
        if listeners.len() >= PLAYER_LISTENERS_MAX {
            return Err(Denied::Full);
        }
        listeners.push(events);
        Ok(self.model.play_events(player))
    }

    /// A listener whose queue is full does not read: its stream ends, and it may ask for another.
    pub(super) fn tell_listeners(&mut self, player: MemberId, event: &PlayEvent) {
        if let Some(listeners) = self.listeners.get_mut(&player) {
            listeners.retain(|listener| listener.try_send(event.clone()).is_ok());
        }
    }

    pub(super) fn reply(&mut self, call: ClientId, reply: Result<Reply, Denied>) {
        let Some(answer) = self.calls.remove(&call) else { return };
        if let Err(Ok(Reply::Opened { id, .. })) = answer.send(reply) {
            self.model.abandon(&id, read_clocks());
        }
    }
}
