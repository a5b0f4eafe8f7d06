"""The official Twilio SDK: the account's SID is the user, its token the password."""

from turns import turns
from twilio.rest import Client


def calls():
    client = Client()
    yield client.messages.create(to="+15550100", from_="+15550101", body="hi")
    yield client.messages.list(limit=1)


turns(calls)
