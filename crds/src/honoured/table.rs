//! The table: every field of a users' kind, since when it is honoured, and what happens when it cannot be.

/// The release in which the first fields were honoured.
const FIRST: &str = "0.1.0";

/// Since when a field is honoured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Honoured {
    /// Every value, since that release.
    Since(&'static str),
    /// These values only, since that release.
    Only {
        since: &'static str,
        values: &'static [&'static str],
    },
    /// No value: to set it is refused.
    NotYet,
}

/// One field, or all fields below it that have no entry of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HonouredField {
    /// The kind that has it.
    pub kind: &'static str,
    /// Where it stands; `[]` stands for every item of a list.
    pub path: &'static str,
    /// Since when it is honoured.
    pub honoured: Honoured,
    /// What happens when it cannot be honoured. For a field that is not honoured yet: what to write instead.
    pub otherwise: &'static str,
}

impl HonouredField {
    /// What admission says to an object that sets it to what is not honoured.
    #[must_use]
    pub fn refusal(&self) -> String {
        let Self {
            path, otherwise, ..
        } = self;
        format!("not honoured by this version: {path} ({otherwise})")
    }
}

/// The entry for a field: its own, else that of the nearest field above it.
#[must_use]
pub fn covering(kind: &str, path: &str) -> Option<&'static HonouredField> {
    FIELDS
        .iter()
        .filter(|field| field.kind == kind && is_at_or_below(path, field.path))
        .max_by_key(|field| field.path.len())
}

fn is_at_or_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

const fn exit(path: &'static str, honoured: Honoured, otherwise: &'static str) -> HonouredField {
    HonouredField {
        kind: "ExitNode",
        path,
        honoured,
        otherwise,
    }
}

const fn policy(path: &'static str, honoured: Honoured, otherwise: &'static str) -> HonouredField {
    HonouredField {
        kind: "EgressPolicy",
        path,
        honoured,
        otherwise,
    }
}

const fn cluster_policy(
    path: &'static str,
    honoured: Honoured,
    otherwise: &'static str,
) -> HonouredField {
    HonouredField {
        kind: "ClusterEgressPolicy",
        path,
        honoured,
        otherwise,
    }
}

const fn isolation(
    path: &'static str,
    honoured: Honoured,
    otherwise: &'static str,
) -> HonouredField {
    HonouredField {
        kind: "InterfaceIsolation",
        path,
        honoured,
        otherwise,
    }
}

const SINCE_FIRST: Honoured = Honoured::Since(FIRST);

const fn only(values: &'static [&'static str]) -> Honoured {
    Honoured::Only {
        since: FIRST,
        values,
    }
}

