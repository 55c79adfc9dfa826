//! Reasons of conditions, verdicts, blocked scopes and refusals.

use postern_intent::body::BlockedReason;

use super::vocabulary::vocabulary;

vocabulary! {
    /// Why a condition has its status, as one word for programs. The message beside it is for people.
    Reason {
        // What is well, and what is not known yet.
        Accepted: "The object is understood, permitted and honoured.",
        Resolved: "Everything that the object names exists and may be named by it.",
        Programmed: "The kernel carries what was asked for.",
        Ready: "Traffic leaves by the exit and by nothing else.",
        Enforced: "Every selected pod is enforced.",
        Observing: "The policy only counts what its rules would refuse; what leaves does so by the exit.",
        Verified: "The kernel was read back and agrees.",
        Sealed: "The guard is in place and was read back.",
        Bound: "The plugin gave a binding for every pod that started.",
        Checked: "The checks of the node found nothing in the way.",
        Locked: "The XFRM lock is in place and was read back.",
        Pending: "Nothing is known yet: the first reports are awaited.",
        Converging: "Some nodes do not carry this generation yet.",
        Stale: "The last report is too old to count.",
        Isolated: "At most one uplink of each chosen node is up, or the two of a hotspot, and the others are down, read back.",
        Confirmed: "The last switch of an uplink was confirmed, or there was nothing to confirm.",
        Unused: "Nothing selects the object, so there is nothing to do for it.",

        // Why an object is not accepted, or what it names is not found.
        Invalid: "The object contradicts itself or holds a value that is not understood.",
        NotImplemented: "A field is set that this version does not honour; the message names it.",
        UnknownField: "A field is set that this version does not know, as after an upgrade of the definitions alone; the message names it.",
        NotPermitted: "The object asks for more than the administrator allows.",
        NamespaceNotAllowed: "The exit does not allow policies of this namespace.",
        RefNotFound: "An object that this one names does not exist.",
        RefNotAccepted: "An object that this one names is not accepted itself.",
        SwitchedOff: "A person took the exit out of use; posternctl exit on EXIT ends that.",
        NoEligibleNode: "No node that matches the selector can be the gateway.",
        CredentialMissing: "The Secret of the exit's credential does not exist in the operator's namespace.",
        CredentialMalformed: "The Secret of the exit's credential holds no usable WireGuard key.",
        NoCredentialKey: "The node that is to have the exit's session has reported no key that its credential can be encrypted to.",
        HolderHeld: "The node that had the exit's egress IPs or session has not reported that it gave them up; no other node begins.",
        SettingsRefused: "The operator's settings file is refused and the settings of before stay in force; the message names the keys.",
        RangesUnknown: "The cluster's pod, service or node ranges are not known, so that nothing can be told inside from outside.",
        ReleaseHeld: "More would be released than may be without an approval; posternctl approve lets it through.",
        Restored: "The cluster is behind what its nodes have seen, as after a restore; it may only get tighter until a person approves.",
        TooLarge: "A document would be larger than its budget.",
        NoMarkLeft: "The node uses as many exits as the mark's mask has numbers for.",
        NoTunnelAddressLeft: "The tunnel ranges have no address left for another node.",
        NoPortLeft: "The port range of the tunnels has no port left for another exit.",
        FamilyBlocked: "The exit has source addresses, or its gateway an uplink, in one family only; the other family is blocked.",
        Overridden: "Another policy of the namespace decides about all of the pods that this one selects.",
        Ungoverned: "No EgressPolicy selects some pods of the subject, so that its rules are not asked for them.",
        KeyNotProved: "The node's report does not prove that its WireGuard key is its own, so the key is not used.",
        Conflict: "Another object of higher rank claims the same.",

        SigningKeyLost: "The signing key is gone or cannot be used while nodes trust it; it is put back from a backup and never made anew.",

        // Why nothing leaves.
        NoExit: "No exit of the policy works now; its pods are blocked.",
        ExitLost: "The exit does not answer; the next one is tried, and nothing leaves meanwhile.",
        NoPeerKey: "The WireGuard key of the client or of the gateway is not known yet.",
        NoTunnel: "The node can make no tunnel: neither kernel WireGuard nor a TUN device.",
        NoHandshake: "The tunnel has no recent handshake with the exit.",
        NotForwarded: "The gateway answers in the tunnel, but packets that it forwards get no reply.",
        EgressIPMissing: "An egress IP of the exit is on no interface of the gateway, so that its family is blocked.",
        NoUplink: "The gateway, or with route type NodeUplink the node itself, has no uplink that works.",
        ResolverSilent: "No resolver that names are asked of answers through the exit.",
        NoResolver: "No resolver outside of the cluster is known to ask; name some in spec.dns.upstreams or in the setting dnsUpstreams.",
        NoClass: "The pod is not in the applied intent yet; its way out is held.",
        PolicyRefused: "The policy is not accepted and was never in force, so its pods are blocked.",
        RefNotResolved: "The policy names something that does not exist or may not be used, so its pods are blocked.",
        NamespaceDeny: "The namespace is labelled to deny and no policy selects the pod.",
        LeaseExpired: "The intent ran out and the kernel's lease with it; nothing leaves until a fresh one comes.",
        FailedOpen: "No exit works and the policy allows the node's uplink.",
        Released: "The node was released: its pods leave by its uplink.",

        // What a node cannot do, or what somebody did to it.
        UnknownPodLink: "A pod is behind a link that the setting --pod-links does not match, so that it would not be held.",
        DataplaneBypassed: "A pod's path bypasses netfilter, so that the guard does not see its packets.",
        HostNetwork: "Selected pods use the host network and cannot be told apart by address.",
        NoPlugin: "The CNI plugin is not installed; addresses come from the intent.",
        NoGuard: "The nft tables cannot be written, so that the guard is impossible.",
        CheckFailed: "A check of the node found something in the way; the message says what, and what to do.",
        NoSecondLock: "The kernel has no XFRM, or another program's policy comes first, or the setting is off.",
        TransactionFailed: "The kernel refused a change; what was in force before stays whole.",
        ApplyFailed: "A step on the host failed; what was not reached stays blocked.",
        Mismatch: "What was read back differs from what was written.",
        Repaired: "Somebody changed or removed an owned object; it was put back.",
        NotSealed: "The guard is not in place yet.",
        NotConfirmed: "What had to answer after the change did not in time.",
        FlowsNotCut: "The guard is in place, and flows that it no longer allows have still to be cut.",
        Unbound: "Some pods are older than the plugin, so that nothing but the intent says which addresses are theirs.",
        LedgerLost: "The ledger is missing or corrupt; the node is sealed and waits for a fresh intent.",
        NoIntent: "No intent has reached the node yet.",
        HostUnreadable: "A part of the host that the answer depends on could not be read; it is tried again.",
        NoHostInterface: "The plugin before this one names no interface of the host for the pod.",
        NotBound: "The agent has no binding of this sandbox.",

        // Why the uplinks of a node are not as they are wanted.
        RemoteLinkProtected: "The change would cut a link that carries the API server or an SSH session; nothing is changed, the message names the link.",
        Switching: "The node changes its uplink: the others go down first.",
        Confirming: "The new uplink is up, and what has to answer did not answer yet.",
        LinkStuck: "An interface does not go down, or not up; the message names it.",
        LinkNotRestored: "The uplink in use did not get back routes or addresses that it had before it was set down; it is tried again, the message names it.",
        LinkMemoryLost: "How links were before the isolation cannot be read; the message says which file was put aside and what to do.",
        NoLink: "The node has no interface that could be its uplink.",
        RadioNotBlocked: "The node has a radio that is not known to be blocked.",
        SwitchRolledBack: "The switch was not confirmed in time, and the uplink of before is in use again.",

        // Why a document is refused; what was in force stays in force.
        Malformed: "The file or field is no envelope.",
        PayloadType: "The envelope's media type is not the expected one.",
        UnknownKey: "No signature is by a key that this node trusts.",
        BadSignature: "A signature is not valid.",
        BadPayload: "The payload cannot be decoded or unpacked.",
        FormatVersion: "The document has a format that this agent does not read; upgrade the agent.",
        NotUnderstood: "The document holds a field or a class that this agent does not know.",
        Inconsistent: "The body contradicts itself.",
        WrongNode: "The document is for another node.",
        WrongNodeUid: "The document is for an earlier or later node of the same name.",
        Expired: "The document has run out.",
        FromTheFuture: "The document was issued later than now and the skew allowance.",
        Replayed: "The document's serial is below the ledger's.",
        Equivocation: "Two documents of the same serial differ.",
        ClusterAwaited: "The intent needs a newer cluster document than the node has; what is in force stays until it comes.",
        FormerLineage: "The cluster document was made after the store was set back, and the node's intent before; a newer intent waits for a person.",
        KeySetVersion: "The key set's version is not above the one in force.",
        BadKeySet: "The key set holds something that is no key.",
        EmptyKeySet: "The key set holds no key.",
        NotDurable: "The document is good, and what has to outlive a crash before it is in force cannot be written; it is tried again.",
    }
}

impl From<BlockedReason> for Reason {
    /// A body blocks for some of the reasons that conditions have, under the same words.
    fn from(blocked: BlockedReason) -> Self {
        match blocked {
            BlockedReason::NoExit => Self::NoExit,
            BlockedReason::NoPeerKey => Self::NoPeerKey,
            BlockedReason::NoMarkLeft => Self::NoMarkLeft,
            BlockedReason::PolicyRefused => Self::PolicyRefused,
            BlockedReason::NotImplemented => Self::NotImplemented,
            BlockedReason::RefNotResolved => Self::RefNotResolved,
            BlockedReason::NamespaceDeny => Self::NamespaceDeny,
            BlockedReason::ReleaseHeld => Self::ReleaseHeld,
            BlockedReason::TooLarge => Self::TooLarge,
            BlockedReason::NoTunnel => Self::NoTunnel,
        }
    }
}
