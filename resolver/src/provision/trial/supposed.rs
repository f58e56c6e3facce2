//! A store over the view in which writes only seem to happen.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::sync::Arc;

use futures::Stream;
use k8s_openapi::api::core::v1::Namespace;
use knap_api::Reservation;
use kube::ResourceExt;
use parking_lot::Mutex;

use super::Namespaces;
use crate::store::{Kind, Labels, ObjectName, Preconditions, Store, StoreError, WatchEvent};
use crate::view::View;

/// Reservations alone: nothing else is written on the way to a Network's grant; and what is read is what was read before.
#[derive(Debug, Clone)]
pub(super) struct Supposed {
    view: Arc<View>,
    /// Those that the view may not know yet: nobody else's are asked for here.
    namespaces: Arc<Namespaces>,
    /// What was written since, by name; none where it was deleted.
    written: Arc<Mutex<BTreeMap<String, Option<Reservation>>>>,
}

impl Supposed {
    pub(super) fn new(view: Arc<View>, namespaces: Namespaces) -> Self {
        Self { view, namespaces: Arc::new(namespaces), written: Arc::default() }
    }

    /// From now on these are not there.
    pub(super) fn leave_out(&self, reservations: &[Arc<Reservation>]) {
        self.written.lock().extend(reservations.iter().map(|gone| (gone.name_any(), None)));
    }

    fn namespace(&self, name: &ObjectName) -> Option<Namespace> {
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.name.clone());
        namespace.metadata.labels = Some(self.namespaces.get(&name.name)?.as_ref().clone());
        Some(namespace)
    }

    fn find(&self, name: &ObjectName) -> Option<Reservation> {
        if let Some(written) = self.written.lock().get(&name.name) {
            return written.clone();
        }
        self.view.reservations.get(name).map(|known| Reservation::clone(&known))
    }

    fn write<K: Kind>(&self, object: &K) -> K {
        if let Some(reservation) = cast::<K, Reservation>(object) {
            self.written.lock().insert(reservation.name_any(), Some(reservation));
        }
        object.clone()
    }
}

impl Store for Supposed {
    async fn get<K: Kind>(&self, name: &ObjectName) -> Result<Option<K>, StoreError> {
        if TypeId::of::<K>() == TypeId::of::<Namespace>() {
            return Ok(self.namespace(name).as_ref().and_then(cast));
        }
        Ok(self.find(name).as_ref().and_then(cast))
    }

    async fn list<K: Kind>(&self, _: &Labels) -> Result<Vec<K>, StoreError> {
        let written = self.written.lock();
        let known = self.view.reservations.all();
        let unchanged = known.iter().filter(|known| !written.contains_key(&known.name_any()));
        let reservations = unchanged.map(|known| &**known).chain(written.values().flatten());
        Ok(reservations.filter_map(cast).collect())
    }

    async fn position<K: Kind>(&self) -> Result<u64, StoreError> {
        Ok(u64::MAX)
    }

    fn watch<K: Kind>(&self) -> impl Stream<Item = WatchEvent<K>> + Send + Unpin + 'static {
        futures::stream::pending()
    }

    async fn create<K: Kind>(&self, object: &K) -> Result<K, StoreError> {
        let name = ObjectName::of(object);
        match self.find(&name) {
            Some(_) => Err(StoreError::AlreadyExists { kind: K::kind(&()).into_owned(), name }),
            None => Ok(self.write(object)),
        }
    }

    async fn update<K: Kind>(&self, object: &K) -> Result<K, StoreError> {
        Ok(self.write(object))
    }

    async fn update_status<K: Kind>(&self, object: &K) -> Result<K, StoreError> {
        Ok(self.write(object))
    }

    async fn delete<K: Kind>(&self, name: &ObjectName, _: &Preconditions) -> Result<(), StoreError> {
        self.written.lock().insert(name.name.clone(), None);
        Ok(())
    }
}

/// An object as one of another kind, if it is one.
fn cast<A: Any, B: Any + Clone>(object: &A) -> Option<B> {
    (object as &dyn Any).downcast_ref::<B>().cloned()
}
