//! Which class serves a Network: by name, by provider, by features, or the default one.

use std::borrow::Cow;
use std::fmt;

use crate::{Class, Features, Labels, MissingFeatures, NetworkIntent, built_in_class};

#[cfg(test)]
mod tests;

/// Why no class serves a Network. The messages name the classes and what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// The class asked for is not there.
    #[error(
        "NetworkClass {name:?} does not exist ({classes}): correct spec.class, or have the class created"
    )]
    UnknownClass {
        /// What was asked for.
        name: String,
        /// What there is.
        classes: KnownClasses,
    },
    /// The class asked for has another provider than the one asked for.
    #[error(
        "spec.class {class:?} has provider {provider:?}, but spec.provider asks for {wanted:?}: remove one of them"
    )]
    OtherProvider {
        /// The class.
        class: String,
        /// Its provider.
        provider: String,
        /// The provider asked for.
        wanted: String,
    },
    /// The one class that was left does not offer what is required.
    #[error("NetworkClass {class:?} does not offer {missing}: choose another class, or lower spec.requires")]
    Missing {
        /// The class.
        class: String,
        /// What it lacks.
        missing: MissingFeatures,
    },
    /// The one class that was left is not for this namespace.
    #[error(
        "NetworkClass {class:?} may not be used in namespace {namespace:?}: \
         choose another class, or ask its administrator for access"
    )]
    NotAllowed {
        /// The class.
        class: String,
        /// The Network's namespace.
        namespace: String,
    },
    /// There is no class of the provider, and it can't do without one.
    #[error(
        "no NetworkClass has provider {provider:?} ({classes}): correct spec.provider, or have a class created"
    )]
    NoClassOfProvider {
        /// The provider asked for.
        provider: String,
        /// What there is.
        classes: KnownClasses,
    },
    /// Several classes come into question, and each lacks something.
    #[error("no NetworkClass fits: {}: lower spec.requires, or have a class created", Refusals(.refusals))]
    NoneFits {
        /// Each class with what is wrong with it; empty where there is no class at all.
        refusals: Vec<Refusal>,
    },
    /// Nothing is asked for, and no class is the default.
    #[error(
        "no NetworkClass is marked as default ({classes}): set spec.class or spec.provider, \
         or annotate a class with knap.github.com/is-default-class: \"true\""
    )]
    NoDefault {
        /// What there is.
        classes: KnownClasses,
    },
    /// Nothing is asked for, and it can't be said which class is meant.
    #[error("several NetworkClasses are marked as default ({}): set spec.class, or unmark all but one", .names.join(", "))]
    SeveralDefaults {
        /// The marked ones.
        names: Vec<String>,
    },
}

/// Names of the classes that there are, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownClasses(pub Vec<String>);

impl fmt::Display for KnownClasses {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            formatter.write_str("there are no classes")
        } else {
            write!(formatter, "classes: {}", self.0.join(", "))
        }
    }
}

/// A class that came into question, and why it was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The class.
    pub class: String,
    /// What it lacks; none where the namespace may not use it.
    pub missing: Option<MissingFeatures>,
}

/// Refusals as the middle of a message.
struct Refusals<'a>(&'a [Refusal]);

impl fmt::Display for Refusals<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("there are no classes");
        }
        for (index, Refusal { class, missing }) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            match missing {
                Some(missing) => write!(formatter, "{separator}{class} does not offer {missing}")?,
                None => write!(formatter, "{separator}{class} may not be used in this namespace")?,
            }
        }
        Ok(())
    }
}

/// The class that serves a Network: cloned only where it is a built-in one.
///
/// Constraints given together must all hold. Without labels nothing is filtered by label. Among several classes
/// the default-marked one comes first, then the name decides, so that the answer does not depend on their order.
pub fn select_class<'a>(
    network: &NetworkIntent,
    classes: impl IntoIterator<Item = &'a Class>,
    namespace_labels: Option<&Labels>,
) -> Result<Cow<'a, Class>, SelectionError> {
    let mut classes: Vec<&Class> = classes.into_iter().collect();
    classes.sort_by(|a, b| (!a.is_default, &a.name).cmp(&(!b.is_default, &b.name)));
    let choice = Choice { network, namespace_labels };
    if let Some(name) = &network.class {
        return choice.by_name(name, &classes).map(Cow::Borrowed);
    }
    if let Some(provider) = &network.provider {
        return choice.by_provider(provider, &classes);
    }
    if network.requires.as_ref().is_some_and(|wanted| *wanted != Features::default()) {
        return choice.first_fitting(&classes).map(Cow::Borrowed);
    }
    choice.default_class(&classes).map(Cow::Borrowed)
}

