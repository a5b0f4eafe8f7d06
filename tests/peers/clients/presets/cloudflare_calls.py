"""The official Cloudflare SDK."""

import cloudflare
from turns import turns


def calls():
    client = cloudflare.Cloudflare(max_retries=0)
    yield client.user.tokens.verify()
    yield client.dns.records.create(zone_id="z1", name="a.acme.test", type="A", content="192.0.2.1", ttl=60)


turns(calls)
