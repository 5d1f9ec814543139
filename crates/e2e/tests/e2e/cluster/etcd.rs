//! Somebody else's database: etcd as Debian packs it, three members that find each other by name, each on its own volume.

use super::{image, node, ready_pods, text, uid};
use coracle_testkit::{Kubectl, LIMIT, World, in_world, until};
use serde_json::{Value, json};
use std::path::PathBuf;

const ETCD: &str = "
apiVersion: v1
kind: Service
metadata: {name: etcd}
spec:
  clusterIP: None
  # members have to find each other before they are ready
  publishNotReadyAddresses: true
  selector: {app: etcd}
  ports:
    - {name: client, port: 2379}
    - {name: peer, port: 2380}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: etcd}
spec:
  serviceName: etcd
  replicas: 3
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: etcd}}
  template:
    metadata: {labels: {app: etcd}}
    spec:
      terminationGracePeriodSeconds: 10
      containers:
        - name: etcd
          image: coracle.dev/etcd:test
          env:
            - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
          args:
            - --name=$(POD_NAME)
            - --data-dir=/data/etcd
            - --listen-client-urls=http://0.0.0.0:2379
            - --listen-peer-urls=http://0.0.0.0:2380
            - --advertise-client-urls=http://$(POD_NAME).etcd.default.svc.cluster.local:2379
            - --initial-advertise-peer-urls=http://$(POD_NAME).etcd.default.svc.cluster.local:2380
            - --initial-cluster=etcd-0=http://etcd-0.etcd.default.svc.cluster.local:2380,etcd-1=http://etcd-1.etcd.default.svc.cluster.local:2380,etcd-2=http://etcd-2.etcd.default.svc.cluster.local:2380
            - --initial-cluster-state=new
          readinessProbe:
            exec: {command: [/usr/bin/etcdctl, endpoint, health]}
            periodSeconds: 1
            timeoutSeconds: 5
          volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
    - metadata: {name: data}
      spec:
        accessModes: [ReadWriteOnce]
        resources: {requests: {storage: 64Mi}}
";

/// An archive with etcd as Debian's packages have it, and nothing else.
fn archive(world: &World) -> PathBuf {
    let bin = world.tool("etcd").join("usr/bin");
    let programs = ["etcd", "etcdctl"].map(|program| (bin.join(program), format!("usr/bin/{program}")));
    let config = json!({"Env": ["PATH=/usr/bin", "ETCDCTL_API=3"], "Entrypoint": ["/usr/bin/etcd"]});
    image::archive(world, "coracle.dev/etcd:test", &programs, &config)
}

/// etcdctl in a member, over its own endpoint.
fn etcdctl(kubectl: &Kubectl, member: usize, words: &str) -> Result<String, String> {
    let pod = format!("etcd-{member}");
    let words: Vec<&str> = ["exec", &pod, "--", "/usr/bin/etcdctl"].into_iter().chain(words.split(' ')).collect();
    let output = kubectl.command(&words).output();
    if output.code == 0 { Ok(output.stdout.trim().to_string()) } else { Err(output.to_string()) }
}

#[test]
fn a_member_comes_back_to_its_data() {
    in_world(|world| {
        let cluster = world.cluster(3);
        let (kubectl, data) = (cluster.kubectl(), world.data());
        let archive = archive(world);
        world.coracle(&["image", "load", archive.to_str().unwrap(), "--data-dir", data.to_str().unwrap()]).ok();
        kubectl.apply(ETCD);
        let pods = ready_pods(&kubectl, "app=etcd", 3);
        assert_eq!(etcdctl(&kubectl, 0, "put story told"), Ok("OK".into()));
        until("the third member to have it", LIMIT, || {
            match etcdctl(&kubectl, 2, "get story --print-value-only --consistency=s") {
                Ok(value) if value == "told" => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        let claim = |kubectl: &Kubectl| {
            text(&kubectl.json("get persistentvolumeclaim data-etcd-1"), "/spec/volumeName").to_string()
        };
        let volume = claim(&kubectl);
        let id = |kubectl: &Kubectl| -> Value {
            let status = etcdctl(kubectl, 1, "endpoint status -w json").unwrap();
            let status: Value = serde_json::from_str(&status).unwrap();
            status[0]["Status"]["header"]["member_id"].clone()
        };
        let member = id(&kubectl);

        kubectl.ok("delete pod etcd-1");
        // two of three are a majority
        until("a write while one is away", LIMIT, || etcdctl(&kubectl, 0, "put meanwhile more"));
        let back = ready_pods(&kubectl, "app=etcd", 3).into_iter().find(|p| super::name(p) == "etcd-1").unwrap();
        let before = pods.iter().find(|p| super::name(p) == "etcd-1").unwrap();
        assert!(uid(&back) != uid(before) && node(&back) == node(before), "a new pod where the volume is");
        assert_eq!(claim(&kubectl), volume);
        assert_eq!(id(&kubectl), member, "the same member of the same cluster");
        for (key, value) in [("story", "told"), ("meanwhile", "more")] {
            until("its own copy of the data", LIMIT, || {
                match etcdctl(&kubectl, 1, &format!("get {key} --print-value-only --consistency=s")) {
                    Ok(found) if found == value => Ok(()),
                    other => Err(format!("{key}: {other:?}")),
                }
            });
        }
        let members = etcdctl(&kubectl, 1, "member list").unwrap();
        assert_eq!(members.matches("started").count(), 3, "{members}");
    });
}
