//! CronJob: Jobs by the clock.

use crate::check::{Check, path};
use crate::column::{AGE, Column, NAME, items, selector, since, string, string_or};
use crate::core::pod;
use crate::descriptor::{Kind, Rules, Subresource};
use crate::fields::{default, ensure};
use coracle_api::{FieldError, Status};
use k8s_openapi::api::batch::v1::CronJob;
use serde_json::{Value, json};

const SCHEMA: &str = "io.k8s.api.batch.v1.CronJob";

/// The descriptor.
pub static KIND: Kind = Kind::new::<CronJob>("cronjob", SCHEMA)
    .short(&["cj"])
    .categories(&["all"])
    .generation()
    .subresources(&[Subresource::status::<CronJob>(SCHEMA)])
    .rules(&CronJobRules)
    .columns(&[
        NAME,
        Column::text("Schedule", |_, o| o["spec"]["schedule"].clone()),
        Column::text("Timezone", |_, o| json!(string_or(&o["spec"]["timeZone"], "<none>"))),
        Column::text("Suspend", |_, o| json!(if o["spec"]["suspend"] == true { "True" } else { "False" })),
        Column::number("Active", |_, o| json!(items(&o["status"]["active"]).len())),
        Column::text("Last Schedule", |c, o| {
            let last = &o["status"]["lastScheduleTime"];
            json!(if last.is_string() { since(c, last) } else { "<none>".into() })
        }),
        AGE,
        Column::text("Containers", |_, o| joined(o, "name")).wide(),
        Column::text("Images", |_, o| joined(o, "image")).wide(),
        Column::text("Selector", |_, o| json!(selector(&o["spec"]["jobTemplate"]["spec"]["selector"]))).wide(),
    ]);

fn joined(object: &Value, field: &str) -> Value {
    let containers = items(&object["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]);
    json!(containers.iter().map(|c| string(&c[field])).collect::<Vec<_>>().join(","))
}

fn defaults(object: &mut Value) {
    let spec = ensure(object, "spec");
    default(spec, "concurrencyPolicy", "Allow");
    default(spec, "suspend", false);
    default(spec, "successfulJobsHistoryLimit", 3);
    default(spec, "failedJobsHistoryLimit", 1);
    pod::defaults::template(ensure(ensure(ensure(spec, "jobTemplate"), "spec"), "template"));
}

struct CronJobRules;

impl Rules for CronJobRules {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        defaults(object);
        Ok(())
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            let (at, spec) = (path("spec"), &object["spec"]);
            let schedule = string(&spec["schedule"]);
            let fields = schedule.split_whitespace().count();
            if schedule.is_empty() {
                check.required(at.field("schedule"), "");
            } else if !schedule.starts_with('@') && fields != 5 {
                let why = format!("expected exactly 5 fields, found {fields}: [{schedule}]");
                check.invalid(at.field("schedule"), &spec["schedule"], why);
            }
            let policies = ["Allow", "Forbid", "Replace"];
            check.required_one_of(at.field("concurrencyPolicy"), &spec["concurrencyPolicy"], &policies);
            let counts = ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"];
            check.none_negative(&at, spec, &counts);
            super::job::spec(check, &at.field("jobTemplate").field("spec"), &spec["jobTemplate"]["spec"]);
        })
    }
}
