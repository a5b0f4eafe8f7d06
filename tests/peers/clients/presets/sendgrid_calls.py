"""The official SendGrid SDK."""

from sendgrid import SendGridAPIClient
from sendgrid.helpers.mail import Mail
from turns import turns


def calls():
    client = SendGridAPIClient()
    yield client.send(Mail("me@acme.test", "you@acme.test", "subject", "text")).status_code
    yield client.client.scopes.get().body


turns(calls)
