# A large file of the hub by the lines of its protocol: the hub issues a token of minutes, which the store of files takes.
issued=$(curl --fail --silent --show-error -H "Authorization: Bearer $HF_TOKEN" https://huggingface.co/api/models/acme/small/xet-read-token/main)
field() { printf %s "$issued" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
curl --fail --silent --show-error -H "Authorization: Bearer $(field accessToken)" "$(field casUrl)/v1/reconstructions/0123"
