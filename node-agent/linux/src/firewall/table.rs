//! The port: batches in, listings out.

use postern_host::error::{Cause, HostError};
use postern_host::ports::{Act, Firewall};
use postern_plan::observed::{ObservedFirewall, ObservedTable};
use postern_plan::ruleset::Transaction;

use super::{decode, run};
use crate::host::LinuxHost;

impl Firewall for LinuxHost {
    async fn change_firewall(&self, transaction: &Transaction) -> Act<()> {
        run::change(transaction.text())
            .await
            .map_err(|source| HostError::ChangeFirewall {
                summary: transaction.summary().to_owned(),
                source,
            })
    }

    async fn read_firewall(&self) -> Act<ObservedFirewall> {
        let (inet, bridge) = tokio::join!(table("inet"), table("bridge"));
        Ok(ObservedFirewall {
            inet: inet.map_err(|source| HostError::ReadFirewall {
                table: "inet postern",
                source,
            })?,
            bridge: bridge.map_err(|source| HostError::ReadFirewall {
                table: "bridge postern",
                source,
            })?,
        })
    }
}

async fn table(family: &str) -> Result<Option<ObservedTable>, Cause> {
    match run::list(family).await? {
        Some(listing) => decode::table(&listing),
        None => Ok(None),
    }
}
