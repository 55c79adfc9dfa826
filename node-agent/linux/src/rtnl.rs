//! Requests of the route family, by rtnetlink.
//!
//! Messages are composed here and in the noun's own module instead of by the crate's builders, whose `replace` of a
//! rule adds a duplicate and whose table numbers end at 255.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use postern_host::error::{HostCause, errno};
use postern_plan::host::MacAddress;
use tokio::task::JoinHandle;

const TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to the kernel's route family, in the namespace of the thread that first asks. It is opened when it is needed,
/// and again when it broke: one message that could not be sent ends it for good.
#[derive(Default)]
pub(crate) struct Rtnl {
    connection: Mutex<Option<Connection>>,
}

struct Connection {
    handle: rtnetlink::Handle,
    task: JoinHandle<()>,
}

impl Connection {
    fn open() -> Result<Self, HostCause> {
        let (connection, handle, _events) = rtnetlink::new_connection()?;
        let task = tokio::spawn(connection);
        Ok(Self { handle, task })
    }
}

impl Rtnl {
    fn handle(&self) -> Result<rtnetlink::Handle, HostCause> {
        let mut connection = self.lock();
        let open = match connection.take() {
            Some(open) if !open.task.is_finished() => open,
            _ => Connection::open()?,
        };
        Ok(connection.insert(open).handle.clone())
    }

    fn is_broken(&self) -> bool {
        let connection = self.lock();
        let task = connection.as_ref().map(|connection| &connection.task);
        task.is_none_or(JoinHandle::is_finished)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        let connection = self.connection.lock();
        connection.unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists something. A list that changed while it was read is read again, three times at most.
    pub(crate) async fn dump(
        &self,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, HostCause> {
        for _ in 0..3 {
            match self.timed(message.clone(), NLM_F_DUMP).await {
                Err(HostCause::Errno {
                    errno: errno::EINTR,
                }) => {}
                other => return other,
            }
        }
        Err(HostCause::errno(errno::EINTR))
    }

    /// Changes something, or asks for one thing.
    pub(crate) async fn act(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, HostCause> {
        self.timed(message, NLM_F_ACK | flags).await
    }

    async fn timed(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, HostCause> {
        match tokio::time::timeout(TIMEOUT, self.ask(message, flags)).await {
            Ok(answer) => answer,
            Err(_) => Err(HostCause::TimedOut {
                seconds: TIMEOUT.as_secs(),
            }),
        }
    }

    async fn ask(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, HostCause> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        let request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        let gone = HostCause::Io {
            kind: io::ErrorKind::BrokenPipe,
        };
        let answers = self.handle()?.request(request);
        let mut answers = answers.map_err(|_| gone.clone())?;
        let mut out = Vec::new();
        while let Some(answer) = answers.next().await {
            if answer.header.flags & NLM_F_DUMP_INTR != 0 {
                return Err(HostCause::errno(errno::EINTR));
            }
            match answer.payload {
                NetlinkPayload::Error(error) => {
                    if let Some(code) = error.code {
                        return Err(HostCause::errno(code.get().wrapping_neg()));
                    }
                }
                NetlinkPayload::InnerMessage(message) => out.push(message),
                NetlinkPayload::Overrun(_) => return Err(HostCause::errno(errno::ENOBUFS)),
                _ => {}
            }
        }
        // A connection that breaks ends its answers without a word, and a list that was cut short must not be taken whole.
        match self.is_broken() {
            true => Err(gone),
            false => Ok(out),
        }
    }

    /// The index of a device; `ENODEV` when there is none of that name.
    pub(crate) async fn index(&self, name: &str) -> Result<u32, HostCause> {
        let mut message = LinkMessage::default();
        message
            .attributes
            .push(LinkAttribute::IfName(name.to_owned()));
        let answers = self.act(RouteNetlinkMessage::GetLink(message), 0).await?;
        answers
            .into_iter()
            .find_map(|answer| match answer {
                RouteNetlinkMessage::NewLink(link) => Some(link.header.index),
                _ => None,
            })
            .ok_or(HostCause::Answer {
                what: "no link in the answer",
            })
    }

    /// Every link as the kernel describes it.
    pub(crate) async fn links(&self) -> Result<Vec<LinkMessage>, HostCause> {
        let answers = self
            .dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))
            .await?;
        let link = |answer| match answer {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        };
        Ok(answers.into_iter().filter_map(link).collect())
    }

    pub(crate) async fn names(&self) -> Result<BTreeMap<u32, String>, HostCause> {
        Ok(self
            .links()
            .await?
            .iter()
            .map(|link| (link.header.index, name_of(link)))
            .collect())
    }
}

/// A link's name; every link has one.
pub(crate) fn name_of(link: &LinkMessage) -> String {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.clone()),
            _ => None,
        })
        .unwrap_or_default()
}

/// Its MAC address, where it has one of 48 bits.
pub(crate) fn mac_of(link: &LinkMessage) -> Option<MacAddress> {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Address(bytes) => <[u8; 6]>::try_from(bytes.as_slice()).ok(),
            _ => None,
        })
        .map(MacAddress)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_that_broke_is_opened_again() {
        let rtnl = Rtnl::default();
        assert!(!rtnl.links().await.unwrap().is_empty());
        if let Some(connection) = rtnl.lock().as_ref() {
            connection.task.abort();
        }
        while !rtnl.is_broken() {
            tokio::task::yield_now().await;
        }
        assert!(!rtnl.links().await.unwrap().is_empty());
    }
}
