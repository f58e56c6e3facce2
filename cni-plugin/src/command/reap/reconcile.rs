//! The ledger against the resolver's leases. The resolver suspects; what is under the lock decides.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use knap_protocol::{
    AttachRequest, AttachmentKey, Attempt, BootId, CniCode, JsonObject, LedgerEntry, LedgerState,
    ReapSummary, ReconcileRequest, Suspect,
};

use super::entries::{end, lock};
use super::failed;
use crate::cni_args::CniArgs;
use crate::command::add::args_cni;
use crate::failure::Failure;
use crate::ledger::Entry;
use crate::session::{RELEASE_PATIENCE, Session};

/// Leases named in one failure.
const TOLD: usize = 10;

/// How long a comparison, or the assertion of one attachment, may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Compares, and acts on each difference.
pub(super) fn run(session: &Session<'_>, boot: &BootId, summary: &mut ReapSummary) -> Result<(), Failure> {
    let request = whole_ledger(session, boot)?;
    let reply = session.resolver.reconcile(&request, Instant::now() + PATIENCE)?;
    let attempt_of = |key: &AttachmentKey| {
        let sent =
            request.entries.iter().find(|sent| sent.key == *key && sent.state != LedgerState::Releasing);
        sent.map(|sent| &sent.attempt)
    };
    let mut of_others = Vec::new();
    for suspect in &reply.suspects {
        match release_suspect(session, suspect, boot, summary) {
            Ok(Whose::Ours) => {}
            Ok(Whose::AnotherLedgers) => of_others.push(suspect),
            Err(failure) => failed(summary, format_args!("lease {}: {failure}", suspect.lease)),
        }
    }
    if !of_others.is_empty() {
        failed(summary, of_another_ledger(&of_others));
    }
    for key in &reply.tear_down {
        let done = act(session, key, attempt_of(key), summary, |entry, locked, summary| {
            end(session, locked, entry, boot, "its boot is fenced", summary)
        });
        if let Err(failure) = done {
            failed(summary, format_args!("{}/{}: {failure}", key.container_id, key.ifname));
        }
    }
    for key in &reply.reassert {
        let done = act(session, key, attempt_of(key), summary, |entry, _, summary| {
            reassert(session, entry, boot, summary)
        });
        if let Err(failure) = done {
            failed(summary, format_args!("{}/{}: {failure}", key.container_id, key.ifname));
        }
    }
    Ok(())
}

/// Entries and tombstones: a lease that is about to be released is no suspect.
fn whole_ledger(session: &Session<'_>, boot: &BootId) -> Result<ReconcileRequest, Failure> {
    let mut request = ReconcileRequest {
        boot_id: boot.clone(),
        entries: Vec::new(),
        unreadable: session.ledger.corrupt()?.len(),
    };
    for key in session.ledger.keys()? {
        match session.ledger.peek(&key) {
            Ok(Some(entry)) => request.entries.push(LedgerEntry::from(&entry)),
            Ok(None) => {}
            Err(_) => request.unreadable += 1,
        }
    }
    for tombstone in session.ledger.tombstones()?.flatten() {
        request.entries.push(LedgerEntry::from(tombstone.entry()));
    }
    Ok(request)
}

/// Gives back a lease that no entry holds: none of its attempt, or one that was answered other leases, after a replica made
/// this one that did not yet know of those. One whose entry could not be read may well be held; and of what another ledger
/// wrote down in this boot, this one knows nothing.
fn release_suspect(
    session: &Session<'_>,
    suspect: &Suspect,
    boot: &BootId,
    summary: &mut ReapSummary,
) -> Result<Whose, Failure> {
    let Some(mut locked) = lock(session, &suspect.key, summary)? else { return Ok(Whose::Ours) };
    let held = locked.read()?.is_some_and(|entry| {
        entry.attempt == suspect.attempt && (entry.leases.is_empty() || entry.leases.contains(&suspect.lease))
    });
    let unreadable = session.ledger.corrupt()?.iter().any(|file| {
        let remains = file.remains();
        remains.key.as_ref().is_none_or(|key| *key == suspect.key)
            && remains.attempt.as_ref().is_none_or(|attempt| *attempt == suspect.attempt)
    });
    if held || unreadable {
        return Ok(Whose::Ours);
    }
    let of_this_boot = suspect.boot_id.as_ref().is_none_or(|id| id == boot);
    if of_this_boot && !session.ledger.may_have_made(&suspect.attempt)? {
        return Ok(Whose::AnotherLedgers);
    }
    let until = Instant::now() + RELEASE_PATIENCE;
    let leases = std::slice::from_ref(&suspect.lease);
    session.resolver.release(&suspect.key, &suspect.attempt, leases, until)?;
    summary.suspects_released += 1;
    Ok(Whose::Ours)
}

