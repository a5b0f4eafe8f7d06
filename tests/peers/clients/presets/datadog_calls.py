"""The official Datadog client: a key of the API and one of the application."""

from datadog_api_client import ApiClient, Configuration
from datadog_api_client.v1.api.authentication_api import AuthenticationApi
from datadog_api_client.v1.api.monitors_api import MonitorsApi
from datadog_api_client.v1.model.monitor import Monitor
from datadog_api_client.v1.model.monitor_type import MonitorType
from turns import turns


def calls():
    with ApiClient(Configuration()) as client:
        yield AuthenticationApi(client).validate()
        monitors = MonitorsApi(client)
        yield monitors.list_monitors()
        yield monitors.create_monitor(Monitor(name="m", type=MonitorType("metric alert"), query="avg(last_5m):avg:x{*} > 1"))


turns(calls)
