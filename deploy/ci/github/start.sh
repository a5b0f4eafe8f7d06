#!/usr/bin/env bash
# The step of action.yml. Inputs come in CLAVIGER_…, GitHub's own variables as its documentation says.
set -euo pipefail

fail() { printf '::error title=Claviger::%s\n' "$*" >&2 && exit 1; }

# The job's token, from GitHub. It is masked before anything could print it.
token() {
    local answer token
    answer=$(curl --silent --show-error --fail --retry 3 --noproxy '*' \
        --header "Authorization: bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN" \
        "$ACTIONS_ID_TOKEN_REQUEST_URL&audience=$CLAVIGER_AUDIENCE")
    token=$(sed -n 's/.*"value"[[:space:]]*:[[:space:]]*"\([A-Za-z0-9._-]*\)".*/\1/p' <<<"$answer")
    [ -n "$token" ] || return 1
    printf '%s' "$token"
}

# Written whole: a reader sees the token before or the one after. mktemp makes it readable by its owner only.
keep_token() {
    local fresh
    fresh=$(mktemp "$1.XXXXXX")
    if token >"$fresh"; then mv "$fresh" "$1"; else rm -f "$fresh" && return 1; fi
}

export_variables() {
    local proxy=$1 bundle=$2 certificate=$3 direct=localhost,127.0.0.1,::1 name
    [ -z "$CLAVIGER_NO_PROXY" ] || direct=$direct,$CLAVIGER_NO_PROXY
    # What actions need of the runner: caches, artifacts, logs, tokens. github.com itself may be a service of yours.
    direct=$direct,.actions.githubusercontent.com,.blob.core.windows.net
    {
        for name in HTTPS_PROXY https_proxy HTTP_PROXY http_proxy; do printf '%s=%s\n' "$name" "$proxy"; done
        for name in NO_PROXY no_proxy; do printf '%s=%s\n' "$name" "$direct"; done
        printf 'NODE_USE_ENV_PROXY=1\n'
        if [ -n "$bundle" ]; then
            for name in SSL_CERT_FILE CURL_CA_BUNDLE REQUESTS_CA_BUNDLE PIP_CERT GIT_SSL_CAINFO CARGO_HTTP_CAINFO \
                AWS_CA_BUNDLE CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE GRPC_DEFAULT_SSL_ROOTS_FILE_PATH npm_config_cafile; do
                printf '%s=%s\n' "$name" "$bundle"
            done
            for name in NODE_EXTRA_CA_CERTS DENO_CERT; do printf '%s=%s\n' "$name" "$certificate"; done
        fi
    } >>"$GITHUB_ENV"
}

[ -n "${ACTIONS_ID_TOKEN_REQUEST_URL:-}" ] ||
    fail 'this job may not ask for a token: write "permissions: { id-token: write }" in the workflow'

case "${CLAVIGER_GATEWAY:+gateway} ${CLAVIGER_CI_CONFIG:+config}" in
'gateway ')
    mine=$(token) || fail 'GitHub gave no token'
    printf '::add-mask::%s\n' "$mine"
    [ -z "$CLAVIGER_CA" ] || CLAVIGER_CA=$(realpath "$CLAVIGER_CA")
    export_variables "${CLAVIGER_GATEWAY%%://*}://any:$mine@${CLAVIGER_GATEWAY#*://}" "$CLAVIGER_CA" "$CLAVIGER_CA"
    ;;
' config')
    config=$(realpath "$CLAVIGER_CI_CONFIG")
    file=${CLAVIGER_TOKEN_FILE:-$(dirname "$config")/token.jwt}
    folder=$RUNNER_TEMP/claviger
    mkdir -p "$folder"
    keep_token "$file" || fail 'GitHub gave no token'
    # Fresh well before its end, for as long as the job runs; GitHub ends what a job leaves behind.
    (
        while sleep "${CLAVIGER_REFRESH_SECONDS:-120}"; do
            keep_token "$file" || printf 'claviger: GitHub gave no new token\n'
        done
    ) >>"$folder/log" 2>&1 </dev/null &
    "$CLAVIGER_BINARY" run --config "$config" --ca-dir "$folder" >>"$folder/log" 2>&1 </dev/null &
    started=$!
    until "$CLAVIGER_BINARY" health --config "$config" --ready >/dev/null 2>&1; do
        kill -0 "$started" 2>/dev/null && [ "$SECONDS" -lt 60 ] || { cat "$folder/log" >&2 && fail 'Claviger does not start'; }
        sleep 0.2
    done
    export_variables "$CLAVIGER_LISTEN" "$folder/bundle.pem" "$folder/ca.pem"
    ;;
*) fail 'name either a gateway or a config' ;;
esac
