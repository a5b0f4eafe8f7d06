//! Services of a company: tickets, errors, alerts, messages, payments.

use serde_json::json;

use crate::proof::{Answer, Place, Proof, Route};

/// <https://developer.atlassian.com/cloud/jira/platform/basic-auth-for-rest-apis/>
pub(crate) fn jira() -> Proof {
    let key = [Place::Basic("me@acme.test:{key}")];
    let issue = json!({"id": "1", "key": "NOTES-1", "self": "https://acme.atlassian.net/rest/api/2/issue/1",
        "fields": {"summary": "A title"}});
    Proof::new("jira", "ATATT3x{}")
        .settings("hosts = [\"acme.atlassian.net\"]")
        .probed_with("inject = { basic = \"me@acme.test\" }")
        .refuses_with(Answer::new(401, "text/plain", "Client must be authenticated to access this resource."))
        .route(Route::new("GET acme.atlassian.net/rest/api/2/serverInfo").key(&key).json(
            &json!({"baseUrl": "https://acme.atlassian.net", "version": "1001.0.0", "versionNumbers": [1001, 0, 0],
                    "deploymentType": "Cloud", "buildNumber": 1, "serverTitle": "Jira"}),
        ))
        .route(
            Route::new("GET acme.atlassian.net/rest/api/2/myself")
                .key(&key)
                .json(&json!({"accountId": "1", "active": true})),
        )
        .route(
            Route::new("POST acme.atlassian.net/rest/api/2/issue")
                .key(&key)
                .header("content-type", "application/json")
                .body("A title")
                .answer(Answer::json(201, &issue)),
        )
        .route(
            Route::new("GET acme.atlassian.net/rest/api/2/project/NOTES")
                .key(&key)
                .json(&json!({"id": "10000", "key": "NOTES", "name": "Notes"})),
        )
        .route(Route::new("GET acme.atlassian.net/rest/api/2/issue/NOTES-1").key(&key).json(&issue))
        .driver("jira_calls.py")
        .route(Route::new("GET acme.atlassian.net/rest/api/3/myself").key(&key).json(&json!({"accountId": "1"})))
        .set(
            "read",
            "GET https://acme.atlassian.net/rest/api/2/project/NOTES",
            "GET https://acme.atlassian.net/rest/api/3/users",
        )
        .set(
            "issues",
            "POST https://acme.atlassian.net/rest/api/2/issue",
            "DELETE https://acme.atlassian.net/rest/api/2/issue/N-1",
        )
}

/// <https://docs.sentry.io/api/auth/>
pub(crate) fn sentry() -> Proof {
    Proof::new("sentry", "sntrys_{}")
        .refuses(401, &json!({"detail": "Invalid token"}))
        .route(Route::new("GET sentry.io/api/0/organizations/").json(&json!([{"id": "1", "slug": "acme"}])))
        .route(
            Route::new("POST sentry.io/api/0/organizations/acme/releases/")
                .header("content-type", "application/json")
                .body("\"version\"")
                .answer(Answer::json(201, &json!({"version": "1.0"}))),
        )
        .driver("sentry.sh")
        .set(
            "read",
            "GET https://sentry.io/api/0/organizations/",
            "GET https://sentry.io/api/0/projects/acme/notes/keys/",
        )
        .set("triage", "PUT https://sentry.io/api/0/issues/1/", "DELETE https://sentry.io/api/0/issues/1/")
        .set(
            "release",
            "POST https://sentry.io/api/0/organizations/acme/releases/",
            "DELETE https://sentry.io/api/0/organizations/acme/releases/1.0/",
        )
}

/// <https://developer.pagerduty.com/docs/authentication>; `Accept` names the version, and `From` who makes an incident.
pub(crate) fn pagerduty() -> Proof {
    let key = [Place::Header("authorization", "Token token={key}")];
    let accept = "application/vnd.pagerduty+json;version=2";
    Proof::new("pagerduty", "u+{}")
        .refuses(401, &json!({"error": {"code": 2006, "message": "Unauthorized"}}))
        .route(
            Route::new("GET api.pagerduty.com/users/me")
                .key(&key)
                .header("accept", accept)
                .json(&json!({"user": {"id": "U1", "type": "user"}})),
        )
        .route(
            Route::new("POST api.pagerduty.com/incidents")
                .key(&key)
                .header("accept", accept)
                .header("from", "me@acme.test")
                .header("content-type", "application/json")
                .body("\"incident\"")
                .answer(Answer::json(201, &json!({"incident": {"id": "I1", "type": "incident"}}))),
        )
        .driver("pagerduty_calls.py")
        .route(Route::new("GET api.pagerduty.com/abilities").key(&key).json(&json!({"abilities": []})))
        .set("read", "GET https://api.pagerduty.com/incidents", "GET https://api.pagerduty.com/users")
        .set("incidents", "POST https://api.pagerduty.com/incidents", "POST https://api.pagerduty.com/services")
}

