//! `coordination.k8s.io`: who leads, who lives.

use crate::check::Check;
use crate::column::{AGE, Column, NAME, string};
use crate::descriptor::{Kind, NameRule, Part, Rules};
use crate::fields::{take, within};
use crate::place::Place;
use coracle_api::{FieldError, validation};
use k8s_openapi::api::coordination::{v1::Lease, v1beta1::LeaseCandidate};
use semver::Version;
use serde_json::{Value, json};

/// Lease. PUT creates it, so that a leader needs one request.
pub static LEASE: Kind = Kind::new::<Lease>("lease", "io.k8s.api.coordination.v1.Lease")
    .rules(&LeaseRules)
    .create_on_update()
    .conditional_update()
    .columns(&[NAME, Column::text("Holder", |_, o| json!(string(&o["spec"]["holderIdentity"]))), AGE]);

/// LeaseCandidate.
pub static LEASE_CANDIDATE: Kind =
    Kind::new::<LeaseCandidate>("leasecandidate", "io.k8s.api.coordination.v1beta1.LeaseCandidate")
        .names(NameRule::Key)
        .rules(&CandidateRules)
        .create_on_update()
        .conditional_update()
        .columns(&[
            NAME,
            Column::text("LeaseName", |_, o| json!(string(&o["spec"]["leaseName"]))),
            Column::text("BinaryVersion", |_, o| json!(string(&o["spec"]["binaryVersion"]))),
            Column::text("EmulationVersion", |_, o| json!(string(&o["spec"]["emulationVersion"]))),
            AGE,
        ]);

struct LeaseRules;

/// What only a coordinated election needs, which is off unless an older object has it.
const COORDINATED: &[&str] = &["strategy", "preferredHolder"];

fn drop_coordination(lease: &mut Value) {
    within(lease, "spec", |spec| {
        for field in COORDINATED {
            take(spec, field);
        }
    });
}

impl Rules for LeaseRules {
    fn prepare_create(&self, lease: &mut Value) {
        drop_coordination(lease);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, _part: Part) {
        if COORDINATED.iter().all(|field| old["spec"][*field].is_null()) {
            drop_coordination(new);
        }
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            let at = Place::of(object).field("spec");
            let (seconds, strategy) = (at.field("leaseDurationSeconds"), at.field("strategy"));
            if seconds.given() && seconds.number() <= 0 {
                check.bad(&seconds, "must be greater than 0");
            }
            check.natural(&at.field("leaseTransitions"));
            if strategy.given() {
                self::strategy(check, &strategy);
            }
            if !at.field("preferredHolder").empty() && strategy.empty() {
                check.barred(&at.field("preferredHolder"), "may only be specified if `strategy` is defined");
            }
        })
    }
}

// The path names the field twice, as upstream's does.
fn strategy(check: &mut Check, at: &Place) {
    let at = at.called("strategy", at.value);
    if at.text().contains('/') {
        check.keeps(&at, validation::qualified_name);
    } else {
        check.among(&at, &[ELDEST]);
    }
}

struct CandidateRules;

const ELDEST: &str = "OldestEmulationVersion";

impl Rules for CandidateRules {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| candidate(check, &Place::of(object).field("spec")))
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        Check::run(|check| {
            let (at, before) = (Place::of(new).field("spec"), Place::of(old).field("spec"));
            candidate(check, &at);
            check.unchanged(&at.field("leaseName"), before.field("leaseName").value);
        })
    }
}

fn candidate(check: &mut Check, at: &Place) {
    check.needs(&at.field("leaseName"), "");
    let version = |check: &mut Check, at: &Place| {
        let version = Version::parse(at.text()).ok();
        if version.is_none() && !at.empty() {
            check.bad(at, "must be a valid semantic version");
        }
        version.unwrap_or(Version::new(0, 0, 0))
    };
    let (emulated, binary, how) = (at.field("emulationVersion"), at.field("binaryVersion"), at.field("strategy"));
    let emulates = version(check, &emulated);
    check.needs(&binary, "");
    let is = version(check, &binary);
    if !binary.empty() && is < emulates {
        check.bad(&binary, "must be greater than or equal to `emulationVersion`");
    }
    if check.needs(&how, "") {
        if how.text() == ELDEST && emulates == Version::new(0, 0, 0) {
            check.required(emulated.path.clone(), "must be specified when `strategy` is 'OldestEmulationVersion'");
        }
        strategy(check, &how);
    }
}
