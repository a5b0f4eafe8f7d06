# npm: installs a private package and publishes another, with the registry's default address and a token by the usual line.
export npm_config_update_notifier=false npm_config_audit=false npm_config_fund=false npm_config_fetch_retries=0
npm() { "$NODE" "$(dirname "$NODE")/../lib/node_modules/npm/bin/npm-cli.js" "$@" --cache "$folder/cache"; }
folder=$PWD
mkdir app package
printf '//registry.npmjs.org/:_authToken=${NPM_TOKEN}\n' | tee app/.npmrc >package/.npmrc
printf '{"name":"app","version":"1.0.0","private":true}' >app/package.json
printf '{"name":"@acme/published","version":"1.0.0"}' >package/package.json
cd app
npm install --no-package-lock @acme/installed
cat node_modules/@acme/installed/package.json
cd ../package
npm publish --access restricted
