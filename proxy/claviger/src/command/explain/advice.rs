//! What the codes of refusals mean for whoever has to mend them.

/// What was missing or wrong, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Advice {
    /// What is wrong.
    pub(crate) what: &'static str,
    /// What to do.
    pub(crate) remedy: &'static str,
}

/// What codes mean: those listed, and (behind them) those that begin so. The first that fits.
const ADVICE: &[(&[&str], &str, &str)] = &[
    (
        &["no_identity", "identity_missing"],
        "the request showed no proof that an attestor of the listener can judge",
        "give the workload a proof that the listener's `authenticate` takes, or name its attestor there",
    ),
    (
        &["identity_unknown_issuer"],
        "no attestor of the listener trusts the issuer or trust domain of the proof",
        "add an `[attestor.NAME]` for that issuer or trust domain, and name it in the listener's `authenticate`",
    ),
    (
        &["identity_audience"],
        "the token was issued for another audience",
        "have the workload ask for a token with the attestor's `audience`",
    ),
    (
        &["identity_expired", "identity_not_yet_valid", "proof_ended"],
        "the proof does not hold at this time",
        "renew it; if it is new, compare the clocks of issuer and proxy (`leeway`)",
    ),
    (
        &["identity_refused"],
        "the proof is genuine, and the attestor's `require` or `identity` refuses it",
        "compare its claims with the attestor's settings; the detail says which one",
    ),
    (
        &["identity_unavailable"],
        "the issuer's keys could not be had",
        "see that the issuer's `jwks_url` can be reached; the notes of the proxy say why not",
    ),
    (&["identity_revoked"], "the proof was revoked", "give the workload a new identity if it is to have one"),
    (&["identity_*"], "the proof of identity does not hold", "renew it; the detail says what is wrong with it"),
    (
        &["unknown_service"],
        "no service claims the host, port, scheme and path",
        "define `[service.NAME]` with this host, or correct the URL of the client",
    ),
    (
        &["bad_request", "unsupported"],
        "the listener does not take such requests",
        "see the detail; docs/errors.md says what each mode takes",
    ),
    (&["misdirected"], "the names of one connection disagree", "have the client open one connection for each host"),
    (
        &["suspended"],
        "an operator has suspended the caller, the credential or the service",
        "ask who did (`claviger ledger tail`); `claviger resume` ends it",
    ),
    (
        &["team_frozen"],
        "the files of the caller's team are wrong, and none of them has been in force",
        "mend them: `claviger check` says what is wrong",
    ),
    (
        &["no_longer_allowed", "revoked"],
        "it was allowed when it was judged, and no longer when it was to be sent or while it streamed",
        "see what changed: the configuration, the proof, or the time that a rule holds for",
    ),
    (
        &["handle_stolen"],
        "the client shows what another workload was given at its login",
        "see `alert` of the record for whose it was, and how it came there; it opens nothing to anybody else",
    ),
    (
        &["handle_*"],
        "what the client was given at its login does not hold here, or not any more",
        "have it log in again, at this service and through this listener",
    ),
    (
        &["login_refused", "invalid_request", "unsupported_grant_type"],
        "the login is of a kind that Claviger does not answer",
        "have the client log in by `client_credentials`, and show tokens in a header: docs/phantom.md",
    ),
    (
        &["login_limited"],
        "the workload logs in more often than `rate` of the service's `login` says",
        "have it keep what it was given until `expires_in` is over, or raise `rate`",
    ),
    (
        &["token_withheld"],
        "the operation hands out a token, and the rule does not name it",
        "write the operation itself into a rule, before any with `**`, if tokens may be handed out: docs/phantom.md",
    ),
    (&["overloaded"], "too much was going on at once", "see the limits in docs/operations.md"),
    (&["ledger_unavailable"], "the request could not be recorded", "see that the ledger's disk has room"),
    (
        &["body_too_large"],
        "the body is over a limit",
        "raise `body_max` of the service, or `body_limit` of the rule or placeholder that reads it",
    ),
    (
        &["inject_not_bound", "secret_binding", "credential_refused"],
        "the credential is not bound to this host",
        "bind it with `claviger secret set NAME --for SERVICE`; configuration cannot widen a binding",
    ),
    (
        &["inject_placeholder_absent", "inject_no_slot"],
        "the request holds no place for the credential",
        "have the client write the placeholder, or add an `inject` to the service",
    ),
    (
        &["inject_*"],
        "the credential cannot be written into this request",
        "see the detail; the service's `inject` says where it goes",
    ),
    (
        &["secret_missing", "secret_unreadable", "credential_unknown"],
        "the credential's value could not be read",
        "set it with `claviger secret set`, and see that its store can be read",
    ),
    (
        &["issuer_*"],
        "the issuer of the credential did not yield a value",
        "see the `credential` records (`claviger ledger tail`), and whether its endpoint can be reached",
    ),
    (
        &["path_*", "host_*", "authority_*"],
        "the URL can be read in two ways, or in none",
        "send it in its plain form; `path_mode` of the service loosens what a path may hold",
    ),
    (
        &["address_refused"],
        "the service's address is private or reserved, and not listed",
        "add its network to `allow_addresses` of the service, if it is meant to be there",
    ),
    (
        &["no_such_host", "connect_failed", "connect_timeout", "upstream_unreachable", "upstream_timeout"],
        "the service could not be reached in time",
        "see from the proxy's machine whether its name resolves and its port answers; `connect` and `response_timeout` are the service's",
    ),
    (
        &["upstream_untrusted"],
        "the service's certificate does not hold for its name",
        "name the authority that signs it with `ca` of the service, if it is one of yours",
    ),
    (
        &["answer_encoded"],
        "the service compressed an answer that must be searched for the credential",
        "if it never reflects credentials, write `guard = false` for it",
    ),
    (
        &["upstream_broken", "broken", "body_broken", "idle_timeout", "aborted"],
        "one side broke the exchange off",
        "`aborted` is the client, `broken` the service; `limits.body_idle_timeout` ends what does not move",
    ),
];

/// For the code of a record; `None` for outcomes that need none, and for what policy itself explains.
pub(crate) fn advice(code: &str) -> Option<Advice> {
    let is_meant = |key: &&str| match key.strip_suffix('*') {
        Some(start) => code.starts_with(start),
        None => **key == *code,
    };
    let (_, what, remedy) = ADVICE.iter().find(|(keys, ..)| keys.iter().any(is_meant))?;
    Some(Advice { what, remedy })
}

#[cfg(test)]
mod tests {
    use super::advice;

    #[test]
    fn refusals_before_policy_have_advice() {
        for code in [
            "no_identity",
            "identity_malformed",
            "identity_expired",
            "identity_audience",
            "unknown_service",
            "path_dot_segment",
            "host_empty",
            "authority_userinfo",
            "bad_request",
            "unsupported",
            "misdirected",
            "overloaded",
            "ledger_unavailable",
            "issuer_timeout",
            "inject_not_bound",
            "secret_missing",
            "suspended",
            "handle_stolen",
            "handle_expired",
            "unsupported_grant_type",
            "login_limited",
            "token_withheld",
        ] {
            assert!(advice(code).is_some(), "{code}");
        }
        for code in ["ok", "no_rule", "denied_by_rule", "ambiguous", ""] {
            assert_eq!(advice(code), None, "{code}");
        }
    }
}
