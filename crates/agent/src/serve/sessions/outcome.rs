//! How a session ended, in the words that clients know.

use serde_json::{Value, json};

/// The end of a session.
#[derive(Debug)]
pub(super) struct Outcome {
    /// As a Status.
    status: Value,
    /// As the older protocols say it; empty: well.
    text: String,
}

impl Outcome {
    fn success() -> Self {
        Self { status: json!({"metadata": {}, "status": "Success"}), text: String::new() }
    }

    fn internal(message: String) -> Self {
        let text = format!("Internal error occurred: {message}");
        let status = json!({
            "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500, "message": text,
            "details": {"causes": [{"message": message}]},
        });
        Self { status, text }
    }

    /// What is sent: a Status, or a text that is empty if all went well.
    pub(super) fn encode(&self, as_status: bool) -> String {
        if as_status { self.status.to_string() } else { self.text.clone() }
    }
}

/// The end of a command.
pub(super) fn of_command(ended: coracle_runtime::Result<i32>) -> Outcome {
    match ended {
        Ok(0) => Outcome::success(),
        Ok(code) => {
            let message = format!("command terminated with non-zero exit code: exit status {code}");
            let status = json!({
                "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode", "message": message,
                "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
            });
            Outcome { status, text: message }
        }
        Err(error) => Outcome::internal(format!("error executing command in container: {error}")),
    }
}

/// The end of an attachment: how the container ended is said in the pod's status, not here.
pub(super) fn of_attachment(ended: coracle_runtime::Result<i32>) -> Outcome {
    match ended {
        Ok(_) => Outcome::success(),
        Err(error) => Outcome::internal(format!("error attaching to container: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_become_statuses() {
        let lost = || Err(coracle_runtime::Error::Container("no".into()));
        for (outcome, status, cause, text) in [
            (of_command(Ok(0)), "Success", Value::Null, ""),
            (of_command(Ok(3)), "Failure", json!("3"), "command terminated with non-zero exit code: exit status 3"),
            (
                of_command(lost()),
                "Failure",
                json!("error executing command in container: no"),
                "Internal error occurred: error executing command in container: no",
            ),
            (of_attachment(Ok(3)), "Success", Value::Null, ""),
            (
                of_attachment(lost()),
                "Failure",
                json!("error attaching to container: no"),
                "Internal error occurred: error attaching to container: no",
            ),
        ] {
            let got: Value = serde_json::from_str(&outcome.encode(true)).unwrap();
            assert_eq!((&got["status"], &got["details"]["causes"][0]["message"]), (&json!(status), &cause));
            assert_eq!(outcome.encode(false), text);
        }
    }
}
