"""The official Stripe SDK."""

import os

import stripe
from turns import turns


def calls():
    client = stripe.StripeClient(os.environ["STRIPE_API_KEY"], max_network_retries=0)
    yield client.v1.customers.list()
    yield client.v1.customers.create({"email": "me@acme.test"})


turns(calls)
