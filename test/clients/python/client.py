"""Pushes with client_python, as test/clients/README.md has it."""

import sys
from http.client import InvalidURL
from urllib.error import HTTPError

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client import delete_from_gateway, push_to_gateway, pushadd_to_gateway


def registry(lines):
    """Make a gauge of each name."""
    gauges, made = {}, CollectorRegistry()
    for line in lines:
        name, part, value = line.split()
        if name not in gauges:
            gauges[name] = Gauge(name, "A gauge of the clients' tests.", ["part"], registry=made)
        gauges[name].labels(part).set(float(value))
    return made


def main(action, url, job, *labels):
    key = dict(label.split("=", 1) for label in labels)
    if action == "delete":
        delete_from_gateway(url, job=job, grouping_key=key)
    else:
        push = {"push": push_to_gateway, "add": pushadd_to_gateway}[action]
        push(url, job=job, grouping_key=key, registry=registry(sys.stdin))


try:
    main(*sys.argv[1:])
except HTTPError as refusal:
    print("refused", refusal.code, refusal.read().decode().strip())
    sys.exit(1)
except OSError as broken:
    print("unanswered", broken)
    sys.exit(2)
except (InvalidURL, ValueError) as own:
    print("unsent", own)
    sys.exit(3)
print("taken")
