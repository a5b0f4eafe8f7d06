# Sentry's API by the documented line. (SDKs report with a DSN, which is no secret.)
curl --fail --silent --show-error -H "Authorization: Bearer $SENTRY_AUTH_TOKEN" https://sentry.io/api/0/organizations/
curl --fail --silent --show-error -H "Authorization: Bearer $SENTRY_AUTH_TOKEN" -H 'Content-Type: application/json' -d '{"version":"1.0","projects":["notes"]}' https://sentry.io/api/0/organizations/acme/releases/
