"""M11: the broker is not reached as it should be: wrong password, wrong rights, wrong certificates, no such name."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from tests.faults.fault import Outcome, fault
from tests.faults.harness import Harness
from tests.faults.node import NODE_ID
from tests.faults.proxy import Proxy
from tests.site import Site, SiteBroker, run

OTHER_CA = "openssl req -x509 -newkey rsa:2048 -noenc -subj /CN=Other -keyout other.key -out other.pem"
WATCH_S = 10.0
MOST_ATTEMPTS = 5  # after about 1, 2, 4 and 8 s, give or take a quarter
BUSY_S = 1.0  # processor time of the service in WATCH_S, with all that it does besides
TLS_HANDSHAKE = b"\x16\x03"  # how every TLS connection begins (RFC 8446, 5.1)


@dataclass(frozen=True)
class _Way:
    """One thing that is wrong.

    Attributes:
        settings: of the node, by section.
        port: where it finds the broker.
        reason: what its log says.
        reconnects: the connection does not come about, so it is tried again.
    """

    settings: Mapping[str, object]
    port: int
    reason: str
    node_id: str = NODE_ID
    reconnects: bool = True


@fault("M11", "password, rights, certificates, name", short=1, long=5, limit_s=180)
def access(harness: Harness, times: int) -> Outcome:
    """Each of five is told with its reason, tried again with growing pauses, and never without encryption.

    Then one is mended, the expired certificate of the broker: the node is online without being touched.
    """
    wrong: list[str] = []
    detected_s, recovered_s, attempts = [], [], []
    for _ in range(times):
        site = Site(harness.new_folder("site"))
        site.expire("expired")
        run(OTHER_CA, site.folder)
        good = SiteBroker(site, harness.new_folder("broker"))
        expired = SiteBroker(site, harness.new_folder("broker"), certificate="expired")
        for broker in (good, expired):
            harness.at_end(broker.stop)
        secret = site.folder / "wrong.password"
        secret.write_text("not-the-password\n", encoding="ascii")
        secret.chmod(0o400)
        for name, way in _ways(site, good, expired).items():
            with harness.fault(name):
                seen = _watched(harness, way, name, wrong)
            detected_s.append(seen.detected_s)
            attempts.append(seen.attempts)
        recovered_s.append(_mended(harness, site, expired))
    return Outcome(
        5 * times,
        len(wrong),
        None,
        max(detected_s),
        max(recovered_s),
        passed=not wrong,
        figure=f"at most {max(attempts)} attempts in {WATCH_S:g} s, all encrypted, each with its reason in the log "
        f"{wrong or ''}",
    )


def _ways(site: Site, good: SiteBroker, expired: SiteBroker) -> dict[str, _Way]:
    ca = {"tls_ca_certs": str(site.folder / "ca.pem")}
    kitchen = {
        "tls_client_cert": str(site.folder / "kitchen.pem"),
        "tls_client_key": str(site.folder / "kitchen.key"),
    }
    password = {"user": "garden", "password_file": str(site.folder / "wrong.password")}
    other_ca = {"tls_ca_certs": str(site.folder / "other.pem")}
    return {
        "wrong password": _Way({**ca, **password}, good.password_port, "Not authorized", "garden"),
        "no rights": _Way({**ca, **kitchen}, good.port, "refuses a", "workshop", reconnects=False),
        "unknown CA": _Way({**other_ca, **kitchen}, good.port, "CERTIFICATE_VERIFY_FAILED"),
        "expired certificate": _Way({**ca, **kitchen}, expired.port, "certificate has expired"),
        "no such name": _Way({**ca, **kitchen, "host": "no-such-name.invalid"}, good.port, "gaierror"),
    }


@dataclass(frozen=True)
class _Seen:
    detected_s: float
    attempts: int


def _watched(harness: Harness, way: _Way, name: str, wrong: list[str]) -> _Seen:
    """Run a node for a while; what it does that it should not is added to `wrong`."""
    proxy = Proxy(way.port)
    node = harness.node(proxy.port, {"node": {"id": way.node_id}, "mqtt": way.settings, "caption": {"enabled": False}})
    began_s = time.monotonic()
    node.start()
    node.expect_log("mqtt problem")
    detected_s = time.monotonic() - began_s
    began_cpu_s = sum(psutil.Process(node.pid).cpu_times()[:2])
    time.sleep(WATCH_S)
    busy_s = sum(psutil.Process(node.pid).cpu_times()[:2]) - began_cpu_s
    sent = b"".join(proxy.sent)
    named = "no such name" not in name  # without an address there is nothing to connect to
    checks = {
        f"the log says {way.reason!r}": way.reason in node.log,
        "the service runs": node.is_running,
        f"{proxy.connections} attempts": not named
        or (2 if way.reconnects else 1) <= proxy.connections <= MOST_ATTEMPTS,
        f"{busy_s:.1f} s busy": busy_s <= BUSY_S,
        "encrypted": all(each.startswith(TLS_HANDSHAKE) for each in proxy.sent) and b"not-the-password" not in sent,
    }
    wrong += [f"{name}: not so: {what}" for what, holds in checks.items() if not holds]
    node.close()
    proxy.close()
    return _Seen(detected_s, proxy.connections)


def _mended(harness: Harness, site: Site, broker: SiteBroker) -> float:
    """A node waits for a broker whose certificate has expired, and the broker gets a new one; seconds until online."""
    node = harness.node(broker.port, {"mqtt": _ways(site, broker, broker)["expired certificate"].settings})
    node.start()
    node.expect_log("certificate has expired")
    broker.stop()
    for suffix in (".pem", ".key"):
        (broker.folder / f"certs/broker{suffix}").write_bytes((site.folder / f"broker{suffix}").read_bytes())
    broker.start()
    began_s = time.monotonic()
    node.expect_log("mqtt connected", timeout_s=40)
    recovered_s = time.monotonic() - began_s
    node.close()
    return recovered_s
