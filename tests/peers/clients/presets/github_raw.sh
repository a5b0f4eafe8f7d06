# A file of a private repository by curl, as GitHub documents it.
curl --fail --silent --show-error -H "Authorization: Bearer $GITHUB_TOKEN" https://raw.githubusercontent.com/acme/notes/main/README.md
