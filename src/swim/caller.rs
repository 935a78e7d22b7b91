//! The caller, who opened a stream to this node: a member that shows its token, an unverified peer, or this node itself.

use std::sync::Arc;

use super::{
    carry::Priority,
    join::Attempt,
    member::MemberId,
    node::Node,
    session::Purpose,
    stream::{StreamId, Streams},
    validation::Sender,
};
use crate::wire::{hash, message::Message};

impl Node {
    /// The caller is a member if it shows the token that this member was given.
    pub(super) fn recognize_caller(&mut self, stream: StreamId, token: u32) {
        // Its first frame identifies it.
        let unknown = self.streams.sessions.get(&stream).filter(|session| !session.proven);
        let Some(session) = unknown.filter(|session| !session.caller.is_empty()) else { return };
        let (peer, caller) = (session.peer, Arc::clone(&session.caller));
        let sender = self.recognize(peer, true, hash::member(&caller), token);
        let is_it = |id| self.table.get(id).name == caller;
        let proven = sender.proven && self.id_of(&sender).is_some_and(is_it);
        if let Some(session) = self.streams.sessions.get_mut(&stream) {
            session.proven = proven;
        }
    }

    /// A claim of a caller that did not prove itself: it may introduce itself, once.
    pub(super) fn on_unproven_claim(&mut self, stream: StreamId, claim: &Message<'_>) {
        let Some(session) = self.streams.sessions.get_mut(&stream) else { return };
        let peer = session.peer;
        match claim {
            Message::Alive(alive)
                if alive.name == &*session.caller && !std::mem::replace(&mut session.introduced, true) =>
            {
                self.on_introduction(peer, alive);
            }
            _ => self.metrics.dropped_unverified += 1,
        }
    }

    /// Remembers the caller's name. A member that has shown no token is sent one, to its address: by stream, as it called by
    /// one, once datagrams were in vain.
    pub(super) fn note_caller(&mut self, stream: StreamId, token: u32, name: &str) {
        let Some(session) = self.streams.sessions.get_mut(&stream) else { return };
        session.caller = name.into();
        self.recognize_caller(stream, token);
        let proven = self.streams.sessions.get(&stream).is_some_and(|session| session.proven);
        if let Some(id) = self.table.find(name).filter(|id| *id != MemberId::SELF && !proven) {
            let _ = self.challenge(id, Priority::Provoked) || self.challenge_by(id, Some(Priority::Provoked));
        }
    }

    /// A token from an address to which streams are open, perhaps before the name there is known. Anybody can send one under
    /// that address, so it does not replace that of a member.
    pub(super) fn keep_token_for_streams(&mut self, sender: &Sender, token: u32) {
        let from = sender.source;
        if !sender.proven && self.table.find_at(from, |record| record.contact.held != 0).is_some() {
            return;
        }
        let Streams { opened, sessions, .. } = &mut self.streams;
        for (stream, _) in opened.iter().filter(|(_, peer)| **peer == from) {
            if let Some(session) = sessions.get_mut(stream).filter(|session| session.token == 0) {
                session.token = token;
            }
        }
    }

    /// The member at the address of an open stream is known now: its token is kept beyond the stream.
    pub(super) fn keep_token_of_peer(&mut self, stream: StreamId) {
        let Some(session) = self.streams.sessions.get(&stream) else { return };
        let (peer, token, mark) = (session.peer, session.token, session.mark);
        if let Some(id) = self.table.find_at(peer, |record| record.mark == mark) {
            let name = Arc::clone(&self.table.get(id).name);
            self.note_answer_at(&name, peer);
            let contact = self.table.contact_mut(id);
            if contact.held == 0 {
                contact.held = token;
            }
        }
    }

    /// The token in the first frame of a join or a question: if it arrives here, the address is one of this host.
    pub(super) fn own_token(&self, stream: StreamId) -> u32 {
        self.table.tokens().of_stream(stream.0)
    }

    /// Whether a stream comes from this node itself.
    pub(super) fn recognize_own_stream(&mut self, token: u32) -> bool {
        let mut opened = self.streams.opened.keys().copied();
        let Some(stream) = opened.find(|stream| self.own_token(*stream) == token) else { return false };
        match self.streams.sessions.get(&stream).map(|session| &session.purpose) {
            Some(&Purpose::Join(join)) => {
                self.take_session(stream);
                self.join_attempted(join, Attempt::Ourselves);
            }
            Some(Purpose::Ask(..)) => self.nobody_else_answers(stream),
            _ => return false,
        }
        true
    }
}
