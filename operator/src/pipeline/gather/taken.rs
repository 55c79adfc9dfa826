//! From a store to values: sorted, and with what cannot be read set apart.

use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt as _};
use postern_compile::intake::IntakeError;
use postern_crds::conditions::Reason;

use crate::error::chain;
use crate::watches::{InvalidObject, WatchedKind, WatchedObject};

/// An object that cannot be read, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadProblem {
    pub kind: WatchedKind,
    pub namespace: Option<String>,
    pub name: String,
    pub uid: Option<String>,
    pub reason: Reason,
    /// What is wrong, and what it means.
    pub what: String,
}

/// How the objects of a kind are taken in.
pub(super) struct ObjectIntake<R, T> {
    pub(super) kind: WatchedKind,
    /// What an object means.
    pub(super) read: R,
    /// What an object means that cannot be read; nothing: it is as if it were not there.
    pub(super) rescue: fn(&InvalidObject) -> Option<T>,
}

/// All objects of a store by namespace and name.
pub(super) fn sorted<K>(store: &Store<K>) -> Vec<std::sync::Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let mut objects = store.state();
    objects.sort_by_cached_key(|object| (object.namespace(), object.name_any()));
    objects
}

/// Takes in every object of a store.
pub(super) fn take<K, T, R>(
    store: &Store<WatchedObject<K>>,
    taking: &ObjectIntake<R, T>,
    problems: &mut Vec<ReadProblem>,
) -> Vec<T>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
    R: Fn(&K) -> Result<T, IntakeError>,
{
    let mut taken = Vec::with_capacity(store.len());
    for object in sorted(store) {
        let (value, problem) = match &*object {
            WatchedObject::Good(good) => match (taking.read)(good) {
                Ok(value) => (Some(value), None),
                Err(error) => (None, Some((Reason::Invalid, chain(&error)))),
            },
            WatchedObject::Poison(poison) => (
                (taking.rescue)(poison),
                Some((poison.reason, poison.problem.clone())),
            ),
        };
        taken.extend(value);
        problems.extend(problem.map(|(reason, what)| ReadProblem {
            kind: taking.kind,
            namespace: object.namespace(),
            name: object.name_any(),
            uid: object.uid(),
            reason,
            what,
        }));
    }
    taken
}
