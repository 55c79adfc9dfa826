use super::vocabulary::vocabulary;

vocabulary! {
    /// What a condition is about. The meaning of a type never changes later.
    ConditionType {
        Accepted: "The object is understood, permitted and honoured; while it is not, what it selects is blocked.",
        ResolvedRefs: "Everything that the object names exists and may be named by it.",
        Programmed: "Every node concerned carries this generation, read back from its kernel.",
        Ready: "The object does what it promises right now.",
        FullyEnforced: "No selected pod is outside what can be enforced, such as a pod on the host network.",
        SettingsAccepted: "The operator's settings file is in force; while it is refused, the settings of before are.",
        RolledBack: "A change was not confirmed in time and what was before is in force again.",
        Verified: "The kernel was read back and agrees with the applied body in every owned object.",
        FailClosed: "The guard is in place and was read back, so that what is not allowed is dropped.",
        SourceBinding: "Every pod's packets carry that pod's own addresses, or are dropped.",
        Preflight: "Nothing on the node, such as a switch or another program's rule, is in the way of the guard or of traffic.",
        SecondLock: "The XFRM lock is in place, which holds when somebody removes the nft tables.",
    }
}