/// What every class is held against.
struct Choice<'n> {
    network: &'n NetworkIntent,
    namespace_labels: Option<&'n Labels>,
}

impl Choice<'_> {
    fn by_name<'a>(&self, name: &str, classes: &[&'a Class]) -> Result<&'a Class, SelectionError> {
        let class = classes
            .iter()
            .find(|class| class.name == name)
            .ok_or_else(|| SelectionError::UnknownClass { name: name.to_owned(), classes: known(classes) })?;
        match &self.network.provider {
            Some(wanted) if *wanted != class.provider => Err(SelectionError::OtherProvider {
                class: class.name.clone(),
                provider: class.provider.clone(),
                wanted: wanted.clone(),
            }),
            _ => self.single(class).map(|()| *class),
        }
    }

    fn by_provider<'a>(
        &self,
        provider: &str,
        classes: &[&'a Class],
    ) -> Result<Cow<'a, Class>, SelectionError> {
        let candidates: Vec<_> = classes.iter().copied().filter(|class| class.provider == provider).collect();
        if !candidates.is_empty() {
            return self.first_fitting(&candidates).map(Cow::Borrowed);
        }
        let class = built_in_class(provider).ok_or_else(|| SelectionError::NoClassOfProvider {
            provider: provider.to_owned(),
            classes: known(classes),
        })?;
        self.single(&class).map(|()| Cow::Owned(class))
    }

    fn default_class<'a>(&self, classes: &[&'a Class]) -> Result<&'a Class, SelectionError> {
        let marked: Vec<_> = classes.iter().copied().filter(|class| class.is_default).collect();
        match marked.as_slice() {
            [class] => self.single(class).map(|()| *class),
            [] => Err(SelectionError::NoDefault { classes: known(classes) }),
            several => Err(SelectionError::SeveralDefaults { names: known(several).0 }),
        }
    }

    fn first_fitting<'a>(&self, candidates: &[&'a Class]) -> Result<&'a Class, SelectionError> {
        let mut refusals = Vec::new();
        for class in candidates {
            match self.refusal(class) {
                None => return Ok(class),
                Some(refusal) => refusals.push(refusal),
            }
        }
        Err(match (candidates, refusals.pop()) {
            ([class], Some(refusal)) => self.explain(class, refusal),
            (_, last) => {
                refusals.extend(last);
                SelectionError::NoneFits { refusals }
            }
        })
    }

    /// Holds the only class that comes into question against the constraints.
    fn single(&self, class: &Class) -> Result<(), SelectionError> {
        self.refusal(class).map_or(Ok(()), |refusal| Err(self.explain(class, refusal)))
    }

    fn refusal(&self, class: &Class) -> Option<Refusal> {
        let refuse = |missing| Some(Refusal { class: class.name.clone(), missing });
        if !class.access.admits(self.namespace_labels) {
            return refuse(None);
        }
        let wanted = self.network.requires.as_ref();
        match class.offered().offers(wanted.unwrap_or(&Features::default())) {
            Ok(()) => None,
            Err(missing) => refuse(Some(missing)),
        }
    }

    fn explain(&self, class: &Class, refusal: Refusal) -> SelectionError {
        match refusal.missing {
            Some(missing) => SelectionError::Missing { class: class.name.clone(), missing },
            None => SelectionError::NotAllowed {
                class: class.name.clone(),
                namespace: self.network.owner.namespace.clone(),
            },
        }
    }
}

fn known(classes: &[&Class]) -> KnownClasses {
    KnownClasses(classes.iter().map(|class| class.name.clone()).collect())
}
