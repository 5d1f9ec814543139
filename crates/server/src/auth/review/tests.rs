//! Reviews and tokens against a small world.

use super::*;
use crate::auth::{Auth, Credentials, Settings, authenticate::bootstrap_secret, testing::World};
use coracle_base::{Clock, TestClock};
use coracle_pki::{BootstrapToken, Key};
use std::time::Duration;

const AUDIENCE: &str = "https://kubernetes.default.svc.cluster.local";

struct Bench {
    world: Arc<World>,
    clock: Arc<TestClock>,
    auth: Auth,
}

impl Bench {
    fn new() -> Self {
        let world = Arc::new(World::default());
        world.put(&SERVICE_ACCOUNTS, json!({"metadata": {"namespace": "a", "name": "app"}}));
        world.put(&NODES, json!({"metadata": {"name": "n1"}}));
        world.put(
            &PODS,
            json!({"metadata": {"namespace": "a", "name": "p"},
                "spec": {"nodeName": "n1", "serviceAccountName": "app", "containers": []}}),
        );
        let clock = TestClock::new("2026-01-01T00:00:00Z".parse().unwrap());
        let settings = Settings::new(TokenKey::new(Key::generate().unwrap()), "cluster.local", "");
        let auth = Auth::with(world.clone(), clock.clone(), settings, None);
        Self { world, clock, auth }
    }

    fn token(&self, spec: Value) -> Result<Value> {
        self.auth.reviewer.token(&User::default(), "a", "app", json!({"spec": spec}))
    }

    fn who(&self, token: &str) -> String {
        match self.auth.authenticator.authenticate(Credentials { bearer: Some(token), certificate: None }) {
            Ok(Some(user)) => user.name,
            Ok(None) => "nobody".into(),
            Err(status) => status.reason,
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_string()
}

#[test]
fn a_bound_token_holds_as_long_as_what_it_is_bound_to() {
    let bench = Bench::new();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "uid-p"});
    let request = bench.token(json!({"boundObjectRef": pod, "expirationSeconds": 3607})).unwrap();
    assert_eq!(request["status"]["expirationTimestamp"], "2026-01-01T01:00:07Z");
    assert_eq!(request["spec"]["audiences"], json!([AUDIENCE]));
    let (bound, plain) = (text(&request["status"]["token"]), text(&bench.token(json!({})).unwrap()["status"]["token"]));
    let name = "system:serviceaccount:a:app";
    assert_eq!((bench.who(&bound), bench.who(&plain)), (name.into(), name.into()));
    // the pod's own token is extended for clients that never reload, the other one is not
    bench.clock.advance(Duration::from_secs(7200));
    assert_eq!((bench.who(&bound), bench.who(&plain)), (name.into(), "Unauthorized".into()));
    bench
        .world
        .put(&PODS, json!({"metadata": {"namespace": "a", "name": "p", "uid": "other"}, "spec": {"containers": []}}));
    assert_eq!(bench.who(&bound), "Unauthorized");
    bench.world.remove(&PODS, "a", "p");
    assert_eq!(bench.who(&bound), "Unauthorized");
}

#[test]
fn a_token_ends_with_its_account() {
    let bench = Bench::new();
    let token = text(&bench.token(json!({})).unwrap()["status"]["token"]);
    bench.world.remove(&SERVICE_ACCOUNTS, "a", "app");
    assert_eq!(bench.who(&token), "Unauthorized");
}

#[test]
fn token_requests_are_checked() {
    let bench = Bench::new();
    let bind = |kind: &str, name: &str, uid: &str| json!({"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name, "uid": uid}});
    bench.world.put(
        &PODS,
        json!({"metadata": {"namespace": "a", "name": "q"}, "spec": {"serviceAccountName": "x", "containers": []}}),
    );
    for (spec, expected) in [
        (json!({"expirationSeconds": 599}), "may not specify a duration less than 10 minutes"),
        (json!({"expirationSeconds": 4294967297i64}), "may not specify a duration larger than 2^32 seconds"),
        (bind("Pod", "gone", ""), "pods \"gone\" not found"),
        (bind("Pod", "p", "else"), "does not match the UID in record"),
        (bind("Pod", "q", ""), "pod running with different serviceaccount name."),
        (bind("Service", "s", ""), "cannot bind token for serviceaccount"),
    ] {
        let status = bench.token(spec.clone()).unwrap_err();
        assert!(status.message.contains(expected), "{spec}: {}", status.message);
    }
}

#[test]
fn token_reviews_tell_who_and_for_whom() {
    let bench = Bench::new();
    let resource = Resource::fixed("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", false);
    let token = text(&bench.token(json!({"audiences": ["vault", AUDIENCE]})).unwrap()["status"]["token"]);
    let review = |token: &str, audiences: Value| {
        let body = json!({"spec": {"token": token, "audiences": audiences}});
        bench.auth.reviewer.review(&User::default(), &resource, "", body).unwrap().unwrap()["status"].clone()
    };
    assert_eq!(review(&token, json!([]))["audiences"], json!([AUDIENCE]));
    assert_eq!(review(&token, json!(["vault", "x"]))["audiences"], json!(["vault"]));
    let refused = review(&token, json!(["x"]));
    assert!(refused["authenticated"].is_null() && refused["error"].is_string());
    assert!(review("nonsense", json!([]))["authenticated"].is_null());
    assert_eq!(review(&token, json!([]))["user"]["username"], "system:serviceaccount:a:app");
}

#[test]
fn bootstrap_tokens_are_believed_until_they_expire() {
    let bench = Bench::new();
    let token = BootstrapToken::generate();
    let until = bench.clock.now() + Duration::from_secs(60);
    bench.world.put(&SECRETS, bootstrap_secret(&token, "test", Some(until)));
    let user = |token: &BootstrapToken| bench.who(&token.to_string());
    assert_eq!(user(&token), format!("system:bootstrap:{}", token.id));
    assert_eq!(user(&BootstrapToken { secret: "0123456789abcdef".into(), ..token.clone() }), "Unauthorized");
    bench.clock.advance(Duration::from_secs(61));
    assert_eq!(user(&token), "Unauthorized");
}

#[test]
fn access_reviews_answer_for_others_and_for_oneself() {
    let bench = Bench::new();
    let review = |kind: &'static str, plural: &'static str, spec: Value| {
        let resource = Resource::fixed("authorization.k8s.io", "v1", plural, kind, false);
        let user = User::component("root", &["system:masters"]);
        match bench.auth.reviewer.review(&user, &resource, "a", json!({"spec": spec})).unwrap() {
            Ok(body) => body["status"]["allowed"].to_string(),
            Err(status) => status.reason,
        }
    };
    let pods = json!({"verb": "get", "resource": "pods", "namespace": "a"});
    for (kind, plural, spec, expected) in [
        ("SelfSubjectAccessReview", "selfsubjectaccessreviews", json!({"resourceAttributes": pods}), "true"),
        ("SubjectAccessReview", "subjectaccessreviews", json!({"resourceAttributes": pods, "user": "x"}), "false"),
        ("SubjectAccessReview", "subjectaccessreviews", json!({"resourceAttributes": pods}), "Invalid"),
        ("SubjectAccessReview", "subjectaccessreviews", json!({"user": "x"}), "Invalid"),
        (
            "LocalSubjectAccessReview",
            "localsubjectaccessreviews",
            json!({"resourceAttributes": {"verb": "get", "namespace": "b"}, "user": "x"}),
            "BadRequest",
        ),
    ] {
        assert_eq!(review(kind, plural, spec.clone()), expected, "{kind} {spec}");
    }
}
