//! Feeds a recorded input to a node again.

use super::{
    blocked_io::BlockedIo, config::Config, entry::Input, node::Node, rejoin::EarlierLife, time::Time,
    upper_layer::Life,
};

impl Node {
    /// Goes on with another configuration.
    pub(crate) fn reconfigure(&mut self, config: Config) {
        self.health.set_max(if config.lha_probe { config.health_max } else { 1 });
        self.config = config;
    }

    /// Calls the method that an input stands for.
    pub(crate) fn give(&mut self, now: Time, input: &Input<'_>) {
        match input {
            Input::Datagram { from, bytes } => self.handle_datagram(now, *from, bytes),
            Input::Timeout => self.handle_timeout(now),
            Input::PollStream(stream) => _ = self.poll_stream(now, *stream, &mut Vec::new()),
            Input::Frame { stream, bytes } => self.handle_frame(now, *stream, bytes),
            Input::AcceptStream { from } => _ = self.accept_stream(now, *from),
            Input::StreamBegan(stream) => self.stream_began(now, *stream),
            Input::StreamFailed(stream, failure) => self.handle_stream_failure(now, *stream, failure.clone()),
            Input::Join { ticket, addrs, lookups } => {
                self.join_while_resolving(now, *ticket, addrs, *lookups)
            }
            Input::SeekSeeds => self.seek_seeds(now),
            Input::SeekSeedsLater => self.seek_seeds_later(now),
            Input::Seeds { addrs, lookups } => self.handle_seeds_while_resolving(now, addrs, *lookups),
            Input::Lookup { origin, addrs, more } => self.handle_lookup(now, *origin, addrs, *more),
            Input::SetTags(tags) => self.set_tags(now, tags.clone()),
            Input::SetAddr(addr) => self.set_addr(now, *addr),
            Input::AddressPresent(present) => self.set_address_present(now, *present),
            Input::Leave => self.leave(now),
            // A removal that was refused then is refused again.
            Input::Remove(name, removal) => _ = self.remove(now, name, *removal),
            Input::WantRoom(bytes) => self.want_room(now, *bytes),
            Input::AskForToken { name, epoch } => {
                self.ask_for_token(now, &Life { name: (&**name).into(), epoch: *epoch });
            }
            Input::OpenDataStream { name, epoch, timeout } => {
                let to = Life { name: (&**name).into(), epoch: *epoch };
                let _ = self.open_data_stream(now, &to, *timeout);
            }
            Input::CloseDataStream(stream) => self.close_data_stream(now, *stream),
            Input::Rejoin { epoch, members } => {
                let members = members.iter().map(|(name, addr)| ((&**name).into(), *addr));
                self.rejoin(now, &EarlierLife::new(*epoch, members));
            }
            Input::TimeoutBlocked(loops) => {
                self.handle_timeout_blocked(now, &mut BlockedIo::of(loops));
            }
        }
    }
}
