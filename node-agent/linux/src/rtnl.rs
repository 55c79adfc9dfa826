//! Requests of the route family, by rtnetlink.
//!
//! Messages are composed here and in the noun's own module instead of by the crate's builders, whose `replace` of a
//! rule adds a duplicate and whose table numbers end at 255.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use futures::StreamExt as _;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use postern_host::error::{Cause, HostError, errno};

const TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to the kernel's route family, in the namespace that it was opened in.
pub(crate) struct Rtnl {
    handle: rtnetlink::Handle,
}

impl Rtnl {
    /// Opens a connection and leaves it to a task of the current runtime.
    pub(crate) fn open() -> Result<Self, HostError> {
        let (connection, handle, _events) =
            rtnetlink::new_connection().map_err(|error| HostError::Open {
                socket: "NETLINK_ROUTE",
                source: error.into(),
            })?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// Lists something. A list that changed while it was read is read again, three times at most.
    pub(crate) async fn dump(
        &self,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, Cause> {
        for _ in 0..3 {
            match self.timed(message.clone(), NLM_F_DUMP).await {
                Err(Cause::Errno {
                    errno: errno::EINTR,
                }) => {}
                other => return other,
            }
        }
        Err(Cause::errno(errno::EINTR))
    }

    /// Changes something, or asks for one thing.
    pub(crate) async fn act(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, Cause> {
        self.timed(message, NLM_F_ACK | flags).await
    }

    async fn timed(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, Cause> {
        match tokio::time::timeout(TIMEOUT, self.ask(message, flags)).await {
            Ok(answer) => answer,
            Err(_) => Err(Cause::TimedOut {
                seconds: TIMEOUT.as_secs(),
            }),
        }
    }

    async fn ask(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, Cause> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        let request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        let gone = |_| Cause::Io {
            kind: io::ErrorKind::BrokenPipe,
        };
        let mut answers = self.handle.clone().request(request).map_err(gone)?;
        let mut out = Vec::new();
        while let Some(answer) = answers.next().await {
            if answer.header.flags & NLM_F_DUMP_INTR != 0 {
                return Err(Cause::errno(errno::EINTR));
            }
            match answer.payload {
                NetlinkPayload::Error(error) => {
                    if let Some(code) = error.code {
                        return Err(Cause::errno(code.get().wrapping_neg()));
                    }
                }
                NetlinkPayload::InnerMessage(message) => out.push(message),
                NetlinkPayload::Overrun(_) => return Err(Cause::errno(errno::ENOBUFS)),
                _ => {}
            }
        }
        Ok(out)
    }

    /// The index of a device; `ENODEV` when there is none of that name.
    pub(crate) async fn index(&self, name: &str) -> Result<u32, Cause> {
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
            .ok_or(Cause::Answer {
                what: "no link in the answer",
            })
    }

    /// Every link as the kernel describes it.
    pub(crate) async fn links(&self) -> Result<Vec<LinkMessage>, Cause> {
        let answers = self
            .dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))
            .await?;
        let link = |answer| match answer {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        };
        Ok(answers.into_iter().filter_map(link).collect())
    }

    /// Names by index.
    pub(crate) async fn names(&self) -> Result<BTreeMap<u32, String>, Cause> {
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