/// <https://developer.pagerduty.com/docs/events-api-v2/trigger-events/>: the routing key stands in the body. A wrong one is a
/// bad request.
pub(crate) fn pagerduty_events() -> Proof {
    let invalid =
        json!({"status": "invalid event", "message": "Event object is invalid", "errors": ["Invalid routing key"]});
    Proof::new("pagerduty-events", "{}00000000")
        .refuses(400, &invalid)
        .route(
            Route::new("POST events.pagerduty.com/v2/enqueue")
                .key(&[Place::Body("\"{key}\"")])
                .header("content-type", "application/json")
                .body("\"routing_key\"")
                .body("\"trigger\"")
                .answer(Answer::json(
                    202,
                    &json!({"status": "success", "message": "Event processed", "dedup_key": "d"}),
                )),
        )
        .driver("pagerduty_events_calls.py")
        .set("events", "POST https://events.pagerduty.com/v2/enqueue", "POST https://events.pagerduty.com/v2/other")
}

/// <https://docs.datadoghq.com/api/latest/authentication/>: reading wants a key of the application too.
pub(crate) fn datadog() -> Proof {
    let keys = [Place::Header("dd-api-key", "{api}"), Place::Header("dd-application-key", "{app}")];
    let monitor = json!({"id": 1, "name": "m", "type": "metric alert", "query": "avg(last_5m):avg:x{*} > 1"});
    Proof::of_fields("datadog", &[("api", "{}00000000"), ("app", "{}0000000000000000")])
        .refuses(403, &json!({"errors": ["Forbidden"]}))
        .route(Route::new("GET api.datadoghq.com/api/v1/validate").key(&keys).json(&json!({"valid": true})))
        .route(Route::new("GET api.datadoghq.com/api/v1/monitor").key(&keys).json(&json!([monitor])))
        .route(
            Route::new("POST api.datadoghq.com/api/v1/monitor")
                .key(&keys)
                .header("content-type", "application/json")
                .body("\"metric alert\"")
                .json(&monitor),
        )
        .driver("datadog_calls.py")
        .route(Route::new("GET api.datadoghq.com/api/v2/validate_keys").key(&keys).json(&json!({"status": "ok"})))
        .set("read", "GET https://api.datadoghq.com/api/v1/monitor", "GET https://api.datadoghq.com/api/v1/api_key")
        .set("submit", "POST https://api.datadoghq.com/api/v2/series", "POST https://api.datadoghq.com/api/v1/monitor")
}

/// <https://docs.slack.dev/authentication/tokens>. Slack answers 200 to a wrong token; only the body says it.
pub(crate) fn slack() -> Proof {
    Proof::new("slack", "xoxb-{}")
        .refuses(200, &json!({"ok": false, "error": "invalid_auth"}))
        .route(Route::new("POST slack.com/api/auth.test").json(&json!({"ok": true, "user": "bot", "team_id": "T1"})))
        .route(
            Route::new("POST slack.com/api/chat.postMessage")
                .body("C1")
                .json(&json!({"ok": true, "channel": "C1", "ts": "1.0", "message": {"text": "hi"}})),
        )
        .driver("slack_calls.py")
        .also("slack.mjs")
        .route(Route::new("GET slack.com/api/auth.test").json(&json!({"ok": true})))
        .set("read", "POST https://slack.com/api/conversations.list", "POST https://slack.com/api/users.list")
        .set("people", "GET https://slack.com/api/users.info", "POST https://slack.com/api/users.profile.set")
        .set("chat", "POST https://slack.com/api/chat.postMessage", "POST https://slack.com/api/conversations.archive")
        .set(
            "files",
            "POST https://slack.com/api/files.completeUploadExternal",
            "POST https://slack.com/api/files.delete",
        )
}

