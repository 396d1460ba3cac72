//! What a turn takes in.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::time::Instant;

use antipode_base::command::Command;
use antipode_base::limits::{
    DATAGRAM_MAX, RECV_BATCH, TURN_COMMANDS_MAX, TURN_COMMANDS_TIME, TURN_DATAGRAMS_MAX,
};
use antipode_core::{Datagram, Input, Transport};

use super::{Core, ShardThread};
use crate::tcp::rings::Arrived;

/// Reports between two looks for parcels: they take some twenty microseconds.
const REPORTS_AT_ONCE: usize = 8;

/// How far ahead of a message the core is told that it comes.
const AHEAD: usize = 2;

/// Stands for an address that no packet info came with: the first candidate of the family.
const UNKNOWN_V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const UNKNOWN_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// What of a shard's datagrams comes by which of its sockets ([`crate::net::steer`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Urgent,
    Pictures,
    Patient,
}

impl<C: Core> ShardThread<C> {
    /// Takes what may wait, if it has waited long enough.
    pub(super) fn take_patient(&mut self, urgent: bool, now: Instant) -> usize {
        if !self.patience.as_ref().is_some_and(|patience| patience.is_due(urgent, now)) {
            return 0;
        }
        let (taken, more) = self.take_reports(now);
        if let Some(patience) = &mut self.patience {
            patience.took(taken, more, now);
        }
        taken
    }

    /// Returns how many there were, and whether some are left to the next turn: parcels go first.
    fn take_reports(&mut self, now: Instant) -> (usize, bool) {
        let mut taken = 0;
        loop {
            while self.report < self.reports.len() {
                let hurried =
                    self.report.is_multiple_of(REPORTS_AT_ONCE) && self.wiring.port.has_parcels();
                if taken >= TURN_DATAGRAMS_MAX || hurried && taken > 0 {
                    return (taken, true);
                }
                self.core.expect(self.reports.peek(self.report + AHEAD));
                self.report += 1;
                taken += self.take_message(self.report - 1, Class::Patient, now);
            }
            let last = self.report < RECV_BATCH && taken > 0;
            let Some(patience) = self.patience.as_ref().filter(|_| !last) else {
                return (taken, false);
            };
            self.report = 0;
            if let Err(error) = self.reports.recv(patience.socket.as_fd()) {
                self.note_refusal(&error);
                return (taken, false);
            }
            (0..AHEAD).for_each(|index| self.core.expect(self.reports.peek(index)));
        }
    }

    /// An error was waiting in the socket and is taken with this call.
    fn note_refusal(&self, error: &io::Error) {
        if error.kind() != io::ErrorKind::WouldBlock {
            tracing::debug!(shard = %self.me, %error, "receiving");
        }
    }

    /// Takes datagrams of a class that does not wait until there are none or the turn has enough. Returns how
    /// many. The core may panic meanwhile, so everything stays in its place.
    pub(super) fn take_datagrams(&mut self, class: Class, now: Instant) -> usize {
        let mut taken = 0;
        while taken < TURN_DATAGRAMS_MAX {
            let socket = match class {
                Class::Urgent => Some(&self.wiring.socket),
                Class::Pictures => self.wiring.pictures.as_ref(),
                // Those have a batch of their own.
                Class::Patient => None,
            };
            let Some(socket) = socket else { break };
            let messages = match self.received.recv(socket.as_fd()) {
                Ok(messages) => messages,
                Err(error) => {
                    self.note_refusal(&error);
                    break;
                }
            };
            (0..AHEAD).for_each(|index| self.core.expect(self.received.peek(index)));
            for index in 0..messages {
                self.core.expect(self.received.peek(index + AHEAD));
                taken += self.take_message(index, class, now);
            }
            if messages < RECV_BATCH {
                break;
            }
        }
        taken
    }

    /// Hands on the datagrams that the kernel joined into one message. Returns how many.
    fn take_message(&mut self, index: usize, class: Class, now: Instant) -> usize {
        let batch = if class == Class::Patient { &self.reports } else { &self.received };
        let Some(message) = batch.message(index) else { return 0 };
        let unknown = if message.source.is_ipv4() { UNKNOWN_V4 } else { UNKNOWN_V6 };
        let local = self.wiring.locals.known_as(message.local.unwrap_or(unknown));
        let mut taken = 0;
        let mut rest = message.bytes;
        // An empty datagram is one too: the core counts it.
        loop {
            let (bytes, behind) = rest.split_at(message.segment.min(rest.len()));
            taken += 1;
            if bytes.len() > DATAGRAM_MAX {
                self.tally.oversized += 1;
                self.tally.oversized_bytes += bytes.len() as u64;
            } else {
                let (transport, source) = (Transport::Udp, message.source);
                let datagram = Datagram { transport, source, local, bytes, at: message.arrived };
                if datagram.is_rtp() {
                    let sound = class == Class::Urgent && self.wiring.pictures.is_some();
                    let arrived = if sound { &mut self.heard } else { &mut self.arrived };
                    arrived.push(message.arrived);
                }
                self.core.handle(Input::Datagram(datagram), now);
            }
            rest = behind;
            if rest.is_empty() {
                return taken;
            }
        }
    }

    /// Takes what signaling says, as long as that does not hold up media: a description of a large meeting
    /// costs milliseconds.
    pub(super) fn take_commands(&mut self, now: Instant) -> usize {
        let (mut taken, mut until) = (0, None);
        while taken < TURN_COMMANDS_MAX
            && until.is_none_or(|until| Instant::now() < until)
            && let Ok(command) = self.wiring.inbox.try_recv()
        {
            until.get_or_insert_with(|| Instant::now() + TURN_COMMANDS_TIME);
            if let Command::OpenSession(open) = &command {
                self.open.insert(open.session);
            }
            self.core.handle(Input::Command(command), now);
            taken += 1;
        }
        taken
    }

    pub(super) fn take_parcels(&mut self, now: Instant) -> usize {
        let core = &mut self.core;
        self.wiring.port.drain(|from, parcel| core.handle(Input::Parcel { from, parcel }, now))
    }

    /// What clients without UDP sent.
    pub(super) fn take_messages(&mut self, now: Instant) -> usize {
        let (core, Some(tcp)) = (&mut self.core, &mut self.wiring.tcp) else { return 0 };
        tcp.drain(|Arrived { source, local, bytes }| {
            let transport = Transport::Tcp;
            let datagram = Datagram { transport, source, local, bytes: &bytes, at: now };
            core.handle(Input::Datagram(datagram), now);
        })
    }
}
