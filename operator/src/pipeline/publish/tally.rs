//! What came of many writes.

/// What came of many writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// The API server took them.
    pub written: usize,
    /// Another writer changed them first: they are read again.
    pub stale: usize,
    /// The API server could not take them now.
    pub passing: usize,
    /// The API server refuses them.
    pub refused: usize,
    /// They were not sent, because the term was over.
    pub late: usize,
    /// They were not sent, because their back-off is not over.
    pub backing_off: usize,
}

impl Tally {
    /// Whether something is not written.
    #[must_use]
    pub const fn is_incomplete(&self) -> bool {
        self.stale + self.late + self.failed() > 0
    }

    /// How many objects wait for their back-off.
    #[must_use]
    pub const fn failed(&self) -> usize {
        self.passing + self.refused + self.backing_off
    }

    pub const fn add(&mut self, other: Self) {
        self.written += other.written;
        self.stale += other.stale;
        self.passing += other.passing;
        self.refused += other.refused;
        self.late += other.late;
        self.backing_off += other.backing_off;
    }
}

/// What came of the writes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tallies {
    pub intents: Tally,
    /// The trust root, the memory, reports to make and to delete, taints.
    pub others: Tally,
}

impl Tallies {
    #[must_use]
    pub const fn sum(self) -> Tally {
        let mut sum = self.intents;
        sum.add(self.others);
        sum
    }
}
