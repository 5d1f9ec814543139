//! Service account tokens of pods: bound to the pod, asked for once, renewed before they expire.

use crate::spec;
use coracle_api::Resource;
use coracle_base::SharedClock;
use coracle_client::SharedClient;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use parking_lot::Mutex;
use serde_json::json;
use std::collections::HashMap;

/// Pod uid, audience, life in seconds.
type Key = (String, String, i64);

struct Token {
    text: String,
    renew_at: Timestamp,
    expires: Timestamp,
}

/// The tokens of all pods.
pub struct Tokens {
    client: SharedClient,
    clock: SharedClock,
    known: Mutex<HashMap<Key, Token>>,
}

impl Tokens {
    /// None yet.
    pub fn new(client: SharedClient, clock: SharedClock) -> Self {
        Self { client, clock, known: Mutex::default() }
    }

    /// The token of a pod for an audience (`None`: the API server).
    ///
    /// # Errors
    /// When there is none yet and the server gives none. A token that only is due for renewal is kept for as long as it is valid.
    pub async fn get(&self, pod: &Pod, audience: Option<&str>, seconds: Option<i64>) -> Result<String, String> {
        let seconds = seconds.unwrap_or(3600);
        let key = (spec::uid(pod).to_string(), audience.unwrap_or_default().to_string(), seconds);
        let now = self.clock.now();
        let old = {
            let known = self.known.lock();
            match known.get(&key) {
                Some(token) if now < token.renew_at => return Ok(token.text.clone()),
                Some(token) if now < token.expires => Some(token.text.clone()),
                _ => None,
            }
        };
        match (self.ask(pod, audience, seconds, now).await, old) {
            (Ok(token), _) => {
                let text = token.text.clone();
                self.known.lock().insert(key, token);
                Ok(text)
            }
            (Err(_), Some(old)) => Ok(old),
            (Err(error), None) => Err(format!("failed to fetch token: {error}")),
        }
    }

    async fn ask(&self, pod: &Pod, audience: Option<&str>, seconds: i64, now: Timestamp) -> Result<Token, String> {
        let account = spec::of(pod).service_account_name.as_deref().filter(|a| !a.is_empty()).unwrap_or("default");
        let mut body = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {
                "expirationSeconds": seconds,
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": spec::name(pod), "uid": spec::uid(pod)},
            },
        });
        body["spec"]["audiences"] = audience.filter(|a| !a.is_empty()).map_or(json!([]), |a| json!([a]));
        let accounts = Resource::of::<ServiceAccount>();
        let answer = self
            .client
            .post(&accounts, spec::namespace(pod), account, "token", body)
            .await
            .map_err(|e| e.to_string())?;
        let text = answer["status"]["token"].as_str().ok_or("the answer holds no token")?.to_string();
        let expires = answer["status"]["expirationTimestamp"].as_str().and_then(|t| t.parse().ok());
        let expires = expires.unwrap_or(now + SignedDuration::from_secs(seconds));
        let (renew_at, expires) = (renew_at(now, expires), expires);
        Ok(Token { text, renew_at, expires })
    }

    /// Forgets the tokens of a pod.
    pub fn forget(&self, uid: &str) {
        self.known.lock().retain(|key, _| key.0 != uid);
    }
}

/// After 80 % of its life, and within a day.
fn renew_at(now: Timestamp, expires: Timestamp) -> Timestamp {
    let life = expires.duration_since(now);
    now + (life * 4 / 5).min(SignedDuration::from_hours(24))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_comes_before_the_end() {
        let now = Timestamp::UNIX_EPOCH;
        for (life, expected) in [(3600, 2880), (600, 480), (365 * 86400, 86400)] {
            let at = renew_at(now, now + SignedDuration::from_secs(life));
            assert_eq!(at.as_second(), expected);
        }
    }
}
