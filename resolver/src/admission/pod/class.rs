//! Which class serves a Network that a pod names. Pure.

use std::cell::OnceCell;

use knap_api::Network;
use knap_core::{Class, Labels, decide};

use crate::provision::{built_in_by_name, class_name};
use crate::store::ObjectName;
use crate::translate;
use crate::view::View;

/// The classes that one review is answered by.
pub(super) struct Classes<'a> {
    view: &'a View,
    /// Those among which one is selected, read when that is first needed.
    all: OnceCell<Vec<Class>>,
}

impl<'a> Classes<'a> {
    pub(super) const fn new(view: &'a View) -> Self {
        Self { view, all: OnceCell::new() }
    }

    /// The class that serves a Network of a namespace with these labels, or will; the error is why none does.
    ///
    /// One of which nothing is decided was made a moment ago, perhaps. Its class is selected as the controller does it, and no
    /// more: whether all that it needs is free takes a look at everything reserved, and a pod is not held to that.
    pub(super) fn of(&self, network: &Network, labels: Option<&Labels>) -> Result<Class, String> {
        if let Some(name) = class_name(network) {
            return class_named(self.view, name);
        }
        let intent = translate::network(network).map_err(|error| error.to_string())?;
        match decide(&intent, self.all(), labels) {
            Ok(decision) => Ok(decision.class.into_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn all(&self) -> &[Class] {
        let read =
            || self.view.classes.all().iter().filter_map(|class| translate::class(class).ok()).collect();
        self.all.get_or_init(read)
    }
}

/// The class of this name.
pub(super) fn class_named(view: &View, name: &str) -> Result<Class, String> {
    match view.classes.get(&ObjectName::cluster(name)) {
        Some(class) => translate::class(&class).map_err(|error| error.to_string()),
        None => built_in_by_name(name).ok_or_else(|| format!("NetworkClass {name:?} does not exist")),
    }
}
