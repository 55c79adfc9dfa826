//! Routes: the mark, table and device of each exit that the node uses.

use postern_intent::body::ExitRoute;

use super::{Context, NodePlan};
use crate::allocate::table;

/// The routes of a node, by exit.
pub(crate) fn lower(context: &Context<'_>, plan: &NodePlan<'_>) -> Vec<ExitRoute> {
    plan.used_exits()
        .into_iter()
        .filter_map(|exit| {
            let mark = plan.marks.get(exit)?;
            let interface = context.numbers.get(exit)?.used.clone();
            Some(ExitRoute {
                exit: exit.clone(),
                mark,
                table: table(mark)?,
                interface,
            })
        })
        .collect()
}
