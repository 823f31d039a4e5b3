//! `redact`: what is taken out of each line before anything is stored.

use super::convert::Check;
use super::secret::{RawSecret, SecretRef};
use schemars::JsonSchema;
use serde::Deserialize;

/// The redaction policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redact {
    /// How much is kept.
    pub profile: Profile,
    /// Whether message content is kept.
    pub include_payload: bool,
    /// The key of the tokens (32 bytes, base64), under which equal numbers get
    /// equal tokens.
    pub token_key: SecretRef,
    /// Whether masks such as `1555****67` stand beside the tokens.
    pub mask: bool,
    /// Personal data is not taken out at all (secrets still are). Only with
    /// `pii_redaction: false` and `allow_clear: true` together.
    pub clear: bool,
}

/// How much of a line is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Profile {
    /// Only what is known to be harmless; text of cut lines is dropped.
    Strict,
    /// Free text is kept once the detectors have been over it.
    Balanced,
    /// The events alone, no free text.
    AuditOnly,
    /// Numbers and tokens are masked, everything else is kept, content too.
    MaskOnly,
}

impl Profile {
    /// The word in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Balanced => "balanced",
            Self::AuditOnly => "audit-only",
            Self::MaskOnly => "mask-only",
        }
    }
}

/// What is taken out of each line.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawRedact {
    /// How much is kept.
    profile: Option<Profile>,
    /// Whether message content is kept. `false`: it never leaves.
    include_payload: Option<bool>,
    /// Key of the tokens, made by `sealtail keygen`.
    token_key: Option<RawSecret>,
    /// Whether masks such as 1555****67 stand beside the tokens.
    mask: Option<bool>,
    /// Allows `pii_redaction: false` in the governance document.
    allow_clear: Option<bool>,
}

impl RawRedact {
    /// `pii_redaction` is what the governance document says of it, if there is one.
    pub(super) fn convert(
        self,
        pii_redaction: Option<bool>,
        check: &mut Check<'_>,
    ) -> Option<Redact> {
        let (profile, include_payload) = (self.profile?, self.include_payload?);
        match (profile, include_payload) {
            (Profile::MaskOnly, false) => {
                check.refuse(
                    "redact.profile",
                    "mask-only keeps message content, include_payload: false forbids it",
                    "set redact.include_payload: true to say so, or take strict or balanced",
                );
            }
            (Profile::AuditOnly, true) => {
                check.refuse(
                    "redact.include_payload",
                    "audit-only drops message content, include_payload: true asks for it",
                    "take profile strict or balanced to keep content",
                );
            }
            _ => {}
        }
        if profile == Profile::MaskOnly && pii_redaction == Some(true) {
            check.refuse(
                "redact.profile",
                "mask-only keeps names and message content, `pii_redaction: true` promises that \
                 personal data is taken out",
                "take strict, balanced or audit-only",
            );
        }
        let clear = self.clear(pii_redaction, check);
        let token_key = self.token_key.and_then(|k| k.convert("redact.token_key", check));
        let (token_key, mask) = (token_key?, self.mask?);
        Some(Redact { profile, include_payload, token_key, mask, clear })
    }

    fn clear(&self, pii_redaction: Option<bool>, check: &mut Check<'_>) -> bool {
        let allowed = self.allow_clear.unwrap_or(false);
        if pii_redaction == Some(false) && !allowed {
            check.refuse(
                "governance.retention_policy.pii_redaction",
                "`false` would ship personal data in clear",
                "if that is meant, set redact.allow_clear: true beside it",
            );
        }
        if allowed && pii_redaction != Some(false) {
            check.refuse(
                "redact.allow_clear",
                "has an effect only beside governance.retention_policy.pii_redaction: false",
                "delete it",
            );
        }
        allowed
    }
}
