//! Images that cannot be had: the reason is told.

use super::{items, text};
use coracle_testkit::in_world;

#[test]
fn the_reason_is_told() {
    in_world(|world| {
        let cluster = world.cluster(1);
        let kubectl = cluster.kubectl();
        let cases = [
            // nobody listens there
            ("refused", "127.0.0.1:1/nothing:v1", "Always", "ImagePullBackOff", "127.0.0.1:1/nothing:v1"),
            ("missing", "coracle.dev/nothing:v1", "IfNotPresent", "ImagePullBackOff", "coracle.dev/nothing:v1"),
            ("never", "coracle.dev/nothing:v1", "Never", "ErrImageNeverPull", "coracle.dev/nothing:v1"),
            ("invalid", "coracle.dev/No:Thing:v1", "Always", "InvalidImageName", "coracle.dev/No:Thing:v1"),
        ];
        for (name, image, policy, ..) in cases {
            kubectl.apply(&format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: c, image: '{image}', imagePullPolicy: {policy}}}]}}\n"
            ));
        }
        for (name, image, _, reason, message) in cases {
            let waiting = kubectl.until(&format!("{name}: {reason}"), &format!("get pod {name}"), |pod| {
                let waiting = pod["status"]["containerStatuses"][0]["state"]["waiting"].clone();
                (waiting["reason"] == reason).then_some(waiting)
            });
            assert!(text(&waiting, "/message").contains(message), "{name}: {waiting}");
            assert_eq!(text(&kubectl.json(&format!("get pod {name}")), "/status/phase"), "Pending");
            if reason == "ImagePullBackOff" {
                let events = items(&kubectl.json(&format!("get events --field-selector involvedObject.name={name}")));
                let failed = events
                    .iter()
                    .find(|e| text(e, "/message").starts_with(&format!("Failed to pull image \"{image}\"")));
                assert!(failed.is_some_and(|e| e["type"] == "Warning" && e["reason"] == "Failed"), "{events:#?}");
                assert!(kubectl.ok(&format!("get pod {name}")).contains("ImagePull"));
            }
        }
    });
}
