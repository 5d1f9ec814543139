//! `cases/volumes.txt`.

use super::plan::{self, ClaimPlan, VolumePlan, World};
use crate::{
    testing::{self, Line, now, typed},
    volumes::{BIND_COMPLETED, PROVISIONED_BY, SELECTED_NODE},
};
use coracle_client::Typed;
use k8s_openapi::{
    api::{
        core::v1::{Node, PersistentVolume, PersistentVolumeClaim},
        storage::v1::StorageClass,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::{Value, json};
use std::fmt::Write;

fn modes(line: &Line<'_>) -> Vec<String> {
    let all = line.text("modes").unwrap_or("Once").split(',');
    all.map(|m| if m == "Once" { "ReadWriteOnce".into() } else { format!("Read{m}Many") }).collect()
}

/// `claim NAME [class=C] [size=S] [modes=Once,Write] [volume=V] [bound] [node=N] [label=L] [deleting] [block]`
fn claim(line: &Line<'_>) -> Typed<PersistentVolumeClaim> {
    typed(json!({
        "metadata": {
            "name": line.name(),
            "annotations": {
                BIND_COMPLETED: line.is("bound").then_some("yes"),
                SELECTED_NODE: line.text("node"),
            },
            "deletionTimestamp": line.is("deleting").then(|| Time(now())),
        },
        "spec": {
            "storageClassName": line.text("class"),
            "accessModes": modes(line),
            "resources": {"requests": {"storage": line.text("size").unwrap_or("1Gi")}},
            "volumeName": line.text("volume"),
            "volumeMode": line.is("block").then_some("Block"),
            "selector": line.text("label").map(|l| json!({"matchLabels": {"l": l}})),
        },
    }))
}

/// `volume NAME [class=C] [size=S] [modes=…] [PHASE] [claim=C] [uid=U] [policy=P] [dynamic] [on=NODE] [label=L]`
fn volume(line: &Line<'_>) -> Typed<PersistentVolume> {
    let phase = ["Available", "Bound", "Released", "Failed"].into_iter().find(|p| line.is(&p.to_lowercase()));
    let reference = line.text("claim").map(|name| json!({"namespace": "ns", "name": name, "uid": line.text("uid")}));
    let affinity = line.text("on").map(|node| {
        json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]}})
    });
    typed(json!({
        "metadata": {
            "name": line.name(),
            "labels": {"l": line.text("label")},
            "annotations": {PROVISIONED_BY: line.is("dynamic").then_some("somebody")},
        },
        "spec": {
            "storageClassName": line.text("class"),
            "accessModes": modes(line),
            "capacity": {"storage": line.text("size").unwrap_or("1Gi")},
            "claimRef": reference,
            "persistentVolumeReclaimPolicy": line.text("policy"),
            "nodeAffinity": affinity,
        },
        "status": {"phase": phase.unwrap_or("Available")},
    }))
}

fn class(line: &Line<'_>) -> Typed<StorageClass> {
    let mode = if line.is("late") { "WaitForFirstConsumer" } else { "Immediate" };
    let provisioner = line.text("by").unwrap_or("kubernetes.io/no-provisioner");
    typed(json!({"metadata": {"name": line.name()}, "provisioner": provisioner, "volumeBindingMode": mode}))
}

fn found(text: &str) -> String {
    let lines = Line::all(text);
    let of = |what: &str| lines.iter().filter(move |l| l.what == what).collect::<Vec<_>>();
    let claims: Vec<_> = of("claim").into_iter().map(claim).collect();
    let volumes: Vec<_> = of("volume").into_iter().map(volume).collect();
    let classes: Vec<_> = of("class").into_iter().map(class).collect();
    let mut out = String::new();
    for claim in &claims {
        let spec = claim.spec.as_ref().unwrap();
        let named = spec.volume_name.as_ref().and_then(|name| volumes.iter().find(|v| v.name() == name));
        let class = classes.iter().find(|c| Some(c.name()) == spec.storage_class_name.as_deref());
        let node =
            claim.meta().annotations.get(SELECTED_NODE).map(|name| {
                typed::<Node>(json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}}))
            });
        let plan = plan::claim(&World {
            claim,
            class: class.map(|c| &*c.view),
            named,
            candidates: &volumes,
            node: node.as_ref().map(|n| &*n.view),
        });
        let event = |say: &super::Say| format!("{}: {}", say.reason, say.message);
        let shown = match &plan {
            ClaimPlan::Bind(volume) => format!("bind {}", volume.name()),
            ClaimPlan::Wait(say) => format!("wait {}", say.as_ref().map(event).unwrap_or_default()),
            ClaimPlan::Provision(by, _) => format!("provision by {by}"),
            ClaimPlan::Elsewhere(say) => format!("elsewhere {}", event(say)),
            ClaimPlan::Lost(say) => format!("lost {}", event(say)),
        };
        let _ = writeln!(out, "claim {}: {}", claim.name(), shown.trim());
    }
    for volume in &volumes {
        let reference = volume.spec.as_ref().unwrap().claim_ref.clone().unwrap_or_default();
        let claim = claims.iter().find(|c| Some(c.uid()) == reference.uid.as_deref());
        let shown = match plan::volume(volume, claim) {
            VolumePlan::Fail(say) => format!("fail {}", say.reason),
            VolumePlan::Phase(phase) => phase.to_lowercase(),
            other => format!("{other:?}").to_lowercase(),
        };
        let _ = writeln!(out, "volume {}: {shown}", volume.name());
    }
    out
}

#[test]
fn cases() {
    testing::check("volumes.txt", found);
}

#[test]
fn a_claim_and_a_volume_name_each_other_after_binding() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let world = coracle_client::memory::Memory::new();
        let tasks = coracle_base::Tasks::new();
        let clock = coracle_base::clock::TestClock::new(now());
        let events = coracle_client::Recorder::new(world.clone(), "test", "", clock.clone(), &tasks);
        let ctx = super::Context { client: world.clone(), view: world.clone(), clock, events };
        let put = |resource: &coracle_api::Resource, value: Value| world.put(resource, value);
        let lines = Line::all("claim c class=fast size=1Gi\nvolume v class=fast size=2Gi");
        let (claims, volumes) =
            (coracle_api::Resource::of::<PersistentVolumeClaim>(), coracle_api::Resource::of::<PersistentVolume>());
        put(&claims, claim(&lines[0]).object.value());
        let mut free = volume(&lines[1]).object.value();
        free["metadata"].as_object_mut().unwrap().remove("namespace");
        free["metadata"]["namespace"] = json!("");
        put(&volumes, free);
        let view: &dyn coracle_client::View = &*world;
        use coracle_client::ViewExt;
        let read = || {
            let claim = view.typed::<PersistentVolumeClaim>("ns", "c").unwrap();
            (claim, view.typed::<PersistentVolume>("", "v").unwrap())
        };
        let (claim, volume) = read();
        super::bind(&ctx, &volume, claim).await.unwrap();
        let (claim, volume) = read();
        assert_eq!((super::volume_name(&claim), super::claim_phase(&claim)), ("v", "Bound"));
        assert_eq!(super::volume_phase(&volume), "Bound");
        assert!(super::refers_to(&volume, &claim));
        // what is done stays as it is
        world.take_log();
        super::bind(&ctx, &volume, claim).await.unwrap();
        assert_eq!(world.take_log(), Vec::<String>::new());
        tasks.stop().await;
    });
}
