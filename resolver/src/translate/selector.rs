//! Label selectors and features, which Networks and classes have in common.

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use knap_api::IpFamily;
use knap_core::{LabelSelector, Requirement};

use super::field::{Fields, TranslateError};

pub(super) fn selector(
    fields: &Fields,
    field: &str,
    selector: &meta::LabelSelector,
) -> Result<LabelSelector, TranslateError> {
    let expressions = selector.match_expressions.iter().flatten().enumerate();
    let match_expressions = expressions.map(|(index, expression)| {
        let values = expression.values.iter().flatten().cloned();
        Requirement::new(expression.key.as_str(), &expression.operator, values)
            .map_err(fields.at(format!("{field}.matchExpressions[{index}]")))
    });
    Ok(LabelSelector {
        match_labels: selector.match_labels.clone().unwrap_or_default(),
        match_expressions: match_expressions.collect::<Result<_, _>>()?,
    })
}

pub(super) fn features(features: &knap_api::Features) -> knap_core::Features {
    let family = |family: &IpFamily| match family {
        IpFamily::IPv4 => knap_core::IpFamily::IPv4,
        IpFamily::IPv6 => knap_core::IpFamily::IPv6,
    };
    knap_core::Features {
        isolation: features.isolation.unwrap_or_default(),
        hardware_acceleration: features.hardware_acceleration.unwrap_or_default(),
        external: features.external.unwrap_or_default(),
        ip_families: features.ip_families.iter().map(family).collect(),
        mtu: features.mtu,
    }
}