/// Which ledger tells what became of a lease.
enum Whose {
    Ours,
    AnotherLedgers,
}

fn of_another_ledger(suspects: &[&Suspect]) -> String {
    let told = suspects.iter().take(TOLD);
    let told: Vec<String> =
        told.map(|suspect| format!("{} of sandbox {}", suspect.lease, suspect.key.container_id)).collect();
    format!(
        "{} leases were made in this boot by another ledger than the one that is here now, and may be in use ({}{}): bring back the \
         state folder as it was (is its disk mounted?), or reboot the node, which frees them; or `kubectl delete nwl` each whose \
         sandbox `crictl pods` does not show",
        suspects.len(),
        told.join(", "),
        if suspects.len() > TOLD { ", …" } else { "" }
    )
}

/// Acts on an entry that is still the one which was compared.
fn act(
    session: &Session<'_>,
    key: &AttachmentKey,
    compared: Option<&Attempt>,
    summary: &mut ReapSummary,
    action: impl FnOnce(&Entry, &mut crate::ledger::LockedAttachment<'_>, &mut ReapSummary) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Some(mut locked) = lock(session, key, summary)? else { return Ok(()) };
    match locked.read()?.filter(|entry| Some(&entry.attempt) == compared) {
        Some(entry) => action(&entry, &mut locked, summary),
        None => Ok(()),
    }
}

/// Tells the resolver again what a running attachment holds: it lost its leases, the pod did not.
fn reassert(
    session: &Session<'_>,
    entry: &Entry,
    boot: &BootId,
    summary: &mut ReapSummary,
) -> Result<(), Failure> {
    if entry.state != LedgerState::Attached || entry.boot_id != *boot {
        return Ok(());
    }
    // As the question was that it was answered to.
    let args = CniArgs::parse(&entry.cni_args)?;
    let request = AttachRequest {
        network: entry.network.clone(),
        boot_id: entry.boot_id.clone(),
        attempt: entry.attempt.clone(),
        deadline_seconds: 1,
        pod: entry.pod.clone(),
        args: args_cni(&entry.args),
        runtime_config: args.fold_into(entry.runtime_config.clone()),
        cni_version: entry.cni_version.clone(),
        leases: entry.leases.clone(),
    };
    let reply = session.resolver.attach(&entry.key, &request, Instant::now() + PATIENCE)?;
    if reply.leases == entry.leases && addresses(&reply.plugins) == addresses(&entry.plugins) {
        summary.reasserted += 1;
        return Ok(());
    }
    // The Network is another by now. What was leased just now is not what runs here.
    session.resolver.release(&entry.key, &entry.attempt, &reply.leases, Instant::now() + RELEASE_PATIENCE)?;
    let message = format!(
        "the resolver has leases {:?} with {:?} for a running attachment that holds {:?} with {:?}: end its pod",
        reply.leases,
        addresses(&reply.plugins),
        entry.leases,
        addresses(&entry.plugins)
    );
    Err(Failure::new(CniCode::INVALID_CONFIG, message))
}

/// The leased addresses that delegates are configured with.
fn addresses(plugins: &[JsonObject]) -> BTreeSet<&str> {
    let ipams = plugins.iter().filter_map(|plugin| plugin.get("ipam"));
    let of_knap = ipams.filter(|ipam| ipam.get("type").is_some_and(|kind| kind == "knap"));
    let addresses = of_knap.filter_map(|ipam| ipam.get("addresses")?.as_array()).flatten();
    addresses.filter_map(|address| address.get("address")?.as_str()).collect()
}