/// <https://core.telegram.org/bots/api#authorizing-your-bot>: the token stands in the path.
pub(crate) fn telegram() -> Proof {
    let key = [Place::Path("/bot{key}/")];
    let bot = json!({"ok": true, "result": {"id": 1, "is_bot": true, "first_name": "b", "username": "b_bot"}});
    let message =
        json!({"ok": true, "result": {"message_id": 1, "date": 1, "chat": {"id": 1, "type": "private"}, "text": "hi"}});
    Proof::new("telegram", "123456789:AA{}0000000000")
        .refuses(401, &json!({"ok": false, "error_code": 401, "description": "Unauthorized"}))
        .route(Route::new("POST api.telegram.org/bot{key}/getMe").key(&key).json(&bot))
        .route(Route::new("POST api.telegram.org/bot{key}/sendMessage").key(&key).body("hi").json(&message))
        .route(
            Route::new("POST api.telegram.org/bot{key}/getFile")
                .key(&key)
                .json(&json!({"ok": true, "result": {"file_id": "f", "file_unique_id": "u", "file_path": "documents/file_1.txt"}})),
        )
        .route(
            Route::new("GET api.telegram.org/file/bot{key}/documents/file_1.txt")
                .key(&[Place::Path("/file/bot{key}/")])
                .answer(Answer::new(200, "application/octet-stream", "a file")),
        )
        .driver("telegram_calls.py")
        .route(Route::new("GET api.telegram.org/bot{key}/getMe").key(&key).json(&bot))
        .set(
            "read",
            "GET https://api.telegram.org/bot{placeholder}/getMe",
            "GET https://api.telegram.org/bot{placeholder}/getUpdates",
        )
        .set(
            "updates",
            "POST https://api.telegram.org/bot{placeholder}/getUpdates",
            "POST https://api.telegram.org/bot{placeholder}/setWebhook",
        )
        .set(
            "send",
            "POST https://api.telegram.org/bot{placeholder}/sendMessage",
            "POST https://api.telegram.org/bot{placeholder}/banChatMember",
        )
}

/// <https://docs.stripe.com/api/authentication>, <https://docs.stripe.com/api/versioning>
pub(crate) fn stripe() -> Proof {
    let customer = json!({"id": "cus_1", "object": "customer", "email": "me@acme.test"});
    let list = json!({"object": "list", "data": [customer], "has_more": false, "url": "/v1/customers"});
    Proof::new("stripe", "sk_test_51{}")
        .refuses(401, &json!({"error": {"message": "Invalid API Key provided", "type": "invalid_request_error"}}))
        .route(Route::new("GET api.stripe.com/v1/customers").header("stripe-version", "20*").json(&list))
        .route(
            Route::new("POST api.stripe.com/v1/customers")
                .header("stripe-version", "20*")
                .header("content-type", "application/x-www-form-urlencoded")
                .body("email=")
                .json(&customer),
        )
        .driver("stripe_calls.py")
        .also("stripe.mjs")
        .route(Route::new("GET api.stripe.com/v1/balance").json(&json!({"object": "balance"})))
        .set("read", "GET https://api.stripe.com/v1/customers", "GET https://api.stripe.com/v1/issuing/cards")
        .set("checkout", "POST https://api.stripe.com/v1/payment_intents", "POST https://api.stripe.com/v1/refunds")
        .set("refund", "POST https://api.stripe.com/v1/refunds", "POST https://api.stripe.com/v1/payouts")
}

