//! Signed tokens (JWS, ES256) and the documents by which others verify them (JWKS, OpenID discovery).
//!
//! This module signs and checks signatures; what the claims mean is the caller's business.

use crate::{Error, Key, Result};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as B64};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The key that signs service account tokens.
#[derive(Clone, Debug)]
pub struct TokenKey {
    key: Key,
    id: String,
}

impl TokenKey {
    /// Uses `key`; its id is the hash of its public half, as upstream derives it.
    pub fn new(key: Key) -> Self {
        let id = B64.encode(Sha256::digest(key.public_info()));
        Self { key, id }
    }

    /// The id that stands in a token's header.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Value) -> Result<String> {
        let header = json!({"alg": "ES256", "kid": self.id});
        let signed = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims.to_string()));
        let signature = self.key.sign_fixed(signed.as_bytes())?;
        Ok(format!("{signed}.{}", B64.encode(signature)))
    }

    /// The claims of a token that this key signed.
    ///
    /// # Errors
    /// When it is no token, or was not signed by this key.
    pub fn verify(&self, token: &str) -> Result<Value> {
        let bad = |what: &str| Error::malformed(format!("token: {what}"));
        let (signed, signature) = token.rsplit_once('.').ok_or_else(|| bad("three parts expected"))?;
        let (header, claims) = signed.split_once('.').ok_or_else(|| bad("three parts expected"))?;
        let json = |part: &str| -> Result<Value> {
            let bytes = B64.decode(part).map_err(|e| bad(&e.to_string()))?;
            serde_json::from_slice(&bytes).map_err(|e| bad(&e.to_string()))
        };
        if json(header)?["alg"] != "ES256" {
            return Err(Error::Signature("token: signed with an unexpected algorithm".into()));
        }
        let signature = B64.decode(signature).map_err(|e| bad(&e.to_string()))?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_point())
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| Error::Signature("token: the signature does not hold".into()))?;
        json(claims)
    }

    /// `/openid/v1/jwks`.
    pub fn jwks(&self) -> Value {
        let point = self.key.public_point();
        json!({"keys": [{
            "use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256",
            "x": B64.encode(&point[1..33]), "y": B64.encode(&point[33..65]),
        }]})
    }
}

/// The claims of a token whoever signed it: to route a token by its issuer before it is verified. Never trust them.
pub fn unverified_claims(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    serde_json::from_slice(&B64.decode(claims).ok()?).ok()
}

/// `/.well-known/openid-configuration`.
pub fn openid_configuration(issuer: &str, jwks_uri: &str) -> Value {
    json!({
        "issuer": issuer, "jwks_uri": jwks_uri, "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_key_signed_is_believed() {
        let key = TokenKey::new(Key::generate().unwrap());
        let claims = json!({"sub": "system:serviceaccount:a:b", "exp": 5});
        let token = key.sign(&claims).unwrap();
        assert_eq!(key.verify(&token).unwrap(), claims);
        assert_eq!(unverified_claims(&token), Some(claims));
        let parts: Vec<&str> = token.split('.').collect();
        let forged = B64.encode(json!({"sub": "root"}).to_string());
        let none = B64.encode(json!({"alg": "none"}).to_string());
        for wrong in [
            format!("{}.{forged}.{}", parts[0], parts[2]),
            format!("{none}.{}.", parts[1]),
            format!("{none}.{}.{}", parts[1], parts[2]),
            format!("{}.{}", parts[0], parts[1]),
            String::new(),
            TokenKey::new(Key::generate().unwrap()).sign(&json!({})).unwrap(),
        ] {
            assert!(key.verify(&wrong).is_err(), "{wrong}");
        }
    }
}
