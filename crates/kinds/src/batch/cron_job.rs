//! CronJob: Jobs by the clock.

use super::job;
use super::schedule::Schedule;
use crate::check::Check;
use crate::column::{AGE, Column, NAME, items, selector, since, string, string_or};
use crate::core::pod;
use crate::descriptor::{Kind, Part, Rules, Subresource};
use crate::fields::{default, ensure};
use crate::place::Place;
use crate::workload;
use coracle_api::{FieldError, Status};
use jiff::tz::TimeZone;
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
            cron_job(check, object, None);
            // its jobs are called after it and their minute
            let name = Place::of(object).field("metadata.name");
            if name.text().len() > LONGEST_NAME {
                check.bad(&name, format!("must be no more than {LONGEST_NAME} characters"));
            }
        })
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        if part == Part::Status { Vec::new() } else { Check::run(|check| cron_job(check, new, Some(old))) }
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        job::warnings(object, &Place::of(object).field("spec.jobTemplate.spec"))
    }

    fn update_warnings(&self, new: &Value, old: &Value) -> Vec<String> {
        let spec = Place::of(new).field("spec.jobTemplate.spec");
        if workload::wants_the_same(new, old) { Vec::new() } else { job::spec_warnings(&spec) }
    }
}

const LONGEST_NAME: usize = 52;

fn cron_job(check: &mut Check, object: &Value, old: Option<&Value>) {
    let spec = Place::of(object).field("spec");
    let schedule = spec.field("schedule");
    if check.needs(&schedule, "") {
        let zone_before = old.is_some_and(|old| string(&old["spec"]["schedule"]).contains("TZ"));
        schedule_format(check, &schedule, zone_before, spec.field("timeZone").given());
    }
    check.natural(&spec.field("startingDeadlineSeconds"));
    if old.is_none_or(|old| old["spec"]["timeZone"] != *spec.field("timeZone").value) {
        time_zone(check, &spec.field("timeZone"));
    }
    let policy = spec.field("concurrencyPolicy");
    if check.needs(&policy, "") {
        check.among(&policy, &["Allow", "Forbid", "Replace"]);
    }
    let job = spec.field("jobTemplate.spec");
    job::spec(check, &job.path, job.value);
    let (selector, manual) = (job.field("selector"), job.field("manualSelector"));
    if selector.given() {
        check.bad(&selector, "`selector` will be auto-generated");
    }
    if *manual.value == true {
        check.push(FieldError::not_supported(manual.path, true, &["nil", "false"]));
    }
    check.natural(&spec.field("successfulJobsHistoryLimit"));
    check.natural(&spec.field("failedJobsHistoryLimit"));
}

/// `zone_before`: whether the schedule named a zone already; a new one may not.
fn schedule_format(check: &mut Check, at: &Place, zone_before: bool, zoned: bool) {
    let text = at.text();
    let plain = if text.starts_with("TZ=") || text.starts_with("CRON_TZ=") {
        text.split_once(' ').map_or("", |(_, rest)| rest.trim())
    } else {
        text
    };
    if let Err(why) = Schedule::parse(plain) {
        check.bad(at, why);
    }
    match (text.contains("TZ"), zone_before) {
        (true, false) => check.bad(at, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"),
        (true, true) if zoned => check.bad(at, "cannot use both timeZone field and TZ or CRON_TZ in schedule"),
        _ => {}
    }
}

fn time_zone(check: &mut Check, at: &Place) {
    let name = at.text();
    if !at.given() {
        return;
    }
    if name.is_empty() {
        return check.bad(at, "timeZone must be nil or non-empty string");
    }
    let fits = |part: &str| {
        let characters = part.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_+".contains(&b));
        characters && (1..=14).contains(&part.len()) && part != "." && part != ".." && !part.starts_with('-')
    };
    let local = name.eq_ignore_ascii_case("Local");
    if local {
        let why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        check.bad(at, why);
    }
    // a machine without zones knows none of them, and does not run the job either
    let known = || jiff::tz::db().is_definitively_empty() || TimeZone::get(name).is_ok();
    if !name.split('/').all(fits) || !(local || known()) {
        check.bad(at, format!("unknown time zone {name}"));
    }
}
