//! An entry of `k8s.v1.cni.cncf.io/network-status`, made of a network's result.

use serde_json::{Value, json};

/// None where the result names no interface inside the pod, as for Multus.
pub(super) fn of(name: &str, interface: &str, default: bool, result: &Value) -> Option<Value> {
    let interfaces = result["interfaces"].as_array()?;
    let inside = |entry: &&Value| entry["sandbox"].as_str().is_some_and(|sandbox| !sandbox.is_empty());
    let ours = interfaces.iter().filter(inside).find(|entry| entry["name"] == interface)?;
    let ips = result["ips"].as_array().into_iter().flatten().filter_map(|ip| ip["address"].as_str());
    let ips: Vec<&str> = ips.filter_map(|address| address.split('/').next()).collect();
    let mut status = json!({ "name": name, "interface": interface, "mac": ours["mac"], "dns": {} });
    if !ips.is_empty() {
        status["ips"] = json!(ips);
    }
    if default {
        status["default"] = json!(true);
    }
    let routes = result["routes"].as_array().into_iter().flatten();
    let gateways: Vec<&Value> = routes
        .filter(|route| route["dst"] == "0.0.0.0/0" || route["dst"] == "::/0")
        .map(|route| &route["gw"])
        .collect();
    if !gateways.is_empty() {
        status["gateway"] = json!(gateways);
    }
    Some(status)
}