/// <https://www.twilio.com/docs/usage/requests-to-twilio>: user and password are the account's SID and its token.
pub(crate) fn twilio() -> Proof {
    let key = [Place::Basic("AC00000000000000000000000000000001:{key}")];
    let message = json!({"sid": "SM1", "status": "queued", "body": "hi", "to": "+15550100", "from": "+15550101"});
    Proof::new("twilio", "{}00000000")
        .probed_with("inject = { basic = \"AC00000000000000000000000000000001\" }")
        .refuses(
            401,
            &json!({"code": 20003, "message": "Authenticate", "more_info": "https://www.twilio.com/docs/errors/20003", "status": 401}),
        )
        .route(
            Route::new("POST api.twilio.com/2010-04-01/Accounts/AC00000000000000000000000000000001/Messages.json")
                .key(&key)
                .header("content-type", "application/x-www-form-urlencoded")
                .body("Body=hi")
                .answer(Answer::json(201, &message)),
        )
        .route(
            Route::new("GET api.twilio.com/2010-04-01/Accounts/AC00000000000000000000000000000001/Messages.json")
                .key(&key)
                .json(&json!({"messages": [message], "page": 0, "page_size": 1, "next_page_uri": null})),
        )
        .driver_with("twilio_calls.py", &[("TWILIO_ACCOUNT_SID", "AC00000000000000000000000000000001")])
        .route(
            Route::new("GET api.twilio.com/2010-04-01/Accounts.json")
                .key(&key)
                .query("PageSize", "1")
                .json(&json!({"accounts": []})),
        )
        .set(
            "read",
            "GET https://api.twilio.com/2010-04-01/Accounts/AC1/Messages.json",
            "GET https://api.twilio.com/2010-04-01/Accounts/AC1.json",
        )
        .set(
            "send",
            "POST https://api.twilio.com/2010-04-01/Accounts/AC1/Messages.json",
            "POST https://api.twilio.com/2010-04-01/Accounts/AC1/Calls.json",
        )
        .set(
            "call",
            "POST https://api.twilio.com/2010-04-01/Accounts/AC1/Calls.json",
            "POST https://api.twilio.com/2010-04-01/Accounts/AC1/Messages.json",
        )
        .set(
            "verify",
            "POST https://verify.twilio.com/v2/Services/VA1/Verifications",
            "POST https://verify.twilio.com/v2/Services",
        )
        .set("lookup", "GET https://lookups.twilio.com/v2/PhoneNumbers/1", "POST https://lookups.twilio.com/v2/PhoneNumbers/1")
}

/// <https://www.twilio.com/docs/sendgrid/for-developers/sending-email/authentication>
pub(crate) fn sendgrid() -> Proof {
    Proof::new("sendgrid", "SG.{}.{}")
        .refuses(
            401,
            &json!({"errors": [{"message": "The provided authorization grant is invalid, expired, or revoked", "field": null, "help": null}]}),
        )
        .route(
            Route::new("POST api.sendgrid.com/v3/mail/send")
                .header("content-type", "application/json")
                .body("\"personalizations\"")
                .answer(Answer::new(202, "text/plain", "")),
        )
        .route(Route::new("GET api.sendgrid.com/v3/scopes").json(&json!({"scopes": ["mail.send"]})))
        .driver("sendgrid_calls.py")
        .set("send", "POST https://api.sendgrid.com/v3/mail/send", "POST https://api.sendgrid.com/v3/api_keys")
        .set("read", "GET https://api.sendgrid.com/v3/scopes", "GET https://api.sendgrid.com/v3/api_keys")
}

/// <https://developers.cloudflare.com/fundamentals/api/get-started/create-token/>
pub(crate) fn cloudflare() -> Proof {
    let envelope = |result| json!({"success": true, "errors": [], "messages": [], "result": result});
    Proof::new("cloudflare", "{}0000000000000000")
        .refuses(
            401,
            &json!({"success": false, "errors": [{"code": 1000, "message": "Invalid API Token"}], "messages": [], "result": null}),
        )
        .route(
            Route::new("GET api.cloudflare.com/client/v4/user/tokens/verify")
                .json(&envelope(json!({"id": "t1", "status": "active"}))),
        )
        .route(
            Route::new("POST api.cloudflare.com/client/v4/zones/z1/dns_records")
                .header("content-type", "application/json")
                .body("192.0.2.1")
                .json(&envelope(json!({"id": "r1", "name": "a.acme.test", "type": "A", "content": "192.0.2.1", "ttl": 60,
                    "proxied": false, "proxiable": true, "created_on": "2026-01-01T00:00:00Z",
                    "modified_on": "2026-01-01T00:00:00Z", "meta": {}, "settings": {}, "tags": []}))),
        )
        .driver("cloudflare_calls.py")
        .set(
            "read",
            "GET https://api.cloudflare.com/client/v4/zones",
            "GET https://api.cloudflare.com/client/v4/accounts/a/cfd_tunnel/t/token",
        )
        .set(
            "dns",
            "POST https://api.cloudflare.com/client/v4/zones/z1/dns_records",
            "DELETE https://api.cloudflare.com/client/v4/zones/z1",
        )
        .set(
            "purge",
            "POST https://api.cloudflare.com/client/v4/zones/z1/purge_cache",
            "POST https://api.cloudflare.com/client/v4/zones",
        )
}