/// Every field of the kinds that users write.
pub const FIELDS: &[HonouredField] = &[
    exit(
        "spec.gateway.nodeSelector",
        SINCE_FIRST,
        "No node matches or can be a gateway: `Ready=False, reason=NoEligibleNode`, and the pods of the exit are blocked.",
    ),
    exit(
        "spec.gateway.egressIPs",
        SINCE_FIRST,
        "Postern puts the address on the active gateway's uplink and moves it with the gateway; one that is there already is used. While it is not there, such as while another host has it, nothing leaves with another address: `Ready=False, reason=EgressIPMissing`. A family without an address is blocked, and a condition says `FamilyBlocked`.",
    ),
    exit(
        "spec.gateway.interface",
        SINCE_FIRST,
        "The gateway has no such interface: nothing leaves there, and its report names the mismatch.",
    ),
    exit(
        "spec.external",
        SINCE_FIRST,
        "The Secret is missing or holds no key, no node has reported a key for credentials, or the node that had the session did not let go: `ResolvedRefs=False` with a reason of its own, and the pods of the exit are blocked. The server is silent: `Ready=False, reason=ExitLost`. A family without an address is blocked, and a condition says `FamilyBlocked`.",
    ),
    exit(
        "spec.routes",
        SINCE_FIRST,
        "What the exit does not offer is dropped, never sent elsewhere.",
    ),
    exit(
        "spec.lanAccess",
        SINCE_FIRST,
        "Private ranges are dropped at the exit unless exit and policy both allow them.",
    ),
    exit(
        "spec.paths[]",
        only(&["Direct"]),
        "only the direct path is built yet; write paths: [Direct]",
    ),
    exit(
        "spec.relay",
        Honoured::NotYet,
        "relays are not built yet; leave it out",
    ),
    exit(
        "spec.mtu",
        SINCE_FIRST,
        "The link refuses the number: the tunnel is not brought up, and the pods of the exit are blocked.",
    ),
    exit(
        "spec.probe",
        SINCE_FIRST,
        "No gateway answers: nothing leaves, and `Ready=False, reason=ExitLost`. A target that no route of the exit holds: `Accepted=False, reason=Invalid`.",
    ),
    exit(
        "spec.failback",
        SINCE_FIRST,
        "An exit with egress IPs has one gateway at a time, and returns to no former one by itself.",
    ),
    exit(
        "spec.allowedNamespaces",
        SINCE_FIRST,
        "A policy of another namespace gets `ResolvedRefs=False, reason=NamespaceNotAllowed`, and its pods are blocked.",
    ),
    policy(
        "spec.podSelector",
        SINCE_FIRST,
        "Selected pods on the host network cannot be told apart by address: they count as `unenforceable`, and `FullyEnforced=False`.",
    ),
    policy(
        "spec.priority",
        SINCE_FIRST,
        "A pod that several policies select follows one; the others count it as `overridden`.",
    ),
    policy(
        "spec.route.type",
        SINCE_FIRST,
        "NodeUplink needs the administrator's `ceiling.nodeUplink`; without it `Accepted=False, reason=NotPermitted`, and its pods are blocked. A node without a default route: nothing of the pods leaves, and `Ready=False, reason=NoUplink`.",
    ),
    policy(
        "spec.route.exitNodes",
        SINCE_FIRST,
        "An exit does not exist or may not be used: `ResolvedRefs=False`. No exit works: `Ready=False, reason=NoExit`, and the pods are blocked.",
    ),
    policy(
        "spec.failureMode",
        SINCE_FIRST,
        "Open needs the administrator's `ceiling.failOpen`; without it `Accepted=False, reason=NotPermitted`. While a node's uplink is used: `Ready=False, reason=FailedOpen`. Only an exit that does not answer opens it; where no node is eligible as gateway, or the exit was taken out of use, the pods stay blocked.",
    ),
    policy(
        "spec.failOpenAfter",
        SINCE_FIRST,
        "A part of a second counts as a whole one.",
    ),
    policy(
        "spec.defaultAction",
        SINCE_FIRST,
        "There is no other choice than the two.",
    ),
    policy(
        "spec.rules",
        SINCE_FIRST,
        "A policy whose rules make a node's document larger than its budget gets `TooLarge`, and its pods are blocked.",
    ),
    policy(
        "spec.rules[].to[].fqdn",
        SINCE_FIRST,
        "An address is granted only while an answer of the forwarder that named it is valid, for 60 s at least. A name that cannot be one: `Accepted=False`, and the previous rules stay.",
    ),
    policy(
        "spec.inbound",
        SINCE_FIRST,
        "Replies that cannot be told to belong to a service's connection are dropped.",
    ),
    policy(
        "spec.dns.mode",
        SINCE_FIRST,
        "With Filter: where the addresses of an answer cannot be written into the kernel, or the kernel has no room for them, the pod gets SERVFAIL and not the answer. The resolver that a pod chose is never asked. With Filter and Block, port 853 and port 443 of the resolvers in the operator's setting `encryptedResolvers` are refused whatever the rules say.",
    ),
    policy(
        "spec.dns.upstreams",
        SINCE_FIRST,
        "No server answers through the exit: the pod gets SERVFAIL, and no query leaves elsewhere.",
    ),
    policy(
        "spec.dns.refusal",
        SINCE_FIRST,
        "There is no other choice than the two. The modes Forward and Block do not use it.",
    ),
    policy(
        "spec.lanAccess",
        SINCE_FIRST,
        "Private ranges are dropped unless exit and policy both allow them.",
    ),
    policy(
        "spec.specialUse",
        SINCE_FIRST,
        "A special-use range that is not excepted is dropped, whatever a rule says.",
    ),
    policy(
        "spec.limits",
        SINCE_FIRST,
        "What is over a limit is dropped and counted in the node's report. Each address of a pod has each limit by itself. More bytes a second than 17179869184 (16Gi): `Accepted=False, reason=Invalid`.",
    ),
    policy(
        "spec.establishedFlows",
        SINCE_FIRST,
        "With Keep, a connection that was not let out while the policy said Keep, or that the kernel has no room to remember (262 144 of a policy on a node; the counter `keep_full` tells it), or that was idle for three hours, ends when the rules no longer allow it. Another exit, another policy, a blocked pod, an expired intent and a deleted policy end every one.",
    ),
    policy(
        "spec.audit.log",
        SINCE_FIRST,
        "With Denied, the agent writes one JSON object to its log (target `postern::decision`) for each packet that the policy refuses, for the first packet of each connection that a policy with Observe would refuse, and for each name outside the cluster that is refused or would be; with All also for each connection that it lets go and for each answer. Metadata only. At most 100 a second of each rule, 200 of each policy and 1000 of the node; the rest is counted. What the node refuses to every pod of a policy, such as NodePorts of other nodes, what an exit does not offer, and what is over a limit is counted and not recorded. A node whose kernel has no nflog records names only, and its report says so.",
    ),
    policy(
        "spec.enforcement",
        SINCE_FIRST,
        "Observe needs the administrator's `ceiling.observe`; without it `Accepted=False, reason=NotPermitted`, and a policy that was accepted before is enforced. With Observe, what rules, `defaultAction` and `dns.mode` would refuse is counted and leaves by the exit: `FullyEnforced=False, reason=Observing`. What the exit guarantees is refused as with Enforce: another way out, an expired intent, foreign sources, special use, private ranges, port 853, resolvers over HTTPS, what is over a limit.",
    ),
    cluster_policy(
        "spec.tier",
        SINCE_FIRST,
        "Baseline is for pods that no EgressPolicy selects, as if one selected them with route NodeUplink, defaultAction Allow, lanAccess Allow, establishedFlows Keep and dns.mode Forward, or Filter where a rule has fqdn. What that route refuses in general is refused to them. A namespace that denies by its label keeps denying. A namespace of the setting `exemptNamespaces` has no such rules.",
    ),
    cluster_policy(
        "spec.priority",
        SINCE_FIRST,
        "Two policies with one number: the name that sorts first is asked first, and `Accepted` of both says so.",
    ),
    cluster_policy(
        "spec.subject.namespaces",
        SINCE_FIRST,
        "With tier Admin the rules are asked for pods that an EgressPolicy or the tier Baseline decides about, with tier Baseline for pods that no EgressPolicy selects. Pods that neither decides about leave by the node's own way, are counted as `ungoverned`, and `FullyEnforced=False, reason=Ungoverned`; the namespace label `postern.dev/egress-default: deny` leaves no such pod. A selector that cannot be read means every namespace.",
    ),
    cluster_policy(
        "spec.rules",
        SINCE_FIRST,
        "Rules that are refused: the last ones that were in force stay; where there are none, with tier Admin what no other policy of the tier decides before is denied, and with tier Baseline nothing is in force. Rules that make a node's document larger than its budget block the pods of the largest scopes with `TooLarge`. Traffic inside the cluster and replies are not asked about.",
    ),
    cluster_policy(
        "spec.rules[].to[].fqdn",
        SINCE_FIRST,
        "For rules of tier Baseline that allow; the schema refuses it in others. Names that no such rule allows are refused to the pods of the tier.",
    ),
    isolation(
        "spec.nodeSelector",
        SINCE_FIRST,
        "A node that another, older object selects already: `Accepted=False, reason=Conflict` of the later object, which names the other, and the later one isolates no node.",
    ),
    isolation(
        "spec.preferred",
        SINCE_FIRST,
        "No interface of the domain matches: one that does not match is used, because exactly one is always up.",
    ),
    isolation(
        "spec.domain",
        SINCE_FIRST,
        "An interface that is not excluded counts, whatever made it.",
    ),
    isolation(
        "spec.exception",
        SINCE_FIRST,
        "One of the two is not there, or the time is over: one uplink is up, as without the exception.",
    ),
    isolation(
        "spec.level",
        only(&["AdminState"]),
        "only the admin state of interfaces is verified yet; write level: AdminState",
    ),
    isolation(
        "spec.rfkill",
        SINCE_FIRST,
        "No radio is blocked in this version: with `Enforce`, a node with a radio in its domain is never compliant, and its report says so. `Ignore` leaves radios alone.",
    ),
    isolation(
        "spec.confirm",
        SINCE_FIRST,
        "The API server did not answer before the switch, or its address is not known: the switch is not confirmed by it, and the report says so.",
    ),
    isolation(
        "spec.remoteSafety",
        SINCE_FIRST,
        "`Protect` finds sessions of SSH on port 22 and connections to the API server by their local address; one on another port is not found.",
    ),
];
