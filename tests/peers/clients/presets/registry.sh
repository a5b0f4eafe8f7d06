# A registry that takes user and password with every request, by the lines of its specification.
curl --fail --silent --show-error --user "$REGISTRY_USER:$REGISTRY_PASSWORD" https://registry.example.com/v2/
curl --fail --silent --show-error --user "$REGISTRY_USER:$REGISTRY_PASSWORD" -H 'Accept: application/vnd.oci.image.manifest.v1+json' https://registry.example.com/v2/acme/notes/manifests/latest
